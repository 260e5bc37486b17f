"""Several processes as one: the only module that speaks to other processes.

On one process every function here is the identity. With several, each holds its share of every
batch, and all call the same functions in the same order.
"""

import importlib
import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import timedelta

import torch
import torch.distributed as dist
from torch import Tensor, nn

from l2b.types import Params

MEETING = "L2B_MEETING"  # path of the file through which processes of one machine meet
LONGEST_WAIT = timedelta(minutes=30)  # while the first process judges or writes
BUCKET = 2**24  # numbers sent at a time
SHARDING = {"FSDP": "ACCELERATE_USE_FSDP", "DeepSpeed": "ACCELERATE_USE_DEEPSPEED"}

_alone: ContextVar[bool] = ContextVar("alone", default=False)


def start(*, cpu: bool) -> None:
    """Join the processes that a launcher has started; nothing happens if there is one.

    Args:
        cpu: compute on CPUs even where there are GPUs.

    Raises:
        ValueError: if the launcher asks for what is not supported, or has left out what it takes.
    """
    _refuse_sharding()
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        return
    rank, on_gpu = _number(), torch.cuda.is_available() and not cpu
    if on_gpu:
        _take_gpu()
    # This module keeps the group that it finds when it is first imported, as a default of its
    # functions. Kept beyond `stop`, the group's threads outlive the interpreter, and a process
    # that did everything well may abort at its end: so it is imported while there is no group.
    importlib.import_module("torch.distributed.nn.functional")
    meeting = os.environ.get(MEETING)
    dist.init_process_group(
        "nccl" if on_gpu else "gloo",
        init_method=f"file://{meeting}" if meeting else "env://",
        rank=rank,
        world_size=int(os.environ["WORLD_SIZE"]),
        timeout=LONGEST_WAIT,
    )


def _refuse_sharding() -> None:
    for name, variable in SHARDING.items():
        if os.environ.get(variable, "false").lower() == "true":
            raise ValueError(
                f"Sharded parameters ({name}) are not supported: the clean gradient needs every "
                "parameter whole. Launch with plain data parallelism (accelerate launch "
                "--multi_gpu, torchrun, or l2b run --launch N)."
            )


def _number() -> int:
    """Of this process among all, as its launcher says."""
    number = os.environ.get("RANK")
    if number is None:
        raise ValueError(
            "RANK must be the number of this process, from 0, where WORLD_SIZE is set, got none: "
            "start with l2b run --launch N or torchrun, which set both, or unset WORLD_SIZE."
        )
    return int(number)


def _take_gpu() -> None:
    """Compute on the GPU that is this process's, or say, in all of them, that some have none."""
    local, there = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    processes = max(local + 1, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    if processes > there:
        raise ValueError(
            f"The processes of a machine must be at most its GPUs, {there}, got {processes}: each "
            f"computes on one of its own. Launch at most {there}, or set --device cpu."
        )
    torch.cuda.set_device(local)


def stop() -> None:
    """Leave the other processes."""
    if dist.is_initialized():
        dist.destroy_process_group()


@contextmanager
def alone() -> Iterator[None]:
    """Compute as if there were no other processes, inside."""
    token = _alone.set(True)
    try:
        yield
    finally:
        _alone.reset(token)


def ranks() -> int:
    """How many processes work together."""
    together = dist.is_available() and dist.is_initialized() and not _alone.get()
    return dist.get_world_size() if together else 1


def rank() -> int:
    """The number of this process, from 0."""
    return dist.get_rank() if ranks() > 1 else 0


def total(value: Tensor) -> Tensor:
    """The sum over all processes."""
    if ranks() == 1:
        return value
    value = value.detach().clone()
    with _lost_processes():
        dist.all_reduce(value)
    return value


def anywhere(flag: bool) -> bool:
    """Whether it is true in any process."""
    if ranks() == 1:
        return flag
    return bool(total(torch.tensor(float(flag), device=_device())) > 0)


def from_first(numbers: list[int]) -> list[int]:
    """The first process's numbers, in all; a list of the same length everywhere."""
    if ranks() == 1:
        return numbers
    sent = torch.tensor(numbers, dtype=torch.int64, device=_device())
    with _lost_processes():
        dist.broadcast(sent, 0)
    return sent.tolist()


def barrier() -> None:
    """Wait until all processes have come here."""
    anywhere(flag=False)


def gathered(value: Tensor, dim: int = 0, *, equal: bool = True) -> Tensor:
    """The parts of all processes, one after the other, in all.

    Args:
        value: this process's part.
        dim: axis along which the parts are joined.
        equal: all parts have the same size; else the sizes are exchanged first.
    """
    if ranks() == 1:
        return value
    value = value.detach().movedim(dim, 0).contiguous()
    sizes = [len(value)] * ranks() if equal else _sizes(value)
    longest = max(sizes)
    if len(value) < longest:
        value = torch.cat([value, value.new_zeros(longest - len(value), *value.shape[1:])])
    parts = [torch.empty_like(value) for _ in sizes]
    with _lost_processes():
        dist.all_gather(parts, value)
    cut = [part[:size] for part, size in zip(parts, sizes, strict=True)]
    return torch.cat(cut).movedim(0, dim)


def gathered_by_first(value: Tensor) -> list[Tensor] | None:
    """The equally large parts of all processes, in the first; None in the others."""
    if ranks() == 1:
        return [value]
    value = value.contiguous()
    parts = [torch.empty_like(value) for _ in range(ranks())] if rank() == 0 else None
    with _lost_processes():
        dist.gather(value, parts)
    return parts


def own_share(value: Tensor, dim: int, size: int, *, equal: bool = True) -> Tensor:
    """The part of a gathered tensor that belongs to this process.

    Args:
        value: what `gathered` returned, or anything of its shape.
        dim: axis along which the parts lie.
        size: of this process's part.
        equal: as given to `gathered`.
    """
    if ranks() == 1:
        return value
    here = torch.empty(size, device=value.device)
    before = size * rank() if equal else sum(_sizes(here)[: rank()])
    return value.narrow(dim, before, size)


def mean_direction(direction: Params, samples: int) -> Params:
    """The mean of all processes' directions, each weighted by its number of samples.

    Args:
        direction: the mean gradient over this process's samples, by name; the same names
            everywhere.
        samples: how many they are.
    """
    if ranks() == 1:
        return direction
    count = total(torch.tensor(float(samples), dtype=torch.float64, device=_device()))
    share = samples / count
    parts = {name: value * share.to(value) for name, value in direction.items()}
    return dict(zip(parts, _summed(list(parts.values())), strict=True))


def average_gradients(parameters: Iterable[nn.Parameter]) -> None:
    """Replace every gradient by its mean over all processes.

    Parameters that a step leaves out keep no gradient, so that optimisers leave them alone as
    on one process.
    """
    if ranks() == 1:
        return
    trained = [p for p in parameters if p.requires_grad]
    used = total(torch.tensor([float(p.grad is not None) for p in trained], device=_device()))
    taken = [p for p, processes in zip(trained, used.tolist(), strict=True) if processes]
    parts = [torch.zeros_like(p) if p.grad is None else p.grad / ranks() for p in taken]
    for parameter, gradient in zip(taken, _summed(parts), strict=True):
        parameter.grad = gradient


def copy_from_first(values: Iterable[Tensor]) -> None:
    """Overwrite tensors by those of the first process, such as running statistics."""
    if ranks() == 1:
        return
    for bucket in _buckets(sorted(values, key=lambda value: str(value.dtype))):
        flat = torch.cat([value.detach().reshape(-1) for value in bucket])
        with _lost_processes():
            dist.broadcast(flat, 0)
        parts = flat.split([value.numel() for value in bucket])
        with torch.no_grad():
            for value, part in zip(bucket, parts, strict=True):
                value.copy_(part.view(value.shape))


def _summed(values: list[Tensor]) -> list[Tensor]:
    """Sums over all processes, many tensors in few messages."""
    found: list[Tensor] = []
    for bucket in _buckets(values):
        flat = torch.cat([value.reshape(-1) for value in bucket])
        with _lost_processes():
            dist.all_reduce(flat)
        parts = flat.split([value.numel() for value in bucket])
        found += [part.view(value.shape) for part, value in zip(parts, bucket, strict=True)]
    return found


def _buckets(values: list[Tensor]) -> Iterator[list[Tensor]]:
    bucket: list[Tensor] = []
    for value in values:
        full = sum(v.numel() for v in bucket) + value.numel() > BUCKET
        if bucket and (full or bucket[0].dtype != value.dtype):
            yield bucket
            bucket = []
        bucket.append(value)
    if bucket:
        yield bucket


def _sizes(value: Tensor) -> list[int]:
    own = torch.tensor([len(value)], device=_device())
    sizes = [torch.empty_like(own) for _ in range(ranks())]
    with _lost_processes():
        dist.all_gather(sizes, own)
    return [int(size) for size in sizes]


def _device() -> torch.device:
    on_gpu = dist.get_backend() == "nccl"
    return torch.device("cuda", torch.cuda.current_device()) if on_gpu else torch.device("cpu")


@contextmanager
def _lost_processes() -> Iterator[None]:
    try:
        yield
    except (RuntimeError, ValueError) as error:
        raise ConnectionError(
            f"Process {dist.get_rank()} lost the others ({' '.join(str(error).split())[:160]}): "
            "one of them has ended; its message says why. Go on with --resume."
        ) from error

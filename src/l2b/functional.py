"""Any module as a pure function, with buffers and random state protected."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from contextvars import ContextVar
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from l2b.losses import logits
from l2b.types import Apply, Inputs, Params

_noted: ContextVar[set[torch.dtype] | None] = ContextVar("noted", default=None)
_moved_from: ContextVar[Params | None] = ContextVar("moved_from", default=None)


class Functional(NamedTuple):
    """A module taken apart.

    Attributes:
        apply: parameters and inputs to logits; leaves the module as it was.
        params: the parameters that a step would move, detached, by name.
    """

    apply: Apply
    params: Params


def functional(module: nn.Module, only: frozenset[str] | None = None) -> Functional:
    """Take a module apart into a pure function and its trainable parameters.

    Frozen parameters stay inside the function. Tied parameters appear once, under their
    first name, and move together. Every call works on fresh copies of the buffers as they are
    now, so running statistics never move.

    Args:
        module: any module that returns logits (a tensor, or an output with ``logits``).
        only: names of the parameters to take out; all trainable ones if None.

    Returns:
        The function and its parameters.

    Raises:
        ValueError: if no parameter is trainable, or an embedding divides its gradient by counts.
    """
    params = {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if parameter.requires_grad and (only is None or name in only)
    }
    if not params:
        raise ValueError(
            f"{type(module).__name__} has no trainable parameter: every one has "
            "requires_grad=False, so there is no gradient to learn weights from. Unfreeze at "
            "least the last layer."
        )
    _refuse_counting(module, params)
    # Detached, so that autograd and forward-mode AD record nothing for what is not taken out.
    fixed = {
        name: parameter.detach()
        for name, parameter in module.named_parameters()
        if name not in params
    }

    start = {name: buffer.clone() for name, buffer in module.named_buffers()}

    def apply(values: Params, inputs: Inputs) -> Tensor:
        buffers = {name: buffer.clone() for name, buffer in start.items()}
        return forward(module, inputs, {**fixed, **values, **buffers})

    return Functional(apply, params)


def forward(module: nn.Module, inputs: Inputs, state: Params | None = None) -> Tensor:
    """Call a module and return its logits, [n, classes, *pixels].

    Args:
        module: any module that returns logits.
        inputs: what it is called with; a copy, since some models scale their inputs in place, and
            the next pass over the same batch would scale them again.
        state: parameters and buffers to use instead of its own, by name.
    """
    args, kwargs = _call(inputs)
    with _noting(module), _still_padding(module, state or {}):
        if state is None:
            return logits(module(*args, **kwargs))
        # Names of one place twice (a layer that is used under two names) would not be restored.
        everywhere = _in_every_place(module, state)
        return logits(functional_call(module, everywhere, args, kwargs, tie_weights=False))


def _in_every_place(module: nn.Module, state: Params) -> Params:
    """The same under one name for every place that holds the tensor that it replaces.

    An embedding with a `max_norm` shortens rows of its weights in place: it gets a copy, so that
    the module's own stay as they are.
    """
    embeddings = (p for p in module.modules() if isinstance(p, nn.Embedding | nn.EmbeddingBag))
    shortened = {id(part.weight) for part in embeddings if part.max_norm is not None}
    places: dict[int, list[str]] = {}
    for prefix, part in module.named_modules():  # each once, under its first name
        own = (part.named_parameters, part.named_buffers)
        for name, tensor in (pair for of in own for pair in of(prefix, recurse=False)):
            places.setdefault(id(tensor), []).append(name)
    found = {}
    for place, names in places.items():
        first = next((name for name in names if name in state), None)
        if first is not None:
            value = state[first].clone() if place in shortened else state[first]
            found |= dict.fromkeys(names, value)
    return found


@contextmanager
def noted_precisions() -> Iterator[set[torch.dtype]]:
    """Note in which floating types the modules of every `forward` inside give their results.

    A model may compute in half precision and return float32, as one under autocast often does.
    Of compiled code, only what it returns is seen.

    Yields:
        The types so far.
    """
    seen: set[torch.dtype] = set()
    token = _noted.set(seen)
    try:
        yield seen
    finally:
        _noted.reset(token)


@contextmanager
def _noting(module: nn.Module) -> Iterator[None]:
    seen = _noted.get()
    with ExitStack() as stack:
        if seen is not None:

            def note(_part: nn.Module, _inputs: object, output: object) -> None:
                seen.update(_floating_types(output))

            for part in module.modules():
                stack.callback(part.register_forward_hook(note).remove)
        yield


@contextmanager
def still_padding(start: Params) -> Iterator[None]:
    """Let what embeddings give for padding stand still in every `forward` inside.

    Autograd gives the row for padding no gradient. But where the output layer shares the table,
    that row moves, and the embedding must not read it there.

    Args:
        start: the parameters that a pass inside has moved by a step, where they were; none for
            dual numbers, which say it themselves.
    """
    token = _moved_from.set(start)
    try:
        yield
    finally:
        _moved_from.reset(token)


@contextmanager
def _still_padding(module: nn.Module, state: Params) -> Iterator[None]:
    start = _moved_from.get()
    with ExitStack() as stack:
        if start is not None:
            before = {id(state[name]): value for name, value in start.items() if name in state}
            stop = partial(_padding_stopped, before)
            for part in module.modules():
                if isinstance(part, nn.Embedding) and part.padding_idx is not None:
                    hook = part.register_forward_hook(stop, with_kwargs=True)
                    stack.callback(hook.remove)
        yield


def _padding_stopped(
    before: Mapping[int, Tensor],
    part: nn.Module,
    args: tuple[Tensor, ...],
    kwargs: Mapping[str, Tensor],
    rows: Tensor,
) -> Tensor:
    """A hook: what an embedding gives, for padding as it was before the step."""
    if not isinstance(part, nn.Embedding) or part.padding_idx is None:
        return rows
    still, table = rows.detach(), before.get(id(part.weight))
    if table is not None and type(part) is nn.Embedding:  # a subclass may make more of a row
        still = table[part.padding_idx]
    words = args[0] if args else kwargs["input"]
    return torch.where((words == part.padding_idx).unsqueeze(-1), still, rows)


def _refuse_counting(module: nn.Module, params: Params) -> None:
    moving = {id(p) for name, p in module.named_parameters() if name in params}
    for name, part in module.named_modules():
        counts = isinstance(part, nn.Embedding | nn.EmbeddingBag) and part.scale_grad_by_freq
        if counts and id(part.weight) in moving:
            raise ValueError(
                f"Embeddings must have scale_grad_by_freq=False, got True in {name!r}: a gradient "
                "divided by how often a word stands in the batch is not a sum over samples, so no "
                "sample has a score. Set it to False, freeze the embedding, or use the last_layer "
                "engine."
            )


def _floating_types(output: object) -> set[torch.dtype]:
    if isinstance(output, Tensor):
        return {output.dtype} if output.is_floating_point() else set()
    if isinstance(output, Mapping):
        output = tuple(output.values())
    parts = output if isinstance(output, tuple | list) else ()
    return set().union(*map(_floating_types, parts))


def full_precision(z: Tensor) -> Tensor:
    """Logits in at least float32, for losses."""
    return z.float() if z.dtype in (torch.float16, torch.bfloat16) else z


@contextmanager
def untouched_random_state(device: torch.device) -> Iterator[None]:
    """Restore the global random state of the CPU and of ``device`` on leaving."""
    devices = [] if device.type == "cpu" else [device]
    with torch.random.fork_rng(devices=devices, device_type=device.type):
        yield


@contextmanager
def differentiable_kernels() -> Iterator[None]:
    """No fused attention, no compiled code: both lack forward-mode and second derivatives."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(value=False)
    try:
        with sdpa_kernel(SDPBackend.MATH), _eager():
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def forward_mode() -> Iterator[None]:
    """Dual numbers inside; where an operation has none, the error says what to use instead.

    Raises:
        NotImplementedError: if an operation has no forward-mode derivative.
    """
    try:
        with forward_ad.dual_level(), differentiable_kernels(), still_padding({}):
            yield
    except RuntimeError as error:  # of which NotImplementedError is one
        line = str(error).strip().partition("\n")[0]
        # The last is what torch says of a norm over all of a tensor (weight_norm with dim=None).
        texts = "forward mode AD", "view size", "set a forward gradient"
        if not isinstance(error, NotImplementedError) and not any(t in line for t in texts):
            raise
        raise NotImplementedError(
            f"The model holds an operation that forward-mode differentiation does not take "
            f"({line[:200]}): choose another engine, l2b.engines.finite_difference or "
            "l2b.engines.last_layer (--engine finite_difference)."
        ) from error


@contextmanager
def reverse_mode() -> Iterator[None]:
    """Gradients of parameters inside; where torch refuses, the error says what to change.

    Raises:
        NotImplementedError: if the model checkpoints activations with ``use_reentrant=True``.
    """
    try:
        yield
    except RuntimeError as error:
        if "use_reentrant" not in str(error):
            raise
        raise NotImplementedError(
            "The model saves memory with torch.utils.checkpoint and use_reentrant=True, which "
            "gives no gradient of chosen parameters: call it with use_reentrant=False (of "
            "transformers, gradient_checkpointing_kwargs={'use_reentrant': False})."
        ) from error


def _eager() -> AbstractContextManager[Any]:
    """Modules that were given to torch.compile run as they were written."""
    if "torch._dynamo" not in sys.modules:  # nothing can have been compiled; importing it is slow
        return nullcontext()
    return torch.compiler.set_stance("force_eager")


def _call(inputs: Inputs) -> tuple[tuple[Tensor, ...], dict[str, Tensor]]:
    """Positional and named arguments: copies, which a model may write into."""
    if isinstance(inputs, Mapping):
        return (), {name: _copied(value) for name, value in inputs.items()}
    if isinstance(inputs, tuple | list):  # lists are what a DataLoader makes of tuples
        return tuple(_copied(value) for value in inputs), {}
    return (_copied(inputs),), {}


def _copied(value: Tensor) -> Tensor:
    # Mappings for language models hold switches too.
    return value.clone() if isinstance(value, Tensor) else value

"""A batch passed through a model piece by piece, so that one piece's activations exist at a time.

Every loss here is a function of the logits of the whole batch, which are few numbers. So the
pieces are passed through the model first, remembering nothing but their logits; the loss is taken
of all of them together; and on the way back every piece is passed through once more, given its own
part of the gradient. Whatever the loss, its gradient is that of the whole batch.
"""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from l2b.functional import forward, untouched_random_state
from l2b.types import Inputs, Params, Probe

Autocast = Callable[[], AbstractContextManager[Any]]


def split(inputs: Inputs, count: int) -> list[Inputs]:
    """Consecutive pieces of a batch, as equal in size as can be.

    Args:
        inputs: what a model is called with, n samples.
        count: how many pieces; at most n are made.
    """
    if isinstance(inputs, Tensor):
        return list(inputs.tensor_split(max(1, min(count, len(inputs)))))
    if isinstance(inputs, Mapping):
        parts = zip(*(split(value, count) for value in inputs.values()), strict=True)
        return [dict(zip(inputs, part, strict=True)) for part in parts]
    return list(zip(*(split(value, count) for value in inputs), strict=True))


def logits_in_pieces(module: nn.Module, inputs: Inputs, count: int, autocast: Autocast) -> Tensor:
    """Logits of a batch, [n, classes, *pixels], with their autograd history if grad is enabled.

    Random numbers are drawn once per piece and drawn again on the way back; running statistics
    move once per piece. Only `Tensor.backward` can follow, not `torch.autograd.grad`.

    Args:
        module: any module that returns logits.
        inputs: the batch.
        count: how many pieces.
        autocast: makes a context of the precision of the pass back; the caller has entered one.
    """
    if count == 1:
        return forward(module, inputs)
    if not torch.is_grad_enabled():
        return torch.cat([forward(module, piece) for piece in split(inputs, count)])
    parts: list[Tensor] = []
    for piece in split(inputs, count):
        again = _Again(module, piece, autocast)
        with torch.no_grad():
            parts.append(_remembered(forward(module, piece), again))
    return torch.cat(parts)


def probe_in_pieces(
    module: nn.Module,
    inputs: Inputs,
    count: int,
    autocast: Autocast,
    beside: Callable[[Inputs], Probe],
) -> Probe:
    """What `beside` gives for a batch, the logits with their autograd history.

    Args:
        module: any module that returns logits.
        inputs: the batch.
        count: how many pieces.
        autocast: as for `logits_in_pieces`.
        beside: runs the training pass of some inputs and differentiates it along a direction.
    """
    if count == 1:
        return beside(inputs)
    parts: list[Tensor] = []
    tangents: list[Tensor] = []
    for piece in split(inputs, count):
        again = _Again(module, piece, autocast)
        z, dz = beside(piece)
        parts.append(_remembered(z.detach(), again))
        tangents.append(dz)
    return Probe(torch.cat(parts), torch.cat(tangents))


def mean_of_pieces(parts: Iterable[tuple[float, Params]]) -> Params:
    """The weighted sum of directions; one piece's memory beside the sum's.

    Args:
        parts: share of each piece in the batch, and its direction by name.
    """
    total: Params = {}
    for share, part in parts:
        if share == 1:
            return part
        for name, value in part.items():
            total[name] = share * value if name not in total else total[name] + share * value
    return total


class _Again:
    """What a piece needs to pass through the model as it did the first time."""

    def __init__(self, module: nn.Module, inputs: Inputs, autocast: Autocast) -> None:
        self.module, self.inputs, self.autocast = module, inputs, autocast
        self.buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        self.device = next(module.parameters()).device
        self.on_cpu = torch.get_rng_state()
        on_gpu = self.device.type == "cuda"
        self.on_device = torch.cuda.get_rng_state(self.device) if on_gpu else None

    def __call__(self) -> Tensor:
        """Logits with their history; buffers and random state stay as they are."""
        with untouched_random_state(self.device), torch.enable_grad(), self.autocast():
            torch.set_rng_state(self.on_cpu)
            if self.on_device is not None:
                torch.cuda.set_rng_state(self.on_device, self.device)
            return forward(self.module, self.inputs, self.buffers)


class _Remembered(Function):
    """Logits without activations, which are computed anew on the way back."""

    @staticmethod
    def forward(ctx: Any, switch: Tensor, z: Tensor, again: _Again) -> Tensor:
        del switch  # it requires a gradient, so that the logits do
        ctx.again = again
        return z.clone()

    @staticmethod
    @once_differentiable
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] — the decorator hides names
        ctx: Any, *gradients: Tensor
    ) -> tuple[None, None, None]:
        torch.autograd.backward(ctx.again(), gradients[0])
        return None, None, None


def _remembered(z: Tensor, again: _Again) -> Tensor:
    with torch.enable_grad():
        switch = torch.zeros((), device=z.device, requires_grad=True)
        found = _Remembered.apply(switch, z, again)
    if not isinstance(found, Tensor):
        raise TypeError(f"Logits must be a tensor, got {type(found).__name__}.")
    return found

"""A forward difference: one more plain pass, for models without forward-mode rules."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from l2b.engines.base import Engine
from l2b.functional import forward, functional, noted_precisions, still_padding
from l2b.types import Apply, Inputs, Params, Probe

LENGTHS = {torch.float64: 1e-6, torch.float32: 3e-4}  # where kinks and rounding balance


@dataclass(frozen=True, kw_only=True)
class FiniteDifference(Engine):
    """ż ≈ (z(θ + εv) − z(θ)) / ε: about 1 % off in float32, cheaper than forward mode.

    It compares what the model returns, so it follows v through parts that the model detaches or
    runs under `torch.no_grad` too, which other engines leave out. Parameters that reach the
    logits through such parts alone get no clean gradient, and v does not move them.

    Attributes:
        length: length ε‖v‖ of the step in parameter space; None picks it by the lowest
            precision that a module of the model computes in, whatever the logits are cast to:
            3e-4 in float32, 1e-6 in float64, 0.1 in half precision.
    """

    length: float | None = None

    def __post_init__(self) -> None:
        """Refuse a step that goes nowhere."""
        if self.length is not None and not self.length > 0:
            raise ValueError(
                f"FiniteDifference needs length > 0, got {self.length}: it is the length of "
                "the step in parameter space."
            )

    def __call__(self, apply: Apply, params: Params, inputs: Inputs, direction: Params) -> Probe:
        """Two passes with the same random draws, one of them a short step away."""
        # Noting goes on in the second pass: torch has another kernel where modules have no hooks.
        with torch.no_grad(), noted_precisions() as seen:
            random_state = _random_state(params)
            z = apply(params, inputs)
            _restore(random_state)  # the same dropout masks, or the difference is noise
            step = self._step(direction, {z.dtype, *seen})
            return Probe(z, _difference(z, apply, params, inputs, direction, step))

    def beside(self, module: nn.Module, inputs: Inputs, direction: Params) -> Probe:
        """One more pass, a short step away; the training pass is the other end."""
        net = functional(module, frozenset(direction))
        random_state = _random_state(net.params)
        with noted_precisions() as seen:
            z = forward(module, inputs)
            after = _random_state(net.params)
            _restore(random_state)
            step = self._step(direction, {z.dtype, *seen})
            with torch.no_grad():
                dz = _difference(z.detach(), net.apply, net.params, inputs, direction, step)
        _restore(after)
        return Probe(z, dz)

    def _step(self, direction: Params, precisions: set[torch.dtype]) -> float:
        """ε, 0 where the direction goes nowhere."""
        # The sum is made in the order of memory, which a checkpoint does not keep.
        lengths = [torch.linalg.vector_norm(v.contiguous()) for v in direction.values()]
        norm = torch.stack(lengths).norm()
        if norm == 0:
            return 0.0
        length = self.length or max(LENGTHS.get(dtype, 1e-1) for dtype in precisions)
        return (length / norm).item()


def _difference(
    z: Tensor, apply: Apply, params: Params, inputs: Inputs, direction: Params, step: float
) -> Tensor:
    if step == 0:
        return torch.zeros_like(z)
    ahead = {name: value + step * direction[name] for name, value in params.items()}
    with still_padding(params):
        return (apply(ahead, inputs) - z) / step


def _random_state(params: Params) -> tuple[Tensor, Tensor | None, torch.device]:
    device = next(iter(params.values())).device
    on_device = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return torch.get_rng_state(), on_device, device


def _restore(state: tuple[Tensor, Tensor | None, torch.device]) -> None:
    on_cpu, on_device, device = state
    torch.set_rng_state(on_cpu)
    if on_device is not None:
        torch.cuda.set_rng_state(on_device, device)

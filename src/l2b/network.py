"""A model with what trains it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn, optim

from l2b import collectives
from l2b.functional import full_precision
from l2b.guards import GradientGuard
from l2b.optimise import Schedule
from l2b.overlap import Ignored, Overlap
from l2b.pieces import logits_in_pieces, probe_in_pieces
from l2b.types import Inputs, Probe


@dataclass(kw_only=True)
class Network:
    """A module, its optimiser, its schedule, and how a loss becomes a step.

    Attributes:
        module: the model.
        optimiser: of its parameters.
        schedule: of the learning rate.
        epochs: length of the run.
        clip: largest allowed norm of the whole gradient; None for no limit.
        autocast: makes a context of the run's precision.
        guard: makes gradients that are not finite harmless.
        overlap: what a loss adds to cross-entropy for the overlap of whole masks.
        pieces: in how many pieces a batch passes through the module.
    """

    module: nn.Module
    optimiser: optim.Optimizer
    schedule: Schedule
    epochs: int
    clip: float | None
    autocast: Callable[[], AbstractContextManager[Any]]
    guard: GradientGuard = field(default_factory=GradientGuard)
    overlap: Overlap = field(default_factory=Ignored)
    pieces: int = 1

    def __post_init__(self) -> None:
        """Remember the initial learning rates."""
        self.initial_rates = [group["lr"] for group in self.optimiser.param_groups]

    def beside(self, module: nn.Module, optimiser: optim.Optimizer) -> "Network":
        """A second network of the same run, whose gradient is guarded alike and never clipped.

        Args:
            module: what is trained.
            optimiser: of its parameters; its learning rates stay as they are.
        """
        return replace(self, module=module, optimiser=optimiser, clip=None)

    def begin_epoch(self, epoch: int, factor: float = 1.0) -> None:
        """Set the learning rates for this epoch and switch to training mode."""
        factor *= self.schedule(epoch, self.epochs)
        for group, initial in zip(self.optimiser.param_groups, self.initial_rates, strict=True):
            group["lr"] = initial * factor
        self.module.train()

    def logits(self, inputs: Inputs) -> Tensor:
        """One ordinary pass in the run's precision; logits come back as float32."""
        with self.autocast():
            z = logits_in_pieces(self.module, inputs, self.pieces, self.autocast)
        return full_precision(z)

    def probe(self, inputs: Inputs, beside: Callable[[Inputs], Probe]) -> Probe:
        """One training pass in the precision at hand, differentiated along a direction beside.

        Args:
            inputs: the batch.
            beside: what an engine does beside a pass.
        """
        return probe_in_pieces(self.module, inputs, self.pieces, self.autocast, beside)

    def descend(self, loss: Tensor) -> None:
        """One optimiser step down a loss, its gradient clipped.

        With several processes it is the mean of their losses that is descended. A gradient that
        is not finite counts as zero.
        """
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        parameters = list(self.module.parameters())
        collectives.average_gradients(parameters)
        self.guard(parameters, self._clipped_norm(parameters))
        self.optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Parameters, buffers and the optimiser's state."""
        return {"module": self.module.state_dict(), "optimiser": self.optimiser.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.module.load_state_dict(state["module"])
        self.optimiser.load_state_dict(state["optimiser"])

    def _clipped_norm(self, parameters: list[nn.Parameter]) -> Tensor:
        """The norm of the whole gradient, which is clipped after it was measured."""
        if self.clip is not None:
            return nn.utils.clip_grad_norm_(parameters, self.clip)
        return nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

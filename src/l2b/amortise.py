"""Doing the dear parts of a weighed step less often than every step."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from l2b import collectives
from l2b.types import Params, Weights


@dataclass(frozen=True, kw_only=True)
class Amortisation:
    """What may be used again for a while; the defaults use nothing again.

    Attributes:
        gradient_every: steps from one clean gradient to the next; in between the last one
            stands in. Saves the clean batch's forward and backward pass.
        gradient_memory: share of the former clean gradient that is mixed into a new one, in
            [0, 1): an average over about 1 / (1 − share) clean batches. Starts anew with
            every epoch.
        weights_every: steps from one weighing to the next; in between every sample keeps
            the weights that it was last given (trust in its label before that).

    What is not finite counts in its own step alone: it is neither mixed in nor kept.
    """

    gradient_every: int = 1
    gradient_memory: float = 0.0
    weights_every: int = 1

    def __post_init__(self) -> None:
        """Refuse intervals and shares that have no meaning."""
        if self.gradient_every < 1 or self.weights_every < 1:
            raise ValueError(
                "gradient_every and weights_every must be at least 1 step, got "
                f"{self.gradient_every} and {self.weights_every}."
            )
        if not 0 <= self.gradient_memory < 1:
            raise ValueError(
                f"gradient_memory must lie in [0, 1), got {self.gradient_memory}: it is the "
                "share of the former clean gradient that is kept."
            )


class CleanGradient:
    """The clean gradient, taken anew when it is due."""

    def __init__(self, settings: Amortisation) -> None:
        """Start without one."""
        self.settings = settings
        self.forget()

    def forget(self) -> None:
        """Start anew, as at the beginning of an epoch."""
        self.direction: Params = {}
        self.age = 0

    def __call__(self, take: Callable[[], Params]) -> Params:
        """The direction for this step.

        Args:
            take: takes a new one; called only when it is due.

        Returns:
            One that stands in, or a new one with what is remembered. A new one that is not finite
            comes back as it is, so that its step is known to be broken; what was kept stays.
        """
        if self.direction and self.age < self.settings.gradient_every:
            self.age += 1
            return self.direction
        new, keep = take(), self.settings.gradient_memory
        if not self._keeps:
            return new
        if self.direction and keep:
            new = {n: torch.lerp(v, self.direction[n], keep) for n, v in new.items()}
        self.direction, self.age = self._sound(new), 1
        return new

    def state_dict(self) -> dict[str, Any]:
        """The gradient that stands in, where there is one to stand in, and its age."""
        return {"direction": self.direction, "age": self.age}

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what `state_dict` returned, on the device of the model."""
        direction: dict[str, Tensor] = state["direction"]
        self.direction = {name: value.to(device) for name, value in direction.items()}
        self.age = state["age"]

    @property
    def _keeps(self) -> bool:
        """Whether any later step uses a gradient."""
        return self.settings.gradient_every > 1 or self.settings.gradient_memory > 0

    def _sound(self, new: Params) -> Params:
        """A new gradient if all of it is finite; else the former one, or zeros if there is none.

        The choice is made where the gradient is: to look at it would make a GPU wait.
        """
        whole = torch.stack([value.isfinite().all() for value in new.values()]).all()
        former = self.direction or {name: torch.zeros_like(v) for name, v in new.items()}
        return {name: torch.where(whole, v, former[name]) for name, v in new.items()}


class WeightMemory:
    """The weights that every sample was last given, in units of 1/n, and those of its batch."""

    def __init__(self, samples: int) -> None:
        """Trust every observed label."""
        self.table = torch.zeros(3, samples)  # α, β, the sum of all weights of the batch
        self.table[[0, 2]] = 1.0

    def keep(self, index: Tensor, alpha: Tensor, beta: Tensor) -> None:
        """Remember the weights of a batch, if all are finite; they are times n, [n]."""
        weights = collectives.gathered(torch.stack([alpha, beta]).detach(), dim=1).cpu()
        total = weights.sum() / weights.shape[1]
        table = torch.cat([weights, total.expand(1, weights.shape[1])])
        self.table, rows = self.table.to(table.dtype), collectives.gathered(index).cpu()
        self.table[:, rows] = torch.where(total.isfinite(), table, self.table[:, rows])

    def recall(self, index: Tensor, pseudo: Tensor) -> Weights:
        """Remembered weights of a batch, whose sum is the mean of those that they were part of.

        That is 1 again for most normalisers (or 0), and what a braked one left of it. Batches in
        which nothing helped have no say.
        """
        found = self.table[:, index.cpu()].to(index.device)
        scores, sums = found[:2], found[2]
        total = collectives.total(scores.sum())
        helped = collectives.total((sums > 0).sum().to(sums))
        wanted = collectives.total(sums.sum()) / helped.clamp_min(1)
        alpha, beta = scores / torch.where(total > 0, total, 1.0) * wanted
        return Weights(alpha=alpha, beta=beta, pseudo=pseudo, scores=scores)

    def state_dict(self) -> dict[str, Any]:
        """The table."""
        return {"table": self.table}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the table."""
        self.table = state["table"].clone()

"""A softmax over the batch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.normalise.base import Normaliser


@dataclass(frozen=True, kw_only=True)
class Softmax(Normaliser):
    """Softmax over all candidates of the batch (L2B, Fig. 3).

    Attributes:
        temperature: T in exp(score / T), in units of the scores; must be positive.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a temperature that has no meaning."""
        if not self.temperature > 0:
            raise ValueError(
                f"Softmax needs temperature > 0, got {self.temperature}: scores are divided by it."
            )

    def __call__(self, scores: Tensor) -> Tensor:
        """exp(score / T) / Σexp(score / T)."""
        flat = (scores / self.temperature).flatten()
        if flat.isneginf().all():
            return torch.zeros_like(scores)
        return torch.softmax(flat, dim=0).view_as(scores)

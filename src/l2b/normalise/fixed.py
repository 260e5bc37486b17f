"""The same weights for every sample."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.normalise.base import Normaliser


@dataclass(frozen=True, kw_only=True)
class Fixed(Normaliser):
    """The same (α, β) for every sample, whatever the scores: classic bootstrapping.

    Attributes:
        alpha: weight of the observed label before division by the number of samples.
        beta: weight of the pseudo-label before division by the number of samples; further
            candidates share it evenly.
    """

    alpha: float = 0.8
    beta: float = 0.2

    def __post_init__(self) -> None:
        """Refuse negative weights."""
        if self.alpha < 0 or self.beta < 0:
            raise ValueError(
                f"Fixed needs alpha >= 0 and beta >= 0, got {self.alpha} and {self.beta}: "
                "a negative weight would train away from its label."
            )

    def __call__(self, scores: Tensor) -> Tensor:
        """(α, β) / n for every one of n samples with a candidate; 0 for what is shut out."""
        weights = torch.empty_like(scores)
        weights[0], weights[1:] = self.alpha, self.beta / max(1, len(scores) - 1)
        shut_out = scores.isneginf()
        return torch.where(shut_out, 0.0, weights / (~shut_out).any(dim=0).sum().clamp_min(1))

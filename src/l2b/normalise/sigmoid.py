"""A sigmoid of every score."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.normalise.base import Normaliser, one_if_zero


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Normaliser):
    """Logistic function of each score, divided by the sum over the batch (L2B, Fig. 3)."""

    def __call__(self, scores: Tensor) -> Tensor:
        """σ(score) / Σσ(score)."""
        squashed = torch.sigmoid(scores)
        return squashed / one_if_zero(squashed.sum())

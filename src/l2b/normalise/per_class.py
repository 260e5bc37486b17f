"""Shares within every class."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.normalise.base import ByLabels, one_if_zero
from l2b.normalise.positive_share import PositiveShare
from l2b.targets import VOID, labels


@dataclass(frozen=True, kw_only=True)
class PerClass(ByLabels):
    """Eq. 9 within each observed class, so that no class takes the weight of another.

    A class in which no candidate helps leaves its share to the others.

    Attributes:
        balanced: every class of the batch gets the same total (True), or a total in
            proportion to its number of samples (False).
    """

    balanced: bool = False

    def __call__(self, scores: Tensor) -> Tensor:
        """Without the labels, all samples are of one class: Eq. 9."""
        return PositiveShare()(scores)

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """Positive scores as shares of their observed class, times the share of the class."""
        del pseudo
        positive = scores.clamp_min(0)
        positive = positive / one_if_zero(positive.amax())
        group = labels(observed).flatten() - VOID  # void pixels are a class that has no scores
        size = torch.bincount(group).to(positive)
        sums = torch.zeros_like(size).index_add(0, group, positive.sum(dim=0).flatten())
        share = torch.where(sums > 0, torch.ones_like(size) if self.balanced else size, 0.0)
        share = share / one_if_zero(share.sum())
        factor = (share / one_if_zero(sums))[group].view_as(positive[0])
        return positive * factor

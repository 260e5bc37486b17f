"""Shares within every connected region."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.normalise.base import ByLabels, one_if_zero
from l2b.regions import connected_regions
from l2b.targets import labels


@dataclass(frozen=True, kw_only=True)
class PerRegion(ByLabels):
    """Eq. 9 within each connected region, which weighs in total what its pixels would.

    A region is a connected set of pixels with one observed and one pseudo-label: where the two
    masks agree, and every place where they differ. Labels without pixels are regions of their
    own. A region in which no candidate helps has no weight.
    """

    def __call__(self, scores: Tensor) -> Tensor:
        """Without the labels, every pixel is a region of its own."""
        region = torch.arange(scores[0].numel(), device=scores.device)
        return self._shares(scores, region)

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """Each positive score as a share of all in its region, times the region's size."""
        given, predicted = labels(observed), labels(pseudo)
        if given.ndim == 1:
            return self(scores)
        pairs = given * (int(predicted.max()) + 1) + predicted
        return self._shares(scores, connected_regions(pairs).flatten())

    @staticmethod
    def _shares(scores: Tensor, region: Tensor) -> Tensor:
        size = torch.bincount(region)
        # Scaled by the largest of each region first, so that none loses its sum.
        positive = scores.clamp_min(0).flatten(1)
        largest = positive.new_zeros(len(size))
        largest = largest.scatter_reduce(0, region, positive.amax(dim=0), "amax")
        positive = positive / one_if_zero(largest)[region]
        total = positive.new_zeros(len(size)).index_add(0, region, positive.sum(dim=0))
        count = (~scores.isneginf()).any(dim=0).sum().clamp_min(1)
        factor = size / one_if_zero(total) / count
        return (positive * factor[region]).view_as(scores)

"""The same weight for every image."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from l2b.normalise.base import Around, Normaliser
from l2b.normalise.positive_share import PositiveShare


@dataclass(frozen=True, kw_only=True)
class PerImage(Around):
    """Every image of masks has the same weight in total, shared out over its pixels.

    Attributes:
        then: the normaliser within each image.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def __call__(self, scores: Tensor) -> Tensor:
        """The normaliser of each image alone, over the number of images."""
        return torch.cat([self.then(s) for s in scores.split(1, dim=1)], dim=1) / scores.shape[1]

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """The same, for a normaliser that looks at labels."""
        parts = zip(scores.split(1, dim=1), observed.split(1), pseudo.split(1), strict=True)
        each = [self.then.of_labels(*part) for part in parts]
        return torch.cat(each, dim=1) / scores.shape[1]

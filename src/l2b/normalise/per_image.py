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
        """The normaliser of each image alone, over the number of images with any candidate."""
        each = torch.cat([self.then(s) for s in scores.split(1, dim=1)], dim=1)
        return each / _images(scores)

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """The same, for a normaliser that looks at labels."""
        parts = zip(scores.split(1, dim=1), observed.split(1), pseudo.split(1), strict=True)
        each = [self.then.of_labels(*part) for part in parts]
        return torch.cat(each, dim=1) / _images(scores)


def _images(scores: Tensor) -> Tensor:
    """How many images have a pixel with a candidate, at least 1."""
    return (~scores.isneginf()).any(dim=0).view(scores.shape[1], -1).any(dim=1).sum().clamp_min(1)

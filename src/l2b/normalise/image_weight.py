"""One weight for all pixels of an image."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from l2b.normalise.base import Around, Normaliser
from l2b.normalise.positive_share import PositiveShare


@dataclass(frozen=True, kw_only=True)
class ImageWeight(Around):
    """One weight for each image's observed mask and one for its pseudo-mask, for all pixels.

    Attributes:
        then: the normaliser of the images' scores, which are the sums over their pixels.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def __post_init__(self) -> None:
        """Refuse what needs the labels of pixels, which a whole image has not."""
        if self.looks_at_labels:
            raise ValueError(
                f"ImageWeight gives a whole image one weight, and {type(self.then).__name__} looks "
                "at the labels of pixels: choose another --normalise.then, or per_image around it."
            )

    @property
    def proportional(self) -> bool:
        """Of no pixel: each gets the weight of its image."""
        return False

    def __call__(self, scores: Tensor) -> Tensor:
        """The weight of each image, spread evenly over its pixels that are not shut out."""
        if scores.ndim == 2:
            return self.then(scores)  # labels without pixels
        there = ~scores.isneginf()
        pixels = there.flatten(2).any(dim=0).sum(dim=1)
        sums = torch.where(there, scores, 0.0).flatten(2).sum(dim=2)
        sums = sums.masked_fill(~there.flatten(2).any(dim=2), -torch.inf)
        weights = self.then(sums) / pixels.clamp_min(1)
        return weights.view(*weights.shape, *[1] * (scores.ndim - 2)) * there

"""Objects that the annotator overlooked."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.mask_severity import Deform
from l2b.noise.base import MaskNoise, check_rate
from l2b.regions import connected_regions


@dataclass(frozen=True, kw_only=True)
class MaskMissing(MaskNoise):
    """Overlooked objects: connected regions left out of the mask, each with the same chance.

    The one noise under which an image may lose a class, because that is what it is about.

    Attributes:
        dice: target Dice; None takes the rate as it is.
        rate: share of the objects that are missing, in [0, 1].
    """

    rate: float = 0.3
    may_empty = True

    def __post_init__(self) -> None:
        """Refuse a rate that is no share."""
        super().__post_init__()
        check_rate("MaskMissing", self.rate, why="it is the share of objects that are missing")

    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """One uniform number per connected region."""
        region = connected_regions(masks)
        count = int(region.max()) + 1 if region.numel() else 0
        drawn = torch.rand(count, generator=generator)[region]

        def deform(amounts: Tensor) -> Tensor:
            rate = (self.rate * amounts).view(-1, 1, 1)
            return torch.where(drawn < rate, 0, masks)

        return deform

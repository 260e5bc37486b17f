"""An annotator who draws everything a little to one side."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.mask_severity import Deform, pixel_grid, sampled
from l2b.noise.base import MaskNoise


@dataclass(frozen=True, kw_only=True)
class MaskShift(MaskNoise):
    """Shifted annotator: all masks moved the same way, a systematic mistake.

    Attributes:
        dice: target Dice; None takes the distance as it is.
        distance: in pixels.
        spread: how far single images deviate from it, as a share of the distance (standard
            deviation).
    """

    distance: float = 4.0
    spread: float = 0.25

    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """One direction for all images, a slightly different distance for each."""
        angle = 2 * math.pi * torch.rand((), generator=generator)
        own = 1 + self.spread * torch.randn(len(masks), 1, generator=generator)
        step = own * torch.stack([angle.cos(), angle.sin()]) * self.distance
        grid = pixel_grid(masks)

        def deform(amounts: Tensor) -> Tensor:
            moved = (step * amounts.unsqueeze(1)).view(-1, 1, 1, 2)
            return sampled(masks, lambda rows: grid - moved[rows])

        return deform

"""Masks turned about the centre of their image."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.mask_severity import Deform, pixel_grid, sampled
from l2b.noise.base import MaskNoise


@dataclass(frozen=True, kw_only=True)
class MaskRotation(MaskNoise):
    """Masks turned about their image's centre by a random angle, ±20° as published.

    Attributes:
        dice: target Dice; None takes the angle as it is.
        degrees: largest angle, in degrees; every image draws its own, evenly.
    """

    degrees: float = 20.0

    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """One angle per image."""
        drawn = 2 * torch.rand(len(masks), generator=generator) - 1
        grid = pixel_grid(masks)
        centre = grid.flatten(0, 1).mean(dim=0)

        def deform(amounts: Tensor) -> Tensor:
            angles = (drawn * amounts * math.radians(self.degrees)).clamp(-math.pi, math.pi)
            cos, sin = angles.cos(), angles.sin()
            turn = torch.stack([cos, -sin, sin, cos], dim=1).view(-1, 2, 2)

            def places(rows: slice) -> Tensor:
                return torch.einsum("hwi,nij->nhwj", grid - centre, turn[rows]) + centre

            return sampled(masks, places)

        return deform

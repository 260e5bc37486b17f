"""Boundaries drawn with an unsteady hand."""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from l2b.mask_severity import Deform, pixel_grid, sampled
from l2b.noise.base import MaskNoise


@dataclass(frozen=True, kw_only=True)
class MaskJitter(MaskNoise):
    """Boundary jitter: every mask read through its own smooth random displacement field.

    Attributes:
        dice: target Dice; None takes the distance as it is.
        distance: standard deviation of the displacement, in pixels.
        wavelength: distance between independent displacements, in pixels.
    """

    distance: float = 1.5
    wavelength: int = 8
    strongest = 12.0

    def __post_init__(self) -> None:
        """Refuse a wavelength that is none."""
        super().__post_init__()
        if self.wavelength < 1:
            raise ValueError(f"MaskJitter needs wavelength >= 1, got {self.wavelength} pixels.")

    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """Displacements on a coarse grid, smooth in between."""
        n, *size = masks.shape
        coarse = [-(-s // self.wavelength) + 1 for s in size]
        field = self.distance * torch.randn(n, 2, *coarse, generator=generator)
        grid = pixel_grid(masks)

        def deform(amounts: Tensor) -> Tensor:
            def places(rows: slice) -> Tensor:
                fine = functional.interpolate(field[rows], size, mode="bicubic", align_corners=True)
                return grid + (fine * amounts[rows].view(-1, 1, 1, 1)).movedim(1, -1)

            return sampled(masks, places)

        return deform

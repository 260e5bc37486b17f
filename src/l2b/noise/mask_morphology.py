"""Masks drawn too narrow or too wide."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy import ndimage
from torch import Tensor

from l2b.mask_severity import Deform
from l2b.noise.base import MaskNoise


@dataclass(frozen=True, kw_only=True)
class MaskMorphology(MaskNoise):
    """Erosion or dilation, evenly often, with a round kernel of a size drawn per image.

    Classes shrink into, and grow over, the background alone.

    Attributes:
        dice: target Dice; None takes the kernels as they are.
        kernels: their diameters in pixels, at least 3, drawn evenly; a target Dice scales all of
            them.
        dilation: share of the images that are dilated, in [0, 1]; the others are eroded.
    """

    kernels: tuple[int, ...] = (3, 5, 7, 9)
    dilation: float = 0.5

    def __post_init__(self) -> None:
        """Refuse kernels and shares that are none."""
        super().__post_init__()
        if not self.kernels or min(self.kernels) < 3 or not 0 <= self.dilation <= 1:
            raise ValueError(
                "MaskMorphology needs kernels of at least 3 pixels and 0 <= dilation <= 1, got "
                f"{self.kernels} and {self.dilation}: smaller kernels reach no other pixel."
            )

    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """One kernel per image, and whether it adds or takes away."""
        sizes = torch.tensor(self.kernels)
        drawn = torch.randint(len(sizes), (len(masks),), generator=generator)
        radius = (sizes[drawn] - 1) / 2
        grows = torch.rand(len(masks), generator=generator) < self.dilation
        inside, outside, nearest = _distances(masks)

        def deform(amounts: Tensor) -> Tensor:
            reach = (radius * amounts).view(-1, 1, 1)
            eroded = torch.where(inside > reach, masks, 0)
            dilated = torch.where(outside <= reach, nearest, 0)
            return torch.where(grows.view(-1, 1, 1), dilated, eroded)

        return deform


def _distances(masks: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """For every pixel: how deep in its object, how far from the nearest one, and its class."""
    given = masks.numpy()
    inside = np.zeros(given.shape, dtype=np.float32)
    outside = np.full(given.shape, np.inf, dtype=np.float32)
    nearest = given.copy()
    for row, mask in enumerate(given):
        shown = mask > 0
        if not shown.any():
            continue
        if shown.all():
            inside[row], outside[row] = np.inf, 0
            continue
        inside[row] = ndimage.distance_transform_edt(shown)
        found: Any = ndimage.distance_transform_edt(~shown, return_indices=True)
        far, (y, x) = found
        outside[row], nearest[row] = far, mask[y, x]
    return torch.from_numpy(inside), torch.from_numpy(outside), torch.from_numpy(nearest)

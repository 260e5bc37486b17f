"""Outlines replaced by ellipses."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.mask_severity import Deform, pixel_grid
from l2b.noise.base import MaskNoise


@dataclass(frozen=True, kw_only=True)
class MaskEllipse(MaskNoise):
    """Every class of an image replaced by the ellipse with its centre, extent and tilt.

    The ellipse has the same first and second moments. It is then drawn too large or too small
    by a random factor, for which a target Dice sets the range. Where ellipses overlap, the smaller
    one lies on top, as a tumour on the organ that it is in.

    Attributes:
        dice: target Dice; None takes the factor as it is.
        spread: standard deviation of the logarithm of the factor on both axes.
    """

    spread: float = 0.15
    strongest = 16.0

    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """One factor per image; centre and axes are the mask's own."""
        drawn = self.spread * torch.randn(len(masks), generator=generator)
        classes = range(1, int(masks.max()) + 1) if masks.numel() else range(0)
        ellipses = [(k, *_ellipse(masks == k)) for k in classes]

        def deform(amounts: Tensor) -> Tensor:
            factor = (2 * drawn * amounts).exp().view(-1, 1, 1)  # of squared lengths
            found, least = torch.zeros_like(masks), torch.full(masks.shape, torch.inf)
            for k, distance, area in ellipses:
                here = (distance <= factor) & (area < least)
                found = torch.where(here, k, found)
                least = torch.where(here, area, least)
            # Nothing is replaced at amount 0, so that small amounts are small changes.
            return torch.where(amounts.view(-1, 1, 1) > 0, found, masks)

        return deform


def _ellipse(shown: Tensor) -> tuple[Tensor, Tensor]:
    """How far pixels lie from the centre, and how large the ellipse is.

    A filled ellipse has a covariance of a quarter of its squared semi-axes.

    Args:
        shown: where the class is, [N, height, width].

    Returns:
        Squared distances to the centre in units of the ellipse, 1 on its edge and infinite where
        there is none, [N, height, width]; areas in units of π pixels, [N, 1, 1].
    """
    weight = shown.float().unsqueeze(-1)
    count = weight.sum(dim=(1, 2)).clamp_min(1)
    grid = pixel_grid(shown)
    centre = (weight * grid).sum(dim=(1, 2)) / count
    offset = grid - centre.view(-1, 1, 1, 2)
    covariance = torch.einsum("nhwi,nhwj->nij", weight * offset, offset) / count.unsqueeze(-1)
    # A pixel is a square of its own, with a variance of 1/12 along each axis.
    covariance = covariance + torch.eye(2) / 12
    squares = 4 * covariance
    far = torch.einsum("nhwi,nij,nhwj->nhw", offset, torch.linalg.inv(squares), offset)
    there = shown.flatten(1).any(dim=1).view(-1, 1, 1)
    return torch.where(there, far, torch.inf), torch.linalg.det(squares).sqrt().view(-1, 1, 1)

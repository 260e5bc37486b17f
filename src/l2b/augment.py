"""Random changes to whole batches of images, where the batch lies.

Random numbers are drawn on the CPU and moved, so a batch is augmented alike on any device.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Augmentation(ABC):
    """A random change that leaves the label as it is."""

    @abstractmethod
    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """Change every sample on its own.

        Args:
            images: [n, channels, height, width], of any type, on any device; never modified.
            generator: CPU random stream that belongs to this batch alone.

        Returns:
            Samples of the same shape, type and device.

        Raises:
            ValueError: if these are no images of a fitting size.
        """

    def masks(self, masks: Tensor, generator: torch.Generator) -> Tensor:
        """Move the pixels of masks as those of their images; what comes in is background.

        An augmentation that changes values and not places must leave masks as they are.

        Args:
            masks: class indices, [n, height, width].
            generator: the random stream that the images were given, from its start.

        Returns:
            Masks of the same shape and type.
        """
        return self(masks.unsqueeze(1), generator).squeeze(1)


@dataclass(frozen=True, kw_only=True)
class Identity(Augmentation):
    """Nothing is changed; for samples of any shape."""

    def masks(self, masks: Tensor, generator: torch.Generator) -> Tensor:
        """The very same tensor."""
        del generator
        return masks

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """The very same tensor."""
        del generator
        return images


@dataclass(frozen=True, kw_only=True)
class CropFlip(Augmentation):
    """Random shift by up to ``padding`` pixels and horizontal flip, the standard on CIFAR.

    Attributes:
        padding: largest shift along each axis, in pixels.
        flip: mirror left and right, for half of the samples.
        border: what comes in from outside: ``zero`` (after standardisation, the mean
            colour) or ``reflect`` (the image mirrored at its edge, which stays single).
    """

    padding: int = 4
    flip: bool = True
    border: Literal["zero", "reflect"] = "zero"

    def __post_init__(self) -> None:
        """Refuse a padding and a border that are none."""
        if self.padding < 0:
            raise ValueError(
                f"CropFlip needs padding >= 0, got {self.padding}: it is the largest shift in "
                "pixels."
            )
        if self.border not in ("zero", "reflect"):
            raise ValueError(
                f"CropFlip needs border 'zero' or 'reflect', got {self.border!r}: something has "
                "to come in from outside."
            )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """A crop of the padded image at a random place, mirrored at random."""
        n, channels, height, width = self._shape(images)
        shift = torch.randint(-self.padding, self.padding + 1, (n, 2), generator=generator)
        mirrored = torch.rand(n, generator=generator) < (0.5 if self.flip else 0.0)
        shift, mirrored = shift.to(images.device), mirrored.to(images.device)
        y = torch.arange(height, device=images.device) + shift[:, :1]
        x = torch.arange(width, device=images.device)
        x = torch.where(mirrored[:, None], width - 1 - x, x) + shift[:, 1:]
        rows, columns = _inside(y, height), _inside(x, width)
        pixels = (rows[:, :, None] * width + columns[:, None, :]).view(n, 1, height * width)
        crops = images.flatten(2).gather(2, pixels.expand(-1, channels, -1)).view_as(images)
        if self.border == "reflect":
            return crops
        outside = (rows != y)[:, None, :, None] | (columns != x)[:, None, None, :]
        return crops.masked_fill_(outside, 0)

    def _shape(self, images: Tensor) -> torch.Size:
        smallest = self.padding + 1 if self.border == "reflect" else 1
        if images.ndim != 4 or min(images.shape[2:]) < smallest:
            raise ValueError(
                f"CropFlip(padding={self.padding}) needs images [n, channels, height, width] of "
                f"at least {smallest} × {smallest} pixels, got {tuple(images.shape)}. Use a "
                "smaller padding, or augment=identity for what is no image."
            )
        return images.shape


def _inside(position: Tensor, size: int) -> Tensor:
    """Positions mirrored at both edges into [0, size); those inside stay."""
    folded = position.abs()
    return torch.where(folded >= size, 2 * (size - 1) - folded, folded).clamp_min(0)

"""A small convolutional network for small images."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from l2b.models.base import Model, image_channels

SMALLEST = 8  # pixels; what is left is 2 × 2 before the average


@dataclass(frozen=True, kw_only=True)
class ConvNet(Model):
    """Six 3×3 convolutions with BatchNorm, for images from 8×8 up; fast on a CPU.

    Attributes:
        width: channels of the first of three stages; each further one has twice as many.
    """

    channels_last: ClassVar[bool] = True
    width: int = 16

    def __post_init__(self) -> None:
        """Refuse a network without channels."""
        if self.width < 1:
            raise ValueError(
                f"ConvNet needs width >= 1, got {self.width}: it is the number of channels of the "
                "first layer."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Three stages with halved resolution between them, global average, linear layer."""
        channels = image_channels("ConvNet", shape, smallest=SMALLEST)
        first, second, third = self.width, 2 * self.width, 4 * self.width
        return nn.Sequential(
            *_stage(channels, first),
            nn.MaxPool2d(2),
            *_stage(first, second),
            nn.MaxPool2d(2),
            *_stage(second, third),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(third, classes),
        )


def _stage(before: int, after: int) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for channels in (before, after):
        # No bias: BatchNorm would subtract it again.
        convolution = nn.Conv2d(channels, after, 3, padding=1, bias=False)
        layers += [convolution, nn.BatchNorm2d(after), nn.ReLU()]
    return layers

"""Pre-activation ResNet-18 for 32×32 images (He et al. 2016, arXiv 1603.05027)."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional

from l2b.models.base import Model, image_channels

SMALLEST = 8  # pixels; what is left is 1 × 1 before the average


@dataclass(frozen=True, kw_only=True)
class PreactResnet(Model):
    """Pre-activation ResNet-18 for images of about 32×32, as in the paper's CIFAR tables.

    Attributes:
        width: channels of the first of four stages; each further one has twice as many.
            64 is the published network, with 11.17 million parameters for 10 classes.
    """

    channels_last: ClassVar[bool] = True
    width: int = 64

    def __post_init__(self) -> None:
        """Refuse a network without channels."""
        if self.width < 1:
            raise ValueError(f"PreactResnet needs width >= 1, got {self.width}.")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """3×3 stem, four stages of two blocks, BatchNorm–ReLU, global average, linear layer."""
        channels = image_channels("PreactResnet", shape, smallest=SMALLEST)
        blocks: list[nn.Module] = []
        before = self.width
        for stage, stride in enumerate((1, 2, 2, 2)):
            after = self.width * 2**stage
            blocks += [Block(before, after, stride), Block(after, after, 1)]
            before = after
        return nn.Sequential(
            nn.Conv2d(channels, self.width, 3, padding=1, bias=False),
            *blocks,
            nn.BatchNorm2d(before),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(before, classes),
        )


class Block(nn.Module):
    """Twice BatchNorm–ReLU–convolution, added to the input or to its projection."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        """Build the block.

        Args:
            before: channels that come in.
            after: channels that go out.
            stride: of the first convolution; 2 halves the resolution.
        """
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride=stride, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.projection = (
            nn.Conv2d(before, after, 1, stride=stride, bias=False)
            if stride != 1 or before != after
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """[n, before, height, width] → [n, after, height / stride, width / stride]."""
        active = functional.relu(self.norm1(x))
        # The projection sees the activated input, as in the published network.
        carried = x if self.projection is None else self.projection(active)
        y = self.conv1(active)
        return carried + self.conv2(functional.relu(self.norm2(y)))

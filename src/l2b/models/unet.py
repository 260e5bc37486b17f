"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597), from MONAI."""

from dataclasses import dataclass
from types import ModuleType

from torch import Tensor, nn

from l2b.models.base import MaskModel

LEVELS = 5
# Not in place, so that one pass serves weights and training; leaky, because few channels of
# plain ReLU die easily where nearly all pixels are background.
ACTIVATION = ("leakyrelu", {"negative_slope": 0.1, "inplace": False})
SMALLEST = 2 ** (LEVELS - 1)  # pixels; what is left is 1 × 1 at the bottom


@dataclass(frozen=True, kw_only=True)
class Unet(MaskModel):
    """U-Net with BatchNorm and leaky ReLU, a label for every pixel, from MONAI.

    Attributes:
        width: channels of the first of five levels; each further one has twice as many.
    """

    width: int = 8

    def __post_init__(self) -> None:
        """Refuse a network without channels."""
        if self.width < 2:
            raise ValueError(f"Unet needs width >= 2, got {self.width}.")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`monai.networks.nets.BasicUNet` in two dimensions."""
        channels = mask_channels("Unet", shape)
        nets = monai_networks()
        return nets.BasicUNet(
            spatial_dims=2,
            in_channels=channels,
            out_channels=classes,
            features=level_widths(self.width),
            act=ACTIVATION,
            norm="batch",
            bias=False,  # BatchNorm would subtract it again
        )


def level_widths(width: int) -> tuple[int, ...]:
    """Channels of five levels, and of the last layer before the logits."""
    return (*(width * 2**level for level in range(LEVELS)), width)


def mask_channels(owner: str, shape: tuple[int, ...]) -> int:
    """Channels of an image that can be halved often enough.

    Raises:
        ValueError: if this is no image, or a smaller one.
    """
    if len(shape) != 3 or min(shape[1:]) < SMALLEST:
        raise ValueError(
            f"{owner} needs images (channels, height, width) of at least {SMALLEST} × {SMALLEST} "
            f"pixels, which it halves four times, got samples of shape {shape}."
        )
    return shape[0]


def monai_networks() -> ModuleType:
    """The module `monai.networks.nets`.

    Raises:
        ImportError: without MONAI.
    """
    try:
        from monai.networks import nets
    except ImportError as error:
        raise ImportError(
            "U-Nets come from MONAI, which is not installed: pip install 'l2b[seg]'."
        ) from error
    return nets


class FirstOutput(nn.Module):
    """A network that returns a list, as one that returns its first entry."""

    def __init__(self, net: nn.Module) -> None:
        """Wrap it."""
        super().__init__()
        self.net = net

    def forward(self, x: Tensor) -> Tensor:
        """The first output."""
        return self.net(x)[0]

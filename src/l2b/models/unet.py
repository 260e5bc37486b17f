"""U-Net (Ronneberger et al. 2015, arXiv 1505.04597), from MONAI."""

from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from l2b.models.base import MaskModel

LEVELS = 5
# Not in place, so that one pass serves weights and training; leaky, because few channels of
# plain ReLU die easily where nearly all pixels are background.
ACTIVATION = ("leakyrelu", {"negative_slope": 0.1, "inplace": False})
SMALLEST = 2 ** (LEVELS - 1)  # pixels; what is left is 1 × 1 at the bottom


@dataclass(frozen=True, kw_only=True)
class Unet(MaskModel):
    """U-Net with BatchNorm and leaky ReLU, a label for every pixel or voxel, from MONAI.

    Attributes:
        width: channels of the first of five levels; each further one has twice as many.
    """

    width: int = 8

    def __post_init__(self) -> None:
        """Refuse a network without channels."""
        check_width("Unet", self.width)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`monai.networks.nets.BasicUNet`, in as many dimensions as the samples."""
        settings = five_levels("Unet", self.width, shape, classes)
        return monai_networks().BasicUNet(**settings)


def check_width(owner: str, width: int) -> None:
    """Refuse a network whose normalisation has nothing to tell apart.

    Raises:
        ValueError: below two channels.
    """
    if width < 2:
        raise ValueError(f"{owner} needs width >= 2, got {width}.")


def five_levels(owner: str, width: int, shape: tuple[int, ...], classes: int) -> dict[str, Any]:
    """What MONAI's basic U-Nets are built with.

    Args:
        owner: the model, for messages.
        width: channels of the first of five levels; each further one has twice as many.
        shape: of one sample, (channels, height, width) or (channels, depth, height, width).
        classes: number of classes.

    Raises:
        ValueError: if these are no images or volumes of a fitting size.
    """
    return {
        "in_channels": mask_channels(owner, shape),
        "spatial_dims": len(shape) - 1,
        "out_channels": classes,
        # The last one is of the layer before the logits.
        "features": (*(width * 2**level for level in range(LEVELS)), width),
        "act": ACTIVATION,
        "norm": "batch",
        "bias": False,  # BatchNorm would subtract it again
    }


def mask_channels(owner: str, shape: tuple[int, ...]) -> int:
    """Channels of an image or a volume that can be halved often enough.

    Raises:
        ValueError: if this is neither, or a smaller one.
    """
    if len(shape) not in (3, 4) or min(shape[1:]) < SMALLEST:
        raise ValueError(
            f"{owner} needs images (channels, height, width) or volumes (channels, depth, height, "
            f"width) of at least {SMALLEST} pixels each way, which it halves four times, got "
            f"samples of shape {shape}."
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

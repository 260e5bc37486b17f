"""UNet++ (Zhou et al. 2018, arXiv 1807.10165), from MONAI."""

from dataclasses import dataclass

from torch import nn

from l2b.models.base import MaskModel
from l2b.models.unet import FirstOutput, check_width, five_levels, monai_networks


@dataclass(frozen=True, kw_only=True)
class UnetPlusPlus(MaskModel):
    """UNet++ with BatchNorm and leaky ReLU, as in the paper's prostate experiments, from MONAI.

    The outputs at intermediate depths (deep supervision) are left out.

    Attributes:
        width: channels of the first of five levels; each further one has twice as many. 32 is
            the published network's.
    """

    width: int = 32

    def __post_init__(self) -> None:
        """Refuse a network without channels."""
        check_width("UnetPlusPlus", self.width)

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """`monai.networks.nets.BasicUNetPlusPlus`, in as many dimensions as the samples."""
        settings = five_levels("UnetPlusPlus", self.width, shape, classes)
        net = monai_networks().BasicUNetPlusPlus(**settings)
        # Heads of intermediate depths would be run and thrown away, and their parameters
        # would never learn.
        for depth in (1, 2, 3):
            setattr(net, f"final_conv_0_{depth}", nn.Identity())
        return FirstOutput(net)

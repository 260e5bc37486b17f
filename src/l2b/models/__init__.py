"""Model families, one per file."""

from l2b.models.base import MaskModel, Model
from l2b.models.conv_net import ConvNet
from l2b.models.mlp import Mlp
from l2b.models.preact_resnet import PreactResnet
from l2b.models.resnet import Resnet
from l2b.models.unet import Unet
from l2b.models.unet_plus_plus import UnetPlusPlus

__all__ = ["ConvNet", "MaskModel", "Mlp", "Model", "PreactResnet", "Resnet", "Unet", "UnetPlusPlus"]

"""Model families, one per file."""

from l2b.models.base import Model
from l2b.models.conv_net import ConvNet
from l2b.models.mlp import Mlp
from l2b.models.preact_resnet import PreactResnet
from l2b.models.resnet import Resnet

__all__ = ["ConvNet", "Mlp", "Model", "PreactResnet", "Resnet"]

"""A model that suits the data, for those who have not chosen one."""

from dataclasses import dataclass
from typing import ClassVar

from torch import nn

from l2b.models.base import Model
from l2b.models.conv_net import SMALLEST, ConvNet
from l2b.models.mlp import Mlp
from l2b.models.unet import Unet


@dataclass(frozen=True, kw_only=True)
class Auto(Model):
    """A small conv net for images, a perceptron for all else, a small U-Net for masks."""

    channels_last: ClassVar[bool] = True

    def suited(self, *, masks: bool) -> Model:
        """Itself for labels, the default `Unet` for masks."""
        return Unet() if masks else self

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The default `ConvNet` for [channels, height, width], else the default `Mlp`."""
        image = len(shape) == 3 and min(shape[1:]) >= SMALLEST and shape[0] in (1, 3)
        model: Model = ConvNet() if image else Mlp()
        return model.build(shape, classes)

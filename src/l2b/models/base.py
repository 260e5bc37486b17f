"""What a model family is: hyper-parameters that build a network for given data."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Self

from torch import nn

from l2b.yes_no import YesNo


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """A family of networks.

    Attributes:
        channels_last: whether images may lie channels-last, which is faster on a GPU: no layer
            views them by their shape, nor is one group norm.
    """

    channels_last: ClassVar[bool] = False

    def suited(self, *, masks: bool) -> "Model":
        """This family, if it predicts what the data has: one label per sample, or masks.

        Args:
            masks: whether every sample has a mask.

        Raises:
            ValueError: if it predicts the other.
        """
        if masks:
            raise ValueError(
                f"{type(self).__name__} predicts one label per sample, but this data has masks: "
                "choose --model unet or unet_plus_plus."
            )
        return self

    def network(self, shape: tuple[int, ...], classes: int, *, tags: int = 0) -> nn.Module:
        """What `build` makes, or of several yes-or-no labels a `YesNo` of as many outputs.

        Args:
            shape: of one sample, without the batch.
            classes: number of classes.
            tags: yes-or-no labels of each sample; 0 where samples have one label, or a mask.

        Returns:
            A module to logits [n, classes, *pixels]; with tags, [n, 2, tags].

        Raises:
            ValueError: if the family cannot take samples of this shape.
        """
        return YesNo(self.build(shape, tags)) if tags else self.build(shape, classes)

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A fresh network; its initial values depend on torch's global seed alone.

        Args:
            shape: of one sample, without the batch, e.g. (3, 32, 32).
            classes: number of outputs.

        Returns:
            A module from inputs [n, *shape] to logits [n, classes], or, for masks, to
            [n, classes, *pixels].

        Raises:
            ValueError: if the family cannot take samples of this shape.
        """


@dataclass(frozen=True, kw_only=True)
class MaskModel(Model):
    """A family of networks that label every pixel."""

    def suited(self, *, masks: bool) -> Self:
        """This family, for masks.

        Raises:
            ValueError: if the data has labels of samples.
        """
        if not masks:
            raise ValueError(
                f"{type(self).__name__} predicts masks, but this data has labels of samples: "
                "choose --model auto."
            )
        return self


def image_channels(owner: str, shape: tuple[int, ...], *, smallest: int) -> int:
    """Channels of an image that is large enough.

    Args:
        owner: name of the model family, for the message.
        shape: of one sample; must be (channels, height, width).
        smallest: least height and width, in pixels.

    Raises:
        ValueError: if this is no image, or a smaller one.
    """
    if len(shape) != 3 or min(shape[1:]) < smallest:
        raise ValueError(
            f"{owner} needs images (channels, height, width) of at least {smallest} × "
            f"{smallest} pixels, got samples of shape {shape}. For other shapes, use mlp."
        )
    return shape[0]

"""What a model family is: hyper-parameters that build a network for given data."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn


@dataclass(frozen=True, kw_only=True)
class Model(ABC):
    """A family of networks."""

    @abstractmethod
    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A fresh network; its initial values depend on torch's global seed alone.

        Args:
            shape: of one sample, without the batch, e.g. (3, 32, 32).
            classes: number of outputs.

        Returns:
            A module from inputs [n, *shape] to logits [n, classes].

        Raises:
            ValueError: if the family cannot take samples of this shape.
        """


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

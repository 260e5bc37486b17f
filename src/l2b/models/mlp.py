"""A multi-layer perceptron, for features of any shape."""

import itertools
import math
from dataclasses import dataclass

from torch import nn

from l2b.models.base import Model


@dataclass(frozen=True, kw_only=True)
class Mlp(Model):
    """Fully connected layers with ReLU, on flattened samples of any shape.

    Attributes:
        hidden: units of each hidden layer; empty for a linear classifier.
        dropout: share of hidden units dropped while training, in [0, 1).
    """

    hidden: tuple[int, ...] = (256, 128)
    dropout: float = 0.0

    def __post_init__(self) -> None:
        """Refuse empty layers and a dropout that leaves nothing."""
        if any(units < 1 for units in self.hidden):
            raise ValueError(
                f"Mlp needs hidden layers of at least 1 unit, got {self.hidden}: leave a layer out "
                "instead."
            )
        if not 0 <= self.dropout < 1:
            raise ValueError(
                f"Mlp needs 0 <= dropout < 1, got {self.dropout}: at 1 nothing would get through."
            )

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """Flatten, then linear–ReLU–dropout per hidden layer, then a linear layer."""
        widths = (math.prod(shape), *self.hidden)
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in itertools.pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
            if self.dropout:
                layers.append(nn.Dropout(self.dropout))
        return nn.Sequential(*layers, nn.Linear(widths[-1], classes))

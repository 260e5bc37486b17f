"""What a source of pseudo-labels is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l2b.pieces import split
from l2b.types import Inputs


class Source(ABC):
    """Pseudo-labels for a batch, from whatever past the source keeps."""

    @abstractmethod
    def __call__(self, z: Tensor, inputs: Inputs, index: Tensor | None) -> Tensor:
        """Label a batch; changes nothing.

        Args:
            z: the model's logits for the batch, without gradient, [n, classes, *pixels].
            inputs: the batch.
            index: positions of the samples in the training set, [n].

        Returns:
            Class indices [n, *pixels], or probabilities shaped like ``z``.
        """

    def update(self, module: nn.Module, z: Tensor, index: Tensor | None) -> None:
        """Take note of one training step.

        Args:
            module: the model after the step.
            z: its logits for the batch before the step, without gradient.
            index: positions of the samples in the training set, [n].
        """
        del module, z, index

    def state_dict(self) -> dict[str, Any]:
        """What has to be saved to resume."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        del state


class InPieces(Source):
    """Another source, which sees a batch piece by piece."""

    def __init__(self, source: Source, count: int) -> None:
        """Take the source as it is.

        Args:
            source: of pseudo-labels.
            count: in how many pieces it sees a batch.
        """
        self.source, self.count = source, count

    def __call__(self, z: Tensor, inputs: Inputs, index: Tensor | None) -> Tensor:
        """The labels of all pieces."""
        if self.count == 1:
            return self.source(z, inputs, index)
        count = min(self.count, len(z))
        indices = [None] * count if index is None else list(index.tensor_split(count))
        parts = zip(z.tensor_split(count), split(inputs, count), indices, strict=True)
        return torch.cat([self.source(*part) for part in parts])

    def update(self, module: nn.Module, z: Tensor, index: Tensor | None) -> None:
        """Pass it on."""
        self.source.update(module, z, index)

    def state_dict(self) -> dict[str, Any]:
        """That of the source."""
        return self.source.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the source."""
        self.source.load_state_dict(state)


@dataclass(frozen=True, kw_only=True)
class PseudoLabels(ABC):
    """A choice of where pseudo-labels come from."""

    @property
    def remembers(self) -> bool:
        """Whether it keeps something of every sample; of masks, of every pixel."""
        return False

    @abstractmethod
    def build(self, module: nn.Module, samples: int | None = None) -> Source:
        """A source for this model.

        Args:
            module: the model that is trained.
            samples: number of training samples, for sources that remember each of them.
        """

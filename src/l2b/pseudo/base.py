"""What a source of pseudo-labels is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

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


@dataclass(frozen=True, kw_only=True)
class PseudoLabels(ABC):
    """A choice of where pseudo-labels come from."""

    @abstractmethod
    def build(self, module: nn.Module, samples: int | None = None) -> Source:
        """A source for this model.

        Args:
            module: the model that is trained.
            samples: number of training samples, for sources that remember each of them.
        """

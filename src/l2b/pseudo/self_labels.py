"""The current model's own prediction, as published."""

from dataclasses import dataclass

from torch import Tensor, nn

from l2b.pseudo.base import PseudoLabels, Source
from l2b.types import Inputs


@dataclass(frozen=True, kw_only=True)
class SelfLabels(PseudoLabels):
    """The class that the current model predicts, from the same pass (as published).

    Attributes:
        soft: must stay False; see Raises.

    Raises:
        ValueError: if soft. Cross-entropy towards the model's own probabilities has zero
            gradient in its logits, so every β would be 0 and L2B silently become L2RW.
    """

    soft: bool = False

    def __post_init__(self) -> None:
        """Refuse soft labels."""
        if self.soft:
            raise ValueError(
                "SelfLabels needs soft=False, got True: cross-entropy towards the model's own "
                "probabilities has zero gradient, so every beta would be 0 and L2B become "
                "L2RW. Take soft labels from elsewhere: moving_average or temporal."
            )

    def build(self, module: nn.Module, samples: int | None = None) -> "HardSelf":
        """A source without memory."""
        del module, samples
        return HardSelf()


class HardSelf(Source):
    """argmax of the logits at hand."""

    def __call__(self, z: Tensor, inputs: Inputs, index: Tensor | None) -> Tensor:
        """Predicted classes, [n, *pixels]."""
        del inputs, index
        return z.argmax(dim=1)

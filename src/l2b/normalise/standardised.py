"""Scores in units of the batch."""

from dataclasses import dataclass, field

from torch import Tensor

from l2b.normalise.base import Changed, Normaliser, in_own_units
from l2b.normalise.softmax import Softmax


@dataclass(frozen=True, kw_only=True)
class Standardised(Changed):
    """Scores in units of their root mean square over the batch, before they become weights.

    In true units scores are tiny, and a sigmoid or a softmax of them hardly weighs at all.

    Attributes:
        then: what makes weights of them.
    """

    then: Normaliser = field(default_factory=lambda: Softmax())

    def change(self, scores: Tensor) -> Tensor:
        """Score / √(mean score²)."""
        return in_own_units(scores)

"""Pseudo-labels alone."""

from dataclasses import dataclass, field

from torch import Tensor

from l2b.normalise.base import Changed, Normaliser, without
from l2b.normalise.positive_share import PositiveShare


@dataclass(frozen=True, kw_only=True)
class PseudoOnly(Changed):
    """α = 0: weigh pseudo-labels alone.

    Attributes:
        then: the normaliser of what is left.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def change(self, scores: Tensor) -> Tensor:
        """Scores with candidate 0 shut out."""
        return without(scores, slice(0, 1))

"""Observed labels alone."""

from dataclasses import dataclass, field

from torch import Tensor

from l2b.normalise.base import Changed, Normaliser, without
from l2b.normalise.positive_share import PositiveShare


@dataclass(frozen=True, kw_only=True)
class ObservedOnly(Changed):
    """β = 0: weigh observed labels alone, which is learning to reweight (L2RW).

    Attributes:
        then: the normaliser of what is left.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def change(self, scores: Tensor) -> Tensor:
        """Scores with every candidate but the first shut out."""
        return without(scores, slice(1, None))

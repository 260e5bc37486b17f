"""Learning to bootstrap with the choices that did best on several labels a sample."""

from dataclasses import dataclass, field

from l2b.methods.l2b import L2B
from l2b.normalise import Normaliser, PerSample


@dataclass(frozen=True, kw_only=True)
class L2BTags(L2B):
    """L2B for several yes-or-no labels a sample: every answer keeps its weight.

    Here α + β = 1 for every label of every sample, and what is learned is which answer the weight
    goes to, the one given or the model's own; that was ahead of weights that share one unit (Eq. 9,
    docs/methods.md). All else is as for `L2B`.

    Attributes:
        normalise: weights that sum to one at each label.
    """

    normalise: Normaliser = field(default_factory=PerSample)

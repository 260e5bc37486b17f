"""Learning to bootstrap exactly as published."""

from dataclasses import dataclass, field

from l2b.engines import Engine, Forward
from l2b.lookahead import Paper
from l2b.methods.base import Learner, Method, Task
from l2b.methods.l2b import L2B
from l2b.normalise import Normaliser, PositiveShare
from l2b.pseudo import SelfLabels


@dataclass(frozen=True, kw_only=True)
class AsPublished(Method):
    """L2B exactly as published: the model's own hard labels, Eq. 9, the paper's look-ahead.

    Exact weights at θ_t (Eqs. 15–24), no clean term, warm-up on the noisy labels
    (arXiv 2202.04291). `L2B` itself has the defaults that did best since.

    Attributes:
        engine: how logits are differentiated; every exact engine gives the same weights.
        normalise: Eq. 9; the paper's ISIC runs use softmax with temperature 10.
        warmup: epochs of plain cross-entropy before weights are learned; 10 of 300 on CIFAR.
    """

    engine: Engine = field(default_factory=Forward)
    normalise: Normaliser = field(default_factory=PositiveShare)
    warmup: int = 1

    def __post_init__(self) -> None:
        """Refuse what L2B refuses."""
        _ = self.spelled_out

    @property
    def fits_clean(self) -> bool:
        """No: clean samples only steer."""
        return False

    @property
    def spelled_out(self) -> L2B:
        """The same as L2B with the published choices."""
        return L2B(
            engine=self.engine,
            normalise=self.normalise,
            pseudo=SelfLabels(),
            lookahead=Paper(),
            warmup=self.warmup,
            clean_weight=0.0,
        )

    def build(self, task: Task) -> Learner:
        """The learner of L2B."""
        return self.spelled_out.build(task)

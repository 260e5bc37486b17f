"""Learning to reweight: L2B without pseudo-labels."""

from dataclasses import dataclass, field
from typing import Literal

from l2b.engines import Engine, Forward
from l2b.lookahead import LookAhead, Paper
from l2b.methods.base import Learner, Method, Task
from l2b.methods.l2b import L2B
from l2b.normalise import Normaliser, ObservedOnly, PositiveShare
from l2b.pseudo import SelfLabels


@dataclass(frozen=True, kw_only=True)
class L2RW(Method):
    """Learning to reweight: one learned weight per observed label (L2B with β = 0).

    Attributes:
        engine: how logits are differentiated along the clean gradient.
        normalise: how scores of observed labels become weights.
        lookahead: where the clean gradient is taken.
        warmup: epochs of plain cross-entropy before weights are learned, or "auto", as for `L2B`;
            the paper has none (0).
        warmup_patience: epochs in a row without a better one that end an automatic warm-up.
    """

    engine: Engine = field(default_factory=Forward)
    normalise: Normaliser = field(default_factory=PositiveShare)
    lookahead: LookAhead = field(default_factory=Paper)
    warmup: int | Literal["auto"] = 1
    warmup_patience: int = 3

    def __post_init__(self) -> None:
        """Refuse what L2B refuses."""
        _ = self.spelled_out

    @property
    def fits_clean(self) -> bool:
        """No: clean samples only steer."""
        return False

    @property
    def asks_clean(self) -> str:
        """When an automatic warm-up ends."""
        return self.spelled_out.asks_clean

    @property
    def spelled_out(self) -> L2B:
        """The same as L2B with its pseudo-labels shut out."""
        return L2B(
            engine=self.engine,
            normalise=ObservedOnly(then=self.normalise),
            pseudo=SelfLabels(),
            lookahead=self.lookahead,
            warmup=self.warmup,
            warmup_patience=self.warmup_patience,
            clean_weight=0.0,
        )

    def build(self, task: Task) -> Learner:
        """The learner of L2B."""
        return self.spelled_out.build(task)

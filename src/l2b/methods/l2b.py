"""Learning to bootstrap."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from l2b.engines import Engine, Forward
from l2b.functional import full_precision
from l2b.ledger import StepRecord
from l2b.lookahead import LookAhead, Paper
from l2b.losses import bootstrapped_loss, cross_entropy
from l2b.methods.base import Learner, Method, Task, plain_record
from l2b.normalise import Normaliser, PositiveShare
from l2b.pseudo import MovingAverage, PseudoLabels
from l2b.targets import labels
from l2b.types import Batch, Weights
from l2b.weighing import weighed_pass


@dataclass(frozen=True, kw_only=True)
class L2B(Method):
    """Learning to bootstrap: two learned weights per sample, observed and pseudo (Eq. 3).

    The defaults are those that did best on development data (benchmarks/tune_digits.py); the
    published pseudo-label is ``SelfLabels()``.

    Attributes:
        engine: how logits are differentiated along the clean gradient.
        normalise: how scores become weights; the ablations are normalisers.
        pseudo: where pseudo-labels come from.
        lookahead: where the clean gradient is taken.
        warmup: epochs of plain cross-entropy before weights are learned.
    """

    engine: Engine = field(default_factory=Forward)
    normalise: Normaliser = field(default_factory=PositiveShare)
    pseudo: PseudoLabels = field(default_factory=lambda: MovingAverage(soft=False))
    lookahead: LookAhead = field(default_factory=Paper)
    warmup: int = 1

    def __post_init__(self) -> None:
        """Refuse a negative warm-up."""
        if self.warmup < 0:
            raise ValueError(f"warmup must be 0 or more epochs, got {self.warmup}.")

    def build(self, task: Task) -> Learner:
        """A learner that weighs every batch."""
        return L2BLearner(self, task)


class L2BLearner(Learner):
    """Cross-entropy while warming up, then the two-weight objective."""

    def __init__(self, method: L2B, task: Task) -> None:
        """Make the network and the source of its pseudo-labels."""
        self.method = method
        self.network = task.network("main")
        self.pseudo = method.pseudo.build(self.network.module, len(task.data.train))
        self.warming = method.warmup > 0

    def begin_epoch(self, epoch: int) -> None:
        """Leave the warm-up when it is over."""
        super().begin_epoch(epoch)
        self.warming = epoch < self.method.warmup

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """Weigh the batch by the clean batch, then one step on the weighted losses."""
        if self.warming:
            z, weights = self.network.logits(batch.inputs), None
            losses = cross_entropy(z, batch.labels)
            self.network.descend(losses.mean())
        else:
            z, weights = self._weighed_pass(batch, clean)
            losses = cross_entropy(z, batch.labels)
            self.network.descend(bootstrapped_loss(z, batch.labels, weights))
        self.pseudo.update(self.network.module, z.detach(), batch.index)
        record = plain_record(batch, z, losses)
        return record if weights is None else _weighed(record, weights)

    def state_dict(self) -> dict[str, Any]:
        """The network and the pseudo-labels' past."""
        return {**super().state_dict(), "pseudo": self.pseudo.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.pseudo.load_state_dict(state["pseudo"])

    def _weighed_pass(self, batch: Batch, clean: Batch) -> tuple[Tensor, Weights]:
        with self.network.autocast():
            z, weights = weighed_pass(
                self.network.module,
                batch.inputs,
                batch.labels,
                clean.inputs,
                clean.labels,
                engine=self.method.engine,
                normalise=self.method.normalise,
                pseudo=self.pseudo,
                lookahead=self.method.lookahead,
                optimiser=self.network.optimiser,
                index=batch.index,
            )
        return full_precision(z), weights


def _weighed(record: StepRecord, weights: Weights) -> StepRecord:
    samples = record.index.shape[0]
    return replace(
        record,
        alpha=_per_sample(weights.alpha) * samples,
        beta=_per_sample(weights.beta) * samples,
        pseudo=labels(weights.pseudo),
    )


def _per_sample(weight: Tensor) -> Tensor:
    return torch.flatten(weight, 1).sum(dim=1) if weight.ndim > 1 else weight

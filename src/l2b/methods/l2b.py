"""Learning to bootstrap."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from l2b import collectives
from l2b.amortise import Amortisation, CleanGradient, WeightMemory
from l2b.engines import Engine, Forward
from l2b.functional import full_precision
from l2b.layout import best_layout
from l2b.ledger import StepRecord
from l2b.lookahead import LookAhead, Paper
from l2b.losses import bootstrapped_loss, cross_entropy
from l2b.methods.base import Learner, Method, Task, plain_record
from l2b.normalise import Normaliser, PositiveShare
from l2b.pseudo import MovingAverage, PseudoLabels
from l2b.targets import labels
from l2b.types import Batch, Probe, Weights
from l2b.weighing import AcrossProcesses, look_ahead_gradient, weights_from


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
        amortise: what may be used again for a few steps, to save time.
    """

    engine: Engine = field(default_factory=Forward)
    normalise: Normaliser = field(default_factory=PositiveShare)
    pseudo: PseudoLabels = field(default_factory=lambda: MovingAverage(soft=False))
    lookahead: LookAhead = field(default_factory=Paper)
    warmup: int = 1
    amortise: Amortisation = field(default_factory=Amortisation)

    def __post_init__(self) -> None:
        """Refuse a negative warm-up."""
        if self.warmup < 0:
            raise ValueError(
                f"warmup must be 0 or more epochs, got {self.warmup}: in these, labels are learned "
                "as they are; 0 weighs them from the start."
            )

    def build(self, task: Task) -> Learner:
        """A learner that weighs every batch."""
        return L2BLearner(self, task)


class L2BLearner(Learner):
    """Cross-entropy while warming up, then the two-weight objective."""

    shared = True
    steers = True

    def __init__(self, method: L2B, task: Task) -> None:
        """Make the network and the source of its pseudo-labels."""
        self.method = method
        self.network = task.network("main")
        self.pseudo = method.pseudo.build(self.network.module, len(task.data.train))
        self.gradient = CleanGradient(method.amortise)
        self.memory = WeightMemory(len(task.data.train))
        self.warming, self.number = method.warmup > 0, 0

    def begin_epoch(self, epoch: int) -> None:
        """Leave the warm-up when it is over."""
        super().begin_epoch(epoch)
        self.warming, self.number = epoch < self.method.warmup, 0
        self.gradient.forget()

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """Weigh the batch by the clean batch, then one step on the weighted losses."""
        due = self.number % self.method.amortise.weights_every == 0
        self.number += 1
        if self.warming:
            return self._plain_step(batch)
        z, weights = self._weighed_pass(batch, clean) if due else self._recalled_pass(batch)
        losses = cross_entropy(z, batch.labels)
        # A sum over all processes, of which `descend` takes the mean.
        loss = bootstrapped_loss(z, batch.labels, weights) * collectives.ranks()
        self.network.descend(loss)
        self.pseudo.update(self.network.module, z.detach(), batch.index)
        record = _weighed(plain_record(batch, z, losses), weights)
        if due and self.method.amortise.weights_every > 1:
            self.memory.keep(batch.index, record.alpha, record.beta)
        return record

    def state_dict(self) -> dict[str, Any]:
        """The network, the pseudo-labels' past, the remembered weights and the clean gradient."""
        past = {
            "pseudo": self.pseudo.state_dict(),
            "memory": self.memory.state_dict(),
            "gradient": self.gradient.state_dict(),
            "number": self.number,
        }
        return {**super().state_dict(), **past}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all of them."""
        super().load_state_dict(state)
        self.pseudo.load_state_dict(state["pseudo"])
        self.memory.load_state_dict(state["memory"])
        self.gradient.load_state_dict(state["gradient"])
        self.number = state["number"]

    def _plain_step(self, batch: Batch) -> StepRecord:
        z = self.network.logits(batch.inputs)
        losses = cross_entropy(z, batch.labels)
        self.network.descend(losses.mean())
        self.pseudo.update(self.network.module, z.detach(), batch.index)
        return plain_record(batch, z, losses)

    def _recalled_pass(self, batch: Batch) -> tuple[Tensor, Weights]:
        z = self.network.logits(batch.inputs)
        pseudo = self.pseudo(z.detach(), batch.inputs, batch.index)
        return z, self.memory.recall(batch.index, pseudo)

    def _weighed_pass(self, batch: Batch, clean: Batch) -> tuple[Tensor, Weights]:
        module, method = self.network.module, self.method
        with self.network.autocast():
            direction = self.gradient(
                lambda: look_ahead_gradient(
                    module,
                    clean.inputs,
                    clean.labels,
                    engine=method.engine,
                    lookahead=method.lookahead,
                    optimiser=self.network.optimiser,
                )
            )
            z, dz = method.engine.beside(module, best_layout(module, batch.inputs), direction)
            weights = weights_from(
                Probe(z.detach(), dz),
                batch.inputs,
                batch.labels,
                normalise=AcrossProcesses(method.normalise),
                pseudo=self.pseudo,
                index=batch.index,
            )
        return full_precision(z), weights


def _weighed(record: StepRecord, weights: Weights) -> StepRecord:
    samples = record.index.shape[0] * collectives.ranks()
    return replace(
        record,
        alpha=_per_sample(weights.alpha) * samples,
        beta=_per_sample(weights.beta) * samples,
        pseudo=labels(weights.pseudo),
    )


def _per_sample(weight: Tensor) -> Tensor:
    return torch.flatten(weight, 1).sum(dim=1) if weight.ndim > 1 else weight

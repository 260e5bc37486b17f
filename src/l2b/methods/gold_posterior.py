"""Bootstrapping towards what a label stands for, by a transition matrix."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from l2b.catalog import name_of
from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import (
    Learner,
    Method,
    Task,
    anew,
    clean_step,
    first_part,
    labelled_mean,
    mean_loss,
    posterior_record,
)
from l2b.methods.fine_tune import FineTune, FineTuneLearner
from l2b.methods.gold_correction import reach, transition_matrix
from l2b.pseudo import InPieces, MovingAverage, PseudoLabels
from l2b.targets import where_labelled
from l2b.types import Batch

FLOOR = 1e-3  # added to every transition: what the clean set never showed may still happen


@dataclass(frozen=True, kw_only=True)
class GoldPosterior(Method):
    """Bootstrapping for labels that are wrong by rule: what each one stands for, learned softly.

    The noisy labels first teach the model; its best epoch on the clean set is kept and gives
    C[y, ỹ], the mean p(ỹ | x) over clean samples of class y. Then the clean set teaches it
    for a while. From then on every noisy sample is learned towards the posterior
    q(y) ∝ p̄(y | x) C[y, ỹ] of its true label, where p̄ is an averaged prediction, and every
    step also learns from clean samples. It is Eq. 3 of L2B with α = 0, β = 1 and a candidate
    label that needs no clean gradient, which is what misleads where the
    labels' mistakes follow the features (benchmarks/systematic.py).

    Of masks, the noisy labels at first and the clean samples throughout are learned with the
    Dice loss of ``training.overlap``; the posterior is of pixels and has none. With
    ``clean_weight`` 0 the last part has no Dice loss at all.

    Attributes:
        noisy_share: share of the epochs given to the noisy labels alone, in (0, 1).
        clean_share: then to the clean set alone, in (0, 1).
        pseudo: where the averaged prediction comes from; must be soft.
        clean_weight: weight of the mean clean loss beside the mean loss of noisy samples.
    """

    noisy_share: float = 0.25
    clean_share: float = 0.15
    pseudo: PseudoLabels = field(default_factory=MovingAverage)
    clean_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse shares that leave no epoch for what follows."""
        if not (self.noisy_share > 0 and self.clean_share > 0 and self._both < 1):
            raise ValueError(
                "GoldPosterior needs noisy_share > 0, clean_share > 0 and a sum below 1, got "
                f"{self.noisy_share} and {self.clean_share}: what is left is for learning from "
                "both together."
            )
        if not getattr(self.pseudo, "soft", False):
            raise ValueError(
                f"GoldPosterior needs soft pseudo-labels, got {name_of(self.pseudo)} with classes "
                "alone: set --method.pseudo.soft true, of moving_average, temporal or views."
            )
        if not self.clean_weight >= 0:
            raise ValueError(
                f"GoldPosterior needs clean_weight >= 0, got {self.clean_weight}: a negative "
                "weight would train away from the checked labels."
            )

    @property
    def _both(self) -> float:
        return self.noisy_share + self.clean_share

    @property
    def asks_clean(self) -> str:
        """What they say: which noisy epoch comes back, and how labels go wrong."""
        return "which noisy epoch comes back, and how labels go wrong"

    def build(self, task: Task) -> Learner:
        """A learner in three parts."""
        return GoldPosteriorLearner(self, task)


class GoldPosteriorLearner(Learner):
    """Noisy labels, then clean labels, then both: one network."""

    shared = True

    def __init__(self, method: GoldPosterior, task: Task) -> None:
        """Start with the noisy part, which is that of fine-tuning."""
        self.method, self.task = method, task
        self.first = first_part(method, method.noisy_share, task.epochs, parts=3)
        self.second = self.first + max(
            1, min(round(method.clean_share * task.epochs), task.epochs - self.first - 1)
        )
        self.noisy = FineTuneLearner(FineTune(), task, turn=self.first)
        self.network = self.noisy.network
        self.matrix = torch.eye(len(task.data.classes), device=task.data.train.labels.device)
        self.pseudo = self._source()
        self.epoch = 0

    def begin_epoch(self, epoch: int) -> None:
        """Go on to the next part when it is time; the noisy part has a schedule of its own."""
        self.epoch = epoch
        if epoch <= self.first:
            self.noisy.begin_epoch(epoch)  # judges; at the turn, brings the best epoch back
        if epoch < self.first:
            return
        if epoch == self.first:
            self.matrix = transition_matrix(self.noisy, self.task) + FLOOR
            self.matrix /= self.matrix.sum(dim=-1, keepdim=True)
            self.pseudo = self._source()
        self.network.begin_epoch(anew(epoch, self.first, self.task.epochs, self.task.epochs))

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step of the part at hand."""
        if self.epoch < self.first:
            return self.noisy.step(batch, clean)
        if self.epoch < self.second:
            return self._clean_step(batch, clean)
        z = self.network.logits(batch.inputs)
        q = self.posterior(z.detach(), batch)
        on_clean = mean_loss(self.network, clean)
        on_noisy = labelled_mean(cross_entropy(z, q), batch.labels)
        self.network.descend(on_noisy + self.method.clean_weight * on_clean)
        self.pseudo.update(self.network.module, z.detach(), batch.index)
        return posterior_record(batch, z, q)

    def posterior(self, z: Tensor, batch: Batch) -> Tensor:
        """q(y) ∝ p̄(y | x) C[y, ỹ] for every sample, [n, classes, *pixels]; 0 for void pixels."""
        joint = self.pseudo(z, batch.inputs, batch.index) * reach(self.matrix, batch.labels)
        return where_labelled(joint / joint.sum(dim=1, keepdim=True), batch.labels)

    def state_dict(self) -> dict[str, Any]:
        """The network, what the noisy part found, and the averaged prediction."""
        return {
            "noisy": self.noisy.state_dict(),
            "matrix": self.matrix,
            "pseudo": self.pseudo.state_dict(),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all three."""
        self.noisy.load_state_dict(state["noisy"])
        self.matrix = state["matrix"].to(self.matrix)
        self.pseudo.load_state_dict(state["pseudo"])

    def _source(self) -> InPieces:
        samples = len(self.task.data.train)
        source = self.method.pseudo.build(self.network.module, samples)
        return InPieces(source, self.network.pieces)

    def _clean_step(self, batch: Batch, clean: Batch) -> StepRecord:
        record, z = clean_step(self.network, batch, clean)
        self.pseudo.update(self.network.module, z, batch.index)
        return record

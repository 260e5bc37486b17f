"""Meta-Weight-Net: a small network learns the weight of a sample from its loss."""

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn, optim

from l2b.bilevel import bilevel_pass
from l2b.engines import Engine, Forward
from l2b.functional import full_precision
from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import (
    Learner,
    Method,
    Task,
    check_warm_up,
    labelled_mean,
    plain_record,
    plain_step,
    told_warm_up,
)
from l2b.scores import candidate_score
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class MwNet(Method):
    """Meta-Weight-Net: a small network turns each loss into a weight, taught by the clean set.

    The weight of sample i is V(L_i; Θ) in (0, 1). A virtual step
    θ̂(Θ) = θ − λ/n Σ V(L_i; Θ)∇L_i (Eq. 3), then a step of Θ down the clean loss at θ̂ (Eqs. 4
    and 6), then the real step with the new weights (Eq. 5) (Shu et al. 2019, arXiv 1902.07379).
    With s_i = ⟨p_i, ż_i⟩ − ż_i[y_i], the score of L2B taken at θ̂, Eq. 6 is the gradient of
    −1/n Σ s_i V(L_i; Θ): no second-order graph is built.

    Attributes:
        hidden: units of the weighing network's one hidden layer.
        lr: learning rate of Adam on Θ.
        weight_decay: of Θ.
        engine: how logits are differentiated along the clean gradient.
        warmup: epochs of plain cross-entropy before weights are learned; the paper has none.
    """

    hidden: int = 100
    lr: float = 1e-3
    weight_decay: float = 1e-4
    engine: Engine = field(default_factory=Forward)
    warmup: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes and rates that have no meaning."""
        check_warm_up(self.warmup)
        if self.hidden < 1 or not self.lr > 0 or not self.weight_decay >= 0:
            raise ValueError(
                "MwNet needs hidden >= 1, lr > 0 and weight_decay >= 0, got "
                f"{self.hidden}, {self.lr} and {self.weight_decay}: they are of the network that "
                "weighs."
            )

    @property
    def fits_clean(self) -> bool:
        """No: clean samples only steer."""
        return False

    @property
    def takes_overlap(self) -> bool:
        """No: its loss is one of cross-entropies."""
        return False

    def build(self, task: Task) -> Learner:
        """A learner with a weighing network beside its own."""
        told_warm_up(self.warmup, task.epochs)
        return MwNetLearner(self, task)


class MwNetLearner(Learner):
    """Weighted cross-entropy, the weights from a network of one input."""

    steers = True
    in_pieces = False  # the virtual step calls the network by itself

    def __init__(self, method: MwNet, task: Task) -> None:
        """Make the network, then the weighing network from the same stream."""
        self.method, self.warming = method, method.warmup > 0
        self.network = task.network("main")
        self.weigher = WeightNet(method.hidden).to(task.data.train.labels.device)
        adam = optim.Adam(self.weigher.parameters(), lr=method.lr, weight_decay=method.weight_decay)
        self.taught = self.network.beside(self.weigher, adam)

    def begin_epoch(self, epoch: int) -> None:
        """Leave the warm-up when it is over."""
        super().begin_epoch(epoch)
        self.warming = epoch < self.method.warmup

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step of the weighing network, then one of the model."""
        if self.warming:
            return plain_step(self.network, batch)[0]
        with self.network.autocast():
            z, dz = bilevel_pass(
                self.network.module,
                batch,
                clean,
                loss=lambda z: self._weighted(cross_entropy(z, batch.labels), batch),
                engine=self.method.engine,
                optimiser=self.network.optimiser,
            )
        z = full_precision(z)
        losses = cross_entropy(z, batch.labels)
        scores = candidate_score(z.detach(), dz, batch.labels)
        self.taught.descend(self.outer_loss(losses.detach(), scores))
        weights = self.weigher(losses.detach()).detach()
        self.network.descend(labelled_mean(weights * losses, batch.labels))
        return self._record(batch, z, losses, weights)

    def outer_loss(self, losses: Tensor, scores: Tensor) -> Tensor:
        """−1/n Σ s_i V(L_i; Θ), whose gradient in Θ is that of the clean loss at θ̂ (Eq. 6).

        Args:
            losses: L_i, without gradient, [n].
            scores: s_i, the derivative of L_i along λ∇F(θ̂), [n].
        """
        return -(scores * self.weigher(losses)).mean()

    def state_dict(self) -> dict[str, Any]:
        """Both networks and the optimiser of the second."""
        return {**super().state_dict(), "taught": self.taught.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all three."""
        super().load_state_dict(state)
        self.taught.load_state_dict(state["taught"])

    def _weighted(self, losses: Tensor, batch: Batch) -> Tensor:
        return labelled_mean(self.weigher(losses.detach()).detach() * losses, batch.labels)

    def _record(self, batch: Batch, z: Tensor, losses: Tensor, weights: Tensor) -> StepRecord:
        record = plain_record(batch, z, losses)
        return replace(record, alpha=weights)


class WeightNet(nn.Module):
    """V(·; Θ): one loss in, one weight in (0, 1) out (Shu et al. 2019, Section 4.1)."""

    def __init__(self, hidden: int) -> None:
        """One hidden layer of so many ReLUs."""
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1))

    def forward(self, losses: Tensor) -> Tensor:
        """Weights of losses, each [n, *pixels]."""
        return torch.sigmoid(self.layers(losses.unsqueeze(-1))).squeeze(-1)

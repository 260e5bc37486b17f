"""Meta label correction: a second network learns the label of a sample from its noisy one."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim

from l2b.bilevel import bilevel_pass
from l2b.engines import Engine, Forward, LastLayer
from l2b.functional import full_precision
from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import (
    Learner,
    Method,
    Task,
    check_warm_up,
    plain_step,
    posterior_record,
    told_warm_up,
)
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class Mlc(Method):
    """Meta label correction: a network turns each noisy label into a soft one, taught by clean.

    The corrected label is q_i = g(h(x_i), y_i; Θ), with h the features before the model's last
    layer. A virtual step θ̂(Θ) = θ − λ/n ∇Σ CE(q_i(Θ), x_i), then a step of Θ down the clean
    loss at θ̂, then the real step on the new labels (Zheng, Awadallah and Dumais 2021, arXiv
    1911.03809, Algorithm 1 with k = 1). Since a target enters its loss as −⟨q_i, log p_i⟩, the
    hypergradient is that of 1/n Σ ⟨q_i(Θ), ż_i⟩: no second-order graph is built.

    Attributes:
        hidden: units of the correction network's two hidden layers and of its label embedding.
        lr: learning rate of Adam on Θ.
        trust: added to the correction network's output for the noisy label, in nats. It thus
            starts from the labels as given; the paper's starts from a random one, at 0.
        engine: how logits are differentiated along the clean gradient.
        warmup: epochs of plain cross-entropy before labels are corrected, so that features
            and clean gradient say something.
    """

    hidden: int = 128
    lr: float = 1e-3
    trust: float = 1.0
    engine: Engine = field(default_factory=Forward)
    warmup: int = 1

    def __post_init__(self) -> None:
        """Refuse sizes and rates that have no meaning."""
        check_warm_up(self.warmup)
        if self.hidden < 1 or not self.lr > 0:
            raise ValueError(
                f"Mlc needs hidden >= 1 and lr > 0, got {self.hidden} and {self.lr}: they are of "
                "the network that corrects labels."
            )

    @property
    def fits_clean(self) -> bool:
        """No: clean samples only steer."""
        return False

    @property
    def takes_masks(self) -> bool:
        """No: whole samples are chosen or corrected."""
        return False

    def build(self, task: Task) -> Learner:
        """A learner with a correcting network beside its own."""
        told_warm_up(self.warmup, task.epochs)
        return MlcLearner(self, task)


class MlcLearner(Learner):
    """Cross-entropy towards labels that a second network corrects."""

    steers = True
    in_pieces = False  # the virtual step calls the network by itself

    def __init__(self, method: Mlc, task: Task) -> None:
        """Make the network, then the correcting network from the same stream."""
        self.method, self.warming = method, method.warmup > 0
        self.network = task.network("main")
        _, head = LastLayer().head(self.network.module)
        classes = len(task.data.classes)
        if not isinstance(head, nn.Linear) or head.out_features != classes:
            raise ValueError(
                f"Mlc needs a model that ends in a linear layer of {classes} outputs, registered "
                "last, whose inputs are the features that labels are corrected by; this one ends "
                f"in {head}."
            )
        self.head = head
        self.corrector = Corrector(head.in_features, classes, method.hidden, method.trust)
        self.corrector.to(task.data.train.labels.device)
        adam = optim.Adam(self.corrector.parameters(), lr=method.lr)
        self.taught = self.network.beside(self.corrector, adam)

    def begin_epoch(self, epoch: int) -> None:
        """Leave the warm-up when it is over."""
        super().begin_epoch(epoch)
        self.warming = epoch < self.method.warmup

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step of the correcting network, then one of the model."""
        if self.warming:
            return plain_step(self.network, batch)[0]
        with self.network.autocast(), recorded_inputs(self.head) as seen:
            z, dz = bilevel_pass(
                self.network.module,
                batch,
                clean,
                loss=lambda z: self._towards_corrected(z, seen[-1], batch.labels),
                engine=self.method.engine,
                optimiser=self.network.optimiser,
            )
        z, features = full_precision(z), full_precision(seen[0])
        self.taught.descend(self.outer_loss(features, batch.labels, dz))
        q = self.corrector(features, batch.labels).detach()
        self.network.descend(cross_entropy(z, q).mean())
        return posterior_record(batch, z, q)

    def outer_loss(self, features: Tensor, observed: Tensor, dz: Tensor) -> Tensor:
        """1/n Σ ⟨q_i(Θ), ż_i⟩, whose gradient in Θ is that of the clean loss at θ̂.

        Args:
            features: h(x_i), without gradient, [n, width].
            observed: noisy labels, [n].
            dz: derivative of the logits along λ∇F(θ̂), [n, classes].
        """
        return (self.corrector(features, observed) * full_precision(dz)).sum(dim=1).mean()

    def state_dict(self) -> dict[str, Any]:
        """Both networks and the optimiser of the second."""
        return {**super().state_dict(), "taught": self.taught.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all three."""
        super().load_state_dict(state)
        self.taught.load_state_dict(state["taught"])

    def _towards_corrected(self, z: Tensor, features: Tensor, observed: Tensor) -> Tensor:
        with torch.no_grad():
            q = self.corrector(full_precision(features), observed)
        return cross_entropy(z, q).mean()


class Corrector(nn.Module):
    """g(h, y; Θ): features and a noisy label in, a distribution over the right one out."""

    def __init__(self, width: int, classes: int, hidden: int, trust: float) -> None:
        """An embedding of the label, and three layers with tanh.

        Args:
            width: number of features.
            classes: number of labels.
            hidden: units of the embedding and of the two hidden layers.
            trust: added to the output for the noisy label, in nats.
        """
        super().__init__()
        self.trust, self.classes = trust, classes
        self.embedding = nn.Embedding(classes, hidden)
        self.layers = nn.Sequential(
            nn.Linear(width + hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, hidden),
            nn.Tanh(),
            nn.Linear(hidden, classes),
        )

    def forward(self, features: Tensor, observed: Tensor) -> Tensor:
        """Corrected labels [n, classes] of features [n, width] and noisy labels [n]."""
        z = self.layers(torch.cat([features, self.embedding(observed).to(features)], dim=1))
        given = nn.functional.one_hot(observed, self.classes)
        return torch.softmax(z + self.trust * given, dim=1)


@contextmanager
def recorded_inputs(layer: nn.Module) -> Iterator[list[Tensor]]:
    """What comes into a layer during each pass inside, detached."""
    seen: list[Tensor] = []
    handle = layer.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    try:
        yield seen
    finally:
        handle.remove()

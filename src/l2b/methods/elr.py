"""Early-learning regularisation: hold on to what was predicted before memorising began."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, NoisyOnly, Task, labelled_mean, plain_record
from l2b.targets import silenced
from l2b.types import Batch

SURE = 1e-4  # probabilities are kept this far from 0 and 1, so that the logarithm is finite


@dataclass(frozen=True, kw_only=True)
class Elr(NoisyOnly):
    """Early-learning regularisation: cross-entropy + strength · log(1 − ⟨t, p⟩).

    t is the average of the sample's own past predictions,
    t ← memory · t + (1 − memory) · p, from t = 0 on; the regulariser keeps p close to it, so
    that wrong labels lose their gradient once the right ones were learned (Liu et al. 2020,
    arXiv 2007.00151, Section 4; ELR without the + of two networks and mixup).

    Attributes:
        strength: of the regulariser; the paper takes 3 for CIFAR-10 and 7 for CIFAR-100.
        memory: share of the old average that is kept at every visit, in [0, 1); the paper
            takes 0.7 and 0.9.
    """

    strength: float = 3.0
    memory: float = 0.7

    def __post_init__(self) -> None:
        """Refuse strengths and shares that have no meaning."""
        if not self.strength >= 0 or not 0 <= self.memory < 1:
            raise ValueError(
                "Elr needs strength >= 0 and 0 <= memory < 1, got "
                f"{self.strength} and {self.memory}."
            )

    @property
    def takes_overlap(self) -> bool:
        """No: its loss is one of cross-entropies."""
        return False

    @property
    def remembers(self) -> bool:
        """Yes: the averages that it holds on to."""
        return True

    def build(self, task: Task) -> Learner:
        """A learner that remembers its predictions."""
        return ElrLearner(self, task)


class ElrLearner(Learner):
    """Regularised cross-entropy; the clean set is not used."""

    def __init__(self, method: Elr, task: Task) -> None:
        """Make the network and an empty memory."""
        self.method = method
        self.network = task.network("main")
        labels, classes = task.data.train.labels, len(task.data.classes)
        self.average = torch.zeros(*labels.shape, classes, device=labels.device).movedim(-1, 1)

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """Renew the averages of the batch, then one step on the regularised loss."""
        del clean
        z = self.network.logits(batch.inputs)
        losses = cross_entropy(z, batch.labels)
        p = torch.softmax(z, dim=1).clamp(SURE, 1 - SURE)
        kept = self.method.memory * self.average[batch.index]
        target = kept + (1 - self.method.memory) * p.detach() / p.detach().sum(dim=1, keepdim=True)
        finite = target.flatten(1).isfinite().all(dim=1)
        finite = finite.view(-1, *[1] * (target.ndim - 1))
        # One bad pass must not spoil a sample's past.
        self.average[batch.index] = torch.where(finite, target, self.average[batch.index])
        held = silenced(early_learning(p, target), batch.labels)
        self.network.descend(labelled_mean(losses + self.method.strength * held, batch.labels))
        record = plain_record(batch, z, losses)
        return replace(record, pseudo=target.argmax(dim=1))

    def state_dict(self) -> dict[str, Any]:
        """The network and the averages."""
        return {**super().state_dict(), "average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.average = state["average"].to(self.average)


def early_learning(p: Tensor, target: Tensor) -> Tensor:
    """log(1 − ⟨t, p⟩) of every sample, at most 0.

    Args:
        p: predicted probabilities, [n, classes, *pixels].
        target: averaged predictions t, likewise, without gradient.
    """
    return torch.log(1 - (target * p).sum(dim=1))

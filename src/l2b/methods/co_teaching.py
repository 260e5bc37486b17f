"""Co-teaching: two networks, each taught what the other finds easy."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, NoisyOnly, Task, plain_record
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class CoTeaching(NoisyOnly):
    """Co-teaching: each of two networks learns the samples of smallest loss in the other.

    Of every batch a share R(e) = 1 − min(forget · e / ramp, forget) is kept in epoch e (Han et
    al. 2018, arXiv 1804.06872, Algorithm 1). Predictions are those of the first network.

    Attributes:
        forget: share of samples that is left out in the end, in [0, 1); the paper sets it to
            the noise rate, which it takes as known.
        ramp: epochs until so many are left out.
    """

    forget: float = 0.2
    ramp: int = 10

    def __post_init__(self) -> None:
        """Refuse shares that leave nothing."""
        if not 0 <= self.forget < 1 or self.ramp < 1:
            raise ValueError(
                f"CoTeaching needs 0 <= forget < 1 and ramp >= 1, got {self.forget} and "
                f"{self.ramp}: something has to be left to learn from."
            )

    def kept(self, epoch: int) -> float:
        """R(e): share of every batch that is learned from in an epoch (0-based)."""
        return 1 - min(self.forget * (epoch + 1) / self.ramp, self.forget)

    @property
    def takes_masks(self) -> bool:
        """No: whole samples are chosen or corrected."""
        return False

    def build(self, task: Task) -> Learner:
        """A learner with two networks of their own initial values."""
        return CoTeachingLearner(self, task)


class CoTeachingLearner(Learner):
    """Two networks on each other's small losses; the clean set is not used."""

    def __init__(self, method: CoTeaching, task: Task) -> None:
        """Make both networks; the first one is judged and kept."""
        self.method, self.share = method, method.kept(0)
        self.network, self.peer = task.network("main"), task.network("peer")

    def begin_epoch(self, epoch: int) -> None:
        """Set how much is kept, and both learning rates."""
        super().begin_epoch(epoch)
        self.peer.begin_epoch(epoch)
        self.share = self.method.kept(epoch)

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """Each network takes one step on the mean loss of what the other finds easy."""
        del clean
        z = self.network.logits(batch.inputs)
        losses = cross_entropy(z, batch.labels)
        in_peer = cross_entropy(self.peer.logits(batch.inputs), batch.labels)
        count = max(1, round(self.share * len(batch.labels)))
        chosen, for_peer = smallest(in_peer, count), smallest(losses, count)
        self.network.descend(losses[chosen].mean())
        self.peer.descend(in_peer[for_peer].mean())
        record = plain_record(batch, z, losses)
        alpha = torch.zeros_like(record.alpha)
        alpha[chosen] = len(alpha) / count
        return replace(record, alpha=alpha)

    def state_dict(self) -> dict[str, Any]:
        """Both networks."""
        return {**super().state_dict(), "peer": self.peer.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.peer.load_state_dict(state["peer"])


def smallest(losses: Tensor, count: int) -> Tensor:
    """Positions of the samples with the smallest losses, [count]."""
    return losses.detach().argsort(stable=True)[:count]

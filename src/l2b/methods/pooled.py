"""Noisy and clean samples in one pool."""

from dataclasses import dataclass

from torch import Tensor

from l2b.methods.base import Learner, Method, Plain, Task, labelled_mean, mean_loss
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class Pooled(Method):
    """Standard training on noisy and clean samples together, each counted once."""

    def build(self, task: Task) -> Learner:
        """A learner of the union."""
        return PooledLearner(task)


class PooledLearner(Plain):
    """Plain training on the union of both sets."""

    shared = True

    def loss(self, losses: Tensor, overlap: Tensor, batch: Batch, clean: Batch) -> Tensor:
        """The mean over the union, estimated from one batch of each part."""
        noisy, trusted = len(self.task.data.train), len(self.task.data.clean)
        on_noisy, on_clean = (
            labelled_mean(losses, batch.labels) + overlap,
            mean_loss(self.network, clean),
        )
        return (noisy * on_noisy + trusted * on_clean) / (noisy + trusted)

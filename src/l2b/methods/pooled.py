"""Noisy and clean samples in one pool."""

from dataclasses import dataclass

from torch import Tensor

from l2b.losses import cross_entropy
from l2b.methods.base import Learner, Method, Plain, Task
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

    def loss(self, losses: Tensor, clean: Batch) -> Tensor:
        """The mean over the union, estimated from one batch of each part."""
        noisy, trusted = len(self.task.data.train), len(self.task.data.clean)
        on_clean = cross_entropy(self.network.logits(clean.inputs), clean.labels)
        return (noisy * losses.mean() + trusted * on_clean.mean()) / (noisy + trusted)

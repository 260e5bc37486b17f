"""Standard training on the labels as given."""

from dataclasses import dataclass

from torch import Tensor

from l2b.methods.base import Learner, NoisyOnly, Plain, Task, labelled_mean
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class CrossEntropy(NoisyOnly):
    """Standard training: mean cross-entropy towards the observed labels."""

    def build(self, task: Task) -> Learner:
        """A learner that believes everything."""
        return CrossEntropyLearner(task)


class CrossEntropyLearner(Plain):
    """Plain training; the clean set is not used."""

    shared = True

    def loss(self, losses: Tensor, overlap: Tensor, batch: Batch, clean: Batch) -> Tensor:
        """The mean."""
        del clean
        return labelled_mean(losses, batch.labels) + overlap

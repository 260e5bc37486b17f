"""The clean set alone."""

from dataclasses import dataclass

from l2b.ledger import StepRecord
from l2b.methods.base import Learner, Method, Task, clean_step
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class CleanOnly(Method):
    """Standard training on the clean set alone, for as many steps as the others take."""

    def build(self, task: Task) -> Learner:
        """A learner that ignores the noisy labels."""
        return CleanOnlyLearner(task)


class CleanOnlyLearner(Learner):
    """Plain training on clean batches."""

    shared = True

    def __init__(self, task: Task) -> None:
        """Make the one network."""
        self.network = task.network("main")

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step on the clean batch."""
        return clean_step(self.network, batch, clean)[0]

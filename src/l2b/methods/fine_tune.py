"""Noisy training, stopped early, then the clean set."""

from dataclasses import dataclass
from typing import Any

from l2b.best_epoch import BestEpoch
from l2b.ledger import StepRecord
from l2b.methods.base import Learner, Method, Task, anew, clean_step, first_part
from l2b.methods.cross_entropy import CrossEntropyLearner
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class FineTune(Method):
    """Noisy training stopped where the clean set fits best, then training on the clean set.

    Attributes:
        noisy_share: share of the epochs given to noisy training, in (0, 1). After it, the
            parameters of its best epoch on the clean set (by accuracy, for masks by Dice, under
            class weights by the accuracy under them) come back.
        lr_factor: factor on the learning rate while training on the clean set.
    """

    noisy_share: float = 0.5
    lr_factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse shares that leave one of the two parts out."""
        if not 0 < self.noisy_share < 1:
            raise ValueError(
                f"FineTune needs 0 < noisy_share < 1, got {self.noisy_share}: at 0 it is "
                "clean_only, at 1 it is cross_entropy."
            )
        if not self.lr_factor > 0:
            raise ValueError(
                f"FineTune needs lr_factor > 0, got {self.lr_factor}: it multiplies the learning "
                "rate."
            )

    @property
    def asks_clean(self) -> str:
        """What they say: which noisy epoch comes back."""
        return "which noisy epoch comes back"

    def build(self, task: Task) -> Learner:
        """A learner in two parts."""
        return FineTuneLearner(self, task)


class FineTuneLearner(CrossEntropyLearner):
    """Cross-entropy on the noisy set, then on the clean set from the best epoch."""

    def __init__(self, method: FineTune, task: Task, turn: int | None = None) -> None:
        """Start with the noisy part, of so many epochs, or as many as the method says."""
        super().__init__(task)
        self.method = method
        self.turn = turn or first_part(method, method.noisy_share, task.epochs)
        self.tuning = False
        self.best = BestEpoch()

    def begin_epoch(self, epoch: int) -> None:
        """Judge the noisy epoch that has ended; turn to the clean set when it is time."""
        if 0 < epoch <= self.turn:
            self.best.judge(self.predict, self.network.module, self.task.data)
        self.tuning = epoch >= self.turn
        if epoch == self.turn:
            self.best.bring_back(self.network.module)
        if self.tuning:
            epochs = self.task.epochs
            self.network.begin_epoch(anew(epoch, self.turn, epochs, epochs), self.method.lr_factor)
        else:
            self.network.begin_epoch(epoch)

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step on the noisy or on the clean batch."""
        if self.tuning:
            return clean_step(self.network, batch, clean)[0]
        return super().step(batch, clean)

    def state_dict(self) -> dict[str, Any]:
        """The network now and in its best noisy epoch."""
        return {**super().state_dict(), "best": self.best.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.best.load_state_dict(state["best"])

"""Keep the parameters of the epoch that does best on checked samples."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from l2b.data import Pool
from l2b.evaluate import evaluate, measure
from l2b.ledger import StepRecord
from l2b.methods import Learner, Method, Task
from l2b.types import Batch, Inputs


@dataclass(frozen=True, kw_only=True)
class Chosen(Method):
    """Another method, whose parameters are kept where clean validation is best.

    Attributes:
        method: what learns.
        validation: checked samples that it does not learn from.
    """

    method: Method
    validation: Pool

    @property
    def fits_clean(self) -> bool:
        """As the method does; samples kept aside are not among the clean ones."""
        return self.method.fits_clean

    def build(self, task: Task) -> "ChosenLearner":
        """The method's learner under observation."""
        return ChosenLearner(self, task)


class ChosenLearner(Learner):
    """Passes everything on, and judges the epoch that has ended."""

    def __init__(self, method: Chosen, task: Task) -> None:
        """Build the learner that works."""
        self.validation, self.data = method.validation, task.data
        self.inner = method.method.build(task)
        self.network = self.inner.network
        self.best: tuple[float, float] = (-1.0, 0.0)
        self.best_state: dict[str, Tensor] = {}
        self.started = False

    def begin_epoch(self, epoch: int) -> None:
        """Judge the last epoch, then go on."""
        if self.started:
            self.judge()
        self.inner.begin_epoch(epoch)
        self.network, self.started = self.inner.network, True

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """The method's step."""
        return self.inner.step(batch, clean)

    def predict(self, inputs: Inputs) -> Tensor:
        """The method's prediction."""
        return self.inner.predict(inputs)

    def judge(self) -> None:
        """Remember the parameters if they are the best so far (ties: lower loss)."""
        found = evaluate(self.predict, self.validation, self.data)
        score = (found[measure(self.data)], -found["loss"])
        if score > self.best:
            self.best = score
            state = self.network.module.state_dict()
            self.best_state = {n: torch.clone(v) for n, v in state.items()}

    def finish(self) -> None:
        """Judge the last epoch, then bring back the best parameters."""
        self.judge()
        self.network.module.load_state_dict(self.best_state)

    def state_dict(self) -> dict[str, Any]:
        """The method's state; the choice is made within one process."""
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the method's state."""
        self.inner.load_state_dict(state)

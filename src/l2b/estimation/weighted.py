"""Class weights for any method: batches resampled in proportion to them."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from sklearn.utils import compute_class_weight
from torch import Tensor

from l2b.estimation.task import Given
from l2b.ledger import StepRecord
from l2b.methods import Learner, Method, Task
from l2b.types import Batch, Inputs


def class_weights(
    wanted: dict[Any, float] | str | None, given: Given, names: np.ndarray
) -> tuple[float, ...] | None:
    """How often each class is to be seen, in proportion, as scikit-learn reads ``class_weight``.

    Args:
        wanted: None, "balanced", or weights by name.
        given: noisy and checked samples, whose labels are counted.
        names: of the classes, as ``wanted`` knows them.
    """
    if wanted is None:
        return None
    labels = names[given.labels.numpy()]
    return tuple(compute_class_weight(wanted, classes=names, y=labels).tolist())


@dataclass(frozen=True, kw_only=True)
class Weighted(Method):
    """Another method that sees some classes more often.

    Every batch is drawn anew from itself, with replacement, each sample in proportion to the
    weight of its label as given: in expectation, that is training with weighted losses.

    Attributes:
        method: what learns.
        weights: of each class, not negative.
    """

    method: Method
    weights: tuple[float, ...]

    @property
    def fits_clean(self) -> bool:
        """As the method does."""
        return self.method.fits_clean

    def build(self, task: Task) -> "WeightedLearner":
        """The method's learner behind the draw."""
        return WeightedLearner(self, task)


class WeightedLearner(Learner):
    """Redraws both batches, then lets the learner work."""

    def __init__(self, method: Weighted, task: Task) -> None:
        """Build the learner that works."""
        self.weights = torch.tensor(method.weights, device=task.data.train.labels.device)
        self.inner = method.method.build(task)
        self.network = self.inner.network

    def begin_epoch(self, epoch: int) -> None:
        """The method's epoch."""
        self.inner.begin_epoch(epoch)
        self.network = self.inner.network

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """The method's step on redrawn batches; samples that were not drawn stay unseen."""
        return self.inner.step(self._redrawn(batch), self._redrawn(clean))

    def predict(self, inputs: Inputs) -> Tensor:
        """The method's prediction."""
        return self.inner.predict(inputs)

    def state_dict(self) -> dict[str, Any]:
        """The method's state."""
        return self.inner.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the method's state."""
        self.inner.load_state_dict(state)

    def _redrawn(self, batch: Batch) -> Batch:
        weights = self.weights[batch.labels]
        if not bool((weights > 0).any()):
            return batch
        rows = torch.multinomial(weights, len(weights), replacement=True)
        inputs = cast(Tensor, batch.inputs)[rows]
        return Batch(index=batch.index[rows], inputs=inputs, labels=batch.labels[rows])

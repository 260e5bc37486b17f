"""Gold loss correction: a transition matrix measured on the clean set."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from l2b.evaluate import predict_pool
from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import (
    Learner,
    Method,
    Task,
    anew,
    first_part,
    labelled_mean,
    mean_loss,
    plain_record,
)
from l2b.methods.cross_entropy import CrossEntropyLearner
from l2b.targets import VOID, silenced
from l2b.types import Batch

JUDGED = "corrected"  # name of the second network, whose initial values are its own


@dataclass(frozen=True, kw_only=True)
class GoldCorrection(Method):
    """Gold loss correction: noisy labels through a transition matrix, clean labels as they are.

    First a model learns the noisy labels; C[y, ỹ], the mean of its p(ỹ | x) over the clean
    samples of class y, says how labels go wrong. Then a fresh model p is trained: noisy samples
    on −log Σ_y p(y | x) C[y, ỹ], clean ones on −log p(y | x) (Hendrycks et al. 2018,
    arXiv 1802.05300, Algorithm 1).

    Of masks, the first model and the clean loss take the Dice loss of ``training.overlap``; the
    corrected loss is of pixels and has none, so with ``clean_weight`` 0 it is refused.

    Attributes:
        noisy_share: share of the epochs given to the first model, in (0, 1).
        clean_weight: weight of the mean clean loss beside the mean corrected loss. The paper
            sums both over the union of the sets, which a small clean set makes ineffective.
    """

    noisy_share: float = 0.4
    clean_weight: float = 1.0

    def __post_init__(self) -> None:
        """Refuse shares that leave one of the two parts out."""
        if not 0 < self.noisy_share < 1:
            raise ValueError(
                f"GoldCorrection needs 0 < noisy_share < 1, got {self.noisy_share}: the matrix "
                "is measured by the first model and used by the second."
            )
        if not self.clean_weight >= 0:
            raise ValueError(
                f"GoldCorrection needs clean_weight >= 0, got {self.clean_weight}: a negative "
                "weight would train away from the checked labels."
            )

    @property
    def takes_overlap(self) -> bool:
        """Only beside the clean loss: the corrected one is of pixels alone."""
        return self.takes_masks and self.clean_weight > 0

    @property
    def judged_network(self) -> str:
        """The second of the two."""
        return JUDGED

    @property
    def asks_clean(self) -> str:
        """What they say: how labels go wrong."""
        return "how labels go wrong"

    def build(self, task: Task) -> Learner:
        """A learner with two networks, one after the other."""
        return GoldCorrectionLearner(self, task)


class GoldCorrectionLearner(Learner):
    """Measures how labels go wrong, then learns what is right."""

    shared = True

    def __init__(self, method: GoldCorrection, task: Task) -> None:
        """Make both networks; the first is the one in use until the turn."""
        self.method, self.task = method, task
        self.turn = first_part(method, method.noisy_share, task.epochs)
        self.noisy = CrossEntropyLearner(task)
        self.fresh = task.network(JUDGED)
        self.network = self.noisy.network
        classes = len(task.data.classes)
        self.matrix = torch.eye(classes, device=task.data.train.labels.device)

    def begin_epoch(self, epoch: int) -> None:
        """Measure the matrix when the first part is over; each part has the whole schedule."""
        first, count = (0, self.turn) if epoch < self.turn else (self.turn, self.task.epochs)
        if epoch == self.turn:
            self.matrix = transition_matrix(self.noisy, self.task)
        if epoch >= self.turn:
            self.network = self.fresh
        self.network.begin_epoch(anew(epoch, first, count, self.task.epochs))

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step of the part at hand."""
        if self.network is self.noisy.network:
            return self.noisy.step(batch, clean)
        z = self.network.logits(batch.inputs)
        corrected = labelled_mean(corrected_loss(z, batch.labels, self.matrix), batch.labels)
        on_clean = mean_loss(self.network, clean)
        self.network.descend(corrected + self.method.clean_weight * on_clean)
        return plain_record(batch, z, cross_entropy(z, batch.labels))

    def state_dict(self) -> dict[str, Any]:
        """Both networks and the matrix."""
        return {
            "noisy": self.noisy.state_dict(),
            "network": self.fresh.state_dict(),
            "matrix": self.matrix,
            "corrected": self.network is self.fresh,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all three."""
        self.noisy.load_state_dict(state["noisy"])
        self.fresh.load_state_dict(state["network"])
        self.matrix = state["matrix"].to(self.matrix)
        self.network = self.fresh if state["corrected"] else self.noisy.network


def transition_matrix(learner: Learner, task: Task) -> Tensor:
    """How labels go wrong: row y, the mean predicted distribution over clean samples of y.

    Of masks, over clean pixels of y. Each of several yes-or-no labels goes wrong in its own way.

    Args:
        learner: trained on noisy labels.
        task: gives the clean set.

    Returns:
        [classes, classes], true class by observed class; rows sum to 1. A class without a
        clean sample keeps its label. With tags, one for each, [tags, classes, classes].
    """
    data, clean, classes = task.data, task.data.clean, len(task.data.classes)
    p = torch.softmax(predict_pool(learner.predict, clean, data), dim=1)
    if not data.tags:
        return _transition(p, clean.labels, classes)
    pairs = zip(p.unbind(dim=2), clean.labels.unbind(dim=1), strict=True)
    return torch.stack([_transition(*pair, classes) for pair in pairs])


def _transition(p: Tensor, true: Tensor, classes: int) -> Tensor:
    p, labels = p.movedim(1, -1)[true != VOID], true[true != VOID]
    sums = p.new_zeros(classes, classes).index_add_(0, labels, p)
    counts = torch.bincount(labels, minlength=classes).unsqueeze(1)
    return torch.where(counts > 0, sums / counts.clamp_min(1), torch.eye(classes, device=p.device))


def reach(matrix: Tensor, observed: Tensor) -> Tensor:
    """C[y, ỹ] for every label ỹ, [n, classes, *pixels].

    Args:
        matrix: C, true class by observed class, or one for each tag.
        observed: labels as given, [n, *pixels]; of void ones it is that of the first class.
    """
    given = silenced(observed, observed)
    if matrix.ndim == 2:
        return matrix[:, given].movedim(0, 1)
    number = torch.arange(len(matrix), device=matrix.device)
    return matrix[number, :, given].movedim(-1, 1)


def corrected_loss(z: Tensor, observed: Tensor, matrix: Tensor) -> Tensor:
    """−log Σ_y softmax(z)_y C[y, ỹ]: how surprising the observed label is (Hendrycks et al.).

    Args:
        z: logits of the true class, [n, classes, *pixels].
        observed: labels as given, [n, *pixels].
        matrix: C, true class by observed class, or one for each tag.

    Returns:
        Loss in nats, [n, *pixels]; 0 for void pixels.
    """
    # Floored, since a transition that the clean set never showed may still happen.
    columns = reach(matrix.clamp_min(1e-4).log(), observed)
    return silenced(-torch.logsumexp(torch.log_softmax(z, dim=1) + columns, dim=1), observed)

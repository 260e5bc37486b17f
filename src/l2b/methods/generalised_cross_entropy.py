"""Generalised cross-entropy: a loss that wrong labels cannot dominate."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.methods.base import (
    Learner,
    NoisyOnly,
    Plain,
    Task,
    check_warm_up,
    labelled_mean,
    told_warm_up,
)
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class GeneralisedCrossEntropy(NoisyOnly):
    """Generalised cross-entropy: (1 − p_y^q) / q, between cross-entropy and absolute error.

    Zhang and Sabuncu 2018 (arXiv 1805.07836), Eq. 6; its gradient is that of cross-entropy
    times p_y^q, so labels that the model thinks impossible have no pull.

    Attributes:
        q: in (0, 1]; towards 0 it is cross-entropy, at 1 the mean absolute error, which is
            robust and slow. The paper takes 0.7.
        warmup: epochs of plain cross-entropy first; the paper has none, and starts slowly,
            since among C classes an untrained model's gradient is C^q times smaller.
    """

    q: float = 0.7
    warmup: int = 2

    def __post_init__(self) -> None:
        """Refuse exponents outside the family."""
        if not 0 < self.q <= 1:
            raise ValueError(
                f"GeneralisedCrossEntropy needs 0 < q <= 1, got {self.q}: at 0 it is "
                "cross_entropy, above 1 it is no longer robust."
            )
        check_warm_up(self.warmup)

    def build(self, task: Task) -> Learner:
        """A learner with that loss."""
        told_warm_up(self.warmup, task.epochs)
        return GeneralisedCrossEntropyLearner(self, task)


class GeneralisedCrossEntropyLearner(Plain):
    """Plain training on a bounded loss; the clean set is not used."""

    def __init__(self, method: GeneralisedCrossEntropy, task: Task) -> None:
        """Make the one network."""
        super().__init__(task)
        self.method, self.warming = method, method.warmup > 0

    def begin_epoch(self, epoch: int) -> None:
        """Leave the warm-up when it is over."""
        super().begin_epoch(epoch)
        self.warming = epoch < self.method.warmup

    def loss(self, losses: Tensor, overlap: Tensor, batch: Batch, clean: Batch) -> Tensor:
        """The mean of (1 − p_y^q) / q, with p_y = exp(−cross-entropy)."""
        del clean
        q = self.method.q
        generalised = losses if self.warming else -torch.expm1(-q * losses) / q
        return labelled_mean(generalised, batch.labels) + overlap

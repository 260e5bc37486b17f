"""Pair flip: each class is mistaken for the next one."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.noise.base import ClassConditional, check_rate


@dataclass(frozen=True, kw_only=True)
class PairFlip(ClassConditional):
    """Class k is mistaken for class k + 1, and the last one for the first.

    Attributes:
        rate: share of the labels that are wrong, in [0, 0.5).
    """

    rate: float

    def __post_init__(self) -> None:
        """Refuse a rate at which right and wrong cannot be told apart."""
        why = (
            "from 0.5 on, the wrong label is at least as common as the right one, and no method "
            "can tell them apart"
        )
        check_rate("PairFlip", self.rate, below=0.5, why=why)

    def transition(self, classes: int) -> Tensor:
        """1 − rate on the diagonal, the rate to the right of it, circular."""
        if classes < 2:
            raise ValueError(f"PairFlip needs at least 2 classes to confuse, got {classes}.")
        same = torch.eye(classes, dtype=torch.float64)
        return (1 - self.rate) * same + self.rate * same.roll(1, dims=1)

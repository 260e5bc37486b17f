"""Symmetric noise: wrong labels are spread evenly over the classes."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from l2b.noise.base import ClassConditional, check_rate


@dataclass(frozen=True, kw_only=True)
class Symmetric(ClassConditional):
    """Any class may replace any other, all equally likely; two conventions for the rate.

    Attributes:
        rate: share of the labels that are drawn anew, in [0, 1].
        convention: ``redraw`` draws the new label from all C classes, the true one
            included, so a share of rate · (1 − 1/C) ends up wrong (DivideMix and most
            tables); ``flip`` draws from the other C − 1, so exactly the rate is wrong.
    """

    rate: float
    convention: Literal["redraw", "flip"] = "redraw"

    def __post_init__(self) -> None:
        """Refuse a rate that is no share and a convention that is none."""
        check_rate("Symmetric", self.rate, why="it is the share of labels that are drawn anew")
        if self.convention not in ("redraw", "flip"):
            raise ValueError(
                f"Symmetric needs convention 'redraw' or 'flip', got {self.convention!r}: the "
                "two differ in how many labels end up wrong."
            )

    def transition(self, classes: int) -> Tensor:
        """1 − rate on the diagonal, and the rate spread over C or C − 1 classes."""
        if classes < 2:
            raise ValueError(f"Symmetric needs at least 2 classes to draw from, got {classes}.")
        same = torch.eye(classes, dtype=torch.float64)
        if self.convention == "redraw":
            return (1 - self.rate) * same + self.rate / classes
        return (1 - self.rate) * same + self.rate / (classes - 1) * (1 - same)

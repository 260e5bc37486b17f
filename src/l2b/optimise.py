"""Optimisers by their PyTorch name, and learning rates as functions of progress."""

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn, optim

from l2b.catalog import unknown

OTHERWISE = "LBFGS", "SparseAdam"  # of torch.optim; they ask for several passes, sparse gradients


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Any optimiser of `torch.optim` that takes one dense gradient a step.

    Attributes:
        kind: its class name there, such as SGD, Adam or AdamW.
        lr: initial learning rate.
        options: its other arguments by name; for SGD, momentum 0.9 and weight decay 5e-4
            unless given.
    """

    kind: str = "SGD"
    lr: float = 0.1
    options: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse unknown kinds and options early, not in the first step."""
        kinds = [
            name
            for name, found in vars(optim).items()
            if inspect.isclass(found)
            and issubclass(found, optim.Optimizer)
            and found is not optim.Optimizer
            and name not in OTHERWISE
        ]
        if self.kind not in kinds:
            raise ValueError(unknown("optimiser", self.kind, kinds))
        if not self.lr > 0 or not math.isfinite(self.lr):
            raise ValueError(
                f"optimiser.lr must be positive and finite, got {self.lr}: it is the length of a "
                "step along the gradient, often 0.001 to 0.1."
            )
        known = list(inspect.signature(getattr(optim, self.kind)).parameters)[2:]
        for option in self.options:
            if option not in known:
                raise ValueError(unknown(f"{self.kind} option", option, known))
        try:
            if self.options:  # making one for nothing takes two seconds, of imports
                self.build([nn.Parameter(torch.zeros(1, 1))])
        except Exception as error:  # whatever an optimiser makes of a wrong value
            line = " ".join(str(error).split())
            raise ValueError(
                f"optimiser.options {self.options} do not suit {self.kind} ({line[:200]}): see its "
                "arguments in torch.optim."
            ) from error

    def build(self, parameters: Iterable[nn.Parameter]) -> optim.Optimizer:
        """The optimiser of these parameters."""
        defaults = {"momentum": 0.9, "weight_decay": 5e-4} if self.kind == "SGD" else {}
        return getattr(optim, self.kind)(parameters, lr=self.lr, **{**defaults, **self.options})


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """The learning rate over time."""

    @abstractmethod
    def __call__(self, epoch: int, epochs: int) -> float:
        """The factor on the initial learning rate in this epoch (0-based) of so many."""


@dataclass(frozen=True, kw_only=True)
class Constant(Schedule):
    """Always the initial learning rate."""

    def __call__(self, epoch: int, epochs: int) -> float:
        """1."""
        return 1.0


@dataclass(frozen=True, kw_only=True)
class Cosine(Schedule):
    """Half a cosine, from the initial learning rate towards zero."""

    def __call__(self, epoch: int, epochs: int) -> float:
        """(1 + cos(π · epoch / epochs)) / 2."""
        return (1 + math.cos(math.pi * epoch / epochs)) / 2


@dataclass(frozen=True, kw_only=True)
class Steps(Schedule):
    """A constant factor at given shares of the run.

    Attributes:
        at: shares of the epochs, in (0, 1), at which the factor is applied.
        factor: multiplied at each.
    """

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        """Refuse epochs in the place of shares, and factors that turn steps round."""
        if not all(0 < share < 1 for share in self.at) or not self.factor > 0:
            raise ValueError(
                f"Steps needs shares of the run in (0, 1) as at, and factor > 0, got {self.at} and "
                f"{self.factor}: 0.3 is epoch 30 of 100."
            )

    def __call__(self, epoch: int, epochs: int) -> float:
        """Factor to the number of shares that have passed."""
        return self.factor ** sum(epoch >= share * epochs - 1e-9 for share in self.at)


@dataclass(frozen=True, kw_only=True)
class Hyperbolic(Schedule):
    """h / (epoch + h), the published schedule for segmentation.

    Attributes:
        half: epochs after which half of the initial learning rate is left.
    """

    half: float = 20.0

    def __post_init__(self) -> None:
        """Refuse a length that has no meaning."""
        if not self.half > 0:
            raise ValueError(
                f"Hyperbolic needs half > 0, got {self.half}: after so many epochs half of the "
                "learning rate is left."
            )

    def __call__(self, epoch: int, epochs: int) -> float:
        """Half / (epoch + half)."""
        return self.half / (epoch + self.half)

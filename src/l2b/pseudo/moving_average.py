"""Predictions of an exponential moving average of the model."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import PARAM_LIST, AveragedModel, get_ema_multi_avg_fn

from l2b import collectives
from l2b.functional import forward
from l2b.pseudo.base import PseudoLabels, Source
from l2b.types import Inputs


@dataclass(frozen=True, kw_only=True)
class MovingAverage(PseudoLabels):
    """Predictions of an exponential moving average of the model (a mean teacher).

    Attributes:
        decay: share of the old average kept at every step, in [0, 1). Early on it is
            smaller, (1 + t) / (10 + t) after t steps, so that the start is forgotten.
        soft: probabilities (True) or the most likely class (False).
    """

    decay: float = 0.99
    soft: bool = True

    def __post_init__(self) -> None:
        """Refuse a decay that is none."""
        _check_decay("MovingAverage", self.decay)

    def build(self, module: nn.Module, samples: int | None = None) -> "Teacher":
        """A copy of the model that follows it."""
        del samples
        return Teacher(module, self.decay, soft=self.soft)


class Teacher(Source):
    """An averaged copy of the model, in evaluation mode; its running statistics too.

    With several processes these are the averages of the first one's, in all of them: what a
    sample is called must not depend on where it lies, nor on a stop in between.
    """

    def __init__(self, module: nn.Module, decay: float, *, soft: bool) -> None:
        """Copy the model as it is now."""
        self.decay, self.soft = decay, soft
        self.average = AveragedModel(module, multi_avg_fn=self._mix, use_buffers=True)
        self.average.requires_grad_(False).eval()
        held = (t for t in self.average.buffers() if t.is_floating_point())
        # Averages of -inf, as in masks of attention, would be NaN.
        self.fixed = {t.data_ptr() for t in held if not bool(t.isfinite().all())}

    def __call__(self, z: Tensor, inputs: Inputs, index: Tensor | None) -> Tensor:
        """The teacher's prediction, as probabilities or class indices."""
        del z, index
        with torch.no_grad():
            z = forward(self.average, inputs)
        return torch.softmax(z, dim=1) if self.soft else z.argmax(dim=1)

    def update(self, module: nn.Module, z: Tensor, index: Tensor | None) -> None:
        """Move the average towards the model."""
        del z, index
        self.average.update_parameters(module)
        collectives.copy_from_first(b for b in self.average.buffers() if b.is_floating_point())

    def state_dict(self) -> dict[str, Any]:
        """The averaged parameters and buffers, and how many steps they hold."""
        return self.average.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the average."""
        self.average.load_state_dict(state)

    def _mix(self, averages: PARAM_LIST, currents: PARAM_LIST, steps: Tensor | int) -> None:
        """Move all tensors of one type at once; to look at ``steps`` would make a GPU wait."""
        if not averages[0].is_floating_point():
            for average, current in zip(averages, currents, strict=True):
                average.copy_(current)
            return
        done = int(self.average.n_averaged)
        get_ema_multi_avg_fn(min(self.decay, (1 + done) / (10 + done)))(averages, currents, steps)
        for average, current in zip(averages, currents, strict=True) if self.fixed else ():
            if average.data_ptr() in self.fixed:
                average.copy_(current)


def _check_decay(owner: str, decay: float) -> None:
    if not 0 <= decay < 1:
        raise ValueError(
            f"{owner} needs 0 <= decay < 1, got {decay}: it is the share of the old average "
            "that is kept, and at 1 nothing new would ever come in."
        )

"""The average of each sample's own past predictions."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l2b import collectives
from l2b.functional import full_precision
from l2b.pseudo.base import PseudoLabels, Source
from l2b.pseudo.moving_average import _check_decay
from l2b.types import Inputs


@dataclass(frozen=True, kw_only=True)
class Temporal(PseudoLabels):
    """The average of each sample's own past predictions (temporal ensembling).

    A sample that was never predicted before gets the current prediction itself, which
    scores zero, so it has no say yet.

    Attributes:
        decay: share of the old average kept at every visit, in [0, 1).
        soft: probabilities (True) or the most likely class (False).
    """

    decay: float = 0.9
    soft: bool = True

    def __post_init__(self) -> None:
        """Refuse a decay that is none."""
        _check_decay("Temporal", self.decay)

    @property
    def remembers(self) -> bool:
        """Yes: the averages."""
        return True

    def build(self, module: nn.Module, samples: int | None = None) -> "Memory":
        """An empty memory of ``samples`` rows.

        Raises:
            ValueError: if the number of samples is unknown.
        """
        del module
        if samples is None:
            raise ValueError(
                "Temporal needs the number of training samples: it keeps an average for "
                "each. Call build(model, samples=len(training_set))."
            )
        return Memory(samples, self.decay, soft=self.soft)


class Memory(Source):
    """One bias-corrected average of probabilities per sample."""

    def __init__(self, samples: int, decay: float, *, soft: bool) -> None:
        """Remember nothing yet; the table is made when the first logits tell its width."""
        self.samples, self.decay, self.soft = samples, decay, soft
        self.average: Tensor | None = None
        self.visits = torch.zeros(samples, dtype=torch.int32)

    def __call__(self, z: Tensor, inputs: Inputs, index: Tensor | None) -> Tensor:
        """Averaged past predictions, as probabilities or class indices."""
        del inputs
        target, rows = torch.softmax(z, dim=1), self._rows(index)
        if self.average is not None:
            visits = self.visits[rows].to(z.device)
            seen = (visits > 0).view(-1, *[1] * (z.ndim - 1))
            corrected = self.average[rows].to(z) / (1 - self.decay ** visits.clamp_min(1)).view(
                seen.shape
            ).to(z)
            target = torch.where(seen, corrected, target)
        return target if self.soft else target.argmax(dim=1)

    def update(self, module: nn.Module, z: Tensor, index: Tensor | None) -> None:
        """Mix the new predictions in."""
        del module
        if index is not None:  # every process remembers every sample, whoever saw it
            z, index = (collectives.gathered(part, equal=False) for part in (z, index))
        rows = self._rows(index)
        p = torch.softmax(full_precision(z), dim=1).to(self.visits.device)
        finite = p.flatten(1).isfinite().all(dim=1)
        rows, p = rows[finite], p[finite]  # one bad pass must not spoil a sample's past
        average = self.average
        if average is None:
            self.average = average = torch.zeros(self.samples, *p.shape[1:], dtype=p.dtype)
        average[rows] = self.decay * average[rows] + (1 - self.decay) * p
        self.visits[rows] += 1

    def state_dict(self) -> dict[str, Any]:
        """The averages and how often each sample was seen."""
        empty = torch.zeros(0) if self.average is None else self.average
        return {"average": empty, "visits": self.visits}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the memory."""
        self.average = state["average"].clone() if state["average"].numel() else None
        self.visits = state["visits"].clone()

    def _rows(self, index: Tensor | None) -> Tensor:
        if index is None:
            raise ValueError(
                "Temporal pseudo-labels need to know which samples these are: pass "
                "index=…, their positions in the training set."
            )
        rows = index.to(self.visits.device)
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < self.samples:
            raise ValueError(
                f"Temporal pseudo-labels were built for {self.samples} samples, so index must lie "
                f"in [0, {self.samples}), got {int(rows.min())} to {int(rows.max())}: pass "
                "positions in the training set, and its length to build(model, samples=…)."
            )
        return rows

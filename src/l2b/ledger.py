"""What happened to every sample in every epoch."""

from dataclasses import dataclass

import torch
from torch import Tensor

BYTES_PER_SAMPLE_AND_EPOCH = 8


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one training step did with its batch.

    Attributes:
        index: positions of the samples in the training pool, [n].
        alpha: weight of the observed label times n, so that 1 is plain training, [n].
        beta: weight of the pseudo-label times n, [n].
        pseudo: pseudo-label as a class, [n].
        loss: cross-entropy towards the observed label before the step, in nats, [n].
    """

    index: Tensor
    alpha: Tensor
    beta: Tensor
    pseudo: Tensor
    loss: Tensor


class Ledger:
    """α, β, pseudo-label and loss of every sample in every epoch.

    Eight bytes per sample and epoch: float16 for α, β and loss, int16 for the pseudo-label.
    A sample that an epoch left out has NaN and −1 there.

    Attributes:
        alpha: [epochs, samples], times the batch size, so that 1 is plain training.
        beta: [epochs, samples], likewise.
        pseudo: [epochs, samples], class indices, −1 where unseen.
        loss: [epochs, samples], towards the observed label, in nats.
    """

    def __init__(self, epochs: int, samples: int) -> None:
        """Make an empty ledger."""
        self.alpha = torch.full((epochs, samples), torch.nan, dtype=torch.float16)
        self.beta = self.alpha.clone()
        self.loss = self.alpha.clone()
        self.pseudo = torch.full((epochs, samples), -1, dtype=torch.int16)

    def write(self, epoch: int, records: list[StepRecord]) -> None:
        """Enter all steps of one epoch."""
        index = torch.cat([r.index for r in records]).cpu()
        for name in ("alpha", "beta", "pseudo", "loss"):
            row = getattr(self, name)
            values = torch.cat([getattr(r, name) for r in records]).cpu()
            if row.is_floating_point():
                values = values.float().clamp(-65504, 65504)  # the range of float16
            row[epoch, index] = values.to(row.dtype)

    def state_dict(self) -> dict[str, Tensor]:
        """All entries by name."""
        return {n: getattr(self, n) for n in ("alpha", "beta", "pseudo", "loss")}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, values in state.items():
            getattr(self, name).copy_(values)

"""What happened to every sample in every epoch."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BYTES_PER_SAMPLE_AND_EPOCH = 8


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one training step did with its batch.

    Attributes:
        index: positions of the samples in the training pool, [n].
        alpha: weight of the observed label times the number of labels in the batch, so that 1
            is plain training, [n, *pixels].
        beta: weight of the pseudo-label, likewise, [n, *pixels].
        pseudo: pseudo-label as a class, [n, *pixels].
        loss: cross-entropy towards the observed label before the step, in nats, [n, *pixels].
    """

    index: Tensor
    alpha: Tensor
    beta: Tensor
    pseudo: Tensor
    loss: Tensor


@dataclass(frozen=True, kw_only=True)
class MaskRecord:
    """What one training step did with its images, each with its mask as a whole.

    Attributes:
        index: positions of the images in the training pool, [n].
        alpha: mean weight of the observed labels of the image's pixels, [n].
        beta: mean weight of their pseudo-labels, [n].
        changed: share of the pixels whose pseudo-label differs from the observed one, [n].
        loss: mean cross-entropy towards the observed mask, in nats, [n].
        on_wrong: the part of ``alpha`` on pixels that are labelled wrongly, [n]; NaN if
            nobody knows.
        pseudo_right: share of the pixels whose pseudo-label is true, [n]; NaN if unknown.
    """

    index: Tensor
    alpha: Tensor
    beta: Tensor
    changed: Tensor
    loss: Tensor
    on_wrong: Tensor
    pseudo_right: Tensor


def mask_record(record: StepRecord, observed: Tensor, true: Tensor | None) -> MaskRecord:
    """A step's record with one number per image where it has one per pixel.

    Args:
        record: of a step on masks.
        observed: the batch's masks as the step saw them, [n, *pixels].
        true: true masks, likewise; None if nobody knows them.
    """

    def mean(values: Tensor) -> Tensor:
        return values.flatten(1).float().mean(dim=1)

    unknown = torch.full_like(record.index, torch.nan, dtype=torch.float32)
    return MaskRecord(
        index=record.index,
        alpha=mean(record.alpha),
        beta=mean(record.beta),
        changed=mean(record.pseudo != observed),
        loss=mean(record.loss),
        on_wrong=unknown if true is None else mean(record.alpha * (observed != true)),
        pseudo_right=unknown if true is None else mean(record.pseudo == true),
    )


class Ledger:
    """α, β, pseudo-label and loss of every sample in every epoch.

    Eight bytes per sample and epoch: float16 for α, β and loss, int16 for the pseudo-label.
    Of an image with a mask, these are means over its pixels, and the share of pixels whose
    pseudo-label differs takes the place of the label. A sample that an epoch left out has NaN
    and −1 there.

    Attributes:
        alpha: [epochs, samples], times the batch size, so that 1 is plain training.
        beta: [epochs, samples], likewise.
        pseudo: [epochs, samples], class indices, −1 where unseen; no rows for masks.
        changed: [epochs, samples], share of pixels; no rows for labels.
        loss: [epochs, samples], towards the observed label, in nats.
    """

    def __init__(self, epochs: int, samples: int, *, masks: bool = False) -> None:
        """Make an empty ledger."""
        self.alpha = torch.full((epochs, samples), torch.nan, dtype=torch.float16)
        self.beta = self.alpha.clone()
        self.loss = self.alpha.clone()
        self.pseudo = torch.full((0 if masks else epochs, samples), -1, dtype=torch.int16)
        self.changed = self.alpha[: epochs if masks else 0].clone()
        self.columns = ("alpha", "beta", "changed" if masks else "pseudo", "loss")

    def write(self, epoch: int, records: Sequence[StepRecord | MaskRecord]) -> None:
        """Enter all steps of one epoch."""
        index = torch.cat([r.index for r in records]).cpu()
        for name in self.columns:
            row = getattr(self, name)
            values = torch.cat([getattr(r, name) for r in records]).cpu()
            if row.is_floating_point():
                values = values.float().clamp(-65504, 65504)  # the range of float16
            row[epoch, index] = values.to(row.dtype)

    def state_dict(self) -> dict[str, Tensor]:
        """All entries by name."""
        return {n: getattr(self, n) for n in self.columns}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Restore what `state_dict` returned."""
        for name, values in state.items():
            getattr(self, name).copy_(values)

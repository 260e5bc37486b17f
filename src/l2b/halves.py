"""The clean set in two halves, one to train on and one to weigh by, which swap every epoch."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from l2b import collectives
from l2b.types import Batch, Inputs


class Split(NamedTuple):
    """What one process holds of the two halves of a clean batch.

    Attributes:
        to_weigh: samples whose gradient weighs the noisy ones.
        to_fit: samples to train on.
        share: of the mean loss of ``to_fit`` in the sum that all processes' mean is taken of: 1
            where they hold equally many.
    """

    to_weigh: Batch
    to_fit: Batch
    share: float


class Halves:
    """Which half every clean sample belongs to; each class is divided evenly.

    A model that is trained on its clean samples fits them, and their gradient fades. The half
    that it is not being trained on still says how well it does elsewhere (cross-fitting).

    Attributes:
        second: whether each clean sample is in the second half, [N], on the CPU.
        whole: whether both halves hold every class; of masks, a patient.
        least: samples that a part of a batch must have.
    """

    def __init__(self, labels: Tensor, patients: Tensor | None = None) -> None:
        """Divide the clean set.

        Args:
            labels: of the clean samples, class indices, [N]; or masks, [N, *pixels], or several
                labels of each, [N, tags], of which classes are not looked at.
            patients: whom each mask belongs to, [N], who stay whole; None takes every mask for
                itself.
        """
        # Looking at a batch's half must not make a GPU wait more than once.
        labels = labels.cpu()
        self.least = 2 * collectives.ranks() if labels.ndim < 3 else 1
        if labels.ndim > 1:
            owners = torch.arange(len(labels)) if patients is None else patients.cpu()
            number = owners.unique(return_inverse=True)[1]
            self.second, self.whole = number % 2 == 1, int(number.max()) > 0
            return
        self.second = torch.zeros_like(labels, dtype=torch.bool)
        self.whole = int(labels.unique(return_counts=True)[1].min()) > 1
        for k in labels.unique().tolist():
            rows = (labels == k).nonzero().squeeze(1)
            # Odd classes give their odd sample to either half in turn.
            self.second[rows] = (torch.arange(len(rows)) + k) % 2 == 1

    def split(self, clean: Batch, epoch: int) -> Split:
        """The part of a clean batch to weigh by, and the part to train on.

        A batch that happens to lie in one half serves as both, and so does one of which a part
        would be a single sample: batch norm has no variance of that (a mask has its pixels).
        With several processes it is the whole batch that is split, and each of them takes its
        share of either part.

        Args:
            clean: a clean batch; its index counts within the clean set.
            epoch: 0-based; the halves swap with every one.
        """
        whole = _everyones(clean)
        second = self.second[whole.index.cpu()]
        if min(int(second.sum()), int((~second).sum())) < self.least:
            return Split(clean, clean, 1.0)
        weighing = second if epoch % 2 == 0 else ~second
        device = whole.index.device
        there, others = (mask.nonzero().squeeze(1).to(device) for mask in (weighing, ~weighing))
        to_weigh, to_fit = _own(rows_of(whole, there)), rows_of(whole, others)
        own = _own(to_fit)
        together = len(to_fit.labels) >= collectives.ranks()
        share = len(own.labels) * collectives.ranks() / len(to_fit.labels) if together else 1.0
        return Split(to_weigh, own, share)


def _everyones(batch: Batch) -> Batch:
    """The parts of all processes, as one batch."""
    return _each(batch, collectives.gathered)


def _own(batch: Batch) -> Batch:
    """This process's share of a batch that all hold; all of it, if there are not enough."""
    count = collectives.ranks()
    if len(batch.labels) < count:
        return batch
    return _each(batch, lambda value: value.tensor_split(count)[collectives.rank()])


def rows_of(batch: Batch, rows: Tensor) -> Batch:
    """Some samples of a batch.

    Args:
        batch: of any inputs.
        rows: positions in the batch, or a mask, [n].
    """
    return _each(batch, lambda value: value[rows])


def _each(batch: Batch, change: Callable[[Tensor], Tensor]) -> Batch:
    """The same change to all tensors of a batch."""
    return Batch(
        index=change(batch.index),
        inputs=_changed(batch.inputs, change),
        labels=change(batch.labels),
    )


def _changed(inputs: Inputs, change: Callable[[Tensor], Tensor]) -> Inputs:
    if isinstance(inputs, Tensor):
        return change(inputs)
    if isinstance(inputs, Mapping):
        return {name: change(value) for name, value in inputs.items()}
    return tuple(change(value) for value in inputs)

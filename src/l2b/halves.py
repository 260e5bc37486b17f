"""The clean set in two halves, one to train on and one to weigh by, which swap every epoch."""

from collections.abc import Mapping

import torch
from torch import Tensor

from l2b.types import Batch, Inputs


class Halves:
    """Which half every clean sample belongs to; each class is divided evenly.

    A model that is trained on its clean samples fits them, and their gradient fades. The half
    that it is not being trained on still says how well it does elsewhere (cross-fitting).
    """

    def __init__(self, labels: Tensor) -> None:
        """Divide the clean set.

        Args:
            labels: of the clean samples, class indices, [N]; or masks, [N, *pixels], which are
                divided in their order.
        """
        if labels.ndim > 1:
            labels = torch.zeros_like(labels.flatten(1)[:, 0])
        self.second = torch.zeros_like(labels, dtype=torch.bool)
        for k in labels.unique().tolist():
            rows = (labels == k).nonzero().squeeze(1)
            # Odd classes give their odd sample to either half in turn.
            self.second[rows] = (torch.arange(len(rows), device=rows.device) + k) % 2 == 1

    def split(self, clean: Batch, epoch: int) -> tuple[Batch, Batch]:
        """The part of a clean batch to weigh by, and the part to train on.

        A batch that happens to lie in one half serves as both.

        Args:
            clean: a clean batch; its index counts within the clean set.
            epoch: 0-based; the halves swap with every one.
        """
        second = self.second[clean.index]
        if second.all() or not second.any():
            return clean, clean
        to_weigh = second if epoch % 2 == 0 else ~second
        return rows_of(clean, to_weigh), rows_of(clean, ~to_weigh)


def rows_of(batch: Batch, rows: Tensor) -> Batch:
    """Some samples of a batch.

    Args:
        batch: of any inputs.
        rows: positions in the batch, or a mask, [n].
    """
    return Batch(
        index=batch.index[rows], inputs=_taken(batch.inputs, rows), labels=batch.labels[rows]
    )


def _taken(inputs: Inputs, rows: Tensor) -> Inputs:
    if isinstance(inputs, Tensor):
        return inputs[rows]
    if isinstance(inputs, Mapping):
        return {name: value[rows] for name, value in inputs.items()}
    return tuple(value[rows] for value in inputs)

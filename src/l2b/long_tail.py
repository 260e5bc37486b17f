"""Class imbalance: a long tail of ever rarer classes."""

import torch
from torch import Tensor

from l2b.datasets import Source
from l2b.streams import stream


def long_tail(labels: Tensor, classes: int, factor: float, generator: torch.Generator) -> Tensor:
    """Keep ever fewer samples of each further class, chosen at random.

    Class k of C keeps n · factor^(−k / (C − 1)) samples, where n is the size of the largest
    class, or as many as it has (Cui et al. 2019, arXiv 1901.05555, Section 5.1).

    Args:
        labels: true class indices, [N].
        classes: number of classes C.
        factor: size of the first class over that of the last, at least 1.
        generator: CPU random stream that belongs to this choice alone.

    Returns:
        Which samples are kept, [N] bool; at least one of every class that occurs.

    Raises:
        ValueError: if the factor is below 1.
    """
    if not factor >= 1:
        raise ValueError(
            f"imbalance must be at least 1, got {factor}: it is the size of the first class over "
            "that of the last."
        )
    largest = int(torch.bincount(labels, minlength=classes).max())
    kept = torch.zeros(len(labels), dtype=torch.bool)
    for k in range(classes):
        rows = (labels == k).nonzero().squeeze(1)
        wanted = max(1, int(largest * factor ** (-k / max(1, classes - 1)) + 1e-9))
        kept[rows[torch.randperm(len(rows), generator=generator)][:wanted]] = True
    return kept


def thinned(source: Source, imbalance: float, seed: int) -> Tensor:
    """Which training samples there are, once `Run.imbalance` is made, [N] bool.

    Raises:
        ValueError: if there is an imbalance to make and no true label to make it by.
    """
    labels = source.train.labels
    if imbalance == 1:
        return torch.ones(len(labels), dtype=torch.bool)
    if not source.truth_known or labels.ndim > 1:
        several = "several labels for each" if source.tags else "masks"
        raise ValueError(
            "imbalance needs one true label per sample to thin out classes by, and this data has "
            f"{several if labels.ndim > 1 else 'labels as observed'}: leave it at 1."
        )
    return long_tail(labels, len(source.classes), imbalance, stream(seed, "long tail"))

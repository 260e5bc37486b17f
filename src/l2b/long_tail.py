"""Class imbalance: a long tail of ever rarer classes."""

import torch
from torch import Tensor


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

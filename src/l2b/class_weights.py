"""Classes that count for more than others: how often they are drawn, and how they are judged."""

import math
from typing import Literal

import torch
from torch import Tensor

# By class, not negative; "balanced" for all classes alike; "none" for samples as they come.
ClassWeights = Literal["none", "balanced"] | tuple[float, ...]


def check_class_weights(weights: ClassWeights, classes: int) -> None:
    """Refuse weights that are not one for each class, finite, at least 0 and not all 0.

    Raises:
        ValueError: saying what is wrong.
    """
    if isinstance(weights, str):
        return
    if len(weights) != classes or not all(0 <= w < math.inf for w in weights) or not any(weights):
        raise ValueError(
            f"class_weight must give each of the {classes} classes a finite weight of at least 0, "
            f"and not all of them 0, got {', '.join(map(str, weights)) or 'none'}."
        )


def sample_weights(weights: ClassWeights, labels: Tensor) -> Tensor:
    """How much each sample of a pool counts, with mean 1.

    Args:
        weights: of the classes. "balanced" gives all classes that occur in the pool equal totals.
        labels: class indices of the pool, [N].

    Returns:
        [N], float64; ones where no label of the pool has any weight.
    """
    found = torch.ones(len(labels), dtype=torch.float64, device=labels.device)
    if weights == "balanced":
        found = (1 / torch.bincount(labels).double())[labels]
    elif weights != "none":
        found = torch.tensor(weights, dtype=torch.float64, device=labels.device)[labels]
        found = found / max(*weights, 1e-300)  # so that no sum overflows
    return found / found.mean() if found.any() else torch.ones_like(found)


def effective(weights: Tensor) -> int:
    """How many samples of equal weight would tell as much as these, (Σw)² / Σw², rounded."""
    return round((weights.sum() ** 2 / (weights**2).sum()).item())


def drawn_again(order: Tensor, weights: Tensor, generator: torch.Generator) -> Tensor:
    """As many positions as there are, each as often as its weight says, in a new order.

    Systematic resampling: a sample comes up N w_i / Σw times, rounded up or down at random, so
    weights that are all equal give every sample once.

    Args:
        order: a random permutation of 0 … N − 1, [N].
        weights: of the samples, not negative and not all 0, [N].
        generator: CPU random stream that belongs to this draw alone.

    Returns:
        Positions, [N].
    """
    size, shares = len(order), weights.double()[order]
    edges = shares.cumsum(dim=0)
    first = torch.rand((), generator=generator, dtype=torch.float64)
    marks = (torch.arange(size) + first) * (edges[-1] / size)
    found = torch.searchsorted(edges, marks, right=True)
    last = int(shares.nonzero().max())  # what rounding pushes beyond the end
    return order[found.clamp_max(last)][torch.randperm(size, generator=generator)]

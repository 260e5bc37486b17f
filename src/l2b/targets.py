"""Targets as probabilities, and the step from probabilities to labels."""

import torch
from torch import Tensor
from torch.nn import functional


def probabilities(target: Tensor, classes: int) -> Tensor:
    """A target as a distribution over classes.

    Args:
        target: class indices [n, *pixels], or already probabilities.
        classes: number of classes.

    Returns:
        Probabilities, [n, classes, *pixels], in the default floating type for indices.
    """
    if target.is_floating_point():
        return target
    one_hot = functional.one_hot(target, classes).movedim(-1, 1)
    return one_hot.to(torch.get_default_dtype())


def labels(target: Tensor) -> Tensor:
    """The most likely class of each target.

    Args:
        target: class indices [n, *pixels], or probabilities [n, classes, *pixels].

    Returns:
        Class indices, [n, *pixels].
    """
    return target.argmax(dim=1) if target.is_floating_point() else target

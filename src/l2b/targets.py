"""Targets as probabilities, the step from probabilities to labels, and pixels without a label."""

import torch
from torch import Tensor
from torch.nn import functional

VOID = -1  # in masks: a pixel whose class nobody knows, which counts nowhere


def probabilities(target: Tensor, classes: int) -> Tensor:
    """A target as a distribution over classes.

    Args:
        target: class indices [n, *pixels], or already probabilities.
        classes: number of classes.

    Returns:
        Probabilities, [n, classes, *pixels], in the default floating type for indices; those of a
        void pixel are all 0.
    """
    if target.is_floating_point():
        return target
    void = voids(target)
    if void is None:
        one_hot = functional.one_hot(target, classes).movedim(-1, 1)
        return one_hot.to(torch.get_default_dtype())
    one_hot = functional.one_hot(target.masked_fill(void, 0), classes).movedim(-1, 1)
    return one_hot.masked_fill_(void.unsqueeze(1), 0).to(torch.get_default_dtype())


def labels(target: Tensor) -> Tensor:
    """The most likely class of each target.

    Args:
        target: class indices [n, *pixels], or probabilities [n, classes, *pixels].

    Returns:
        Class indices, [n, *pixels].
    """
    return target.argmax(dim=1) if target.is_floating_point() else target


def voids(target: Tensor) -> Tensor | None:
    """Which pixels have no label, [n, *pixels] bool; None where there are no pixels.

    Args:
        target: class indices [n, *pixels], or probabilities, which label every pixel.
    """
    return None if target.is_floating_point() or target.ndim < 2 else target == VOID


def labelled(observed: Tensor) -> Tensor:
    """Which samples have a label (of masks: any pixel that has), [n] bool.

    Args:
        observed: class indices [n, *pixels], or probabilities.
    """
    void = voids(observed)
    if void is None:
        return torch.ones(len(observed), dtype=torch.bool, device=observed.device)
    return (~void).flatten(1).any(dim=1)


def silenced(values: Tensor, observed: Tensor, by: float = 0.0) -> Tensor:
    """Values of pixels, but another where these have no label.

    Args:
        values: [n, *pixels], or several of each pixel, [k, n, *pixels].
        observed: labels as given, [n, *pixels], or probabilities.
        by: the value of void pixels.
    """
    void = voids(observed)
    return values if void is None else values.masked_fill(void, by)


def where_labelled(target: Tensor, observed: Tensor) -> Tensor:
    """Other labels for pixels, which are void where the observed ones are.

    Args:
        target: class indices [n, *pixels], or probabilities [n, classes, *pixels].
        observed: labels as given, [n, *pixels].
    """
    void = voids(observed)
    if void is None:
        return target
    if target.is_floating_point():
        return target.masked_fill(void.unsqueeze(1), 0)
    return target.masked_fill(void, VOID)

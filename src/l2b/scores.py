"""From logits and their derivative to the scores of candidate labels."""

from collections.abc import Sequence

import torch
from torch import Tensor

from l2b.targets import voids


def candidate_score(z: Tensor, dz: Tensor, target: Tensor) -> Tensor:
    """Score one candidate label per sample (L2B, Eqs. 19 and 24).

    Along a direction of parameter space, cross-entropy towards a distribution q changes
    at the rate ⟨softmax(z), ż⟩ − ⟨q, ż⟩; along the clean gradient, that is how much one
    step on the label lowers the clean loss. Any q can be scored from the same (z, ż).

    Args:
        z: logits, [n, classes, *pixels].
        dz: derivative of ``z`` along the clean gradient.
        target: class indices [n, *pixels], or probabilities shaped like ``z``.

    Returns:
        Scores [n, *pixels], in units of clean loss per unit step; negative where the
        label hurts, 0 for void pixels.
    """
    # Half-precision logits are widened: the score is a difference of close numbers.
    wide = torch.promote_types(z.dtype, torch.float32)
    z, dz = z.to(wide), dz.to(wide)
    expected = (torch.softmax(z, dim=1) * dz).sum(dim=1)
    if target.is_floating_point():
        return expected - (target.to(wide) * dz).sum(dim=1)
    void = voids(target)
    if void is None:
        return expected - dz.gather(1, target.unsqueeze(1)).squeeze(1)
    own = dz.gather(1, target.masked_fill(void, 0).unsqueeze(1)).squeeze(1)
    return (expected - own).masked_fill(void, 0)


def bootstrap_scores(z: Tensor, dz: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
    """Score the observed and the pseudo-label of every sample (L2B, Eqs. 19 and 24).

    Args:
        z: logits, [n, classes, *pixels].
        dz: derivative of ``z`` along the clean gradient.
        observed: labels as given, class indices or probabilities.
        pseudo: labels the model predicts, class indices or probabilities.

    Returns:
        Scores [2, n, *pixels]: α first, β second.
    """
    return candidate_scores(z, dz, (observed, pseudo))


def candidate_scores(z: Tensor, dz: Tensor, targets: Sequence[Tensor]) -> Tensor:
    """Score any number of candidate labels of every sample from the one pair (z, ż).

    Args:
        z: logits, [n, classes, *pixels].
        dz: derivative of ``z`` along the clean gradient.
        targets: each class indices [n, *pixels], or probabilities shaped like ``z``.

    Returns:
        Scores [candidates, n, *pixels], in the order of ``targets``.
    """
    return torch.stack([candidate_score(z, dz, target) for target in targets])

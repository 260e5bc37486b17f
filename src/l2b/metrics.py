"""What torchmetrics lacks: how weights are spread over a batch."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

IN_EFFECT = "effective_samples"
ALL = 1 - 1e-6  # of a batch in effect, but for rounding


def effective_sample_size(weights: Tensor) -> Tensor:
    """How many equally weighted samples would carry as much information (Kish).

    Args:
        weights: non-negative weights, [n] or any shape.

    Returns:
        (Σw)² / Σw², a scalar between 1 and the number of weights; 0 if all are 0.
    """
    total = weights.sum()
    return torch.where(total > 0, total.square() / weights.square().sum().clamp_min(1e-30), total)


def is_plain(epoch: Mapping[str, Any]) -> bool:
    """Whether all labels as given count alike in an epoch, or no noisy sample has a part in it.

    Args:
        epoch: what `weight_telemetry` or `mask_telemetry` said of it.
    """
    in_effect = epoch.get(IN_EFFECT, 0)
    return in_effect == 0 or (in_effect >= ALL and epoch.get("alpha_share") == 1)


def weight_telemetry(
    alpha: list[Tensor], beta: list[Tensor], pseudo: Tensor, observed: Tensor, true: Tensor | None
) -> dict[str, float]:
    """What an epoch's weights say at a glance.

    Args:
        alpha: weights of observed labels, one tensor [n] per batch.
        beta: weights of pseudo-labels, likewise.
        pseudo: pseudo-labels of the whole epoch as classes, [N].
        observed: observed labels of the whole epoch, [N].
        true: true labels, [N], or None where nobody knows them.

    Returns:
        Fractions: ``alpha_share`` and ``beta_share`` of all weight; ``effective_samples``,
        the mean effective sample size over the batch size; ``silent_batches``, batches in
        which no candidate helped; and, with true labels, ``weight_on_wrong`` (share of α on
        wrong labels) and ``pseudo_accuracy``.
    """
    shares = _weight_shares(alpha, beta)
    if true is not None:
        a = torch.cat(alpha)
        shares["weight_on_wrong"] = a[observed != true].sum() / a.sum().clamp_min(1e-30)
        shares["pseudo_accuracy"] = (pseudo == true).float().mean()
    return {name: share.item() for name, share in shares.items()}


def mask_telemetry(
    alpha: list[Tensor], beta: list[Tensor], on_wrong: Tensor, pseudo_right: Tensor
) -> dict[str, float]:
    """What an epoch's weights of masks say at a glance, image by image.

    Args:
        alpha: mean weights of the observed labels of an image's pixels, one tensor [n] per
            batch.
        beta: mean weights of their pseudo-labels, likewise.
        on_wrong: the part of them that lay on wrongly labelled pixels, of the whole epoch, [N];
            NaN where nobody knows.
        pseudo_right: share of pixels whose pseudo-label was true, [N]; NaN where unknown.

    Returns:
        The fractions of `weight_telemetry`, with images as samples.
    """
    shares = _weight_shares(alpha, beta)
    if not bool(on_wrong.isnan().any()):
        shares["weight_on_wrong"] = on_wrong.sum() / torch.cat(alpha).sum().clamp_min(1e-30)
        shares["pseudo_accuracy"] = pseudo_right.mean()
    return {name: share.item() for name, share in shares.items()}


def _weight_shares(alpha: list[Tensor], beta: list[Tensor]) -> dict[str, Tensor]:
    a, b = torch.cat(alpha), torch.cat(beta)
    total = (a.sum() + b.sum()).clamp_min(1e-30)
    spread = [effective_sample_size(x + y) / len(x) for x, y in zip(alpha, beta, strict=True)]
    silent = [((x + y).sum() == 0).float() for x, y in zip(alpha, beta, strict=True)]
    return {
        "alpha_share": a.sum() / total,
        "beta_share": b.sum() / total,
        IN_EFFECT: torch.stack(spread).mean(),
        "silent_batches": torch.stack(silent).mean(),
    }

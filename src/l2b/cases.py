"""How well masks agree, class by class, on whole volumes."""

import warnings

import torch
from torch import Tensor

from l2b.targets import VOID
from l2b.types import Cases

PERCENTILE = 95


def case_dice(predicted: Tensor, true: Tensor, cases: Cases, classes: int) -> Tensor:
    """Dice overlap of every class but the background, in every case.

    Args:
        predicted: class indices, [N, *pixels].
        true: class indices, likewise; where either is void, nothing counts.
        cases: which of them make up which volume.
        classes: number of classes, the background (0) included.

    Returns:
        2|A ∩ B| / (|A| + |B|), [cases that occur, classes − 1], in the order of their numbers;
        NaN for a class that neither mask shows, 0 for one that only one of them shows.
    """
    from torchmetrics.functional.segmentation import dice_score  # slow to load

    predicted, true = _both_labelled(predicted, true)
    rows = [
        dice_score(
            cases.volume(predicted, case).unsqueeze(0),
            cases.volume(true, case).unsqueeze(0),
            num_classes=classes,
            include_background=False,
            average="none",
            input_format="index",
        )[0]
        for case in cases.of.unique().tolist()
    ]
    return torch.stack(rows)


def case_hausdorff(predicted: Tensor, true: Tensor, cases: Cases, classes: int) -> Tensor:
    """95 % Hausdorff distance of every class but the background, in every case.

    Args:
        predicted: class indices, [N, height, width], or of slabs, [N, depth, height, width].
        true: class indices, likewise; where either is void, both are background.
        cases: which of them make up which volume, and its spacing.
        classes: number of classes, the background (0) included.

    Returns:
        The larger of the two directed 95 % distances between the surfaces, in units of the
        spacing, [cases that occur, classes − 1]; NaN where a class is missing in either mask.

    Raises:
        ImportError: without MONAI.
    """
    predicted, true = _both_labelled(predicted, true)
    rows = []
    for case in cases.of.unique().tolist():
        one, other = (cases.volume(masks, case) for masks in (predicted, true))
        row = torch.full((classes - 1,), torch.nan)
        for k in range(1, classes):
            pair = one == k, other == k
            if all(bool(mask.any()) for mask in pair):
                row[k - 1] = _hausdorff(*pair, cases.spacing[case].tolist())
        rows.append(row)
    return torch.stack(rows)


def mean_score(scores: Tensor) -> float | None:
    """The mean over classes of the mean over the cases that have one; None if none has."""
    per_class = scores.nanmean(dim=0)
    per_class = per_class[~per_class.isnan()]
    return per_class.mean().item() if len(per_class) else None


def _both_labelled(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two masks as they are, but background wherever either has no label."""
    void = (one == VOID) | (other == VOID)
    return one.masked_fill(void, 0), other.masked_fill(void, 0)


def _hausdorff(predicted: Tensor, true: Tensor, spacing: list[float]) -> float:
    try:
        from monai.metrics.hausdorff_distance import compute_hausdorff_distance
    except ImportError as error:
        raise ImportError(
            "Hausdorff distances need MONAI, which is not installed: pip install 'l2b[seg]'."
        ) from error
    if len(predicted) == 1:  # an image alone has no extent across slices
        predicted, true, spacing = predicted[0], true[0], spacing[1:]
    with warnings.catch_warnings():
        # MONAI calls its own functions with arguments that it has deprecated.
        warnings.simplefilter("ignore", FutureWarning)
        found = compute_hausdorff_distance(
            predicted[None, None],
            true[None, None],
            include_background=True,  # the one channel is the class itself
            percentile=PERCENTILE,
            spacing=spacing,
        )
    return found.item()

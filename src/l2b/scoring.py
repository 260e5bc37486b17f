"""What counts: the figure by which an epoch is chosen and runs are compared."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

# "auto": accuracy, of masks Dice, under class weights the accuracy under them.
Scoring = Literal["auto", "accuracy", "balanced_accuracy", "auroc"]
SCORES = get_args(Scoring)
WORDS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "weighted_accuracy": "weighted accuracy",
    "auroc": "AUROC",
    "dice": "Dice",
}


def check_scoring(scoring: Scoring, labels: Mapping[str, Tensor], *, masks: bool) -> None:
    """Refuse what cannot be measured on samples that will be judged.

    Args:
        scoring: what is to count.
        labels: of each pool that is judged, by its name, [N] or [N, tags], −1 where nobody knows.
        masks: whether every sample has a mask.

    Raises:
        ValueError: on other words; of masks on anything but "auto"; on "auroc" where a pool shows
            one class alone, or of several labels both answers of none.
    """
    if scoring not in SCORES:
        raise ValueError(f"scoring must be one of {', '.join(SCORES)}, got {scoring!r}.")
    if masks and scoring != "auto":
        raise ValueError(
            f"Masks are judged by Dice, not by {WORDS[scoring]}: leave scoring at auto."
        )
    if scoring != "auroc":
        return
    for name, given in labels.items():
        if not _ranked(given):
            lack = "the same class" if given.ndim == 1 else "one answer to each label"
            raise ValueError(
                f"The AUROC tells how well samples of two classes are told apart, and all "
                f"{len(given)} {name} samples show {lack}: have more of them checked, keep a "
                "larger share of them aside (validation), or choose another scoring."
            )


def capitalised(words: str) -> str:
    """With a capital first letter, the others as they are."""
    return words[:1].upper() + words[1:]


def mean_auroc(p: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve of each class against the others, mean over those that occur.

    Args:
        p: probabilities, [N, classes]; those that are not finite rank nothing.
        labels: class indices of at least two classes, [N].

    Returns:
        A scalar; of two classes the usual AUROC.
    """
    from torchmetrics.functional.classification import binary_auroc  # slow to load

    ranks = p.float().nan_to_num(0.5, 0.5, 0.5)
    areas = [
        binary_auroc(ranks[:, c], (labels == c).long(), validate_args=False)
        for c in labels.unique().tolist()
    ]
    return torch.stack(areas).mean()


def _ranked(labels: Tensor) -> bool:
    if labels.ndim == 1:
        return len(labels.unique()) > 1
    return bool(((labels == 0).any(dim=0) & (labels == 1).any(dim=0)).any())

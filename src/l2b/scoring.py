"""What counts: the figure by which an epoch is chosen and runs are compared."""

from collections.abc import Mapping
from typing import Literal, get_args

import torch
from torch import Tensor

# "auto": accuracy, of masks Dice, under class weights the accuracy under them.
Scoring = Literal["auto", "accuracy", "balanced_accuracy", "auroc"]
SCORES = get_args(Scoring)
CHANCE = 0.5  # AUROC of what ranks nothing
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
            more = "take others" if name == "test" else "have more checked, or keep more aside"
            lack = "the same class" if given.ndim == 1 else "one answer to each label"
            raise ValueError(
                f"The AUROC tells how well samples of two classes are told apart, and all "
                f"{len(given)} {name} samples show {lack}: {more}, or choose another scoring."
            )


def capitalised(words: str) -> str:
    """With a capital first letter, the others as they are."""
    return words[:1].upper() + words[1:]


def mean_auroc(z: Tensor, labels: Tensor) -> Tensor:
    """Area under the ROC curve of each class against the others, mean over those that occur.

    Samples are ranked by the log-odds of the class, which tell networks that are very sure apart,
    as probabilities do not.

    Args:
        z: logits, [N, classes].
        labels: class indices, [N].

    Returns:
        A scalar; of two classes the usual AUROC; 0.5 where all samples are of one class.
    """
    found = labels.unique().tolist()
    if len(found) < 2:
        return torch.tensor(CHANCE)
    z = z.double()
    return torch.stack([auroc(_log_odds(z, c), labels == c) for c in found]).mean()


def auroc(scores: Tensor, yes: Tensor) -> Tensor:
    """Area under the ROC curve.

    Args:
        scores: the larger, the likelier, [N]; those that are not finite rank nothing.
        yes: what is so, [N], bool; some are and some are not.
    """
    from torchmetrics.functional.classification import binary_auroc  # slow to load

    order = scores.nan_to_num(0.0, 0.0, 0.0).unique(return_inverse=True)[1]
    ranks = order.double() / order.max().clamp_min(1)  # beyond [0, 1]: logits
    return binary_auroc(ranks, yes.long(), validate_args=False)


def _log_odds(z: Tensor, c: int) -> Tensor:
    others = torch.cat([z[:, :c], z[:, c + 1 :]], dim=1)
    return z[:, c] - others.logsumexp(dim=1)


def _ranked(labels: Tensor) -> bool:
    if labels.ndim == 1:
        return len(labels.unique()) > 1
    return bool(((labels == 0).any(dim=0) & (labels == 1).any(dim=0)).any())

"""From the ledger of a run to how far each label can be trusted."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from l2b.class_weights import effective, sample_weights
from l2b.data import Data
from l2b.evaluate import share_right


def judged_by_checked(history: Sequence[Mapping[str, Any]], data: Data) -> tuple[list[float], int]:
    """Accuracy by epoch on checked samples that no step was taken on, and their number.

    These are the clean ones or, where the model learned from them, those kept aside.

    Args:
        history: one row of metrics per epoch.
        data: what was learned from; class weights count here too.

    Returns:
        Fractions, one per epoch, and how many samples of equal weight they are of; none and 0
        without a judge. Of several labels, samples are counted, whose answers go together.
    """
    for name, pool in (("clean", data.clean), ("validation", data.validation)):
        key = f"{name}_{share_right(data)}"
        known = [row[key] for row in history if key in row]
        if pool is not None and known and len(known) == len(history):
            return known, effective(sample_weights(data.class_weights, pool.labels))
    return [], 0


def knowing_epochs(accuracy: Tensor, samples: int) -> Tensor:
    """The epochs that know the checked samples as well as any: within one standard error.

    What a model says of a label is worth what the model knows. Its early epochs may know too
    little, its late ones may have memorised; averaging the best ones keeps more than the
    single best. What they know of a class without a checked sample does not count.

    Args:
        accuracy: on checked samples that were not trained on, a fraction, [epochs].
        samples: their number.

    Returns:
        Whether to listen to each epoch, [epochs], bool; True for at least one.
    """
    best = accuracy.max()
    return accuracy >= best - (best * (1 - best) / samples).sqrt()


class Quality(NamedTuple):
    """What a run thinks of every observed label.

    Attributes:
        quality: 0 for surely wrong, 1 for surely right, [N], float32.
        suggested: the class that the run would give the sample, [N], int64.
        confidence: share of the epochs' votes for it, in [0, 1], [N], float32.
    """

    quality: Tensor
    suggested: Tensor
    confidence: Tensor


def label_quality(
    alpha: Tensor,
    beta: Tensor,
    pseudo: Tensor,
    loss: Tensor,
    observed: Tensor,
    *,
    classes: int,
    heard: Tensor | None = None,
) -> Quality:
    """Judge every observed label by how training went.

    The quality is the mean over the epochs of (p + a) / 2: the probability p = exp(−loss)
    that the model gave the observed label before it was trained on, and whether its
    prediction agreed, a ∈ {0, 1}. Wrong labels are learned late, so early epochs tell most.

    Args:
        alpha: weight of the observed label, 1 is plain training, [epochs, N]; NaN if unseen.
        beta: weight of the pseudo-label, likewise.
        pseudo: pseudo-labels as classes, [epochs, N]; −1 if unseen.
        loss: cross-entropy towards the observed label, in nats, [epochs, N]; NaN if unseen.
        observed: labels as given, [N].
        classes: number of classes.
        heard: which epochs to listen to, [epochs] bool, such as `knowing_epochs`; None for all.
            To all, too, for a sample that these did not see.

    Returns:
        Quality, suggestion and confidence. A sample that no epoch saw has quality 0.5, its own
        label as suggestion and confidence 0.

    Raises:
        ValueError: if the shapes do not fit each other.
    """
    _check(alpha, beta, pseudo, loss, observed)
    seen = pseudo >= 0
    if heard is not None:  # but for samples that none of these epochs saw
        seen = seen & (heard.unsqueeze(1) | ~seen[heard].any(dim=0))
    epochs = seen.sum(dim=0)
    probability = torch.exp(-loss.float()).nan_to_num(0.0)
    agreement = (pseudo == observed).float()
    believed = torch.where(seen, (probability + agreement) / 2, 0.0).sum(dim=0)
    votes = class_votes(pseudo, seen, classes)
    # A tie goes to the label as given.
    votes_and_given = votes + 0.5 * functional.one_hot(observed, classes)
    suggested = votes_and_given.argmax(dim=1)
    confidence = votes.gather(1, suggested.unsqueeze(1)).squeeze(1) / epochs.clamp_min(1)
    quality = torch.where(epochs > 0, believed / epochs.clamp_min(1), 0.5)
    return Quality(quality.clamp(0, 1), suggested, confidence)


def class_votes(pseudo: Tensor, seen: Tensor, classes: int) -> Tensor:
    """How many epochs predicted each class, [N, classes].

    Args:
        pseudo: predicted classes, [epochs, N].
        seen: the predictions that count, [epochs, N].
        classes: number of classes.
    """
    votes = torch.zeros(pseudo.shape[1], classes)
    for row, valid in zip(pseudo.long(), seen, strict=True):
        votes.scatter_add_(1, row.clamp_min(0).unsqueeze(1), valid.float().unsqueeze(1))
    return votes


def _check(alpha: Tensor, beta: Tensor, pseudo: Tensor, loss: Tensor, observed: Tensor) -> None:
    expected = (alpha.shape[0], len(observed))
    for name, found in (("alpha", alpha), ("beta", beta), ("pseudo", pseudo), ("loss", loss)):
        if tuple(found.shape) != expected:
            raise ValueError(
                f"`{name}` must have the shape {expected}, epochs × samples, got "
                f"{tuple(found.shape)}: all four come from one ledger, and `observed` is of the "
                "same training samples in the same order."
            )

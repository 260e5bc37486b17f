"""How well predictions fit labels."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from l2b.cases import case_dice, mean_score
from l2b.class_weights import sample_weights
from l2b.data import Data, Pool
from l2b.losses import cross_entropy
from l2b.targets import VOID

ROWS_AT_ONCE = 2048
PIXELS_AT_ONCE = 2**19  # of masks; a network keeps many times as many numbers


def evaluate(predict: Callable[[Tensor], Tensor], pool: Pool, data: Data) -> dict[str, float]:
    """Accuracy, balanced accuracy and mean loss over a pool; of masks, Dice too.

    Args:
        predict: standardised inputs to logits [n, classes, *pixels].
        pool: samples and the labels to judge by.
        data: gives the classes, how much they count and the scale of the inputs.

    Returns:
        ``accuracy`` and ``balanced_accuracy`` as fractions (of pixels, for masks), ``loss`` in
        nats, infinite where outputs are not finite. Class weights weigh the loss; if they are
        not just "balanced", ``weighted_accuracy`` is the accuracy under them. For masks also
        ``dice`` on whole volumes: the mean over classes of the mean over the volumes that show
        the class, and one ``dice_<class>`` for each.
    """
    predicted = predict_pool(predict, pool, data)
    classes, z, labels = len(data.classes), predicted, pool.labels
    if pool.cases is not None:  # what slabs are filled up with judges nothing
        z, labels = pool.cases.real(z), pool.cases.real(labels)
        if (labels == VOID).any():  # nor do pixels that nobody labelled
            z, labels = z.movedim(1, -1)[labels != VOID], labels[labels != VOID]
    # Balanced: the mean over the classes that occur, so an absent class counts for nothing.
    recall = multiclass_accuracy(z, labels, num_classes=classes, average="none")
    present = torch.bincount(labels.flatten(), minlength=classes) > 0
    accuracy = multiclass_accuracy(z, labels, num_classes=classes, average="micro")
    losses = cross_entropy(z, labels)
    found = {"accuracy": accuracy.item(), "balanced_accuracy": recall[present].mean().item()}
    if data.class_weights != "none":
        worth = sample_weights(data.class_weights, labels)
        losses = worth * losses
        if data.class_weights != "balanced":
            right = z.argmax(dim=1) == labels
            found["weighted_accuracy"] = (worth * right).mean().item()
    # Of outputs that are not finite it is the worst that there is: NaN could not be compared.
    found["loss"] = losses.mean().nan_to_num(nan=math.inf, posinf=math.inf).item()
    return found if pool.cases is None else {**_dice(predicted.argmax(dim=1), pool, data), **found}


def measure(data: Data) -> str:
    """Which figure of `evaluate` counts: where an epoch is chosen, and where runs are compared."""
    if data.clean.cases is not None:
        return "dice"
    weights = data.class_weights
    named = {"none": "accuracy", "balanced": "balanced_accuracy"}
    return named[weights] if isinstance(weights, str) else "weighted_accuracy"


def predict_pool(predict: Callable[[Tensor], Tensor], pool: Pool, data: Data) -> Tensor:
    """Logits of a whole pool, [N, classes, *pixels], in blocks of bounded size."""
    return torch.cat(list(_blocks(predict, pool, data)))


def predict_cases(
    predict: Callable[[Tensor], Tensor], pool: Pool, data: Data
) -> Iterator[tuple[int, Tensor]]:
    """The logits of one case after the other, the same numbers as `predict_pool` gives.

    Blocks are those of the whole pool, because convolutions of another number of images round
    otherwise; what is held at a time are a block and the cases that it does not complete.

    Args:
        predict: standardised inputs to logits [n, classes, *pixels].
        pool: masks, with their cases.
        data: gives the scale of the inputs.

    Yields:
        Number of the case, and the logits of its samples, [n, classes, *pixels].

    Raises:
        ValueError: if nothing tells which images belong together.
    """
    if pool.cases is None:
        raise ValueError("Masks without cases have no images that belong together.")
    waiting: dict[int, list[Tensor]] = defaultdict(list)
    lacking, first = pool.cases.of.bincount().tolist(), 0
    for z in _blocks(predict, pool, data):
        of = pool.cases.of[first : first + len(z)]
        first += len(z)
        for case in of.unique().tolist():
            waiting[case].append(z[of == case])
            lacking[case] -= len(waiting[case][-1])
            if not lacking[case]:
                yield case, torch.cat(waiting.pop(case))


def _blocks(predict: Callable[[Tensor], Tensor], pool: Pool, data: Data) -> Iterator[Tensor]:
    """Logits of a few samples after the others, [n, classes, *pixels]."""
    pixels = math.prod(pool.labels.shape[1:])
    rows = ROWS_AT_ONCE if pixels == 1 else max(1, PIXELS_AT_ONCE // pixels)
    for block in pool.inputs.split(rows):
        yield predict(data.standardise(block))


def _dice(predicted: Tensor, pool: Pool, data: Data) -> dict[str, float]:
    if pool.cases is None:
        raise ValueError("Dice is of masks, which need their cases.")
    scores = case_dice(predicted, pool.labels, pool.cases, len(data.classes))
    means = zip(data.classes[1:], scores.nanmean(dim=0).tolist(), strict=True)
    named = {f"dice_{name}": mean for name, mean in means if not math.isnan(mean)}
    return {"dice": mean_score(scores) or 0.0, **named}

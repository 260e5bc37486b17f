"""How well predictions fit labels."""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from l2b.cases import case_dice, mean_score
from l2b.class_weights import sample_weights
from l2b.data import Data, Pool
from l2b.losses import cross_entropy
from l2b.scoring import CHANCE, auroc, check_scoring, mean_auroc
from l2b.targets import VOID
from l2b.types import Cases

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
        not just "balanced", ``weighted_accuracy`` is the accuracy under them. Where the AUROC
        counts, also ``auroc``, see `mean_auroc`. For masks also
        ``dice`` on whole volumes: the mean over classes of the mean over the volumes that show
        the class, and one ``dice_<class>`` for each. Of several yes-or-no labels a sample, see
        `mean_tag_scores`.
    """
    from torchmetrics.functional.classification import multiclass_accuracy  # slow to load

    if pool.cases is not None:
        return _evaluate_masks(predict, pool, pool.cases, data)
    if data.tags:
        z = predict_pool(predict, pool, data)
        loss = cross_entropy(z, pool.labels).sum() / (pool.labels != VOID).sum()
        scores = mean_tag_scores(z, pool.labels)
        if data.scoring == "auroc":
            scores.setdefault("auroc", CHANCE)
        return {**scores, "loss": _worst_if_none(loss)}
    classes, z, labels = len(data.classes), predict_pool(predict, pool, data), pool.labels
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
    if data.scoring == "auroc":
        found["auroc"] = mean_auroc(z, labels).item()
    return found | {"loss": _worst_if_none(losses.mean())}


def tag_scores(z: Tensor, labels: Tensor) -> list[dict[str, float]]:
    """How well each of several yes-or-no labels is told.

    Args:
        z: logits, [N, 2, tags].
        labels: 0, 1, or −1 where nobody knows, [N, tags].

    Returns:
        For each, fractions of the known ones: ``accuracy``; ``balanced_accuracy``, the mean over
        both answers as far as they occur; ``yes``, how many are so; and, where both occur,
        ``auroc``, the area under the ROC curve. None of them where nothing is known.
    """
    found, odds = [], z[:, 1].double() - z[:, 0].double()
    for likely, said, given in zip(odds.T, z.argmax(dim=1).T, labels.T, strict=True):
        known = given != VOID
        yes, right = given[known] == 1, (said == given)[known].double()
        if not len(yes):
            found.append({})
            continue
        each = [right[group].mean() for group in (yes, ~yes) if bool(group.any())]
        scores = {"accuracy": right.mean(), "balanced_accuracy": torch.stack(each).mean()}
        scores["yes"] = yes.double().mean()
        if len(each) == 2:
            scores["auroc"] = auroc(likely[known], yes)
        found.append({key: value.item() for key, value in scores.items()})
    return found


def mean_tag_scores(z: Tensor, labels: Tensor) -> dict[str, float]:
    """Accuracy of all known answers; mean over the tags of what else `tag_scores` tells of each."""
    known, scores = labels != VOID, tag_scores(z, labels)
    right = (z.argmax(dim=1) == labels)[known].double().mean()
    named = {
        key: [found[key] for found in scores if key in found]
        for key in ("balanced_accuracy", "auroc")
    }
    means = {key: sum(values) / len(values) for key, values in named.items() if values}
    return {"accuracy": right.item(), **means}


def measure(data: Data) -> str:
    """Which figure of `evaluate` counts: where an epoch is chosen, and where runs are compared."""
    return share_right(data) if data.scoring == "auto" else data.scoring


def check_judges(data: Data) -> None:
    """Refuse a scoring that cannot be measured on what will be judged; see `check_scoring`."""
    pools = {"clean": data.clean, "validation": data.validation, "test": data.test}
    judged = {name: pool.labels for name, pool in pools.items() if pool is not None}
    check_scoring(data.scoring, judged, masks=data.masks)


def share_right(data: Data) -> str:
    """What counts unless something else is asked for: a share that is right; of masks, Dice."""
    if data.clean.cases is not None:
        return "dice"
    weights = data.class_weights
    named = {"none": "accuracy", "balanced": "balanced_accuracy"}
    return named[weights] if isinstance(weights, str) else "weighted_accuracy"


def predict_pool(predict: Callable[[Tensor], Tensor], pool: Pool, data: Data) -> Tensor:
    """Logits of a whole pool, [N, classes, *pixels], in blocks of bounded size."""
    return torch.cat(list(_blocks(predict, pool, data)))


def predict_classes(predict: Callable[[Tensor], Tensor], pool: Pool, data: Data) -> Tensor:
    """The most likely classes of a whole pool, [N, *pixels] int64; no more logits are held."""
    return torch.cat([z.argmax(dim=1) for z in _blocks(predict, pool, data)])


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


def _evaluate_masks(
    predict: Callable[[Tensor], Tensor], pool: Pool, cases: Cases, data: Data
) -> dict[str, float]:
    """Of masks, one case after the other: the logits of all are many times as large as they are."""
    classes, predicted = len(data.classes), torch.empty_like(pool.labels)
    counts = pool.labels.new_zeros(classes, classes)  # of pixels, true by predicted class
    loss = torch.zeros((), dtype=torch.float64, device=counts.device)
    for case, z in predict_cases(predict, pool, data):
        rows = cases.rows(case)
        true, drawn = pool.labels[rows], z.argmax(dim=1)
        predicted[rows] = drawn
        loss += cross_entropy(z, true).sum(dtype=torch.float64)
        pairs = (true * classes + drawn)[true != VOID]
        counts += torch.bincount(pairs, minlength=classes**2).view_as(counts)
    of_class, right = counts.sum(dim=1), counts.diagonal()
    present = of_class > 0
    scores = case_dice(predicted, pool.labels, cases, classes)
    means = zip(data.classes[1:], scores.nanmean(dim=0).tolist(), strict=True)
    return {
        "dice": mean_score(scores) or 0.0,
        **{f"dice_{name}": mean for name, mean in means if not math.isnan(mean)},
        "accuracy": (right.sum() / of_class.sum()).item(),
        "balanced_accuracy": (right[present] / of_class[present]).mean().item(),
        "loss": _worst_if_none(loss / of_class.sum()),
    }


def _worst_if_none(loss: Tensor) -> float:
    """A loss; of outputs that are not finite the worst that there is, for NaN compares to none."""
    return loss.nan_to_num(nan=math.inf, posinf=math.inf).item()

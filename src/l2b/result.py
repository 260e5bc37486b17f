"""How well a run did, in the numbers of its record."""

import math
from typing import Any

import torch

from l2b.cases import case_dice, case_hausdorff, mean_score
from l2b.data import Data
from l2b.evaluate import predict_classes, predict_pool, tag_scores
from l2b.train import Outcome


def accuracies(outcome: Outcome, data: Data) -> dict[str, Any]:
    """Test accuracy at the last, best and chosen epoch.

    Of masks, Dice too; of tags, and where it counts, AUROC. All are fractions. The chosen epoch is
    the one that is best on clean validation, by the `measure` that counts. The best epoch looks
    at the test set and only tells how much choosing could have gained. All are None without a test
    set.
    """
    history, chosen = outcome.history, outcome.chosen_epoch
    found: dict[str, Any] = {"chosen_epoch": None if chosen is None else chosen + 1}
    further = (
        ("dice",) if data.masks else ("auroc",) if data.tags or data.scoring == "auroc" else ()
    )
    for key in (*further, "accuracy", "balanced_accuracy"):
        curve = [row[f"test_{key}"] for row in history if f"test_{key}" in row]
        found[f"last_{key}"] = curve[-1] if curve else None
        found[f"best_{key}"] = max(curve) if curve else None
        found[f"chosen_{key}"] = curve[chosen] if curve and chosen is not None else None
    return found


def at_chosen(outcome: Outcome, key: str) -> float | None:
    """A metric at the chosen epoch; None if none was chosen."""
    chosen = outcome.chosen_epoch
    return None if chosen is None else outcome.history[chosen].get(key)


def volume_scores(data: Data, outcome: Outcome) -> dict[str, Any]:
    """Dice and 95 % Hausdorff distance of every test volume and class after the last epoch.

    Returns:
        Under ``volumes``, by the volume's name and the class, ``dice`` and ``hausdorff_95`` in
        units of the spacing (mm where files tell it), None where they are undefined; and the
        mean of the latter as ``last_hausdorff_95``, which leaves out ``hausdorff_left_out``
        pairs of a volume and a class that only one of the masks shows. Empty for labels or
        without a test set.
    """
    pool = data.test
    if pool is None or pool.cases is None:
        return {}
    learner, cases, classes = outcome.learner, pool.cases, len(data.classes)
    predicted = predict_classes(learner.predict, pool, data).cpu()
    pair = predicted, pool.labels.cpu(), cases.to(torch.device("cpu")), classes
    dice, distance = case_dice(*pair), case_hausdorff(*pair)
    names = [cases.names[case] for case in cases.of.unique().tolist()]
    volumes = {
        name: {
            kind: {"dice": _number(overlap), "hausdorff_95": _number(far)}
            for kind, overlap, far in zip(data.classes[1:], *rows, strict=True)
        }
        for name, *rows in zip(names, dice.tolist(), distance.tolist(), strict=True)
    }
    left_out = int((distance.isnan() & ~dice.isnan()).sum())
    return {
        "last_hausdorff_95": mean_score(distance),
        "hausdorff_left_out": left_out,
        "volumes": volumes,
    }


def tag_results(data: Data, outcome: Outcome) -> dict[str, Any]:
    """What `tag_scores` tells of the test set after the last epoch, under ``tags``."""
    if data.test is None or not data.tags:
        return {}
    z = predict_pool(outcome.learner.predict, data.test, data).cpu()
    return {"tags": dict(zip(data.tags, tag_scores(z, data.test.labels.cpu()), strict=True))}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value

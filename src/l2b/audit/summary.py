"""What an audit says about the labels as a whole."""

from typing import Any

import numpy as np

from l2b.audit.table import AuditTable

WORST = 10  # classes and pairs that are listed


def wrong_probability(quality: np.ndarray) -> np.ndarray:
    """How likely labels of these qualities are to be wrong.

    Odds of (1 − q)² to q²: on digits with three noises, low and high qualities were surer than
    1 − q says. benchmarks/detection.py compares the promise with the truth.
    """
    wrong, right = (1 - quality) ** 2, quality**2
    return wrong / (wrong + right)


def summarise(table: AuditTable, checked: tuple[np.ndarray, np.ndarray] | None = None) -> dict:
    """Estimated noise rate, transition matrix, worst classes, and how sure that is.

    Args:
        table: the audit.
        checked: observed and right label of the samples that a person checked, if both are
            known; their share of wrong labels is an estimate that needs no model.

    Returns:
        Plain values, ready for JSON.
    """
    joint = joint_counts(table)
    found: dict[str, Any] = {
        "samples": len(table),
        "classes": list(table.classes),
        "suspects": int(table.suspect.sum()),
        "noise_rate": float(wrong_probability(table.quality).mean()),
        "transition": transition(joint).tolist(),
        "joint": joint.tolist(),
        "worst_classes": worst_classes(table),
        "frequent_confusions": confusions(table),
    }
    if checked is not None and len(checked[0]):
        observed, right = checked
        found["checked"] = _share(int((observed != right).sum()), len(right))
    if table.true is not None:
        found["against_truth"] = against_truth(table, table.true)
    return found


def joint_counts(table: AuditTable) -> np.ndarray:
    """Samples by suggested (row) and observed (column) label, [classes, classes]."""
    size = len(table.classes)
    return np.bincount(table.suggested * size + table.observed, minlength=size**2).reshape(
        size, size
    )


def transition(joint: np.ndarray) -> np.ndarray:
    """Share of each right class (row) that is observed as each class; a row sums to 1.

    A class that nothing is suggested for keeps its labels.
    """
    totals = joint.sum(axis=1, keepdims=True)
    return np.where(totals > 0, joint / np.maximum(totals, 1), np.eye(len(joint)))


def worst_classes(table: AuditTable) -> list[dict[str, Any]]:
    """Observed classes by their share of suspects, worst first."""
    counts = np.bincount(table.observed, minlength=len(table.classes))
    bad = np.bincount(table.observed[table.suspect], minlength=len(table.classes))
    shares = bad / np.maximum(counts, 1)
    order = np.lexsort((-counts, -shares))[:WORST]
    return [
        {
            "label": table.classes[k],
            "samples": int(counts[k]),
            "suspects": int(bad[k]),
            "share": float(shares[k]),
        }
        for k in order
        if counts[k]
    ]


def confusions(table: AuditTable) -> list[dict[str, Any]]:
    """The most frequent pairs of observed and suggested label."""
    joint = joint_counts(table)
    np.fill_diagonal(joint, 0)
    order = np.argsort(-joint, axis=None, kind="stable")[:WORST]
    pairs = [divmod(int(place), len(joint)) for place in order]
    return [
        {"observed": table.classes[k], "suggested": table.classes[c], "samples": int(joint[c, k])}
        for c, k in pairs
        if joint[c, k]
    ]


def against_truth(table: AuditTable, true: np.ndarray) -> dict[str, float | None]:
    """How well the audit found what a benchmark knows to be wrong."""
    from sklearn.metrics import average_precision_score, roc_auc_score  # slow to load

    wrong = table.observed != true
    suspect = table.suspect
    both = 0 < wrong.sum() < len(wrong)
    hits = wrong & suspect
    return {
        "noise_rate": float(wrong.mean()),
        "auroc": float(roc_auc_score(wrong, 1 - table.quality)) if both else None,
        "average_precision": float(average_precision_score(wrong, 1 - table.quality))
        if both
        else None,
        "precision": float(hits.sum() / suspect.sum()) if suspect.any() else None,
        "recall": float(hits.sum() / wrong.sum()) if wrong.any() else None,
        "suggestions_right": float((table.suggested == true)[suspect].mean())
        if suspect.any()
        else None,
    }


def _share(count: int, total: int) -> dict[str, float]:
    """A share with its 95 % interval (Wilson, 1927)."""
    z = 1.96
    share = count / total
    centre = (share + z**2 / (2 * total)) / (1 + z**2 / total)
    half = z * np.sqrt(share * (1 - share) / total + z**2 / (4 * total**2)) / (1 + z**2 / total)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return {"samples": total, "wrong": count, "share": share, "low": low, "high": high}

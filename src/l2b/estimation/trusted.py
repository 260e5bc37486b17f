"""Which samples are checked, and a stand-in where nobody checked any."""

import warnings
from typing import Any

import numpy as np
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from l2b.estimation.meaning import as_answers, shape_of
from l2b.estimation.rows import Features
from l2b.targets import VOID

FOLDS = 3
ENOUGH = 5_000  # samples that the stand-in looks at
SHARE = 0.2  # of each class that become trusted


def checked_rows(clean: Any, samples: int) -> np.ndarray:
    """Positions of checked samples, from positions or a mask.

    Raises:
        ValueError: if they are no different positions in [0, samples), or there are none.
    """
    rows = np.asarray(clean)
    if rows.dtype == bool and rows.shape == (samples,):
        if not rows.any():
            raise ValueError(
                f"clean marks none of these {samples} samples as checked. If they are a part of a "
                "cross-validation, shuffle its folds, or stratify them by the mask."
            )
        rows = np.flatnonzero(rows)
    whole = rows.ndim == 1 and rows.dtype.kind in "iu" and len(rows) > 0
    if whole and rows.min() >= 0 and rows.max() < samples and len(np.unique(rows)) == len(rows):
        return np.sort(rows)
    flags = rows.shape == (samples,) and rows.dtype.kind in "iuf" and np.isin(rows, (0, 1)).all()
    raise ValueError(
        f"clean must hold different positions in [0, {samples}), or be a mask of {samples} "
        f"booleans with at least one True: the rows of X whose label was checked. Got "
        f"{rows.dtype} of shape {rows.shape}"
        f"{f' from {rows.min()} to {rows.max()}' if whole else ''}"
        f"{': call .astype(bool) on it' if flags else ''}."
    )


def checked_labels(clean: Any, y: np.ndarray) -> np.ndarray:
    """Which labels were checked, from the user's rows or, of several labels a sample, from a mask.

    Args:
        clean: positions or a mask of the rows; with several labels, or a mask of [N, tags].
        y: labels as numbers, [N, *tags].

    Returns:
        A mask shaped like y; what nobody knows is not checked.

    Raises:
        ValueError: as for `checked_rows`, and if of what was checked nothing is known.
    """
    mask = np.zeros(y.shape, dtype=bool)
    if y.ndim > 1 and len(shape_of(clean)) != 1:
        marked = as_answers(clean, "clean")
        if marked.shape != y.shape or (marked == VOID).any():
            raise ValueError(
                "clean must be a mask of booleans, [n_samples] or [n_samples, n_tags], or hold "
                f"positions, got the shape {marked.shape} for {y.shape[1]} labels a sample"
                f"{' with unknown values' if (marked == VOID).any() else ''}."
            )
        mask[:] = marked.astype(bool)
    else:
        mask[checked_rows(clean, len(y))] = True
    mask &= y != VOID
    if not mask.any():
        raise ValueError("clean marks no known answer as checked: mark some, or leave it out.")
    return mask


def stand_ins(x: Features, y: np.ndarray, seed: int) -> np.ndarray:
    """Which labels stand in for checked ones; of several labels a sample, each for itself.

    Args:
        x: scaled features, one row per sample.
        y: labels as numbers, [N, *tags].
        seed: of the folds.

    Returns:
        A mask shaped like y.
    """
    mask = np.zeros(y.shape, dtype=bool)
    for labels, chosen in zip(_columns(y), _columns(mask), strict=True):
        rows = np.flatnonzero(labels != VOID)
        part = x if len(rows) == len(y) else x[rows]
        chosen[rows[stand_in(part, labels[rows], seed)]] = True
    return mask


def _columns(values: np.ndarray) -> np.ndarray:
    """Views of the labels of each kind, [tags, N]; of one label a sample, [1, N]."""
    return values.reshape(len(values), -1).T


def stand_in(x: Features, y: np.ndarray, seed: int) -> np.ndarray:
    """Samples whose label a cross-fitted linear model confirms with most confidence.

    They stand in for checked samples: a fifth of each class, at least one. What is wrong in a
    systematic way is confirmed too, so this is no replacement for checking labels.

    Args:
        x: scaled features, one row per sample.
        y: class indices, [N].
        seed: of the folds.

    Returns:
        Positions, sorted.
    """
    looked_at = np.arange(len(y))
    if len(y) > ENOUGH:
        order = np.random.default_rng(seed).permutation(len(y))
        some = [order[y[order] == c][:FOLDS] for c in np.unique(y)]  # of every class, though rare
        looked_at = np.unique(np.concatenate([order[:ENOUGH], *some]))
    belief = _belief(x[looked_at], y[looked_at], seed)
    chosen = []
    for c in np.unique(y[looked_at]):
        rows = np.flatnonzero(y[looked_at] == c)
        count = max(1, round(SHARE * len(rows)))
        chosen.append(rows[np.argsort(-belief[rows], kind="stable")[:count]])
    return np.sort(looked_at[np.concatenate(chosen)])


def _belief(x: Features, y: np.ndarray, seed: int) -> np.ndarray:
    """Out-of-fold probability of each label; 1 where a class is too small for folds."""
    large = np.bincount(y) >= FOLDS
    judged, belief = np.flatnonzero(large[y]), np.ones(len(y))
    if large.sum() < 2:
        return belief
    flat = (x if x.ndim == 2 else np.reshape(x, (len(y), -1)))[judged]
    labels = y[judged]
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    with warnings.catch_warnings():
        # A rough ranking is all that is needed.
        warnings.simplefilter("ignore", ConvergenceWarning)
        p: Any = cross_val_predict(
            LogisticRegression(max_iter=50), flat, labels, cv=folds, method="predict_proba"
        )
    belief[judged] = p[np.arange(len(labels)), np.searchsorted(np.flatnonzero(large), labels)]
    return belief

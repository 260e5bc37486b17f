"""Data frames whose columns are not all numbers: texts, categories, gaps."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_X_y, validate_data

from l2b.estimation.labels import as_numpy, is_missing, some
from l2b.features.columns import LARGEST, Column, Columns
from l2b.features.survey import CATEGORIES, survey
from l2b.notices import notice

TURN = "turn them into numbers first (e.g. with scikit-learn's TfidfVectorizer)"
NO_LABELS = object()
CHECKS: dict[str, Any] = {"accept_sparse": "csr", "allow_nd": True}


@dataclass(frozen=True, kw_only=True)
class FrameEncoding:
    """What the columns of a data frame are to a model.

    Attributes:
        columns: what each of those that are used became.
        places: where these are among all columns.
    """

    columns: Columns
    places: tuple[int, ...]

    def __call__(self, X: Any) -> np.ndarray:
        """Features, [n_samples, width], float32.

        Args:
            X: a frame, or an array, with the columns of the first one.

        Raises:
            ValueError: if a column that held numbers holds something else.
        """
        return self.columns.filled(self.values(X))

    def values(self, X: Any) -> np.ndarray:
        """The same with NaN for missing numbers."""
        own, at = _columns(X), 0
        found = np.zeros((len(X), self.columns.width), dtype=np.float32)
        for column, place in zip(self.columns.columns, self.places, strict=True):
            _encode(column, own[place], found[:, at : at + column.width])
            at += column.width
        return found


def frame_encoding(X: Any) -> FrameEncoding | None:
    """What a data frame's columns become; None if all of them are numbers, or X is no frame.

    They become what they are to the command line: numbers stay, their gaps are filled with the
    median and marked, categories are one-hot. Columns of other texts are left out, which is told.
    What has the type ``category`` in pandas is a category, whatever it holds.

    Raises:
        ValueError: if two columns have one name, one holds infinity, or none can be used.
    """
    if not _is_frame(X) or not len(X):
        return None
    names = [str(name) for name in X.columns]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"The columns of X must have different names, got twice {some(np.array(twice))}."
        )
    typed = [
        n for n, name in zip(names, X.columns, strict=True) if str(X[name].dtype) == "category"
    ]
    columns = _columns(X)
    if not typed and all(map(_complete, columns)):
        return None
    for name, column in zip(names, columns, strict=True):
        if column.dtype.kind == "f" and np.isinf(column).any():
            row = int(np.isinf(column).argmax())
            raise ValueError(f"X contains infinity in column {name!r}, row {row}: fill or drop it.")
    found = survey(names, _cells(columns), categories=typed, otherwise=TURN)
    if found.ignored:
        notice(
            f"X has columns that are neither numbers nor at most {CATEGORIES} categories, which "
            f"are not used: {some(np.array(found.ignored))}. Drop them, or {TURN}."
        )
    encoding = FrameEncoding(columns=found.encoding, places=found.used)
    return replace(encoding, columns=encoding.columns.with_medians(encoding.values(X)))


def validated(
    estimator: BaseEstimator,
    encoding: FrameEncoding | None,
    X: Any,
    y: Any = NO_LABELS,
    *,
    several: bool = False,
    first: bool = False,
) -> Any:
    """Samples as numbers, and their labels if there are any, as scikit-learn checks them.

    Args:
        estimator: learns, or knows, how many features there are and what they are called.
        encoding: of a data frame; None for samples that are numbers.
        X: the samples: a data frame, an array, a sparse matrix or a tensor.
        y: their labels, where they have some.
        several: whether each has several.
        first: whether these are the samples that others must be like.

    Raises:
        ValueError: if something is no sample or label, or unlike the first ones.
    """
    X, labels = as_numpy(X), {"y": y, "multi_output": several}
    if y is NO_LABELS:
        labels.clear()
    if encoding is None:
        return validate_data(estimator, X, **labels, **CHECKS, reset=first)
    if not _is_frame(X):
        X = np.asarray(X, dtype=object)
    validate_data(estimator, X, skip_check_array=True, reset=first)
    features = encoding(X)
    return check_X_y(features, **labels) if labels else features


def _is_frame(X: Any) -> bool:
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


def _columns(X: Any) -> list[np.ndarray]:
    if _is_frame(X):
        return [np.asarray(X[name]) for name in X.columns]
    return list(X.T)


def _complete(column: np.ndarray) -> bool:
    """Whether it holds numbers, or yes and no, without a gap."""
    return column.dtype.kind in "biuf" and not (column != column).any()


def _encode(column: Column, cells: np.ndarray, found: np.ndarray) -> None:
    """What `Column.encode` makes of every cell, whole columns at a time.

    Args:
        column: what it became.
        cells: [n_samples].
        found: takes the features, [n_samples, width]; zeros before.
    """
    if column.categories:
        place = {own: k for k, own in enumerate(column.categories)}
        codes = np.array([place.get(_text(cell).strip(), -1) for cell in cells], dtype=int)
        rows = np.flatnonzero(codes >= 0)
        found[rows, codes[rows]] = 1
    elif cells.dtype.kind in "biuf":
        values = cells.astype(float)
        for row in np.flatnonzero(np.abs(values) > LARGEST)[:1]:
            column.encode(str(cells[row]), int(row))  # which says what is wrong
        found[:, 0] = values - column.origin
        found[:, 1:] = np.isnan(values)[:, None]
    else:
        for row, cell in enumerate(cells):
            found[row] = column.encode(_text(cell), row)


def _cells(columns: Sequence[np.ndarray]) -> Iterator[tuple[str, ...]]:
    return zip(*(map(_text, column) for column in columns), strict=True)


def _text(cell: object) -> str:
    """Nothing for what is missing; yes and no are numbers, as they are in an array."""
    if isinstance(cell, bool | np.bool_):
        return str(int(cell))
    return "" if is_missing(cell) else str(cell)

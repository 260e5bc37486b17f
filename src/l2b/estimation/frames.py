"""Data frames whose columns hold numbers, categories, yes and no, dates, and gaps."""

from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_array, check_X_y, validate_data

from l2b.estimation.columns import (
    NUMBERS,
    Categories,
    Column,
    Numbers,
    as_floats,
    as_texts,
    kind_of,
)
from l2b.estimation.labels import as_numpy, some
from l2b.estimation.scaling import SPARSE_BELOW
from l2b.notices import notice

CATEGORIES = 50  # a column of texts with more different ones holds no categories
NO_LABELS = object()
CHECKS: dict[str, Any] = {"accept_sparse": "csr", "allow_nd": True}
CATEGORY_TYPES = ("category", "Categorical", "Enum")  # of pandas and Polars


@dataclass(frozen=True, kw_only=True)
class FrameEncoding:
    """What the columns of a data frame are to a model.

    Attributes:
        columns: what became of each of those that are used.
    """

    columns: tuple[Column, ...]

    def __call__(self, X: Any, frame: str = "X") -> np.ndarray:
        """Features, [n_samples, width], float64; finite.

        Args:
            X: a frame, or an array [n_samples, columns], with the columns of the first one.
            frame: its name, for messages.

        Raises:
            ValueError: if a column holds something else than it did.
        """
        self._refuse_other_names(X, frame)
        own = numbers_alone(X) if self._are_numbers else X
        parts = [column.encode(cells(own, column.place), frame) for column in self.columns]
        return np.concatenate(parts, axis=1)

    @property
    def _are_numbers(self) -> bool:
        return all(isinstance(column, Numbers) for column in self.columns)

    def _refuse_other_names(self, X: Any, frame: str) -> None:
        """Names that are no strings, too, which scikit-learn does not look at."""
        if not is_frame(X):
            return
        names = [str(name) for name in X.columns]
        for column in self.columns:
            if names[column.place] != column.name:
                raise ValueError(
                    f"The columns of {frame} must be in the order that they had in fit: got "
                    f"{names[column.place]!r} where {column.name!r} was."
                )


def frame_encoding(X: Any) -> FrameEncoding | None:
    """What the columns of a data frame become, by their types; None if X is none.

    Numbers stay numbers, yes and no are 1 and 0, times are seconds. Their gaps are filled with the
    median and marked by a further feature. Columns of the type ``category``, and texts of which
    at most 50 differ, become a feature for each category. Beside categories, times or gaps numbers
    are scaled: to zero mean and unit variance, or, where three quarters are zero, by their size
    alone. Columns of other texts, and empty ones, are left out, which is told.

    Raises:
        ValueError: if two columns have one name, one holds infinity or no single values, or none
            can be used.
    """
    if not is_frame(X) or not len(X) or all("Sparse" in str(kind) for kind in X.dtypes):
        return None
    names = [str(name) for name in X.columns]
    twice = sorted(name for name, count in Counter(names).items() if count > 1)
    if twice:
        raise ValueError(
            f"The columns of X must have different names, got twice {some(np.array(twice))}."
        )
    own, kinds = numbers_alone(X), map(str, X.dtypes)
    found = [
        _found(name, place, kind, cells(own, place))
        for place, (name, kind) in enumerate(zip(names, kinds, strict=True))
    ]
    ignored = [name for name, column in zip(names, found, strict=True) if column is None]
    columns = [column for column in found if column is not None]
    told = (
        f"neither numbers nor at most {CATEGORIES} categories: {some(np.array(ignored))}. Drop "
        "them, or turn them first into numbers (e.g. texts with TfidfVectorizer) or into the type "
        "'category'."
    )
    if not columns:
        raise ValueError(f"All columns of X are empty or {told}")
    if ignored:
        notice(f"Columns of X are not used, since they are empty or {told}")
    plain = (isinstance(c, Numbers) and c.kind == "numbers" and not c.gaps for c in columns)
    if not all(plain):  # or they would be taken for what is mostly zero, by their marks alone
        columns = [_scaled(column, X) for column in columns]
    return FrameEncoding(columns=tuple(columns))


def validated(
    estimator: BaseEstimator,
    encoding: FrameEncoding | None,
    X: Any,
    y: Any = NO_LABELS,
    *,
    name: str = "X",
    several: bool = False,
    first: bool = False,
) -> Any:
    """Samples as numbers, and their labels if there are any, as scikit-learn checks them.

    Args:
        estimator: learns, or knows, how many features there are and what they are called.
        encoding: of a data frame; None for samples that are numbers.
        X: the samples: a data frame, an array, a sparse matrix or a tensor.
        y: their labels, where they have some.
        name: of X, for messages.
        several: whether each sample has several labels.
        first: whether these are the samples that others must be like.

    Raises:
        ValueError: if something is no sample or label, or unlike the first ones.
    """
    X = as_numpy(X)
    labels = {} if y is NO_LABELS else {"y": y, "multi_output": several}
    if encoding is None:
        return validate_data(estimator, X, **labels, **CHECKS, reset=first)
    if not is_frame(X):
        X = X if isinstance(X, np.ndarray) else np.asarray(X, dtype=object)
        if X.ndim != 2:
            raise ValueError(
                f"{name} must be a data frame like that of fit, or an array of its columns, got "
                f"one of shape {X.shape}."
            )
    validate_data(estimator, X, skip_check_array=True, reset=first)
    features = encoding(X, name)
    return check_X_y(features, **labels) if labels else check_array(features)


def is_frame(X: Any) -> bool:
    """Whether it is a data frame, of pandas or Polars."""
    return hasattr(X, "columns") and hasattr(X, "dtypes") and hasattr(X, "shape")


def numbers_alone(X: Any) -> Any:
    """A frame that holds nothing but numbers as an array, of which columns are taken at once."""
    if is_frame(X) and all(isinstance(k, np.dtype) and k.kind in NUMBERS for k in X.dtypes):
        return np.asarray(X, dtype=float)
    return X


def cells(X: Any, place: int) -> np.ndarray:
    """One column of a frame or of an array, [n_samples]."""
    if not is_frame(X):
        return X[:, place]
    return np.asarray(X.iloc[:, place] if hasattr(X, "iloc") else X[X.columns[place]])


def _found(name: str, place: int, dtype: str, own: np.ndarray) -> Column | None:
    """What a column is, before any scaling; None if it is empty or of no use."""
    named = dtype.startswith(CATEGORY_TYPES)
    if not named and (kind := kind_of(own)):
        values = as_floats(own, kind, name, "X")
        gaps = np.isnan(values)
        if gaps.all():
            return None
        median = float(np.median(values[~gaps]))
        return Numbers(name=name, place=place, kind=kind, median=median, gaps=bool(gaps.any()))
    texts = [text for text in as_texts(own, name, "X") if text is not None]
    values = tuple(dict.fromkeys(texts))
    if not values or (len(values) > CATEGORIES and not named):
        return None
    return Categories(name=name, place=place, values=values)


def _scaled(column: Column, X: Any) -> Column:
    """The same with numbers of unit size, and around zero unless most are zero."""
    if not isinstance(column, Numbers):
        return column
    values = column.encode(cells(X, column.place), "X")[:, 0]
    used = values[values != 0]
    if len(used) < SPARSE_BELOW * len(values):
        return replace(column, std=float(np.sqrt(np.mean(used**2))) if len(used) else 1.0)
    mean, std = float(values.mean()), float(values.std())
    return replace(column, mean=mean, std=std if std > 1e-12 * abs(mean) else 1.0)

"""What users' labels mean: one class a sample, or several answers of yes or no."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse
from sklearn.utils.multiclass import check_classification_targets

from l2b.answers import answers_of
from l2b.class_weights import ClassWeights
from l2b.datasets.arrays import NO_YES
from l2b.estimation.labels import as_labels, as_numpy, is_missing, joined, some
from l2b.estimation.parameters import class_weights
from l2b.notices import notice
from l2b.targets import VOID


@dataclass(frozen=True, kw_only=True)
class Meaning:
    """What the numbers of labels stand for.

    Attributes:
        classes: of one label a sample, sorted, [classes]; of several, what no and yes are.
        tags: the name of each of several yes-or-no labels; empty where samples have one label.
    """

    classes: np.ndarray
    tags: tuple[str, ...] = ()

    @property
    def sklearn_classes(self) -> np.ndarray:
        """The classes as scikit-learn knows them, [classes]; of several labels, [tags, 2]."""
        return np.tile(self.classes, (len(self.tags), 1)) if self.tags else self.classes

    @property
    def names(self) -> tuple[str, ...]:
        """Of the classes."""
        return NO_YES if self.tags else tuple(map(str, self.classes))

    def weights(self, wanted: dict[Any, float] | str | None) -> ClassWeights:
        """How much each class counts; several labels a sample have no such weights.

        Raises:
            ValueError: as for `class_weights`, and of several labels on anything but None.
        """
        if self.tags and wanted is not None:
            raise ValueError(
                "Parameter class_weight is of one label a sample, and y holds "
                f"{len(self.tags)}: leave it at None."
            )
        return class_weights(wanted, self.classes)

    def tell_unshown(self, labels: np.ndarray) -> None:
        """Say what no checked sample shows, of which nothing is known but what may be wrong.

        Args:
            labels: of the checked samples, as numbers, [M, *tags].
        """
        if self.tags:
            lacking = [
                name
                for tag, column in zip(self.tags, labels.T, strict=True)
                for number, name in enumerate(answers_of(tag, NO_YES))
                if number not in column
            ]
            if lacking:
                notice(
                    f"No checked answer is {some(np.array(lacking))}: whether such answers are "
                    "right is shown nowhere, and comparing methods says nothing of them. Check a "
                    "yes and a no of every label."
                )
            return
        absent = self.classes[np.setdiff1d(np.arange(len(self.classes)), labels)]
        if len(absent):
            notice(
                f"No checked sample is labelled {some(absent)}: what is never shown as trusted "
                "cannot be told from noise, and may never be predicted; comparing methods says "
                "nothing of it. Check at least one sample of every class."
            )

    def spelled(self, labels: np.ndarray) -> np.ndarray:
        """Numbers as the user writes labels; several labels are written 0 and 1 already."""
        return labels if self.tags else self.classes[labels]


def are_several(y: Any) -> bool:
    """Whether these are several labels a sample: two dimensions, and more than one column."""
    shape = shape_of(y)
    return len(shape) == 2 and shape[1] > 1


def shape_of(y: Any) -> tuple[int, ...]:
    """Of anything like an array; none of rows of different lengths."""
    try:
        return tuple(y.shape if hasattr(y, "shape") else np.asarray(y).shape)
    except ValueError:
        return ()


def tag_names(y: Any) -> tuple[str, ...]:
    """What several labels are called: as the columns of a data frame, else by their number.

    Args:
        y: labels as given; one label a sample has no such name.
    """
    if not are_several(y):
        return ()
    return tuple(str(name) for name in getattr(y, "columns", range(shape_of(y)[1])))


def as_given(y: Any, name: str, *, several: bool) -> Any:
    """Labels as arrays that scikit-learn can look at.

    Args:
        y: the user's.
        name: of the argument.
        several: whether there are several a sample.

    Raises:
        ValueError: if a label is missing, or is none.
    """
    return as_answers(y, name) if several else as_labels(y, name)


def as_answers(y: Any, name: str) -> np.ndarray:
    """Several yes-or-no labels a sample as numbers.

    Args:
        y: 1 or True for yes, 0 or False for no; −1, NaN, None or NA where nobody knows. An array,
            data frame, sparse matrix, tensor or list of [n, tags].
        name: of the argument.

    Returns:
        1, 0 or −1, [n, tags], int64.

    Raises:
        ValueError: on any other value, or on anything that is no [n, tags].
    """
    given: Any = as_numpy(y)
    if isinstance(y, np.ma.MaskedArray):
        given = np.array(y, dtype=object)
        given[np.ma.getmaskarray(y)] = None
    found = given.toarray() if sparse.issparse(given) else np.asarray(given)
    if found.ndim != 2:
        raise ValueError(
            f"{name} must hold several labels a sample, [n_samples, n_tags], as y does, got "
            f"the shape {found.shape}."
        )
    if found.dtype.kind == "O":
        told = [VOID if is_missing(value) else value for value in found.flat]
        found = np.array(told, dtype=object).reshape(found.shape)
    elif found.dtype.kind == "f":
        found = np.where(np.isnan(found), VOID, found)
    answers = np.full(found.shape, VOID - 1, dtype=np.int64)
    for answer in (VOID, 0, 1):
        answers[found == answer] = answer
    bad = np.argwhere(answers < VOID)
    if len(bad):
        row, column = bad[0].tolist()
        raise ValueError(
            f"{name} of several labels a sample must hold 1 for yes, 0 for no, and -1 or NaN where "
            f"nobody knows, got {str(found[row, column])!r} in row {row}, column {column}. If each "
            "sample has one label, give it as one column."
        )
    return answers


def encoded(
    y: Any, y_clean: Any, tags: tuple[str, ...]
) -> tuple[Meaning, np.ndarray, np.ndarray | None]:
    """Labels as numbers, if there is something to learn.

    Args:
        y: labels as given, [N]; of several a sample, answers as numbers, [N, tags].
        y_clean: likewise, of checked samples, or None.
        tags: names of several labels; empty for one a sample.

    Returns:
        What the numbers mean, and both as numbers.

    Raises:
        ValueError: on labels of one class, of several kinds, or that have nothing in common; of
            several, where nobody knows any answer of one.
    """
    if tags:
        _check_answers(tags, y, y_clean)
        return Meaning(classes=np.arange(2), tags=tags), y, y_clean
    every = y if y_clean is None else joined(y, y_clean)
    check_classification_targets(every)
    classes = np.unique(every)
    if len(classes) < 2:
        raise ValueError(
            "L2BClassifier needs labels of at least 2 classes, but y holds only one class: "
            f"{classes[0]!r}. There is nothing to tell apart."
        )
    if y_clean is not None and not np.isin(y_clean, y).any():
        raise ValueError(
            f"No label of y_clean is in y, which holds {some(np.unique(y))}, got "
            f"{some(np.unique(y_clean))}: are they written alike?"
        )
    clean = None if y_clean is None else np.searchsorted(classes, y_clean)
    return Meaning(classes=classes), np.searchsorted(classes, y), clean


def check_same_tags(y: Any, other: Any, name: str) -> None:
    """Refuse data frames whose columns are not the same.

    Args:
        y: labels as given.
        other: what should have the same columns.
        name: of that argument.

    Raises:
        ValueError: naming both.
    """
    named = [list(map(str, frame.columns)) for frame in (y, other) if hasattr(frame, "columns")]
    if len(named) == 2 and named[0] != named[1]:
        raise ValueError(
            f"{name} must have the columns of y in their order, {', '.join(named[0])}, got "
            f"{', '.join(named[1])}."
        )


def _check_answers(tags: tuple[str, ...], y: np.ndarray, y_clean: np.ndarray | None) -> None:
    """Refuse labels of which nothing is known; say which are the same everywhere."""
    if y_clean is not None and y_clean.shape[1] != len(tags):
        raise ValueError(
            f"y_clean must hold the {len(tags)} labels a sample that y holds, got "
            f"{y_clean.shape[1]}."
        )
    if y_clean is not None and not known(y_clean).any():
        raise ValueError("y_clean holds no known answer: leave it out, or check some.")
    for name, column in zip(tags, y.T, strict=True):
        shown = np.unique(column[column != VOID])
        if not len(shown):
            raise ValueError(
                f"Column {name!r} of y has no known answer: there is nothing to learn, leave it "
                "out."
            )
        if len(shown) == 1:
            notice(
                f"Column {name!r} of y is {NO_YES[shown[0]]} wherever it is known: there is "
                "nothing to tell apart."
            )


def known(labels: np.ndarray) -> np.ndarray:
    """Which samples have a label, or any of several, [N] bool."""
    return (labels != VOID).reshape(len(labels), -1).any(axis=1)

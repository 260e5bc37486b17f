"""Labels as users give them."""

from typing import Any

import numpy as np
import torch


def as_numpy(values: Any) -> Any:
    """Tensors as arrays; scikit-learn knows everything else."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else values


def as_labels(values: Any, name: str) -> Any:
    """Labels as arrays; those of Python objects are all there, and of one kind.

    Booleans stay booleans, those of pandas that may be missing too.

    Raises:
        ValueError: if one is missing, or some are strings and some are not.
    """
    values = as_numpy(values)
    kind = object if isinstance(values, list | tuple) else None  # or 1 would become "1"
    found = np.asarray(values, dtype=kind)
    if found.dtype.kind == "b":
        return found  # scikit-learn would make floats of the nullable ones of pandas
    if found.dtype.kind != "O" or found.ndim == 0:
        return values
    missing = next((row for row, label in enumerate(found.flat) if is_missing(label)), None)
    if missing is not None:
        raise ValueError(
            f"{name} has no label in row {missing} ({found.flat[missing]!r}): leave out rows "
            "without one."
        )
    textual = {isinstance(label, str) for label in found.flat}
    if len(textual) > 1:
        raise ValueError(
            f"{name} must hold labels of one kind, got strings and others: a number never equals "
            "a string."
        )
    return values if True in textual else np.array(found.tolist())


def is_missing(label: object) -> bool:
    """None, NaN, NaT, or the NA of pandas, which is neither equal to itself nor not."""
    try:
        return label is None or bool(label != label)
    except (TypeError, ArithmeticError):  # the NA of pandas; the signalling NaN of decimals
        return True


def some(labels: np.ndarray) -> str:
    """The first few of them, for a message."""
    more = f" and {len(labels) - 5} others" if len(labels) > 5 else ""
    return ", ".join(repr(str(label)) for label in labels[:5]) + more


def joined(y: np.ndarray, y_clean: np.ndarray) -> np.ndarray:
    """All labels, which must be of one kind to be compared.

    Raises:
        ValueError: if one holds strings and the other numbers.
    """
    textual = [labels.dtype.kind in "OUS" for labels in (y, y_clean)]
    if textual[0] != textual[1]:
        raise ValueError(
            f"y and y_clean must hold labels of one kind, got {y.dtype} and {y_clean.dtype}: a "
            "number never equals a string."
        )
    return np.concatenate([y, y_clean])

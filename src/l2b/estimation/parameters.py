"""Parameters of the estimator that must make sense, checked as scikit-learn does: in fit."""

from collections.abc import Callable, Mapping
from numbers import Integral, Real
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from l2b.class_weights import ClassWeights, check_class_weights
from l2b.methods import Method
from l2b.scoring import SCORES

RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "method": (
        "'auto', the name of a method, or a method of l2b.methods",
        lambda v: isinstance(v, str | Method),
    ),
    "distil": ("True or False", lambda v: isinstance(v, bool)),
    "epochs": ("None or an integer of at least 1", lambda v: v is None or (_whole(v) and v >= 1)),
    "batch_size": ("an integer of at least 1", lambda v: _whole(v) and v >= 1),
    "learning_rate": ("a positive number", lambda v: _real(v) and v > 0),
    "validation": ("a number in [0, 1)", lambda v: _real(v) and 0 <= v < 1),
    "scoring": (f"one of {', '.join(map(repr, SCORES))}", lambda v: v in SCORES),
    "time_budget": ("a positive number of seconds", lambda v: _real(v) and v > 0),
    "n_jobs": (
        "None or an integer other than 0",
        lambda v: v is None or (_whole(v) and v != 0),
    ),
    "device": ("'cpu' or 'auto'", lambda v: v in ("cpu", "auto")),
    "verbose": ("an integer of at least 0", lambda v: _whole(v) and v >= 0),
}


def check_parameters(estimator: BaseEstimator) -> None:
    """Refuse parameters that have no meaning.

    Raises:
        ValueError: naming the parameter, what it must be and what it is.
    """
    found = estimator.get_params(deep=False)
    for name, (expected, holds) in RULES.items():
        if not holds(found[name]):
            raise ValueError(
                f"Parameter {name} of {type(estimator).__name__} must be {expected}, got "
                f"{found[name]!r}."
            )


def class_weights(wanted: dict[Any, float] | str | None, names: np.ndarray) -> ClassWeights:
    """How much each class counts; those that are not named count as 1.

    Args:
        wanted: None, "balanced", or weights by name.
        names: of the classes, as ``wanted`` knows them.

    Raises:
        ValueError: on anything else, on names that no label has, and on negative weights.
    """
    if wanted is None:
        return "none"
    if isinstance(wanted, str) and wanted == "balanced":
        return "balanced"
    if not isinstance(wanted, Mapping):
        raise ValueError(
            "Parameter class_weight must be None, 'balanced' or a dict of one weight for each "
            f"label, got {wanted!r}."
        )
    for name, weight in wanted.items():
        if name not in names.tolist():
            raise ValueError(
                f"Parameter class_weight names {name!r}, which no label is: they are "
                f"{', '.join(map(repr, names.tolist()))}."
            )
        if not _real(weight):
            raise ValueError(
                f"Parameter class_weight must hold numbers, got {weight!r} for {name!r}."
            )
    found = tuple(float(wanted.get(name, 1.0)) for name in names.tolist())
    check_class_weights(found, len(found))
    return found


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _real(value: Any) -> bool:
    return isinstance(value, Real)

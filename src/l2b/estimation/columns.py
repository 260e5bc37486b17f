"""What one column of a data frame is to a model: numbers, times, or categories."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from numbers import Integral, Real
from typing import Any

import numpy as np

from l2b.estimation.labels import is_missing, some
from l2b.notices import notice

NUMBERS = "biuf"  # kinds of arrays that hold numbers, or yes and no
KINDS: dict[str, tuple[type, ...]] = {
    "numbers": (Real, Decimal, np.bool_),
    "times": (date, np.datetime64),
    "spans": (timedelta, np.timedelta64),
}


@dataclass(frozen=True, kw_only=True)
class Column(ABC):
    """What one column of a frame is to a model.

    Attributes:
        name: of the column.
        place: where it is among all columns.
    """

    name: str
    place: int

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of features."""

    @abstractmethod
    def encode(self, cells: np.ndarray, frame: str) -> np.ndarray:
        """Features of its cells, [n_samples, width], float64; finite.

        Args:
            cells: [n_samples].
            frame: what it is a column of, for messages.

        Raises:
            ValueError: if a cell is not what the column held at first.
        """


@dataclass(frozen=True, kw_only=True)
class Numbers(Column):
    """Numbers, yes and no, or points and spans of time in seconds; gaps are filled.

    Attributes:
        kind: one of `KINDS`.
        median: of the numbers, which fills gaps.
        gaps: whether a second feature marks them.
        mean: what is subtracted.
        std: what is then divided by.
    """

    kind: str = "numbers"
    median: float = 0.0
    gaps: bool = False
    mean: float = 0.0
    std: float = 1.0

    @property
    def width(self) -> int:
        """The numbers, and where they are missing if some were."""
        return 1 + self.gaps

    def encode(self, cells: np.ndarray, frame: str) -> np.ndarray:
        """Numbers with the median in gaps, scaled, and whether there was one."""
        values = as_floats(cells, self.kind, self.name, frame)
        missing = np.isnan(values)
        scaled = (np.where(missing, self.median, values) - self.mean) / self.std
        return np.stack([scaled, missing][: self.width], axis=1)


@dataclass(frozen=True, kw_only=True)
class Categories(Column):
    """One feature for each category; a missing or new one is none of them.

    Attributes:
        values: the categories as texts.
    """

    values: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of categories."""
        return len(self.values)

    def encode(self, cells: np.ndarray, frame: str) -> np.ndarray:
        """One-hot; if no cell is a known category, that is told."""
        place = {value: k for k, value in enumerate(self.values)}
        texts = as_texts(cells, self.name, frame)
        codes = np.array([-1 if t is None else place.get(t, -1) for t in texts], dtype=int)
        found = np.zeros((len(cells), self.width))
        rows = np.flatnonzero(codes >= 0)
        found[rows, codes[rows]] = 1
        new = next((text for text in texts if text is not None), None)
        if not len(rows) and new is not None:
            notice(
                f"Column {self.name!r} of {frame} holds none of the categories that it had in fit "
                f"({some(np.array(self.values))}), but e.g. {new!r}: is it the same column?"
            )
        return found


def kind_of(cells: np.ndarray) -> str | None:
    """Which of `KINDS` all cells are that are not missing; None if none, or if all are missing."""
    by_type = {"M": "times", "m": "spans"} | dict.fromkeys(NUMBERS, "numbers")
    if cells.dtype.kind in by_type:
        return by_type[cells.dtype.kind]
    there = [cell for cell in cells if isinstance(cell, Collection) or not is_missing(cell)]
    fitting = (k for k, types in KINDS.items() if all(isinstance(cell, types) for cell in there))
    return next(fitting, None) if there else None


def as_floats(cells: np.ndarray, kind: str, name: str, frame: str) -> np.ndarray:
    """Numbers, or times in seconds since 1970 (UTC), or spans in seconds; NaN for what is missing.

    Raises:
        ValueError: if a cell is nothing of this kind, or infinite.
    """
    if cells.dtype.kind in NUMBERS and (kind == "numbers" or (cells != cells).all()):
        found = cells.astype(float)
    elif cells.dtype.kind in "Mm" and kind_of(cells) == kind:
        found = _in_seconds(cells)
    else:
        found = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells):
            try:
                found[row] = np.nan if is_missing(cell) else _as_float(cell, kind)
            except (TypeError, ValueError, ArithmeticError):
                raise ValueError(
                    f"Column {name!r} of {frame} must hold {kind}, as it did in fit, got "
                    f"{cell!r:.80} in row {row}, counted from 0."
                ) from None
    if np.isinf(found).any():
        row = int(np.isinf(found).argmax())
        raise ValueError(
            f"{frame} contains infinity in column {name!r}, row {row}, counted from 0: fill it, "
            "or leave the row out."
        )
    return found


def _as_float(cell: Any, kind: str) -> float:
    if kind == "numbers":
        if isinstance(cell, complex):
            raise TypeError
        return float(cell)
    if not isinstance(cell, KINDS[kind]):
        raise TypeError
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return float(_in_seconds(np.array([cell]))[0])
    if isinstance(cell, timedelta):
        return cell.total_seconds()
    if not isinstance(cell, datetime):
        cell = datetime(cell.year, cell.month, cell.day)
    return (cell if cell.tzinfo else cell.replace(tzinfo=UTC)).timestamp()


def _in_seconds(times: np.ndarray) -> np.ndarray:
    """Of NumPy's points or spans of time, whatever their unit; nanoseconds end in 2262."""
    unit, step = np.datetime_data(times.dtype)
    if unit in "YM":
        times, unit, step = times.astype("datetime64[D]"), "D", 1
    second = np.timedelta64(step, unit) / np.timedelta64(1, "s") if unit != "generic" else 1.0
    return np.where(np.isnat(times), np.nan, times.astype(np.int64) * second)


def as_texts(cells: np.ndarray, name: str, frame: str) -> list[str | None]:
    """Categories by their texts, None for what is missing; 1 and 1.0 are one category.

    Raises:
        ValueError: if a cell is an array, a list or the like.
    """
    found: list[str | None] = []
    for row, cell in enumerate(cells):
        if isinstance(cell, Collection) and not isinstance(cell, str):
            raise ValueError(
                f"Column {name!r} of {frame} must hold one value in a cell, got "
                f"{type(cell).__name__} in row {row}, counted from 0."
            )
        found.append(None if is_missing(cell) else _text(cell))
    return found


def _text(cell: Any) -> str:
    if isinstance(cell, np.datetime64):
        cell = cell.astype("datetime64[us]").item()
    if isinstance(cell, date):
        return cell.isoformat()
    if isinstance(cell, Real) and not isinstance(cell, bool | np.bool_ | Integral):
        value = float(cell)
        return str(int(value)) if value.is_integer() else str(cell)
    return str(cell)

"""What one column of a data frame is to a model: numbers, times, or categories."""

from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from l2b.estimation.labels import is_missing, some
from l2b.notices import notice

NUMBERS = "biuf"  # kinds of arrays that hold numbers, or yes and no


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
        unit: of times as NumPy has them; empty for numbers.
        median: of the numbers, which fills gaps.
        gaps: whether a second feature marks them.
        mean: what is subtracted.
        std: what is then divided by.
    """

    unit: str = ""
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
        values = as_floats(cells, self.unit, self.name, frame)
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


def as_floats(cells: np.ndarray, unit: str, name: str, frame: str) -> np.ndarray:
    """Numbers, or seconds where a unit of time is given; NaN for what is missing.

    Raises:
        ValueError: if a cell is none, or infinite.
    """
    if unit:
        return _seconds(cells, unit, name, frame)
    if cells.dtype.kind in NUMBERS:
        found = cells.astype(float)
    else:
        found = np.full(len(cells), np.nan)
        for row, cell in enumerate(cells):
            try:
                found[row] = np.nan if is_missing(cell) else float(cell)
            except (TypeError, ValueError):
                raise ValueError(
                    f"Column {name!r} of {frame} must hold numbers, as it did in fit, got "
                    f"{cell!r} in row {row}, counted from 0."
                ) from None
    if np.isinf(found).any():
        row = int(np.isinf(found).argmax())
        raise ValueError(
            f"{frame} contains infinity in column {name!r}, row {row}, counted from 0: fill it, "
            "or leave the row out."
        )
    return found


def _seconds(cells: np.ndarray, unit: str, name: str, frame: str) -> np.ndarray:
    try:
        if cells.dtype.kind in NUMBERS:
            raise ValueError
        times = cells.astype(unit)
    except (TypeError, ValueError):
        raise ValueError(
            f"Column {name!r} of {frame} must hold times ({unit}), as it did in fit, got "
            f"{cells[0]!r} in row 0."
        ) from None
    return np.where(np.isnat(times), np.nan, times.astype(np.int64) / 1e9)


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
    if isinstance(cell, Real) and not isinstance(cell, bool | np.bool_):
        value = float(cell)
        return str(int(value)) if value.is_integer() else str(cell)
    return str(cell)

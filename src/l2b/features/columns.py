"""Columns of numbers and categories, as a model sees them."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from l2b.features.base import Encoding

LARGEST = float(np.finfo(np.float32).max)
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one column of a table became.

    Attributes:
        name: of the column.
        categories: its values, one feature each; none if it holds numbers.
        gaps: whether a further feature marks missing numbers.
        commas: whether its numbers had decimal commas.
        median: of the numbers, less the origin, which fills gaps.
        origin: subtracted from its numbers while they are float64, where float32 would merge them.
    """

    name: str
    categories: tuple[str, ...] = ()
    gaps: bool = False
    commas: bool = False
    median: float = 0.0
    origin: float = 0.0

    @property
    def width(self) -> int:
        """Number of features."""
        return len(self.categories) or 1 + self.gaps

    def encode(self, cell: str, row: int) -> list[float]:
        """Features of one cell; NaN for a missing number."""
        cell = cell.strip()
        missing = cell.lower() in MISSING
        if self.categories:
            return [float(not missing and cell == own) for own in self.categories]
        value = math.nan if missing else self._number(cell, row) - self.origin
        return [value, float(missing)] if self.gaps else [value]

    def is_unseen(self, cell: str) -> bool:
        """Whether it is a category, and none of those that are known."""
        cell = cell.strip()
        known = not self.categories or cell.lower() in MISSING or cell in self.categories
        return not known

    def _number(self, cell: str, row: int) -> float:
        value = number(cell)
        if not abs(value) <= LARGEST or ("," in cell and not self.commas):
            commas = "" if self.commas or "," not in cell else " without commas"
            raise ValueError(
                f"Column {self.name!r} must hold numbers{commas} that fit float32, as it did when "
                f"the model learned, got {cell!r} in row {row}, counted from 0."
            )
        return value


@dataclass(frozen=True, kw_only=True)
class Columns(Encoding):
    """Numbers as they are or from an origin, categories one-hot, gaps filled and marked; float32.

    Attributes:
        columns: what each of them became.
    """

    columns: tuple[Column, ...]
    dtype = np.float32

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns."""
        return tuple(column.name for column in self.columns)

    @property
    def width(self) -> int:
        """Number of features."""
        return sum(column.width for column in self.columns)

    def encode(self, rows: Sequence[tuple[str, ...]], start: int = 0) -> np.ndarray:
        """A missing number is the median of its column; a category that is not known, none."""
        values = np.empty((len(rows), self.width), dtype=self.dtype)
        for position, row in enumerate(rows):
            cells = zip(self.columns, row, strict=True)
            values[position] = [x for c, cell in cells for x in c.encode(cell, start + position)]
        return self.filled(values)

    def filled(self, values: np.ndarray) -> np.ndarray:
        """The same features, [rows, width], with the medians in the place of NaN."""
        for place, column in self._numbers():
            values[np.isnan(values[:, place]), place] = column.median
        return values

    def with_medians(self, values: np.ndarray) -> "Columns":
        """The same with the medians of these features, in which NaN stands for missing numbers."""
        medians = {c.name: float(np.nanmedian(values[:, place])) for place, c in self._numbers()}
        found = [replace(c, median=medians.get(c.name, c.median)) for c in self.columns]
        return Columns(columns=tuple(found))

    def _numbers(self) -> Iterator[tuple[int, Column]]:
        """The columns of numbers, and the place of each among the features."""
        places = itertools.accumulate((column.width for column in self.columns), initial=0)
        pairs = zip(places, self.columns, strict=False)
        return ((place, column) for place, column in pairs if not column.categories)

    def unseen(self, row: tuple[str, ...]) -> list[str]:
        """Columns of categories that hold another one."""
        pairs = zip(self.columns, row, strict=True)
        return [column.name for column, cell in pairs if column.is_unseen(cell)]

    def plain(self) -> dict[str, Any]:
        """One mapping a column."""
        return {"columns": [asdict(column) for column in self.columns]}


def number(cell: str) -> float:
    """A number with a decimal point or comma; NaN if it is none.

    What has an underscore is none, though Python reads it as one: 3_1 is a name, not 31.
    """
    if "_" in cell:
        return float("nan")
    try:
        return float(cell if "." in cell else cell.replace(",", ".", 1))
    except ValueError:
        return float("nan")

"""What the columns of a table hold, found in one pass over it."""

import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from l2b.features.base import BUDGET
from l2b.features.columns import LARGEST, MISSING, Column, Columns, number

FINE = 2**-10  # of numbers whose spread is a smaller share of their size, float32 merges many
ROUNDING = 1e-12  # a smaller share is rounding
CATEGORIES = 50  # a text column with more different values is no category
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,234: the comma may be decimal or not


@dataclass(frozen=True, kw_only=True)
class Found:
    """What the columns of a table became.

    Attributes:
        encoding: of rows, these and others.
        values: [rows, features], float32; finite.
        used: names of the columns that were used.
        ignored: names of those that hold neither numbers nor few categories.
        commas: names of those that hold numbers with decimal commas.
    """

    encoding: Columns
    values: np.ndarray
    used: tuple[str, ...]
    ignored: tuple[str, ...]
    commas: tuple[str, ...]


def column_features(
    names: list[str],
    rows: Callable[[], Iterable[tuple[str, ...]]],
    *,
    decimal_commas: bool = False,
) -> Found:
    """Numbers as they are, categories one-hot, gaps filled and marked.

    A missing number becomes the median of its column, and a further feature says so. A text
    column is a category if it has at most 50 different values; other columns are ignored.

    Numbers so close together and so far from zero that float32 would merge many of them, such as
    the Unix seconds of one day, count from the least one.

    Numbers have decimal commas where a column has commas and no points. If every number with a
    comma could be thousands (1,234), nobody can tell, and the column holds no numbers.

    Args:
        names: of the columns.
        rows: starts a pass over their cells.
        decimal_commas: no comma parts thousands.

    Raises:
        ValueError: if no column can be used, a number is beyond float32, or too many features
            came out for memory.
    """
    kinds = [_Kind(decimal_commas=decimal_commas) for _ in names]
    total = 0
    for row in rows():
        for kind, cell in zip(kinds, row, strict=True):
            kind.see(cell, total)
        total += 1
    _refuse_large(names, kinds)
    used = [k for k, kind in enumerate(kinds) if kind.usable]
    if not used:
        raise ValueError(
            f"None of the columns {', '.join(names[:8]) or '(there are none)'} holds numbers or "
            f"at most {CATEGORIES} categories: name the column of texts with --text."
        )
    encoding = Columns(columns=tuple(kinds[k].column(names[k]) for k in used))
    width = encoding.width
    if 4 * width * total > 2 * BUDGET:
        raise ValueError(
            f"{total:,} rows of {width} features are more than fit in memory "
            f"({2 * BUDGET // (4 * width):,} rows): audit a part of the file at a time."
        )

    def cells() -> Iterator[tuple[str, ...]]:
        return (tuple(row[k] for k in used) for row in rows())

    values = encoding.encode_all(cells(), total)
    encoding = encoding.with_medians(values)
    return Found(
        encoding=encoding,
        values=encoding.filled(values),
        used=encoding.names,
        ignored=tuple(name for k, name in enumerate(names) if k not in used),
        commas=tuple(column.name for column in encoding.columns if column.commas),
    )


class _Kind:
    """What one column holds, found while its cells go by."""

    def __init__(self, *, decimal_commas: bool) -> None:
        self.finite, self.points, self.commas, self.decimal = True, False, False, decimal_commas
        self.gaps, self.filled = False, 0
        self.values: dict[str, int] = {}
        self.least, self.most = math.inf, -math.inf
        self.beyond: tuple[str, int] | None = None  # float32, the first such cell and its row

    def see(self, cell: str, row: int) -> None:
        cell = cell.strip()
        if cell.lower() in MISSING:
            self.gaps = True
            return
        self.filled += 1
        if self.finite:
            value = number(cell)
            size = abs(value)
            self.finite = math.isfinite(size)
            self.least, self.most = min(self.least, value), max(self.most, value)
            self.points |= "." in cell
            self.commas |= "," in cell
            self.decimal |= "," in cell and not THOUSANDS.fullmatch(cell)
            if size > LARGEST and self.beyond is None:
                self.beyond = cell, row
        if len(self.values) <= CATEGORIES:
            self.values.setdefault(cell, len(self.values))

    @property
    def number(self) -> bool:
        return self.finite and not (self.commas and (self.points or not self.decimal))

    @property
    def origin(self) -> float:
        """The least number, where all lie close together and far from zero; else 0."""
        size = max(abs(self.least), abs(self.most))
        return self.least if ROUNDING * size < self.most - self.least < FINE * size else 0.0

    @property
    def usable(self) -> bool:
        return self.filled > 0 and (self.number or len(self.values) <= CATEGORIES)

    def column(self, name: str) -> Column:
        if not self.number:
            return Column(name=name, categories=tuple(self.values))
        # Without a median yet, so that gaps stay NaN.
        return Column(
            name=name, gaps=self.gaps, commas=self.commas, median=math.nan, origin=self.origin
        )


def _refuse_large(names: list[str], kinds: list[_Kind]) -> None:
    for name, kind in zip(names, kinds, strict=True):
        if kind.number and kind.beyond is not None:
            cell, row = kind.beyond
            raise ValueError(
                f"Column {name!r} must hold numbers that fit float32, up to {LARGEST:.2g} in size, "
                f"got {cell} in row {row} of those with a label, counted from 0: fill or remove it."
            )

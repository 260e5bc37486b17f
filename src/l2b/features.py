"""Columns of strings to numbers, with memory that does not grow with the length of texts."""

import itertools
import math
import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, TypeVar

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

BUDGET = 512 * 2**20  # bytes of the feature matrix
FEWEST, MOST = 256, 4096  # words that TF-IDF keeps
CANDIDATES = 200_000  # words counted at a time
CHUNK = 2048  # documents turned into numbers at a time
CATEGORIES = 50  # a text column with more different values is no category
LARGEST = float(np.finfo(np.float32).max)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,234: the comma may be decimal or not
Row = TypeVar("Row")
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


class Encoding(ABC):
    """What rows of a table are to a model: found once, the same for rows that come later."""

    dtype: ClassVar[type]

    @property
    @abstractmethod
    def names(self) -> tuple[str, ...]:
        """Columns that it reads."""

    @property
    @abstractmethod
    def width(self) -> int:
        """Number of features."""

    @abstractmethod
    def encode(self, rows: Sequence[tuple[str, ...]], start: int = 0) -> np.ndarray:
        """Features of some rows, [rows, width].

        Args:
            rows: their cells, in the order of ``names``.
            start: number of the first of them, for messages.

        Raises:
            ValueError: if a cell is not what its column held when the encoding was found.
        """

    @abstractmethod
    def unseen(self, row: tuple[str, ...]) -> list[str]:
        """Names of the columns whose cell is a category that was not there at that time."""

    @abstractmethod
    def plain(self) -> dict[str, Any]:
        """What `encoding_from` makes the same of: strings, numbers, lists and dicts."""

    def encode_all(self, rows: Iterable[tuple[str, ...]], total: int) -> np.ndarray:
        """The same for many rows, a chunk at a time."""
        features, done = np.empty((total, self.width), dtype=self.dtype), 0
        for chunk in chunks(rows):
            features[done : done + len(chunk)] = self.encode(chunk, done)
            done += len(chunk)
        return features


def encoding_from(plain: Mapping[str, Any]) -> Encoding:
    """The encoding that `Encoding.plain` described."""
    if "words" in plain:
        words, idf = tuple(plain["words"]), tuple(plain["idf"])
        return Words(column=plain["column"], words=words, idf=idf)
    found = [Column(**{**c, "categories": tuple(c["categories"])}) for c in plain["columns"]]
    return Columns(columns=tuple(found))


@dataclass(frozen=True, kw_only=True)
class Words(Encoding):
    """TF-IDF of words with logarithmic term frequency, rows of length 1, float16.

    Attributes:
        column: of the texts.
        words: that are counted, in the order of the features.
        idf: inverse document frequency of each.
    """

    column: str
    words: tuple[str, ...]
    idf: tuple[float, ...]
    dtype = np.float16

    @property
    def names(self) -> tuple[str, ...]:
        """The one column."""
        return (self.column,)

    @property
    def width(self) -> int:
        """Number of words."""
        return len(self.words)

    def encode(self, rows: Sequence[tuple[str, ...]], start: int = 0) -> np.ndarray:
        """Words that are not known count for nothing."""
        del start
        found = self._vectoriser.transform([text for (text,) in rows])
        return found.toarray().astype(self.dtype)

    def unseen(self, row: tuple[str, ...]) -> list[str]:
        """Texts are no categories."""
        del row
        return []

    def plain(self) -> dict[str, Any]:
        """Column, words, frequencies."""
        return {"column": self.column, "words": list(self.words), "idf": list(self.idf)}

    @cached_property
    def _vectoriser(self) -> TfidfVectorizer:
        made = TfidfVectorizer(
            vocabulary={word: k for k, word in enumerate(self.words)}, sublinear_tf=True
        )
        made.idf_ = np.array(self.idf)
        return made


def text_encoding(name: str, documents: Callable[[], Iterable[str]]) -> tuple[Words, np.ndarray]:
    """TF-IDF of words; two passes, a chunk of documents at a time.

    Args:
        name: of the column of texts.
        documents: starts a pass over the texts, the same each time.

    Returns:
        The encoding, and the features of these documents, [documents, words], float16; the words
        that occur in most documents, at most as many as fit in 512 MB.

    Raises:
        ValueError: if there are too many documents for that, or no words at all.
    """
    counts, total = _document_frequencies(documents())
    width = min(MOST, BUDGET // (2 * max(total, 1)))
    if width < FEWEST:
        raise ValueError(
            f"{total:,} texts are more than fit in memory ({BUDGET // (2 * FEWEST):,}): audit a "
            "part of the file at a time."
        )
    if not counts:
        raise ValueError("The texts hold no words of two letters or more: is it the right column?")
    ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:width]
    frequency = np.array([count for _, count in ranked])
    words = Words(
        column=name,
        words=tuple(word for word, _ in ranked),
        idf=tuple((np.log((1 + total) / (1 + frequency)) + 1).tolist()),
    )
    return words, words.encode_all(((text,) for text in documents()), total)


def scale_of(words: np.ndarray) -> float:
    """Root mean square of the non-zero entries; 1 if there are none."""
    squares, entries = 0.0, 0
    for start in range(0, len(words), CHUNK):
        present = words[start : start + CHUNK].astype(np.float32)
        squares, entries = squares + float((present**2).sum()), entries + np.count_nonzero(present)
    return (squares / entries) ** 0.5 if entries else 1.0


def _document_frequencies(documents: Iterable[str]) -> tuple[Counter[str], int]:
    """How many documents hold each word, and how many documents there are."""
    analyse = TfidfVectorizer().build_analyzer()
    counts: Counter[str] = Counter()
    total = 0
    for document in documents:
        counts.update(set(analyse(document)))
        total += 1
        if len(counts) > 2 * CANDIDATES:  # rare words go first, so memory stays bounded
            counts = Counter(dict(counts.most_common(CANDIDATES)))
    return counts, total


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows a few thousand at a time."""
    source = iter(rows)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk


@dataclass(frozen=True, kw_only=True)
class Column:
    """What one column of a table became.

    Attributes:
        name: of the column.
        categories: its values, one feature each; none if it holds numbers.
        gaps: whether a further feature marks missing numbers.
        commas: whether its numbers had decimal commas.
        median: of the numbers, which fills gaps.
    """

    name: str
    categories: tuple[str, ...] = ()
    gaps: bool = False
    commas: bool = False
    median: float = 0.0

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
        value = math.nan if missing else self._number(cell, row)
        return [value, float(missing)] if self.gaps else [value]

    def is_unseen(self, cell: str) -> bool:
        """Whether it is a category, and none of those that are known."""
        cell = cell.strip()
        known = not self.categories or cell.lower() in MISSING or cell in self.categories
        return not known

    def _number(self, cell: str, row: int) -> float:
        value = _number(cell)
        if not abs(value) <= LARGEST or ("," in cell and not self.commas):
            commas = "" if self.commas or "," not in cell else " without commas"
            raise ValueError(
                f"Column {self.name!r} must hold numbers{commas} that fit float32, as it did when "
                f"the model learned, got {cell!r} in row {row}, counted from 0."
            )
        return value


@dataclass(frozen=True, kw_only=True)
class Columns(Encoding):
    """Numbers as they are, categories one-hot, gaps filled and marked; float32.

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
        self.beyond: tuple[str, int] | None = None  # float32, the first such cell and its row

    def see(self, cell: str, row: int) -> None:
        cell = cell.strip()
        if cell.lower() in MISSING:
            self.gaps = True
            return
        self.filled += 1
        if self.finite:
            size = abs(_number(cell))
            self.finite = bool(np.isfinite(size))
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
    def usable(self) -> bool:
        return self.filled > 0 and (self.number or len(self.values) <= CATEGORIES)

    def column(self, name: str) -> Column:
        if not self.number:
            return Column(name=name, categories=tuple(self.values))
        # Without a median yet, so that gaps stay NaN.
        return Column(name=name, gaps=self.gaps, commas=self.commas, median=math.nan)


def _number(cell: str) -> float:
    """A number with a decimal point or comma; NaN if it is none."""
    try:
        return float(cell if "." in cell else cell.replace(",", ".", 1))
    except ValueError:
        return float("nan")


def _refuse_large(names: list[str], kinds: list[_Kind]) -> None:
    for name, kind in zip(names, kinds, strict=True):
        if kind.number and kind.beyond is not None:
            cell, row = kind.beyond
            raise ValueError(
                f"Column {name!r} must hold numbers that fit float32, up to {LARGEST:.2g} in size, "
                f"got {cell} in row {row} of those with a label, counted from 0: fill or remove it."
            )

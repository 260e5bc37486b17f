"""Columns of strings to numbers, with memory that does not grow with the length of texts."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

BUDGET = 512 * 2**20  # bytes of the feature matrix
FEWEST, MOST = 256, 4096  # words that TF-IDF keeps
CANDIDATES = 200_000  # words counted at a time
CHUNK = 2048  # documents turned into numbers at a time
CATEGORIES = 50  # a text column with more different values is no category
LARGEST = float(np.finfo(np.float32).max)
THOUSANDS = re.compile(r"[+-]?[1-9]\d{0,2},\d{3}")  # 1,234: the comma may be decimal or not
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "?"})


def text_features(documents: Callable[[], Iterable[str]]) -> np.ndarray:
    """TF-IDF of words, rows of length 1; two passes, a chunk of documents at a time.

    Args:
        documents: starts a pass over the texts, the same each time.

    Returns:
        [documents, words], float16; the words that occur in most documents, at most as many
        as fit in 512 MB.

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
    vectoriser = TfidfVectorizer(
        vocabulary={word: k for k, (word, _) in enumerate(ranked)}, sublinear_tf=True
    )
    frequency = np.array([count for _, count in ranked])
    vectoriser.idf_ = np.log((1 + total) / (1 + frequency)) + 1
    features = np.empty((total, len(ranked)), dtype=np.float16)
    done = 0
    for chunk in _chunks(documents()):
        features[done : done + len(chunk)] = vectoriser.transform(chunk).toarray()
        done += len(chunk)
    return features


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


def _chunks(documents: Iterable[str]) -> Iterator[list[str]]:
    source = iter(documents)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table became.

    Attributes:
        values: [rows, features], float32; finite.
        used: names of the columns that were used.
        ignored: names of those that hold neither numbers nor few categories.
        commas: names of those that hold numbers with decimal commas.
    """

    values: np.ndarray
    used: tuple[str, ...]
    ignored: tuple[str, ...]
    commas: tuple[str, ...]


def column_features(
    names: list[str],
    rows: Callable[[], Iterable[tuple[str, ...]]],
    *,
    decimal_commas: bool = False,
) -> Columns:
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
    width = sum(kinds[k].width for k in used)
    if 4 * width * total > 2 * BUDGET:
        raise ValueError(
            f"{total:,} rows of {width} features are more than fit in memory "
            f"({2 * BUDGET // (4 * width):,} rows): audit a part of the file at a time."
        )
    values = np.zeros((total, width), dtype=np.float32)
    for position, row in enumerate(rows()):
        values[position] = [x for k in used for x in kinds[k].encode(row[k])]
    _fill_gaps(values)
    return Columns(
        values=values,
        used=tuple(names[k] for k in used),
        ignored=tuple(name for k, name in enumerate(names) if k not in used),
        commas=tuple(names[k] for k in used if kinds[k].number and kinds[k].commas),
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

    @property
    def width(self) -> int:
        return 1 + self.gaps if self.number else len(self.values)

    def encode(self, cell: str) -> list[float]:
        cell = cell.strip()
        missing = cell.lower() in MISSING
        if not self.number:
            own = None if missing else self.values[cell]
            return [float(k == own) for k in range(len(self.values))]
        value = float("nan") if missing else _number(cell)
        return [value, float(missing)] if self.gaps else [value]


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


def _fill_gaps(values: np.ndarray) -> None:
    """Put the median of its column into every missing entry."""
    for column in np.flatnonzero(np.isnan(values).any(axis=0)):
        gaps = np.isnan(values[:, column])
        values[gaps, column] = np.median(values[~gaps, column])

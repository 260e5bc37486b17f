"""What rows of a table become to a model."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, ClassVar, TypeVar

import numpy as np

BUDGET = 512 * 2**20  # bytes of the feature matrix
CHUNK = 2048  # documents turned into numbers at a time
Row = TypeVar("Row")


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


def chunks(rows: Iterable[Row]) -> Iterator[list[Row]]:
    """Rows a few thousand at a time."""
    source = iter(rows)
    while chunk := list(itertools.islice(source, CHUNK)):
        yield chunk

"""Texts to numbers: TF-IDF with memory that does not grow with their length."""

import itertools
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from l2b.features.base import BUDGET, CHUNK, Encoding

if TYPE_CHECKING:
    from sklearn.feature_extraction.text import TfidfVectorizer

FEWEST, MOST = 256, 4096  # words that TF-IDF keeps
CANDIDATES = 200_000  # words counted at a time
LOOKED_AT = 1000  # texts that tell whether words have spaces between them
# Kana and Chinese characters, Thai and Lao, Burmese, Khmer: written without spaces between words.
UNSPACED = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]"
)
FEW_SPACES = 0.1  # of all characters; more where somebody put spaces between words


@dataclass(frozen=True, kw_only=True)
class Words(Encoding):
    """TF-IDF of words with logarithmic term frequency, rows of length 1, float16.

    Attributes:
        column: of the texts.
        words: that are counted, in the order of the features.
        idf: inverse document frequency of each.
        characters: whether its words are single characters and pairs of them.
    """

    column: str
    words: tuple[str, ...]
    idf: tuple[float, ...]
    characters: bool = False
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
        return {
            "column": self.column,
            "words": list(self.words),
            "idf": list(self.idf),
            "characters": self.characters,
        }

    @cached_property
    def _vectoriser(self) -> "TfidfVectorizer":
        known = {word: k for k, word in enumerate(self.words)}
        made = _vectoriser(characters=self.characters, vocabulary=known)
        made.idf_ = np.array(self.idf)
        return made


def text_encoding(name: str, documents: Callable[[], Iterable[str]]) -> tuple[Words, np.ndarray]:
    """TF-IDF of words; two passes, a chunk of documents at a time.

    Where words have no spaces between them, as in Chinese, Japanese and Thai, characters and pairs
    of neighbouring ones are counted instead.

    Args:
        name: of the column of texts.
        documents: starts a pass over the texts, the same each time.

    Returns:
        The encoding, and the features of these documents, [documents, words], float16; the words
        that occur in most documents, at most as many as fit in 512 MB.

    Raises:
        ValueError: if there are too many documents for that, or no words at all.
    """
    characters = _is_unspaced(documents())
    counts, total = _document_frequencies(documents(), characters=characters)
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
        characters=characters,
    )
    return words, words.encode_all(((text,) for text in documents()), total)


def scale_of(words: np.ndarray) -> float:
    """Root mean square of the non-zero entries; 1 if there are none."""
    squares, entries = 0.0, 0
    for start in range(0, len(words), CHUNK):
        present = words[start : start + CHUNK].astype(np.float32)
        squares, entries = squares + float((present**2).sum()), entries + np.count_nonzero(present)
    return (squares / entries) ** 0.5 if entries else 1.0


def _vectoriser(*, characters: bool, **settings: Any) -> "TfidfVectorizer":
    from sklearn.feature_extraction.text import TfidfVectorizer  # slow to load

    unit: dict[str, Any] = {"analyzer": "char", "ngram_range": (1, 2)} if characters else {}
    return TfidfVectorizer(sublinear_tf=True, **unit, **settings)


def _is_unspaced(documents: Iterable[str]) -> bool:
    """Whether most of what the first documents say is written without spaces between words."""
    text = "".join(itertools.islice(documents, LOOKED_AT))
    spaces = sum(map(str.isspace, text))
    letters = len(text) - spaces
    return 2 * len(UNSPACED.findall(text)) > letters and spaces < FEW_SPACES * len(text)


def _document_frequencies(
    documents: Iterable[str], *, characters: bool
) -> tuple[Counter[str], int]:
    """How many documents hold each word, and how many documents there are."""
    analyse = _vectoriser(characters=characters).build_analyzer()
    counts: Counter[str] = Counter()
    total = 0
    for document in documents:
        counts.update(set(analyse(document)))
        total += 1
        if len(counts) > 2 * CANDIDATES:  # rare words go first, so memory stays bounded
            counts = Counter(dict(counts.most_common(CANDIDATES)))
    return counts, total

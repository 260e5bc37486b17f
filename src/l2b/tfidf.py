"""Short texts as numbers: TF-IDF in dense float32."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor


class TextFeatures(NamedTuple):
    """Texts in numbers.

    Attributes:
        splits: features of each list of texts, [N, words], float32.
        scale: root mean square of the first split's non-zero features. Divided by it and
            not centred, absent words stay zero.
    """

    splits: tuple[Tensor, ...]
    scale: Tensor


def tfidf(*splits: Sequence[str], max_features: int | None) -> TextFeatures:
    """TF-IDF features with logarithmic term frequency and rows of length 1.

    Args:
        splits: lists of texts; words and their frequencies are those of the first.
        max_features: number of most frequent words to keep; None for all.
    """
    vectoriser = TfidfVectorizer(max_features=max_features, sublinear_tf=True)
    vectoriser.fit(splits[0])
    found = tuple(_dense(vectoriser, texts) for texts in splits)
    return TextFeatures(found, found[0][found[0] != 0].square().mean().sqrt())


def _dense(vectoriser: TfidfVectorizer, texts: Sequence[str]) -> Tensor:
    return torch.from_numpy(vectoriser.transform(texts).astype(np.float32).toarray())


def check_max_features(owner: str, max_features: int | None) -> None:
    """Refuse a vocabulary without words.

    Raises:
        ValueError: if the number is below 1.
    """
    if max_features is not None and max_features < 1:
        raise ValueError(
            f"{owner} needs max_features >= 1 or None for all words, got {max_features}: it is "
            "the number of most frequent words to keep as features."
        )

"""Encodings that were kept with a model."""

from collections.abc import Mapping
from typing import Any

from l2b.features.base import Encoding
from l2b.features.columns import Column, Columns
from l2b.features.words import Words


def encoding_from(plain: Mapping[str, Any]) -> Encoding:
    """The encoding that `Encoding.plain` described."""
    if "words" in plain:
        return Words(
            column=plain["column"],
            words=tuple(plain["words"]),
            idf=tuple(plain["idf"]),
            characters=plain.get("characters", False),
        )
    found = [Column(**{**c, "categories": tuple(c["categories"])}) for c in plain["columns"]]
    return Columns(columns=tuple(found))

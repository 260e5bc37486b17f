"""Columns of strings to numbers, with memory that does not grow with the length of texts."""

from l2b.features.base import Encoding, chunks
from l2b.features.columns import Column, Columns
from l2b.features.stored import encoding_from
from l2b.features.survey import Found, column_features
from l2b.features.words import Words, scale_of, text_encoding

__all__ = [
    "Column",
    "Columns",
    "Encoding",
    "Found",
    "Words",
    "chunks",
    "column_features",
    "encoding_from",
    "scale_of",
    "text_encoding",
]

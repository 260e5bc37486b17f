"""Data sets, one source per file."""

from l2b.datasets.base import Dataset, Source, Split

__all__ = ["Dataset", "Source", "Split"]

"""One self-contained page about any number of runs."""

from l2b.overview.write import write_overview

__all__ = ["write_overview"]

"""Grids of runs: data × noise × method × seed, resumable and in several processes."""

from l2b.grid.execute import Report, execute
from l2b.grid.results import Results, read_results
from l2b.grid.trials import Grid, Trial, cross
from l2b.grid.written import read_grid

__all__ = ["Grid", "Report", "Results", "Trial", "cross", "execute", "read_grid", "read_results"]

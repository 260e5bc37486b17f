"""What is memorised, and when."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from l2b.experiment import Run
from l2b.figures.base import GridFigure, method
from l2b.grid import Grid, Results, cross
from l2b.noise.symmetric import Symmetric

METHODS = {"standard training": "cross_entropy", "l2rw": "l2rw", "l2b": "l2b"}


@dataclass(frozen=True, kw_only=True)
class Overfitting(GridFigure):
    """Accuracy by epoch of standard training, L2RW and L2B (the paper's Fig. 4).

    Attributes:
        rates: shares of labels that are drawn anew, one panel each.
    """

    varies: ClassVar[tuple[str, ...]] = ("noise",)
    adds_noise: ClassVar[bool] = True
    rates: tuple[float, ...] = (0.2, 0.4)

    def title(self, base: Run) -> str:
        """What is looked for."""
        del base
        return "Memorising wrong labels, symmetric noise"

    def grid(self, base: Run, seeds: Sequence[int]) -> Grid:
        """Three methods at every rate."""
        noises = {f"{100 * rate:g} %": {"noise": Symmetric(rate=rate)} for rate in self.rates}
        methods = {label: {"method": method(base, name)} for label, name in METHODS.items()}
        return cross(base, {"noise": noises, "method": methods}, seeds)

    def draw(self, results: Results, base: Run, out: Path) -> list[Path]:
        """A panel of learning curves for every rate."""
        return self.curves(results, base, out / "overfitting.png")

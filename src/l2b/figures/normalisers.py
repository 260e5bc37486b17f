"""From scores to weights in three ways."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from l2b.experiment import Run
from l2b.figures.base import GridFigure, noise_label, ours
from l2b.grid import Grid, Results, cross
from l2b.methods.cross_entropy import CrossEntropy
from l2b.normalise import Normaliser, PositiveShare, Sigmoid, Softmax

REFERENCE = "Eq. 9"


@dataclass(frozen=True, kw_only=True)
class Normalisers(GridFigure):
    """Accuracy by epoch with Eq. 9, sigmoid and softmax (the paper's Fig. 3).

    Attributes:
        temperature: of the softmax, in the units of the scores.
    """

    varies: ClassVar[tuple[str, ...]] = ("method.normalise",)
    temperature: float = 1.0

    def title(self, base: Run) -> str:
        """What differs, under which noise."""
        return f"How scores become weights, {noise_label(base)}"

    def grid(self, base: Run, seeds: Sequence[int]) -> Grid:
        """L2B with each normaliser, and standard training for comparison."""
        kinds: dict[str, Normaliser] = {
            REFERENCE: PositiveShare(),
            "sigmoid": Sigmoid(),
            f"softmax, T = {self.temperature:g}": Softmax(temperature=self.temperature),
        }
        entries = {k: {"method": replace(ours(base), normalise=v)} for k, v in kinds.items()}
        axis = {**entries, "standard training": {"method": CrossEntropy()}}
        return cross(base, {"normaliser": axis}, seeds, compare="normaliser", reference=REFERENCE)

    def draw(self, results: Results, base: Run, out: Path) -> list[Path]:
        """One panel of learning curves."""
        return self.curves(results, base, out / "normalisers.png")

"""How long to train plainly before weights are learned."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from l2b.experiment import Run
from l2b.figures.base import GridFigure, by_number, drawable, noise_label, ours
from l2b.grid import Grid, Results, Trial
from l2b.grid.pictures import numbers_picture
from l2b.methods.l2rw import L2RW
from l2b.pseudo import SelfLabels

AXIS = "warm-up"


@dataclass(frozen=True, kw_only=True)
class Warmup(GridFigure):
    """Accuracy against the number of warm-up epochs, for L2RW and L2B.

    Attributes:
        lengths: epochs of plain cross-entropy; those that leave no epoch to weigh in are left out.
    """

    varies: ClassVar[tuple[str, ...]] = ("method.warmup",)
    lengths: tuple[int, ...] = (0, 1, 2, 5, 10, 15)

    def title(self, base: Run) -> str:
        """What is varied, under which noise."""
        return f"Epochs of plain training before weights are learned, {noise_label(base)}"

    def grid(self, base: Run, seeds: Sequence[int]) -> Grid:
        """Each method with every length of warm-up."""
        like = ours(base)
        rival = L2RW(engine=like.engine, normalise=like.normalise, lookahead=like.lookahead)
        kinds = {
            "l2rw": rival,
            "l2b, the model's own labels": replace(like, pseudo=SelfLabels()),
            "l2b": like,
        }
        trials = [
            Trial(
                labels={AXIS: str(epochs), "method": name},
                run=replace(base, method=replace(kind, warmup=epochs), seed=seed),
            )
            for seed in seeds
            for epochs in self._lengths(base)
            for name, kind in kinds.items()
        ]
        return Grid(trials=tuple(trials))

    def draw(self, results: Results, base: Run, out: Path) -> list[Path]:
        """A panel for the last and one for the chosen epoch."""
        path = out / "warmup.png"
        panels = by_number(results, AXIS)
        if not drawable(panels, path):
            return []
        lengths = self._lengths(base)
        numbers_picture(
            path,
            self.title(base),
            panels,
            lengths,
            "warm-up epochs",
            log=False,
            note=self.note(base),
            judged=results.judged,
        )
        return [path]

    def _lengths(self, base: Run) -> list[int]:
        epochs = base.training.epochs
        left = sorted({length for length in self.lengths if length < epochs})
        if not left:
            raise ValueError(
                f"--lengths must hold one below the {epochs} epochs of a run, got "
                f"{list(self.lengths)}: nothing is left to weigh in."
            )
        return left

"""What each part of the method is worth."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from l2b.experiment import Run
from l2b.figures.base import GridFigure, Kind, ours
from l2b.grid import Grid, Results, cross
from l2b.grid.pictures import dots_picture
from l2b.methods.cross_entropy import CrossEntropy
from l2b.noise import Noise
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric
from l2b.normalise import Fixed, ObservedOnly, PerSample, PseudoOnly
from l2b.pseudo import SelfLabels

FULL = "full"
NOISES: dict[str, Noise] = {
    "symmetric 40 %": Symmetric(rate=0.4),
    "pair flip 40 %": PairFlip(rate=0.4),
}


@dataclass(frozen=True, kw_only=True)
class Ablation(GridFigure):
    """L2B without one part at a time: β = 0, α = 0, α + β = 1, fixed weights, full."""

    kind: ClassVar[Kind] = "table"
    varies: ClassVar[tuple[str, ...]] = ("noise", "method.normalise")
    adds_noise: ClassVar[bool] = True

    def title(self, base: Run) -> str:
        """What is left out."""
        del base
        return "L2B without one part at a time"

    def grid(self, base: Run, seeds: Sequence[int]) -> Grid:
        """Every ablation under two kinds of noise, with the base run's pseudo-labels."""
        full = ours(base)
        kinds = {
            "β = 0 (L2RW)": ObservedOnly(then=full.normalise),
            "α = 0": PseudoOnly(then=full.normalise),
            "α + β = 1": PerSample(),
            "fixed: α = 0.8, β = 0.2": Fixed(),
        }
        methods = {
            "standard training": {"method": CrossEntropy()},
            **{k: {"method": replace(full, normalise=v)} for k, v in kinds.items()},
            "full, the model's own labels": {"method": replace(full, pseudo=SelfLabels())},
            FULL: {"method": full},
        }
        noises = {label: {"noise": noise} for label, noise in NOISES.items()}
        return cross(base, {"noise": noises, "method": methods}, seeds, reference=FULL)

    def draw(self, results: Results, base: Run, out: Path) -> list[Path]:
        """The table as dots with error bars."""
        path = out / "ablation.png"
        dots_picture(path, self.title(base), results, note=self.note(base))
        return [path]

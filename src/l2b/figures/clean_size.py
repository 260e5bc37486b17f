"""How many clean samples it takes."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Self

from l2b.clean_split import clean_bounds, most_clean
from l2b.datasets import Source
from l2b.experiment import Run
from l2b.figures.base import GridFigure, by_number, described, drawable, method, noise_label
from l2b.grid import Grid, Results, cross
from l2b.grid.pictures import numbers_picture
from l2b.long_tail import thinned
from l2b.notices import notice

AXIS = "clean"


@dataclass(frozen=True, kw_only=True)
class CleanSize(GridFigure):
    """Accuracy against the number of clean samples.

    Attributes:
        sizes: numbers of clean samples, validation included; those that the data cannot give
            (fewer than classes, more than are checked, fewer noisy samples left than a batch) are
            left out, with a notice.
        methods: names of those that are compared; the others are tested against the last.
    """

    varies: ClassVar[tuple[str, ...]] = ("clean",)
    sizes: tuple[int, ...] = (10, 30, 100, 300, 1000)
    methods: tuple[str, ...] = ("cross_entropy", "clean_only", "fine_tune", "l2rw", "l2b")

    def fitted(self, source: Source, base: Run) -> Self:
        """Sizes that the data can give, with a batch of noisy samples left to train on."""
        kept, batch = thinned(source, base.imbalance, base.seed), base.training.batch
        least, checked = clean_bounds(source, kept)
        most = most_clean(source, kept, batch)
        if most < least <= checked:
            raise ValueError(
                f"training.batch must be smaller for this data, got {batch}: with {least} clean "
                "samples, the fewest there can be, not as many noisy ones are left (checked ones "
                "that are not drawn are none)."
            )
        left = tuple(size for size in self._sizes if least <= size <= most)
        out = sorted(set(self.sizes) - set(left))
        if not left:
            raise ValueError(
                f"--sizes must hold a number of clean samples in [{least}, {most}], which is what "
                f"this data can give with {batch} noisy samples left, a batch, got "
                f"{list(self.sizes)}."
            )
        if out:
            notice(
                f"Without {', '.join(map(str, out))} clean samples: this data can give {least} "
                f"to {most}, so that {batch} noisy ones are left, which fill a batch."
            )
        return replace(self, sizes=left)

    def title(self, base: Run) -> str:
        """What is varied, under which noise."""
        return f"How many clean samples it takes, {noise_label(base)}"

    def note(self, base: Run) -> str:
        """Everything but the number of clean samples."""
        return described(replace(base, clean=0))

    def grid(self, base: Run, seeds: Sequence[int]) -> Grid:
        """Every method with every number of clean samples."""
        sizes = {str(size): {AXIS: size} for size in self._sizes}
        methods = {name: {"method": method(base, name)} for name in self.methods}
        return cross(base, {AXIS: sizes, "method": methods}, seeds, reference=self.methods[-1])

    def draw(self, results: Results, base: Run, out: Path) -> list[Path]:
        """A panel for the last and one for the chosen epoch."""
        path = out / "clean-size.png"
        panels = by_number(results, AXIS)
        if not drawable(panels, path):
            return []
        numbers_picture(
            path,
            self.title(base),
            panels,
            self._sizes,
            "clean samples",
            log=True,
            note=self.note(base),
            judged=results.judged,
        )
        return [path]

    @property
    def _sizes(self) -> list[int]:
        return sorted(set(self.sizes))

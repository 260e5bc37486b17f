"""What a figure is: a name, a command, and files that hold what it found."""

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, Literal, Self, TypeVar

import numpy as np

from l2b.catalog import default, name_of
from l2b.datasets import Source
from l2b.experiment import Run
from l2b.grid import Grid, Results, execute, read_results
from l2b.grid.pictures import EPOCHS, Panel, curve_panels, curves_picture
from l2b.methods import Method
from l2b.methods.l2b import L2B
from l2b.methods.l2rw import L2RW
from l2b.noise.instance_dependent import InstanceDependent
from l2b.notices import notice
from l2b.presets import PRESETS, SEEDS, Preset, base_run, said_settings
from l2b.provenance import provenance

Kind = Literal["figure", "table"]
F = TypeVar("F", bound="Figure")
OURS = "l2b"
SHARED = "engine", "normalise", "lookahead", "warmup", "warmup_patience"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What was asked of a figure.

    Attributes:
        words: settings of ``l2b run`` that replace those of the preset.
        preset: the budget: ``quick`` takes minutes on two cores, ``cpu`` about an hour,
            ``paper`` is for a GPU, on CIFAR, ISIC and Clothing1M the published schedule.
        seeds: how many; None takes the preset's.
        out: folder for the runs, the tables and the pictures.
        workers: processes; None takes one per core.
        command: what a reader types to get the same.
        progress: show a progress bar on a terminal.

    Raises:
        ValueError: on an unknown preset, or no seed.
    """

    words: Sequence[str]
    preset: Preset
    seeds: int | None
    out: Path
    workers: int | None
    command: str
    progress: bool

    def __post_init__(self) -> None:
        """Refuse presets that do not exist, and no seed."""
        if self.preset not in PRESETS:
            raise ValueError(f"--preset must be one of {', '.join(PRESETS)}, got {self.preset!r}.")
        if self.seeds is not None and self.seeds < 1:
            raise ValueError(f"--seeds must be at least 1, got {self.seeds}.")


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a figure has made.

    Attributes:
        text: a few lines for a terminal.
        paths: pictures and tables.
        complete: whether everything that was asked for is in them.
    """

    text: str
    paths: tuple[Path, ...]
    complete: bool


@dataclass(frozen=True, kw_only=True)
class Figure(ABC):
    """One figure or table; its fields are settings on the command line."""

    kind: ClassVar[Kind] = "figure"

    @abstractmethod
    def make(self, request: Request) -> Made:
        """Find out what the figure shows, as far as it is not known yet, and draw it.

        Raises:
            ValueError: on wrong settings.
            FileNotFoundError: if the data set is missing.
        """


@dataclass(frozen=True, kw_only=True)
class GridFigure(Figure):
    """A figure that is a grid of runs and pictures of what they found."""

    varies: ClassVar[tuple[str, ...]] = ()  # settings of runs that it sets itself
    adds_noise: ClassVar[bool] = False  # whether there is more than the noise of the base run

    def make(self, request: Request) -> Made:
        """Execute what is left of the grid; write its tables; draw it."""
        base = base_run(request.words, request.preset)
        self._refuse_varied(said_settings(request.words, request.preset), base)
        if not getattr(self, "methods", True):
            raise ValueError("--methods must hold one name at least, got none.")
        seeds = range(request.seeds or SEEDS[request.preset])
        figure, grid = self, self.grid(base, seeds)
        known = read_results(grid, request.out)
        if known.missing or known.failures:
            source = base.data.load()  # once more than needed, but before a run can fail of it
            if not source.truth_known:
                self._refuse_noise(grid, base)
            if source.test is None:
                raise ValueError(
                    f"Every {self.kind} shows test accuracy, and {name_of(base.data)} has no test "
                    "set here: add one, or compare methods with l2b grid and l2b report."
                )
            figure = self.fitted(source, base)
            grid = figure.grid(base, seeds)
            del source  # the runs read it themselves
        results = execute(grid, request.out, workers=request.workers, progress=request.progress)
        title = f"{figure.title(base)}: {figure.note(base)}"
        tables = results.write(title, provenance(request.command))
        pictures = figure.draw(results, base, request.out) if results.rows else []
        return Made(
            text=said(results, [*pictures, *tables]),
            paths=(*pictures, *tables),
            complete=not results.failures and not results.missing,
        )

    def _refuse_varied(self, said: set[str], base: Run) -> None:
        """Nothing that was said may be without effect."""
        if "seed" in said:
            raise ValueError("--seed has no effect here: --seeds N says how many there are.")
        if not isinstance(base.method, L2B):
            raise ValueError(
                f"--method {name_of(base.method)} has no effect here, for every {self.kind} has "
                "methods of its own: leave it away, or give l2b and settings of it."
            )
        for setting in sorted(said):
            if any(setting == own or setting.startswith(f"{own}.") for own in self.varies):
                name = setting.removesuffix(".name")
                raise ValueError(
                    f"--{name} has no effect here, for this {self.kind} varies it itself: see "
                    f"l2b {self.kind} {name_of(self).replace('_', '-')} --help."
                )

    def _refuse_noise(self, grid: Grid, base: Run) -> None:
        """Labels of which nobody knows whether they are true cannot be corrupted."""
        corrupting = {name_of(t.run.noise) for t in grid.trials if t.run.noise.needs_truth}
        if not corrupting:
            return
        way = "choose other data" + ("" if self.adds_noise else ", or --noise none")
        raise ValueError(
            f"{' and '.join(sorted(corrupting))} noise needs true labels to corrupt, and it is not "
            f"known whether those of {name_of(base.data)} are true: {way}."
        )

    def fitted(self, source: Source, base: Run) -> Self:
        """The same figure without what this data cannot give.

        Args:
            source: the data set of its runs.
            base: what the grid varies.

        Raises:
            ValueError: if nothing is left of it.
        """
        del source, base
        return self

    @abstractmethod
    def title(self, base: Run) -> str:
        """What the figure shows, as a heading."""

    def note(self, base: Run) -> str:
        """What all runs have in common, in one line."""
        return described(base)

    @abstractmethod
    def grid(self, base: Run, seeds: Sequence[int]) -> Grid:
        """The runs behind the figure.

        Args:
            base: settings that the figure varies.
            seeds: of the runs.
        """

    def curves(self, results: Results, base: Run, path: Path) -> list[Path]:
        """Draw learning curves, a panel for every setting; the path of the picture, if any."""
        panels, note = curve_panels(results), self.note(base)
        if not drawable(panels, path):
            return []
        curves_picture(path, self.title(base), panels, note=note, judged=results.judged)
        return [path]

    @abstractmethod
    def draw(self, results: Results, base: Run, out: Path) -> list[Path]:
        """Draw what was found; the paths of the pictures.

        Args:
            results: of at least one run.
            base: what the grid varied.
            out: folder for the pictures, which exists.
        """


def drawable(panels: Sequence[Panel], path: Path) -> bool:
    """Whether there is anything to draw; if not, a notice says so."""
    if not panels:
        notice(
            f"{path.name} is not drawn, since no run has kept what it shows: remove the folders of "
            f"the runs in {path.parent}, and the same command runs and draws them again."
        )
    return bool(panels)


def said(results: Results, paths: Sequence[Path]) -> str:
    """What a grid found, in a few lines."""
    lines = [f"{len(results.rows)} runs done, {len(results.failures)} failed."]
    lines += [f"  failed: {name}: {error}" for name, error in results.failures.items()]
    if results.missing:
        lines.append(f"  {results.missing} runs are missing: give the same command again.")
    return "\n".join([*lines, *(f"  {path}" for path in paths)])


def described(run: Run) -> str:
    """Data, model and length of a run, in one line."""
    limit = getattr(run.data, "limit", None)
    samples = f" ({limit:,} samples)" if limit else ""
    clean = f", {run.clean} clean" if run.clean else ""
    alike = ", classes drawn alike" if run.class_weight == "balanced" else ""
    return (
        f"{name_of(run.data)}{samples}, {name_of(run.model)}{clean}, {run.training.epochs} epochs"
        f"{alike}"
    )


def noise_label(run: Run) -> str:
    """A noise model in a few words, such as ``symmetric 40 %``."""
    rate = getattr(run.noise, "rate", None)
    share = f" {100 * rate:g} %" if isinstance(rate, float) else ""
    details = ["flip"] if getattr(run.noise, "convention", "redraw") == "flip" else []
    usual = InstanceDependent.spread
    spread = getattr(run.noise, "spread", usual)
    details += [] if spread == usual else [f"spread {spread:g}"]
    more = f" ({', '.join(details)})" if details else ""
    return f"{name_of(run.noise)}{share}{more}".replace("_", " ")


def ours(base: Run) -> L2B:
    """The L2B that the base run trains."""
    assert isinstance(base.method, L2B)  # others are refused
    return base.method


def method(base: Run, name: str) -> Method:
    """A method by name; ``l2b`` is that of the base run.

    The others that learn by clean gradients take from it what they have in common (`SHARED`), so
    that they differ in what makes them; who knows no automatic warm-up keeps its own.
    """
    found = default(Method, name)
    if name in (OURS, name_of(base.method)):
        return ours(base)
    fields = {field.name for field in dataclasses.fields(found)}
    if "engine" not in fields or isinstance(found, L2B):  # L2B for masks: choices of its own
        return found
    like = {field: getattr(ours(base), field) for field in SHARED if field in fields}
    if like["warmup"] == "auto" and not isinstance(found, L2RW):
        del like["warmup"]
    return replace(found, **like)


def by_number(results: Results, axis: str) -> list[Panel]:
    """Accuracy against the labels of a numeric axis, at the last and at the chosen epoch."""
    points = results.grid.labels(axis)
    seeds = sorted({row.seed for row in results.rows})
    compare = results.grid.compare
    panels = []
    for measure, title in zip(results.headline, EPOCHS, strict=True):
        lines = {}
        for label in results.grid.labels(compare):
            found = [results.values({axis: point, compare: label}, measure) for point in points]
            lines[label] = np.array([[v.get(seed, np.nan) for v in found] for seed in seeds])
        if any(np.isfinite(values).any() for values in lines.values()):
            panels.append(Panel(title=title, lines=lines))
    return panels


def with_settings(figure: type[F], words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split words into the figure's own settings and those of its runs."""
    own = {field.name for field in dataclasses.fields(figure)}
    mine: list[str] = []
    others: list[str] = []
    target = others
    for word in words:
        if word.startswith("--"):
            key = word[2:].partition("=")[0].replace("-", "_")
            target = mine if key in own else others
        target.append(word)
    return mine, others

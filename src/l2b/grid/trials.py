"""A grid: runs with the labels by which people tell them apart."""

import hashlib
import itertools
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from l2b.catalog import name_of, unknown
from l2b.config import dump
from l2b.experiment import Run

DIGEST = 10  # hexadecimal digits that tell runs apart in folder names
OURS = "l2b"


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of a grid.

    Attributes:
        labels: its place in the grid, by axis; all trials of a grid have the same axes.
        run: what is executed.
    """

    labels: Mapping[str, str]
    run: Run


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Runs that belong together.

    Attributes:
        trials: in the order in which they are executed.
        compare: the axis whose labels compete, usually the methods.
        reference: the label on that axis which the others are tested against; empty for
            ``l2b`` if it is there, else the last one.

    Raises:
        ValueError: if there is no trial, axes differ, or the axis or label to compare by is
            not there.
    """

    trials: tuple[Trial, ...]
    compare: str = "method"
    reference: str = ""

    def __post_init__(self) -> None:
        """Refuse grids that no table can hold."""
        if not self.trials:
            raise ValueError("A grid needs at least one run, got none.")
        axes = list(self.trials[0].labels)
        for trial in self.trials:
            if list(trial.labels) != axes:
                raise ValueError(
                    f"All trials of a grid need the same axes, got {axes} and "
                    f"{list(trial.labels)}: label every trial on every axis."
                )
        if self.compare not in axes:
            raise ValueError(unknown("axis", self.compare, axes))
        if self.reference and self.reference not in self.labels(self.compare):
            raise ValueError(unknown("label", self.reference, self.labels(self.compare)))
        self._check_places()

    def _check_places(self) -> None:
        places: dict[tuple[object, ...], Run] = {}
        for trial in self.trials:
            place = (*trial.labels.values(), trial.run.seed)
            if places.setdefault(place, trial.run) != trial.run:
                raise ValueError(
                    f"Two different runs are labelled {' / '.join(trial.labels.values())} with "
                    f"seed {trial.run.seed}: give them different labels."
                )

    @property
    def axes(self) -> list[str]:
        """Names of the axes."""
        return list(self.trials[0].labels)

    @property
    def settings(self) -> list[dict[str, str]]:
        """Every combination of labels on the axes that are not compared, in order."""
        others = [axis for axis in self.axes if axis != self.compare]
        found = [tuple((axis, trial.labels[axis]) for axis in others) for trial in self.trials]
        return [dict(pairs) for pairs in dict.fromkeys(found)]

    @property
    def against(self) -> str:
        """The label that the others are tested against."""
        there = self.labels(self.compare)
        return self.reference or (OURS if OURS in there else there[-1])

    def labels(self, axis: str) -> list[str]:
        """The labels on an axis, in order."""
        return list(dict.fromkeys(trial.labels[axis] for trial in self.trials))


def cross(
    base: Run,
    axes: Mapping[str, Mapping[str, Mapping[str, Any]]],
    seeds: Iterable[int],
    *,
    compare: str = "method",
    reference: str = "",
) -> Grid:
    """Every combination of the entries of all axes, with every seed.

    Args:
        base: the settings that no axis changes.
        axes: by axis and label, the fields of `Run` that are replaced, such as
            ``{"method": {"l2b": {"method": L2B()}}}``.
        seeds: of the runs.
        compare: as for `Grid`.
        reference: as for `Grid`.

    Raises:
        ValueError: as `Grid`.
    """
    trials = []
    for seed in seeds:
        for cell in itertools.product(*(axis.items() for axis in axes.values())):
            labels = {axis: label for axis, (label, _) in zip(axes, cell, strict=True)}
            run = replace(base, seed=seed)
            for _, changes in cell:
                run = replace(run, **changes)
            trials.append(Trial(labels=labels, run=run))
    return Grid(trials=tuple(trials), compare=compare, reference=reference)


def folder_name(run: Run) -> str:
    """The name of a run's folder: readable, and the same for equal runs alone."""
    parts = (name_of(run.data), name_of(run.noise), name_of(run.method))
    said = dump(run).replace("\nscoring: auto\n", "\n")  # so that earlier grids go on
    digest = hashlib.sha256(said.encode()).hexdigest()[:DIGEST]
    return f"{re.sub(r'[^A-Za-z0-9-]+', '_', '-'.join(parts))}-seed{run.seed}-{digest}"

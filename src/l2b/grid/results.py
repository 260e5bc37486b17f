"""What a grid found: rows, means over seeds, paired tests, and one table."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from l2b.files import read_json, write_atomically, write_json, write_text
from l2b.folder import RunFolder
from l2b.grid.claim import FAILURE
from l2b.grid.markdown import (
    SECTIONS,
    VALIDATION,
    WEIGHTS,
    devices_of,
    document,
    measures,
    versions_of,
)
from l2b.grid.pairing import warning
from l2b.grid.trials import Grid, folder_name
from l2b.metrics import IN_EFFECT, is_plain
from l2b.notices import notice
from l2b.stats import Paired, holm, paired

RUNS = "runs"  # folder of the runs
PLAN = "grid.json"
COLUMNS = (
    *SECTIONS, VALIDATION, "best_accuracy", "chosen_epoch", "noise_rate", "noise_hash", "data_hash",
    "train_samples", "clean_samples", "validation_samples", "seconds", "device", "threads",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """One finished run.

    Attributes:
        labels: its place in the grid.
        seed: of its random draws.
        folder: its files.
        record: the content of its ``result.json``.
        epochs: that its settings ask for; None where they are not at hand.
    """

    labels: Mapping[str, str]
    seed: int
    folder: Path
    record: Mapping[str, Any]
    epochs: int | None = None

    @cached_property
    def history(self) -> list[dict[str, Any]]:
        """Metrics, one mapping an epoch; none if their record is damaged."""
        try:
            return RunFolder(self.folder).read_metrics(self.epochs)
        except (OSError, ValueError):
            notice(
                f"{self.folder / 'metrics.jsonl'} is missing or damaged: learning curves and what "
                "is said of weights are without this run."
            )
            return []

    def curve(self, key: str) -> list[float]:
        """One metric by epoch; empty if the run did not record it, or its record is damaged."""
        return [row[key] for row in self.history if key in row]

    @property
    def weighing(self) -> list[dict[str, Any]]:
        """The epochs from the first on in which samples have weights of their own.

        Before it every label counts alike, or no noisy sample has a part.
        """
        epochs = itertools.dropwhile(is_plain, self.history)
        return [row for row in epochs if IN_EFFECT in row]

    @property
    def weights(self) -> dict[str, float]:
        """Means of `WEIGHTS` over these epochs, or over all of plain training, as fractions.

        What is a share of weight leaves out epochs in which nothing has any, if others are left.
        """
        epochs = self.weighing or self.history
        weighed = [row for row in epochs if row.get(IN_EFFECT, 0) > 0] or epochs
        found = {
            key: [row[key] for row in (epochs if key == IN_EFFECT else weighed) if key in row]
            for key in WEIGHTS
        }
        return {f"mean_{key}": sum(v) / len(v) for key, v in found.items() if v}


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How the reference compares with one other label in one setting.

    Attributes:
        measure: the key of the record that is compared, a fraction.
        setting: labels on the axes that are not compared.
        other: what the reference is tested against.
        found: reference minus other, seed by seed.
        adjusted: the t-test's p-value after Holm's correction over all comparisons of the
            measure in this grid.
    """

    measure: str
    setting: Mapping[str, str]
    other: str
    found: Paired
    adjusted: float | None


@dataclass(frozen=True, kw_only=True)
class Results:
    """Everything that the runs of a grid have left.

    Attributes:
        grid: what was asked for.
        folder: where it lies.
        rows: finished runs, in the order of the grid.
        failures: error of each run that failed, by the name of its folder.
        missing: how many runs have neither ended nor failed.
    """

    grid: Grid
    folder: Path
    rows: tuple[Row, ...]
    failures: Mapping[str, str]
    missing: int

    @property
    def judged(self) -> str:
        """What all runs are judged by: `measure`; accuracy, if they differ in that."""
        found = {judged_by(row.record) for row in self.rows}
        return found.pop() if len(found) == 1 else "accuracy"

    @property
    def headline(self) -> tuple[str, str]:
        """That, at the last and at the chosen epoch, as records name it."""
        return f"last_{self.judged}", f"chosen_{self.judged}"

    def of(self, labels: Mapping[str, str]) -> list[Row]:
        """Finished runs with these labels, by seed."""
        here = [r for r in self.rows if all(r.labels[axis] == v for axis, v in labels.items())]
        return sorted(here, key=lambda row: row.seed)

    def values(self, labels: Mapping[str, str], measure: str) -> dict[int, float]:
        """A measure by seed, as fractions; runs without it are left out."""
        found = {row.seed: row.record.get(measure) for row in self.of(labels)}
        return {seed: value for seed, value in found.items() if value is not None}

    def curves(self, labels: Mapping[str, str], key: str) -> np.ndarray:
        """A metric by seed and epoch, [seeds, epochs], [0, 0] where no run has ended.

        Raises:
            ValueError: if the runs have different lengths.
        """
        found = [curve for row in self.of(labels) if (curve := row.curve(key))]
        if len({len(curve) for curve in found}) > 1:
            raise ValueError(
                f"The runs of {' / '.join(labels.values())} have different numbers of epochs, so "
                "they share no learning curve: give them different labels."
            )
        return np.array(found, dtype=float) if found else np.empty((0, 0))

    def comparisons(self, measure: str) -> list[Comparison]:
        """The reference against every other label in every setting."""
        found = [
            (setting, other, self._paired(setting, other, measure))
            for setting in self.grid.settings
            for other in self.grid.labels(self.grid.compare)
            if other != self.grid.against
        ]
        adjusted = holm([pair.t for _, _, pair in found])
        return [
            Comparison(measure=measure, setting=setting, other=other, found=pair, adjusted=p)
            for (setting, other, pair), p in zip(found, adjusted, strict=True)
        ]

    def _paired(self, setting: Mapping[str, str], other: str, measure: str) -> Paired:
        axis = self.grid.compare
        ours = self.values({**setting, axis: self.grid.against}, measure)
        theirs = self.values({**setting, axis: other}, measure)
        seeds = sorted(ours.keys() & theirs.keys())
        return paired([ours[s] for s in seeds], [theirs[s] for s in seeds])

    def write(self, title: str, provenance: Mapping[str, Any]) -> list[Path]:
        """Write ``results.md``, ``results.json`` and, with pyarrow, ``results.parquet``.

        Runs that learned from different data, where it should be the same, are told.

        Args:
            title: of the document.
            provenance: the command, and when and with what this is written.

        Returns:
            The paths of what was written.
        """
        if said := warning(self):
            notice(said)
        rows = [flat(row) for row in self.rows]
        compared = [*self.headline, *(m for m in measures(self) if m == VALIDATION)]
        tests = [asdict(found) for measure in compared for found in self.comparisons(measure)]
        write_text(self.folder / "results.md", document(self, title, provenance))
        write_json(
            self.folder / "results.json",
            {
                **provenance,
                "device": devices_of([row.record for row in self.rows]),
                "versions": versions_of([row.record for row in self.rows]),
                "rows": rows,
                "comparisons": tests,
                "failures": dict(self.failures),
                "missing": self.missing,
            },
        )
        parquet = _write_parquet(self.folder / "results.parquet", rows)
        return [self.folder / "results.md", self.folder / "results.json", *parquet]


def read_results(grid: Grid, folder: Path) -> Results:
    """Gather what the runs of a grid have left in its folder.

    A run whose files are damaged or cannot be opened counts as failed.
    """
    rows, failures, missing = [], {}, set()
    for trial in grid.trials:
        path = folder / RUNS / folder_name(trial.run)
        try:
            record = RunFolder(path).read_result()
            error = _failure(path) if record is None else None
        except (ValueError, OSError) as damaged:
            record, error = None, str(damaged)
        if record is not None:
            rows.append(Row(labels=trial.labels, seed=trial.run.seed, folder=path, record=record,
                            epochs=trial.run.training.epochs))  # fmt: skip
        elif error is not None:
            failures[path.name] = error
        else:
            missing.add(path)
    return Results(
        grid=grid, folder=folder, rows=tuple(rows), failures=failures, missing=len(missing)
    )


def _failure(path: Path) -> str | None:
    """Why the run in a folder failed, if it did."""
    if not (path / FAILURE).exists():
        return None
    return read_json(path / FAILURE).get("error", "it is not written why")


def judged_by(record: Mapping[str, Any]) -> str:
    """What a run was judged by; records of earlier versions do not say."""
    usual = "accuracy" if record.get("last_dice") is None else "dice"
    return record.get("judged_by", usual)


def flat(row: Row) -> dict[str, Any]:
    """One line of the results table."""
    rare = [key for key in SECTIONS if "dice" in key or "auroc" in key]
    found = {key: row.record.get(key) for key in COLUMNS if key in row.record or key not in rare}
    return {**row.labels, "seed": row.seed, **found, **row.weights, "run": row.folder.name}


def _write_parquet(path: Path, rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    try:
        import pyarrow as arrow
        from pyarrow.parquet import write_table
    except ImportError:
        return []
    if not rows:
        return []
    columns = list(dict.fromkeys(key for row in rows for key in row))  # of masks there are more
    table = arrow.table({key: [row.get(key) for row in rows] for key in columns})
    write_atomically(path, lambda temporary: write_table(table, temporary))
    return [path]

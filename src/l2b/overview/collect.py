"""Find the runs in folders, and the grids that they belong to."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2b.config import encode, load
from l2b.experiment import Run
from l2b.files import read_json
from l2b.folder import RunFolder
from l2b.grid import Grid, Results, Trial
from l2b.grid.claim import FAILURE
from l2b.grid.results import PLAN, RUNS, Row


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One run's folder, whatever became of it.

    Attributes:
        path: the folder.
        labels: by which people tell it from the others.
        run: its settings; None where they are of another kind or damaged.
        settings: the text of ``run.yaml``.
        record: the content of ``result.json``; None if it has not ended.
        error: in one line, if it failed.
        traceback: of the failure.
    """

    path: Path
    labels: Mapping[str, str]
    run: Run | None
    settings: str
    record: Mapping[str, Any] | None
    error: str
    traceback: str


@dataclass(frozen=True, kw_only=True)
class Batch:
    """Runs that belong together.

    Attributes:
        title: name of their folder.
        entries: all of them.
        results: of those that can be compared; None if there are none.
        provenance: the command and when its tables were written, if the grid wrote them.
        waiting: planned runs that have no folder yet.
    """

    title: str
    entries: tuple[Entry, ...]
    results: Results | None
    provenance: Mapping[str, Any]
    waiting: int


def collect(folders: Sequence[Path]) -> list[Batch]:
    """Every grid and every other run in these folders, at any depth.

    Raises:
        FileNotFoundError: if a folder is missing or holds no run.
    """
    batches = []
    for folder in folders:
        if not folder.is_dir():
            raise FileNotFoundError(f"There is no folder {folder}.")
        grids = [_grid(path) for path in sorted(folder.rglob(PLAN))]
        taken = {entry.path for batch in grids for entry in batch.entries}
        there = sorted(
            {file.parent for name in ("run.yaml", FAILURE) for file in folder.rglob(name)}
        )
        loose = [path for path in there if path not in taken]
        batches += [*grids, *([_loose(folder, loose)] if loose else [])]
    if not any(batch.entries or batch.waiting for batch in batches):
        said = ", ".join(map(str, folders))
        raise FileNotFoundError(
            f"There is no run in {said}: give the folder of a run, of a grid, or one above them."
        )
    return batches


def _grid(path: Path) -> Batch:
    plan = read_json(path)
    if absent := {"trials", "compare", "reference"} - plan.keys():
        raise ValueError(
            f"{path} is damaged, it lacks {', '.join(sorted(absent))}: run the grid's command "
            "again, which writes it and repeats no finished run."
        )
    home = path.parent
    entries, waiting = [], set()
    for trial in plan["trials"]:
        folder = home / RUNS / trial["run"]
        if folder.is_dir() and any(folder.iterdir()):
            entries.append(_entry(folder, trial["labels"]))
        else:
            waiting.add(trial["run"])
    summary = home / "results.json"
    found = read_json(summary) if summary.exists() else {}
    return Batch(
        title=home.resolve().name,
        entries=tuple(entries),
        results=_results(home, entries, plan["compare"], plan["reference"]),
        provenance={k: found[k] for k in ("command", "written") if k in found},
        waiting=len(waiting),
    )


def _loose(folder: Path, paths: Sequence[Path]) -> Batch:
    """Runs of no grid, labelled by the settings in which they differ."""
    plain = [_entry(path, {}) for path in paths]
    flat = [dict(_flat("", encode(entry.run))) if entry.run else {} for entry in plain]
    known = [settings for settings in flat if settings]
    shown = ["method.name", *(key for key in _differing(known) if key != "method.name")]
    labelled = [
        Entry(**{**entry.__dict__, "labels": _labels(settings, shown)})
        for entry, settings in zip(plain, flat, strict=True)
    ]
    return Batch(
        title=folder.resolve().name,
        entries=tuple(labelled),
        results=_results(folder, labelled, "method", ""),
        provenance={},
        waiting=0,
    )


def _differing(known: Sequence[Mapping[str, str]]) -> list[str]:
    """The settings, but the seed, in which runs differ that have a choice in common.

    That a method has settings which others lack is said by its name.
    """
    values: dict[str, dict[tuple[str | None, ...], set[str]]] = {}
    for settings in known:
        for key, value in settings.items():
            values.setdefault(key, {}).setdefault(_above(key, settings), set()).add(value)
    return [
        key
        for key, by_choice in values.items()
        if key != "seed" and any(len(found) > 1 for found in by_choice.values())
    ]


def _above(key: str, settings: Mapping[str, str]) -> tuple[str | None, ...]:
    """The names, such as that of the method, that decide whether a setting exists."""
    parts = key.removesuffix(".name").split(".")[:-1]
    return tuple(settings.get(f"{'.'.join(parts[:n])}.name") for n in range(1, len(parts) + 1))


def _labels(settings: Mapping[str, str], keys: Sequence[str]) -> dict[str, str]:
    """What tells a run from the others; settings of its method are part of that label."""
    name = settings.get("method.name", "?")
    own = [f"{key.removesuffix('.name').rpartition('.')[2]} {settings[key]}" for key in keys
           if key.startswith("method.") and key != "method.name" and key in settings]  # fmt: skip
    others = {key.removesuffix(".name"): settings.get(key, "–") for key in keys
              if not key.startswith("method.")}  # fmt: skip
    return {**others, "method": " ".join([name, ", ".join(own)]).strip()}


def _flat(prefix: str, value: Any) -> Iterable[tuple[str, str]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _flat(f"{prefix}.{key}" if prefix else key, inner)
    else:
        yield prefix, str(value)


def _entry(path: Path, labels: Mapping[str, str]) -> Entry:
    folder = RunFolder(path)
    text, record, failure = "", None, {}
    try:
        text = folder.read_config() or ""
        record = folder.read_result()
        if record is None and (path / FAILURE).exists():
            failure = read_json(path / FAILURE)
    except (ValueError, OSError) as error:  # a damaged run is one that failed
        failure = {"error": str(error)}
    return Entry(
        path=path,
        labels=labels,
        run=_settings(text),
        settings=text,
        record=record,
        error=failure.get("error", ""),
        traceback=failure.get("traceback", ""),
    )


def _settings(text: str) -> Run | None:
    """The run in a text; None where it is of another kind or version."""
    try:
        return load(Run, text) if text else None
    except (ValueError, TypeError):
        return None


def _results(home: Path, entries: Sequence[Entry], compare: str, reference: str) -> Results | None:
    """What can be put into tables: finished runs, one for every place in the grid."""
    rows: dict[tuple[object, ...], Row] = {}
    trials = []
    for entry in entries:
        if entry.record is None or entry.run is None:
            continue
        place = (*entry.labels.values(), entry.run.seed)
        if place not in rows:
            rows[place] = Row(labels=entry.labels, seed=entry.run.seed, folder=entry.path,
                              record=entry.record,
                              epochs=entry.run.training.epochs)  # fmt: skip
            trials.append(Trial(labels=entry.labels, run=entry.run))
    if not trials:
        return None
    there = {trial.labels[compare] for trial in trials}
    grid = Grid(
        trials=tuple(trials), compare=compare, reference=reference if reference in there else ""
    )
    return Results(grid=grid, folder=home, rows=tuple(rows.values()), failures={}, missing=0)

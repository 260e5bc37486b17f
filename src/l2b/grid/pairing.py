"""Whether the runs of a grid that are compared began alike, and learned from the same data."""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from l2b.experiment import Run

if TYPE_CHECKING:
    from l2b.grid.results import Results, Row

# What runs of one seed have in common, if these settings (paths of attributes) and hashes of
# theirs are equal.
COMMON = {
    "noise": (("data", "noise"), ("data_hash", "noise_hash")),
    "split": (("data", "clean", "validation", "imbalance"), ("data_hash",)),
    "initial values": (("data", "model", "method.judged_network"), ()),
}
SHOWN = 12  # digits of a hash


def in_common(results: "Results") -> list[str]:
    """What all runs that are compared with each other have in common: keys of `COMMON`."""
    groups = list(_compared(results))
    return [
        name
        for name, (settings, hashes) in COMMON.items()
        if all(_alike(group, settings, hashes) for group in groups)
    ]


def _alike(
    group: Sequence[tuple["Row", Run]], settings: Sequence[str], hashes: Sequence[str]
) -> bool:
    """Whether runs are equal in settings, and in hashes as far as they recorded them."""
    first = group[0][1]
    values = [attrgetter(setting) for setting in settings]
    return all(value(run) == value(first) for _, run in group for value in values) and all(
        len({row.record.get(name) for row, _ in group} - {None, ""}) < 2 for name in hashes
    )


def mixtures(results: "Results") -> list[dict[str, list["Row"]]]:
    """Runs that should have learned from the same data and did not, by the hash of that data.

    One mapping for each data set that changed between runs. Runs of versions that recorded no
    hash of the data are compared by their labels, draw by draw.
    """
    pairs = _with_runs(results)
    by_data = _differing([(repr(run.data), row) for row, run in pairs], "data_hash")
    known = {id(row) for group in by_data for rows in group.values() for row in rows}
    draws = [
        ((repr(run.data), repr(run.noise), run.seed), row)
        for row, run in pairs
        if id(row) not in known
    ]
    return by_data + _differing(draws, "noise_hash")


def warning(results: "Results") -> str:
    """In words, which runs learned from different data; empty if none did."""
    groups = mixtures(results)
    if not groups:
        return ""
    said = "; ".join(
        f"{_named(rows)} from {found[:SHOWN]}" for group in groups for found, rows in group.items()
    )
    return (
        "Runs with the same settings learned from different data, which changed between them: "
        f"{said}. Where they are compared they are not paired, and means over them mix both. "
        "Remove the folders of the older ones, or choose another --out, and give the same command "
        "again."
    )


def _with_runs(results: "Results") -> list[tuple["Row", Run]]:
    """Finished runs with their settings."""
    axes = results.grid.axes
    runs = {
        (*(trial.labels[axis] for axis in axes), trial.run.seed): trial.run
        for trial in results.grid.trials
    }
    places = [((*(row.labels[axis] for axis in axes), row.seed), row) for row in results.rows]
    return [(row, runs[place]) for place, row in places if place in runs]


def _compared(results: "Results") -> Iterator[list[tuple["Row", Run]]]:
    """Finished runs of each setting and seed."""
    others = [axis for axis in results.grid.axes if axis != results.grid.compare]
    found: dict[Hashable, list[tuple[Row, Run]]] = {}
    for row, run in _with_runs(results):
        found.setdefault((*(row.labels[axis] for axis in others), row.seed), []).append((row, run))
    return iter(found.values())


def _differing(keyed: Sequence[tuple[Hashable, "Row"]], name: str) -> list[dict[str, list["Row"]]]:
    """Runs of one key whose records differ in a hash, by that hash."""
    found: dict[Hashable, dict[str, list[Row]]] = {}
    for key, row in keyed:
        if row.record.get(name):
            found.setdefault(key, {}).setdefault(row.record[name], []).append(row)
    return [group for group in found.values() if len(group) > 1]


def _named(rows: Sequence["Row"]) -> str:
    """Labels with their seeds."""
    seeds: dict[str, list[int]] = {}
    for row in rows:
        seeds.setdefault(_label(row.labels), []).append(row.seed)
    return ", ".join(
        f"{label} (seed{'s' if len(own) > 1 else ''} {', '.join(map(str, own))})"
        for label, own in seeds.items()
    )


def _label(labels: Mapping[str, str]) -> str:
    return " / ".join(labels.values())

"""Grids written down as YAML."""

import dataclasses
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from l2b.catalog import name_of, unknown
from l2b.config import dump, load
from l2b.datasets.table import Table
from l2b.experiment import Run
from l2b.files import read_text
from l2b.grid.trials import Grid, Trial
from l2b.plain_yaml import plain_yaml

OWN = ("base", "seeds", "compare", "reference")
FIELDS = tuple(f.name for f in dataclasses.fields(Run) if f.name != "seed")
FAMILIES = ("data", "noise", "model", "method")


def read_grid(path: Path) -> Grid:
    """Read a grid file.

    Args:
        path: YAML. ``base`` holds settings of ``l2b run``, ``seeds`` their number or a list,
            and every other key is a setting of `Run` with the list of its entries: a name, a
            value, or a mapping of settings with an optional ``label`` that names it (not of
            ``table`` data, where that is a setting). What an entry says counts, whatever ``base``
            says of the same setting.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is no grid, or settings in it are wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no grid file {path}.")
    return parse_grid(read_text(path))


def parse_grid(text: str) -> Grid:
    """The grid in a YAML text; see `read_grid`.

    Raises:
        ValueError: if it is no grid, or settings in it are wrong.
    """
    tree = _mapping(text)
    axes = {key: _entries(key, value) for key, value in tree.items() if key not in OWN}
    if "method" not in axes and "compare" not in tree:
        raise ValueError(
            "A grid file needs a list of methods (method: [cross_entropy, l2b]), or `compare` with "
            "the name of the axis whose entries compete."
        )
    spoken = {str(key).removesuffix(".name") for key in tree.get("base") or {}}
    for axis in set(axes) & set(FAMILIES) & spoken:
        raise ValueError(
            f"`base` in a grid file must not speak of `{axis}`, which is a list of entries there: "
            "each of them says all of its settings, so write what they share into every one."
        )
    trials = [
        Trial(
            labels={axis: label for axis, (label, _) in zip(axes, cell, strict=True)},
            run=_run(tree.get("base") or {}, axes, [entry for _, entry in cell], seed),
        )
        for seed in _seeds(tree.get("seeds", 1))
        for cell in itertools.product(*axes.values())
    ]
    _refuse_twins(trials)
    return Grid(
        trials=tuple(trials),
        compare=_word(tree, "compare", "method"),
        reference=_word(tree, "reference", ""),
    )


def _word(tree: Mapping[str, Any], key: str, usual: str) -> str:
    """One word; a number stands for the label that it makes."""
    found = tree.get(key)
    if isinstance(found, dict | list):
        raise ValueError(f"`{key}` in a grid file must be one word, got {found!r}.")
    return usual if found is None else str(found)


def _mapping(text: str) -> dict[str, Any]:
    try:
        tree = plain_yaml(text)
    except yaml.YAMLError as error:
        raise ValueError(f"The grid file is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(tree, dict):
        raise ValueError(
            f"A grid file is a YAML mapping of lists, got {type(tree).__name__}: for example "
            "seeds: 5, noise: [{name: symmetric, rate: 0.4}], method: [l2rw, l2b]."
        )
    for key in tree:
        if key not in OWN and key not in FIELDS:
            raise ValueError(unknown("key of a grid file", str(key), [*OWN, *FIELDS]))
    base = tree.get("base") or {}
    if not isinstance(base, dict):
        raise ValueError("`base` in a grid file must be a mapping of settings of l2b run.")
    if "seed" in base:
        raise ValueError(
            "`base` in a grid file cannot hold a seed, which every run has of its own: write "
            f"seeds: [{base['seed']}] beside it."
        )
    return tree


def _entries(axis: str, found: Any) -> list[tuple[str, Any]]:
    """Labels and settings of one axis."""
    if not isinstance(found, list) or not found:
        raise ValueError(
            f"`{axis}` in a grid file must be a list of entries, got {found!r}: what is the same "
            "in all runs goes under `base`."
        )
    entries = [_entry(axis, entry) for entry in found]
    labels = [label for label, _ in entries]
    for label in labels:
        if labels.count(label) > 1:
            raise ValueError(
                f"Two entries of `{axis}` are called {label!r}: give them a `label` each."
            )
    return entries


def _entry(axis: str, entry: Any) -> tuple[str, Any]:
    """Label and settings; `label` names an entry, but for a table, which has a column there."""
    if not isinstance(entry, dict):
        return str(entry), entry
    if axis == "data" and entry.get("name") == name_of(Table):
        return _said(entry), entry
    settings = {key: value for key, value in entry.items() if key != "label"}
    label = entry.get("label")
    return _said(settings) if label in (None, "") else str(label), settings


def _said(settings: Mapping[str, Any]) -> str:
    """A label from what an entry says: its name, then its other settings."""
    others = [f"{k} {_said(v) if isinstance(v, dict) else v}" for k, v in settings.items()
              if k != "name"]  # fmt: skip
    return " ".join([str(settings.get("name", "")), ", ".join(others)]).strip()


def _run(base: Mapping[str, Any], axes: Mapping[str, Any], cell: list[Any], seed: int) -> Run:
    """What the entries say, over what `base` says, whatever names either uses."""
    tree: dict[str, Any] = {"seed": seed}
    for axis, entry in zip(axes, cell, strict=True):
        if axis in FAMILIES:
            tree[axis] = entry if isinstance(entry, dict) else {"name": entry}
        else:
            tree[axis] = _with_options(entry, base.get(axis))
    return load(Run, _text(tree), base=_text(base))


def _text(tree: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(tree), sort_keys=False, allow_unicode=True)


def _refuse_twins(trials: list[Trial]) -> None:
    """Under two labels one run would be compared with itself."""
    known: dict[str, str] = {}
    for trial in trials:
        labels = " / ".join(trial.labels.values())
        first = known.setdefault(dump(trial.run), labels)
        if first != labels:
            raise ValueError(
                f"Differently labelled runs of a grid must differ, got the same settings for "
                f"{first!r} and {labels!r} (seed {trial.run.seed}): change one, or leave it out."
            )


def _with_options(entry: Any, base: Any) -> Any:
    """The entry; of `options`, which are one setting each, with those of the base it leaves out."""
    if not (isinstance(entry, dict) and isinstance(base, dict)):
        return entry
    return {
        key: {**base[key], **value}
        if key == "options" and isinstance(value, dict) and isinstance(base.get(key), dict)
        else _with_options(value, base.get(key))
        for key, value in entry.items()
    }


def _seeds(found: Any) -> list[int]:
    seeds = list(range(found)) if isinstance(found, int) else found
    good = isinstance(seeds, list) and seeds and all(type(seed) is int for seed in seeds)
    if not good or len(set(seeds)) < len(seeds):
        raise ValueError(
            f"`seeds` in a grid file must be a number from 1 on or a list of different integers, "
            f"got {found!r}."
        )
    return seeds

"""What the words of ``l2b figure`` and ``l2b table`` mean."""

from collections.abc import Sequence
from pathlib import Path

from l2b.catalog import find, name_of, names, summary, unknown
from l2b.config import chosen_leaves, parse, settings_parser
from l2b.figures.base import Figure, Kind, Made, Request, with_settings
from l2b.presets import BUDGETS, PRESETS, SEEDS, Preset


def make(
    kind: Kind,
    name: str,
    words: Sequence[str],
    *,
    preset: Preset,
    seeds: int | None,
    out: Path | None,
    workers: int | None,
    command: str,
    progress: bool,
) -> Made:
    """Make one figure or table.

    Args:
        kind: what the user calls it.
        name: of the figure, with - or _.
        words: its own settings and those of its runs.
        preset: the budget.
        seeds: how many; None takes the preset's.
        out: folder; None takes one under ``runs`` named by figure, data and preset.
        workers: processes; None takes one per core.
        command: what a reader types to get the same.
        progress: show a progress bar on a terminal.

    Raises:
        ValueError: on a wrong name or wrong settings.
        FileNotFoundError: if the data set is missing.
    """
    figure = _found(kind, name)
    mine, others = with_settings(figure, words)
    folder = out or Path("runs") / f"{kind}-{name.replace('_', '-')}-{_data(others)}-{preset}"
    request = Request(
        words=others,
        preset=preset,
        seeds=seeds,
        out=folder,
        workers=workers,
        command=command,
        progress=progress,
    )
    return parse(figure, mine).make(request)


def listed(kind: Kind) -> dict[str, str]:
    """Names and first lines of all figures or all tables."""
    return {
        name.replace("_", "-"): summary(Figure, name)
        for name in names(Figure)
        if find(Figure, name).kind == kind
    }


def explained(kind: Kind, name: str) -> str:
    """The settings of one figure, and what its presets are."""
    figure = _found(kind, name)
    text = settings_parser(chosen_leaves(figure, [])).format_help().partition("\n\n")[2]
    data = ", ".join(key for key in BUDGETS if key)
    seeds = ", ".join(f"{preset} {SEEDS[preset]}" for preset in PRESETS)
    return (
        f"{summary(Figure, name_of(figure))}\n\n{text}\n"
        f"Presets with settings of their own: {data}. Seeds: {seeds}. Every setting of `l2b run` "
        "may follow and replaces that of the preset."
    )


def _found(kind: Kind, name: str) -> type[Figure]:
    known = listed(kind)
    asked = name.replace("_", "-")
    if asked not in known:
        other = "table" if kind == "figure" else "figure"
        if asked in listed(other):
            raise ValueError(f"{asked} is a {other}: l2b {other} {asked}.")
        raise ValueError(unknown(kind, name, list(known)))
    return find(Figure, asked.replace("-", "_"))


def _data(words: Sequence[str]) -> str:
    """The name of the data set that the words choose, for a folder."""
    said = "digits"
    for word, following in zip(words, [*words, ""][1:], strict=True):
        key, equals, value = word.partition("=")
        if key in ("--data", "--data.name"):
            said = value if equals else following
    return said

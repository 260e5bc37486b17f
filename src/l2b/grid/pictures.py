"""Pictures of a grid: learning curves, accuracy against a number, and dots with error bars."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FixedLocator, NullFormatter, NullLocator, ScalarFormatter

from l2b.grid.results import Results
from l2b.report import COLOURS, STYLE, epochs_axis, label_ends, save
from l2b.scoring import WORDS

ALIASES = {
    "standard training": "cross_entropy", "full": "l2b", "Eq. 9": "l2b", "β = 0 (L2RW)": "l2rw",
}  # fmt: skip
FURTHER = ("#009e73", "#cc79a7", "#b08900", "#56b4e9", "#7f1d1d", "#111827", "#1e3a8a", "#f59e0b")
KINDS = (("-", "o"), ("--", "s"), (":", "^"), ("-.", "D"))  # dash and mark by round of colours
LEGEND = 2.8  # inches beside the panels
WIDTH, HEIGHT = 5.4, 4.2  # inches of one panel
SHIFT = 0.008  # of the axis, between error bars that would lie on each other
COLUMNS = 3  # panels side by side
EPOCHS = "last epoch", "epoch chosen on clean validation"


class Stroke(NamedTuple):
    """How the line of one label looks.

    Attributes:
        colour: of line and marks.
        dash: pattern of the line, as matplotlib calls it.
        mark: at single points, likewise.
    """

    colour: str
    dash: str
    mark: str


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One set of axes.

    Attributes:
        title: over it.
        lines: values as fractions by label, [seeds, points]; a row may hold NaN.
    """

    title: str
    lines: Mapping[str, np.ndarray]


def strokes(labels: Iterable[str]) -> dict[str, Stroke]:
    """A colour for every label: a method's own, or one that nothing else has.

    Where there are more labels than colours, those that share one differ in dash and mark.
    """
    labels, own = list(labels), dict[str, str]()
    for label in labels:
        colour = COLOURS.get(ALIASES.get(label, label), "")
        if colour and colour not in own.values():
            own[label] = colour
    free = [colour for colour in FURTHER if colour not in own.values()]
    rest = (Stroke(colour, *kind) for kind in itertools.cycle(KINDS) for colour in free)
    first = {label: Stroke(colour, *KINDS[0]) for label, colour in own.items()}
    return {label: first.get(label) or next(rest) for label in labels}


def curve_panels(results: Results) -> list[Panel]:
    """Learning curves of every setting of a grid, as far as there are any; of masks, Dice."""
    grid, key = results.grid, f"test_{results.judged}"
    panels = []
    for setting in grid.settings:
        lines = {
            label: results.curves({**setting, grid.compare: label}, key)
            for label in grid.labels(grid.compare)
        }
        lines = {label: found for label, found in lines.items() if found.size}
        if lines:
            panels.append(Panel(title=" / ".join(setting.values()), lines=lines))
    return panels


def curves_picture(
    path: Path, title: str, panels: Sequence[Panel], *, note: str = "", judged: str = "accuracy"
) -> None:
    """Mean by epoch with a band of one standard deviation, one panel a setting.

    Args:
        path: the PNG file.
        title: what the picture shows.
        panels: fractions of the test set by seed and epoch.
        note: what a reader must know, in small letters.
        judged: what the curves are of, see `Results.judged`.
    """
    stroke = strokes(dict.fromkeys(label for panel in panels for label in panel.lines))
    with mpl.rc_context(STYLE):
        several = any(len(values) > 1 for panel in panels for values in panel.lines.values())
        figure, grid = _figure(title, note, len(panels), spread=several)
        for axes, panel in zip(grid, panels, strict=True):
            for label, values in panel.lines.items():
                _band(axes, range(1, values.shape[1] + 1), values, stroke[label])
            axes.set_title(panel.title)
            axes.margins(x=0.01)
            epochs_axis(axes)
        grid[0].set_ylabel(f"test {WORDS[judged]} (%)")
        for axes, panel in zip(grid, panels, strict=True):
            ends = {
                k: (v.shape[1], float(100 * np.nanmean(v[:, -1]))) for k, v in panel.lines.items()
            }
            _name_ends(axes, ends, stroke)
        _legend(figure, stroke)
        save(figure, path)


def numbers_picture(
    path: Path,
    title: str,
    panels: Sequence[Panel],
    x: Sequence[float],
    xlabel: str,
    *,
    log: bool,
    note: str = "",
    judged: str = "accuracy",
) -> None:
    """Mean against a number, with one standard deviation as error bars.

    Args:
        path: the PNG file.
        title: what the picture shows.
        panels: fractions by seed and point.
        x: the number at each point, rising.
        xlabel: what it is.
        log: whether its axis is logarithmic.
        note: what a reader must know, in small letters.
        judged: what the values are, see `Results.judged`.
    """
    stroke = strokes(dict.fromkeys(label for panel in panels for label in panel.lines))
    with mpl.rc_context(STYLE):
        figure, grid = _figure(title, note, len(panels))
        for axes, panel in zip(grid, panels, strict=True):
            for place, (label, values) in enumerate(panel.lines.items()):
                mean, sd = _mean_sd(values)
                beside = _shifted(x, place - (len(panel.lines) - 1) / 2, log=log)
                colour, dash, mark = stroke[label]
                axes.errorbar(beside, mean, sd, color=colour, ls=dash, marker=mark, ms=4, capsize=2)
            margin = (x[-1] - x[0]) / 30 or 1
            low, high = (x[0] / 1.25, x[-1] * 1.25) if log else (x[0] - margin, x[-1] + margin)
            axes.set_xlim(low, high)
            if log:
                axes.set_xscale("log")
            axes.xaxis.set_major_locator(FixedLocator(list(x)))
            axes.xaxis.set_major_formatter(ScalarFormatter())
            axes.xaxis.set_minor_locator(NullLocator())
            axes.xaxis.set_minor_formatter(NullFormatter())
            axes.set(xlabel=xlabel, title=panel.title)
        grid[0].set_ylabel(f"test {WORDS[judged]} (%)")
        for axes, panel in zip(grid, panels, strict=True):
            _name_ends(axes, _ends(x, panel), stroke)
        _legend(figure, stroke)
        save(figure, path)


def _ends(x: Sequence[float], panel: Panel) -> dict[str, tuple[float, float]]:
    """Where each line ends: at its last point that has a value."""
    means = {label: _mean_sd(values)[0] for label, values in panel.lines.items()}
    last = {label: np.flatnonzero(np.isfinite(mean)) for label, mean in means.items()}
    return {k: (x[at[-1]], float(means[k][at[-1]])) for k, at in last.items() if len(at)}


def dots_picture(path: Path, title: str, results: Results, *, note: str = "") -> None:
    """Accuracy or Dice of every label in every setting: last epoch filled, chosen epoch hollow.

    Args:
        path: the PNG file.
        title: what the picture shows.
        results: of a grid.
        note: what a reader must know, in small letters.
    """
    grid = results.grid
    labels = grid.labels(grid.compare)
    stroke = strokes(labels)
    with mpl.rc_context(STYLE):
        figure, panels = _figure(title, note, len(grid.settings), height=1.5 + 0.34 * len(labels))
        for axes, setting in zip(panels, grid.settings, strict=True):
            for place, label in enumerate(labels):
                for measure, filled in zip(results.headline, (True, False), strict=True):
                    values = results.values({**setting, grid.compare: label}, measure)
                    _dot(axes, list(values.values()), place, stroke[label], filled=filled)
            axes.set_yticks(range(len(labels)), labels)
            axes.set(title=" / ".join(setting.values()), xlabel=f"test {WORDS[results.judged]} (%)")
            axes.grid(axis="x", alpha=0.25)
        for axes in panels:  # which share the vertical axis, so this turns all of them
            axes.set_ylim(len(labels) - 0.5, -0.5)
        marks = [
            Line2D([], [], color="0.3", marker="o", ls="", mfc="0.3" if filled else "white",
                   label=name)
            for name, filled in zip(EPOCHS, (True, False), strict=True)
        ]  # fmt: skip
        figure.legend(handles=marks, loc="outside lower right", ncols=2, fontsize=9)
        save(figure, path)


def _figure(
    title: str, note: str, count: int, height: float = HEIGHT, *, spread: bool = True
) -> tuple[Figure, list[Axes]]:
    columns = 2 if count == 4 else min(count, COLUMNS)
    lines = -(-count // columns)
    width = 8 if count == 1 else WIDTH * columns
    figure = Figure(figsize=(width, height * lines + 0.4), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False, sharey=True).ravel()
    for axes in grid[count:]:
        axes.set_axis_off()
    for axes in grid[:count]:
        axes.grid(axis="y", alpha=0.25)
    figure.suptitle(title, x=0.01, ha="left", weight="bold")
    seeds = "mean ± standard deviation over seeds" if spread else ""
    said = ": ".join(part for part in (note, seeds) if part)
    figure.supxlabel(said, x=0.01, ha="left", fontsize=8, color="0.4")
    return figure, list(grid[:count])


def _name_ends(
    axes: Axes, ends: Mapping[str, tuple[float, float]], stroke: Mapping[str, Stroke]
) -> None:
    label_ends(axes, ends, {label: stroke[label].colour for label in ends})


def _legend(figure: Figure, stroke: Mapping[str, Stroke]) -> None:
    """Say which line is which where the colours of their names do not."""
    if len({look.colour for look in stroke.values()}) == len(stroke):
        return
    lines = [
        Line2D([], [], color=look.colour, ls=look.dash, marker=look.mark, ms=4, lw=2, label=label)
        for label, look in stroke.items()
    ]
    width, height = figure.get_size_inches()
    figure.set_size_inches(width + LEGEND, height)
    figure.legend(handles=lines, loc="outside right upper", fontsize=9, handlelength=4)


def _band(axes: Axes, x: Iterable[float], values: np.ndarray, stroke: Stroke) -> None:
    mean, sd = _mean_sd(values)
    x, (colour, dash, mark) = list(x), stroke
    axes.plot(x, mean, color=colour, ls=dash, linewidth=2, marker=mark if len(x) == 1 else "")
    axes.fill_between(x, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)


def _shifted(x: Sequence[float], places: float, *, log: bool) -> list[float]:
    """The same points a little to the side, so that error bars do not hide each other."""
    if log:
        return [value * (x[-1] / x[0]) ** (SHIFT * places) for value in x]
    return [value + SHIFT * places * (x[-1] - x[0]) for value in x]


def _dot(axes: Axes, values: list[float], place: int, stroke: Stroke, *, filled: bool) -> None:
    if values:
        mean, sd = _mean_sd(np.array(values)[:, None])
        shift = -0.12 if filled else 0.12
        face = stroke.colour if filled else "white"
        axes.errorbar(mean, [place + shift], xerr=sd, color=stroke.colour, mfc=face, ms=6,
                      marker=stroke.mark, capsize=2)  # fmt: skip


def _mean_sd(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation over the seeds that have a value, in percent, [points]."""
    masked = np.ma.masked_invalid(100 * values)
    mean = masked.mean(axis=0).filled(np.nan)
    spread = masked.std(axis=0, ddof=1) if len(values) > 1 else 0 * masked.mean(axis=0)
    return mean, np.ma.filled(spread, 0.0)

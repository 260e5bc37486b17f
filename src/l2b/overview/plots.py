"""Line plots as plain numbers, for a template to draw as SVG in the page's own colours."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

WIDTH, HEIGHT = 420, 250  # of the drawing, in its own units
LEFT, RIGHT, TOP, BOTTOM = 38, 12, 10, 28  # room for the axes
TICKS = 4


@dataclass(frozen=True, kw_only=True)
class Line:
    """A mean with its band.

    Attributes:
        name: of the line.
        colour: number of its colour and dash.
        points: of the mean, as an SVG path's numbers.
        dot: the mean, if it is a single point, which no path shows; else None.
        band: outline of one standard deviation, likewise; empty for one seed.
        end: last mean, as text.
    """

    name: str
    colour: int
    points: str
    dot: tuple[float, float] | None
    band: str
    end: str


@dataclass(frozen=True, kw_only=True)
class Plot:
    """One set of axes.

    Attributes:
        title: over it.
        lines: in the order of drawing.
        across: positions and texts of the ticks of the epochs.
        up: positions and texts of the ticks of the values.
    """

    title: str
    lines: tuple[Line, ...]
    across: tuple[tuple[float, str], ...]
    up: tuple[tuple[float, str], ...]


def plot(
    title: str, curves: Mapping[str, np.ndarray], colour: Mapping[str, int], *, percent: bool
) -> Plot | None:
    """Place curves in a drawing.

    Args:
        title: over it.
        curves: values by seed and epoch, [seeds, epochs], by name; empty ones are left out.
        colour: number of each name's colour and dash.
        percent: whether values are fractions that are shown in percent.

    Returns:
        None if there is nothing to draw.
    """
    scale = 100 if percent else 1
    shown = {name: scale * values for name, values in curves.items() if values.size}
    if not shown:
        return None
    bands = {name: _band(values) for name, values in shown.items()}
    low = min(float(np.nanmin(mean - sd)) for mean, sd in bands.values())
    high = max(float(np.nanmax(mean + sd)) for mean, sd in bands.values())
    if percent:
        low, high = max(low, 0.0), min(high, 100.0)
    ticks = _round_ticks(low, high)
    low, high = min(low, ticks[0]), max(high, ticks[-1])
    epochs = max(values.shape[1] for values in shown.values())

    def x(epoch: float) -> float:
        share = (epoch - 1) / max(epochs - 1, 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT)

    def y(value: float) -> float:
        share = (min(max(value, low), high) - low) / ((high - low) or 1)
        return HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM)

    lines = []
    for name, (mean, sd) in bands.items():
        steps = range(1, len(mean) + 1)
        upper = [(x(e), y(m + s)) for e, m, s in zip(steps, mean, sd, strict=True)]
        lower = [(x(e), y(m - s)) for e, m, s in zip(steps, mean, sd, strict=True)]
        middle = [(x(e), y(m)) for e, m in zip(steps, mean, strict=True)]
        lines.append(
            Line(
                name=name,
                colour=colour[name],
                points=_path(middle),
                dot=middle[0] if len(middle) == 1 else None,
                band=_path(upper + lower[::-1]) if np.any(sd > 0) else "",
                end=f"{mean[-1]:.{1 if percent else 3}f}{' %' if percent else ''}",
            )
        )
    return Plot(
        title=title,
        lines=tuple(lines),
        across=tuple((x(e), str(e)) for e in _epoch_ticks(epochs)),
        up=tuple((y(value), f"{value:g}") for value in ticks),
    )


def _band(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    sd = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    return values.mean(axis=0), sd


def _path(points: list[tuple[float, float]]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _round_ticks(low: float, high: float) -> list[float]:
    """About `TICKS` round numbers that span the range."""
    span = (high - low) or 1.0
    power = 10 ** math.floor(math.log10(span / TICKS))
    step = next(k * power for k in (1, 2, 5, 10) if k * power * TICKS >= span)
    first, last = math.floor(low / step), math.ceil(high / step)
    return [round(k * step, 10) for k in range(first, last + 1)]


def _epoch_ticks(epochs: int) -> list[int]:
    step = next(k for k in (1, 2, 5, 10, 20, 50, 100, 200, 500, 10**9) if epochs / k <= 6)
    return sorted({1, *range(step, epochs + 1, step)})

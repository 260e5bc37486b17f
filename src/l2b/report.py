"""From what was recorded to pictures that a person understands at a glance."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib as mpl
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from torch import Tensor

from l2b.data import Data
from l2b.evaluate import measure
from l2b.files import write_atomically
from l2b.quality import class_votes
from l2b.scoring import WORDS, capitalised
from l2b.targets import VOID
from l2b.train import Outcome

STYLE: dict[Any, Any] = {
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "legend.frameon": False,
    "figure.dpi": 110,
    "text.parse_math": False,  # names of classes may hold dollars
}
COLOURS = {
    "l2b": "#c2410c",
    "l2rw": "#2563eb",
    "fine_tune": "#7c3aed",
    "pooled": "#0891b2",
    "clean_only": "#65a30d",
    "bootstrap": "#db2777",
    "cross_entropy": "#6b7280",
}
RIGHT, WRONG = "#2563eb", "#dc2626"
# A sheet of images, in inches: width of a cell, side of a picture in it, height above all.
CELL, PICTURE, HEAD = 1.25, 1.08, 0.5


class Suspects(NamedTuple):
    """The samples whose observed label was trusted least.

    Attributes:
        rows: entries of the ledger, least trusted first, [k].
        suggested: the label that the run would give each, [k].
    """

    rows: Tensor
    suggested: Tensor


def run_figures(folder: Path, data: Data, outcome: Outcome) -> None:
    """Draw one run: accuracy by epoch, weights by epoch, and the least trusted samples.

    Of masks, Dice by epoch takes the place of accuracy; for pictures of the masks and their
    weights there is `l2b.mask_figure`.

    Args:
        folder: where the PNG files go.
        data: what the run learned from.
        outcome: what it recorded.
    """
    name = measure(data)
    curves = {
        f"{pool} {WORDS[name]}": [row[f"{pool}_{name}"] for row in outcome.history]
        for pool in ("test", "validation")
        if f"{pool}_{name}" in outcome.history[0]
    }
    if curves:
        file, said = ("dice" if data.masks else "accuracy"), WORDS[name]
        accuracy_figure(folder / f"{file}.png", curves, f"{capitalised(said)} by epoch", said)
    if data.train.true is not None:
        weights_figure(folder / "weights.png", data, outcome)
    if "clean_loss_rose" in outcome.history[0]:
        descent_figure(folder / "descent.png", outcome)
    if _drawable(data) and not data.masks:
        suspects_figure(folder / "suspects.png", data, suspects(outcome, 24))


def accuracy_figure(
    path: Path, curves: Mapping[str, Sequence[float]], title: str, measured: str = "accuracy"
) -> None:
    """Accuracy by epoch, one labelled line per curve.

    Args:
        path: the PNG file.
        curves: accuracy per epoch as fractions, by name.
        title: what the picture shows.
        measured: name of what the curves show.
    """
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 4.6), layout="constrained")
        axes = figure.add_subplot()
        for name, curve in curves.items():
            ours = name == "l2b"
            axes.plot(
                range(1, len(curve) + 1),
                [100 * value for value in curve],
                color=COLOURS.get(name),
                linewidth=2.4 if ours else 1.5,
                zorder=3 if ours else 2,
                label=name,
            )
        axes.set(ylabel=f"{measured} (%)", title=title)
        epochs_axis(axes)
        axes.grid(axis="y", alpha=0.25)
        axes.margins(x=0.01)
        ends = {name: (len(curve), 100 * curve[-1]) for name, curve in curves.items()}
        label_ends(axes, ends, COLOURS)
        save(figure, path)


def weights_figure(path: Path, data: Data, outcome: Outcome) -> None:
    """Mean α and β of correctly and wrongly labelled samples by epoch.

    Args:
        path: the PNG file.
        data: what the run learned from; its true labels must be known.
        outcome: what it recorded.

    Raises:
        ValueError: if the true labels are unknown.
    """
    pool = data.train
    if pool.true is None:
        raise ValueError("Weights by correctness need true labels, and this data has none.")
    wrong, known = (pool.labels != pool.true).cpu(), (pool.labels != VOID).cpu()
    kinds = ("label correct", "label wrong")
    if data.masks:  # of images: which half has more of its labelled pixels wrong
        count = known.flatten(1).sum(dim=1)
        share = wrong.flatten(1).sum(dim=1) / count.clamp_min(1)
        kinds = "better half of the masks", "worse half"
        known = count > 0
        wrong = share > share[known].median()
    wrong, known = wrong.flatten(), known.flatten()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.8), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        names = {"alpha": "α: trust in the observed label", "beta": "β: trust in the prediction"}
        for axes, (key, title) in zip(panels, names.items(), strict=True):
            entries = getattr(outcome.ledger, key).float()
            epochs = range(1, len(entries) + 1)
            for mask, colour, label in (
                (known & ~wrong, RIGHT, kinds[0]),
                (known & wrong, WRONG, kinds[1]),
            ):
                if mask.any():
                    mean = entries[:, mask].nanmean(dim=1)
                    axes.plot(epochs, mean, color=colour, linewidth=2, label=label)
            axes.axhline(1, color="0.7", linewidth=1, linestyle=":", zorder=0)
            axes.set_title(title)
            epochs_axis(axes)
        panels[0].set_ylabel("mean weight (1 = standard training)")
        panels[0].legend()
        save(figure, path)


def descent_figure(path: Path, outcome: Outcome) -> None:
    """How often a step raised the loss on the whole clean set, by epoch.

    Args:
        path: the PNG file.
        outcome: of a run with ``training.monitor="descent"``.
    """
    shares = [100 * row["clean_loss_rose"] for row in outcome.history]
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8, 3.4), layout="constrained")
        axes = figure.add_subplot()
        axes.bar(range(1, len(shares) + 1), shares, color=COLOURS["l2b"], width=0.8)
        axes.set(
            ylabel="steps (%)",
            ylim=(0, 100),
            title="Steps that raised the clean loss (the theorem promises none)",
        )
        epochs_axis(axes)
        axes.grid(axis="y", alpha=0.25)
        save(figure, path)


def suspects(outcome: Outcome, count: int) -> Suspects:
    """The samples whose labels a run trusted least in the second half of its epochs.

    Trust is mean α minus the mean loss towards the observed label's share: labels whose
    gradient helped the clean loss least come first, ties by the larger mean loss.
    """
    ledger = outcome.ledger
    late = slice(len(ledger.alpha) // 2, None)
    alpha = ledger.alpha[late].float().nanmean(dim=0).nan_to_num(1.0)
    seen = (ledger.pseudo >= 0).any(dim=0)  # else left over in every epoch, or without a label
    loss = ledger.loss[late].float().nanmean(dim=0).nan_to_num(0.0)
    rows = torch.argsort((alpha - 1e-3 * loss).masked_fill(~seen, torch.inf))
    rows = rows[: min(count, int(seen.sum()))]
    said = ledger.pseudo[late][:, rows]
    votes = class_votes(said, said >= 0, int(ledger.pseudo.max()) + 1)
    return Suspects(rows, votes.argmax(dim=1))


def suspects_figure(path: Path, data: Data, found: Suspects) -> None:
    """A sheet of images with observed label, suggestion and, where known, the truth.

    Args:
        path: the PNG file.
        data: what the run learned from; inputs must be images.
        found: which samples to show.
    """
    pool, columns = data.train, 8
    titles = [
        _title(data, int(row), suggested)
        for row, suggested in zip(found.rows, found.suggested, strict=True)
    ]
    line = 1.6 + 0.17 * max((1 + title.count("\n") for title in titles), default=1)
    lines = -(-len(found.rows) // columns)
    width, height = CELL * columns, HEAD + line * lines
    true = None if pool.true is None else pool.true.flatten()
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(width, height))
        # One pair of axes in inches: two dozen, and a layout of them, would take seconds.
        axes = figure.add_axes((0, 0, 1, 1))
        axes.set_axis_off()
        axes.set(xlim=(0, width), ylim=(height, 0))
        head = "Least trusted labels: observed → suggested"
        axes.text(0.1, HEAD / 2, head, va="center", fontsize=12, weight="bold")
        for place, title in enumerate(titles):
            row, suggested = int(found.rows[place]), found.suggested[place]
            x, bottom = CELL * (place % columns + 0.5), HEAD + line * (place // columns + 1)
            low = bottom - 0.25  # edge of the picture, above the truth
            _draw_image(
                axes, pool.inputs[row // data.answers].cpu(), (x, low - PICTURE / 2), PICTURE
            )
            axes.text(x, low - PICTURE - 0.05, title, fontsize=9, ha="center", va="bottom")
            if true is not None:
                colour = "#15803d" if true[row] == suggested else WRONG
                said = f"truth {_short(data, true[row])}"
                axes.text(x, low + 0.05, said, color=colour, fontsize=8, ha="center", va="top")
        save(figure, path)


def epochs_axis(axes: Axes) -> None:
    """Name the horizontal axis and mark it at whole epochs."""
    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))


def label_ends(
    axes: Axes, ends: Mapping[str, tuple[float, float]], colours: Mapping[str, str]
) -> None:
    """Name each line at its end with its value, pushed apart so that names do not overlap.

    Args:
        axes: what the lines are drawn in; its limits must be final.
        ends: last point of each line, by name.
        colours: of the lines, by name.
    """
    low, high = axes.get_ylim()
    gap = (high - low) / 18
    names = sorted(ends, key=lambda name: ends[name][1])
    for name, place in zip(
        names, _apart([ends[name][1] for name in names], gap, high), strict=True
    ):
        x, value = ends[name]
        axes.annotate(
            f"{name}  {value:.1f}",
            (x, place),
            xytext=(6, 0),
            textcoords="offset points",
            va="center",
            fontsize=9,
            color=colours.get(name, "0.2"),
            annotation_clip=False,
        )


def _apart(values: Sequence[float], gap: float, high: float) -> list[float]:
    """Rising values moved up until they are a gap apart, then down until they end below high."""
    places: list[float] = []
    for value in values:
        places.append(max(value, places[-1] + gap) if places else value)
    ceiling = high
    for k in reversed(range(len(places))):
        places[k] = min(places[k], ceiling)
        ceiling = places[k] - gap
    return places


def _drawable(data: Data) -> bool:
    shape = data.train.inputs.shape
    return len(shape) == 4 and shape[1] in (1, 3)


def _draw_image(axes: Axes, image: Tensor, centre: tuple[float, float], size: float) -> None:
    """An image as large as fits into a square, in units of axes whose y points down."""
    pixels = image.float()
    pixels = (pixels - pixels.amin()) / (pixels.amax() - pixels.amin()).clamp_min(1e-9)
    shown = 1 - pixels[0] if len(pixels) == 1 else pixels.permute(1, 2, 0)
    (x, y), (rows, columns) = centre, shown.shape[:2]
    scale = size / 2 / max(rows, columns)
    left, right, top, bottom = (
        x - scale * columns, x + scale * columns, y - scale * rows, y + scale * rows,
    )  # fmt: skip
    edges = (left, right, bottom, top)
    axes.imshow(shown.numpy(), cmap="gray", vmin=0, vmax=1, extent=edges, aspect="auto")


def _title(data: Data, row: int, suggested: Tensor) -> str:
    """Observed → suggested label of an entry of the ledger, in as many lines as fit a cell."""
    observed = _short(data, data.train.labels.flatten()[row])
    said = f"{observed} → {_short(data, suggested)}"
    if len(said) > 17:
        said = said.replace(" → ", " →\n", 1)
    return f"{_cut(data.tags[row % data.answers])}\n{said}" if data.tags else said


def _short(data: Data, label: Tensor) -> str:
    return _cut(data.classes[int(label)])


def _cut(name: str) -> str:
    return name if len(name) <= 10 else f"{name[:9]}…"


def save(figure: Figure, path: Path) -> None:
    """Write a picture, whole or not at all."""
    write_atomically(path, lambda temporary: figure.savefig(temporary))

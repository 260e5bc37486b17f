"""What a run learned of masks, as a picture: contours on the image, weights beside it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from torch import Tensor

from l2b.data import Data, Pool
from l2b.experiment import Run, other_than, read_run
from l2b.files import write_atomically
from l2b.folder import RunFolder, read_module
from l2b.fonts import escaped, families_for
from l2b.methods import Method
from l2b.methods.as_published import AsPublished
from l2b.methods.l2b import L2B
from l2b.methods.l2rw import L2RW
from l2b.provenance import started_elsewhere
from l2b.report import STYLE
from l2b.targets import VOID
from l2b.weighing import weigh

# Whose outline it is tells the hue, of which class the shade; beyond the fourth they repeat.
NOISY = ("#facc15", "#f97316", "#fef3c7", "#a16207")
ACCURATE = ("#dc2626", "#f472b6", "#fecaca", "#86198f")
SUGGESTED = ("#22d3ee", "#3b82f6", "#e0f2fe", "#8b5cf6")
UNKNOWN, VEIL = "#a3a3a3", 0.6  # over pixels that nobody labelled, and how thickly
DASHED = (0, (3.0, 3.0))  # over another outline, which is seen in between
CLEAN_AT_ONCE = 64  # clean images whose gradient is taken
LEAST_SHOWN = 0.02  # share of the image that must be object to be worth a look
HEAT = "magma"
LONGEST_NAME = 28  # characters that fit over a picture
PICTURES = (".png", ".pdf", ".svg")


class Seen(NamedTuple):
    """Some training images and what the final model thinks of their masks.

    Attributes:
        pool: these images, of slabs one slice each.
        alpha: weights of the observed labels in the batch that they form, times its number of
            labelled pixels, [k, height, width].
        beta: of the predictions, likewise.
    """

    pool: Pool
    alpha: Tensor
    beta: Tensor


def masks_figure(run: Path, out: Path, *, count: int = 6) -> None:
    """Draw some training images of a finished run, from well to badly masked.

    Beside each image, with the mask as given in yellow and the accurate one in red (where it
    is known), stand the weights that the final model learns for it in one batch with the
    others: how far each pixel's observed label (α) and its own prediction (β) are trusted. Engine,
    candidates and normaliser are those of the run's method, or as published if it has none; the
    clean loss is the run's, and the prediction is the final model's own. Of a slab, the slice that
    shows most is drawn.

    Args:
        run: folder of a finished run on masks.
        out: the picture, PNG, PDF or SVG.
        count: number of images.

    Raises:
        FileNotFoundError: if there is no finished run in the folder.
        ValueError: if the run is not on masks, its data changed since, ``count`` is no number of
            images, or ``out`` is no kind of picture.
    """
    if out.suffix.lower() not in PICTURES:
        raise ValueError(
            f"{out} must end in {', '.join(PICTURES)}, which says what kind of picture it is: add "
            f"{PICTURES[0]}."
        )
    made, weights = read_run(run) if run.is_dir() else None, run / "model"
    weights = weights.with_suffix(".safetensors")
    if made is None or not weights.is_file():
        raise FileNotFoundError(
            f"{run} holds no finished run (run.yaml and model.safetensors): name the folder of "
            "an `l2b run` on masks."
        )
    if count < 1:
        raise ValueError(f"count must be at least 1 image, got {count}.")
    data = data_of(run, made)
    if not data.masks:
        raise ValueError(
            f"{run} is a run on labels, not on masks: its figures are in {run / 'figures'}."
        )
    seen = _seen(made, data, weights, count)
    out.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(out, lambda temporary: _drawn(seen, data.classes).savefig(temporary))


def data_of(path: Path, run: Run) -> Data:
    """What a finished run learned from.

    Args:
        path: its folder.
        run: its settings.

    Raises:
        FileNotFoundError: if files are missing, such as those of a path that is relative to the
            directory that the run was started in.
        ValueError: if the data set, or what noise draws on this machine, changed since.
    """
    with started_elsewhere(run.data, path):
        data, record = run.prepare(), RunFolder(path).read_result() or {}
    if other := other_than(record, data):
        raise ValueError(
            f"{path} learned from other {other} than its data set gives now: the files, lists of "
            "them (clean.txt, test.txt) or the noise changed since the run. Put all back as it "
            "was, or run it again."
        )
    return data


def suspects_figure(data: Data, suggested: Tensor, rows: Tensor, suspicion: Tensor) -> Figure:
    """Images whose masks seem wrong: as given, as suggested, and the pixels that differ.

    Of several classes, each has its own shade of both colours.

    Args:
        data: what the run learned from.
        suggested: masks of its training images, [N, height, width].
        rows: which images, [k].
        suspicion: of every training image, in [0, 1], [N].
    """
    columns = min(4, max(1, len(rows)))
    lines = max(1, -(-len(rows) // columns))
    height, width = suggested.shape[1:]
    each = 2.6 * min(2.0, max(0.5, height / width))
    cases = data.train.cases
    names = () if cases is None else [cases.names[k] for k in cases.of[rows].unique().tolist()]
    families, lacking = families_for("".join([*names, *data.classes]))
    with mpl.rc_context({**STYLE, "font.family": families}):
        figure = Figure(figsize=(2.6 * columns, lines * (each + 0.45) + 0.8), layout="constrained")
        figure.suptitle("Most suspicious masks", x=0.01, ha="left", weight="bold")
        panels = figure.subplots(lines, columns, squeeze=False).ravel()
        for axes in panels:
            axes.set_axis_off()
        for axes, row in zip(panels, rows.tolist(), strict=False):
            given, better = data.train.labels[row], suggested[row]
            _picture(axes, data.train, row)
            differs = (given != better).float().numpy()
            axes.imshow(differs, cmap="winter", alpha=0.35 * differs, vmin=0, vmax=1)
            _outline(axes, given, NOISY)
            _outline(axes, better, SUGGESTED, dashed=len(data.classes) > 2)
            title = f"{_place(data.train, row, lacking)}\nsuspicion {suspicion[row]:.2f}"
            axes.set_title(title, fontsize=8, loc="center", pad=2, parse_math=False)
        handles = [
            *_explained(
                {"mask as given": NOISY, "suggested": SUGGESTED},
                [escaped(name, lacking) for name in data.classes],
            ),
            Patch(color="#00ff80", alpha=0.35, label="differs"),
            *_explained_void(data.train),
        ]
        side_by_side = 4 if len(data.classes) == 2 else min(columns, -(-len(handles) // 2))
        figure.legend(handles=handles, loc="outside lower left", ncols=side_by_side, fontsize=9)
    return figure


def _place(pool: Pool, row: int, lacking: Collection[str]) -> str:
    """What an image is called: its case and, of a volume, the slice.

    Args:
        pool: which holds it.
        row: of the image.
        lacking: signs that no font has.
    """
    cases = pool.cases
    if cases is None:
        return f"image {int(pool.index[row])}"
    case = int(cases.of[row])
    name = _short(escaped(cases.names[case], lacking))
    return name if len(cases.rows(case)) == 1 else f"{name}, slice {int(cases.places()[row])}"


def _short(name: str) -> str:
    """A name without its middle, if it is long: what tells it from others is often at its end."""
    half = LONGEST_NAME // 2
    return name if len(name) <= LONGEST_NAME else f"{name[:half]}…{name[-half + 1 :]}"


def _seen(run: Run, data: Data, weights: Path, count: int) -> Seen:
    """The final model's weights for a few images from well to badly masked."""
    model = run.model.suited(masks=True)
    with torch.random.fork_rng(devices=[]):
        module = model.build(tuple(data.train.inputs.shape[1:]), len(data.classes))
    read_module(module, weights)
    rows = _telling_rows(data, count)
    pool, clean, method = data.train, data.clean, _weighing(run.method)
    # Slabs hold as many pixels as so many images.
    most = max(1, CLEAN_AT_ONCE // pool.labels[0, ..., 0, 0].numel())
    trusted = clean.labelled().nonzero().squeeze(1)[:most]
    found = weigh(
        module.train(),
        data.standardise(pool.inputs[rows]),
        pool.labels[rows],
        data.standardise(clean.inputs[trusted]),
        clean.labels[trusted],
        engine=method.engine,
        normalise=method.normalise,
        candidates=method.candidates,
        overlap=run.training.overlap,
    )
    labelled = (pool.labels[rows] != VOID).sum()
    alpha, beta = (w * labelled for w in (found.alpha, found.beta))
    best, each = _sizes(_accurate(pool)[rows]).argmax(dim=1), torch.arange(len(rows))
    images = pool.inputs[rows]
    shown = Pool(
        inputs=images.reshape(*images.shape[:2], -1, *images.shape[-2:])[each, :, best],
        labels=_by_slice(pool.labels[rows])[each, best],
        index=pool.index[rows],
        true=None if pool.true is None else _by_slice(pool.true[rows])[each, best],
    )
    return Seen(shown, _by_slice(alpha)[each, best], _by_slice(beta)[each, best])


def _weighing(method: Method) -> L2B:
    """The method as L2B; as published if it learns no weights."""
    if isinstance(method, L2B):
        return method
    known = method if isinstance(method, (L2RW, AsPublished)) else AsPublished()
    return known.spelled_out


def _telling_rows(data: Data, count: int) -> Tensor:
    """Images with enough of an object, evenly spaced from the best mask to the worst."""
    pool = data.train
    true = _accurate(pool)
    share = _sizes(true).amax(dim=1) / true.shape[-2:].numel()
    rows = (share >= min(LEAST_SHOWN, float(share.max()))).nonzero().squeeze(1)
    wrong = (pool.labels != true)[rows].flatten(1).float().mean(dim=1) / share[rows].clamp_min(1e-9)
    places = torch.linspace(0, len(rows) - 1, min(count, len(rows))).long()
    return rows[wrong.argsort(stable=True)[places]]


def _accurate(pool: Pool) -> Tensor:
    """True masks, or those as given where nobody knows better."""
    return pool.labels if pool.true is None else pool.true


def _sizes(masks: Tensor) -> Tensor:
    """Pixels of objects in every slice of every sample, [N, slices]."""
    return (_by_slice(masks) > 0).flatten(2).sum(dim=2)


def _by_slice(masks: Tensor) -> Tensor:
    """[N, slices, height, width]; an image is one slice."""
    return masks.reshape(len(masks), -1, *masks.shape[-2:])


def _drawn(seen: Seen, classes: Sequence[str]) -> Figure:
    pool, alpha, beta = seen.pool, seen.alpha, seen.beta
    # The brightest hundredth would leave everything else dark.
    void = pool.labels == VOID
    weights = torch.cat([alpha[~void], beta[~void]]).numpy()
    brightest = max(float(np.quantile(weights, 0.99)), 1e-9) if len(weights) else 1.0
    heat = mpl.colormaps[HEAT].with_extremes(bad=UNKNOWN)
    alpha, beta = (values.masked_fill(void, torch.nan) for values in (alpha, beta))
    height, width = pool.labels.shape[1:]
    blocks = 2 if len(seen.pool) > 1 else 1
    lines = -(-len(seen.pool) // blocks)
    each = 1.9 * min(2.0, max(0.5, height / width))
    families, lacking = families_for("".join(classes))
    with mpl.rc_context({**STYLE, "font.family": families}):
        figure = Figure(figsize=(blocks * 6.0, lines * each + 1.1), layout="constrained")
        figure.suptitle("Masks and learned weights", x=0.01, ha="left", weight="bold")
        panels = figure.subplots(lines, 3 * blocks, squeeze=False)
        for axes in panels.flat:
            axes.set_axis_off()
        shown = None
        for place in range(len(pool)):
            group = panels[place // blocks, 3 * (place % blocks) : 3 * (place % blocks) + 3]
            _contours(group[0], pool, place, several=len(classes) > 2)
            for axes, values in zip(group[1:], (alpha[place], beta[place]), strict=True):
                shown = axes.imshow(values.numpy(), cmap=heat, vmin=0, vmax=brightest)
        for axes, title in zip(
            panels[0], ("image", "α: mask as given", "β: prediction") * blocks, strict=True
        ):
            axes.set_title(title, fontsize=9, loc="center")
        if shown is not None:
            bar = figure.colorbar(shown, ax=panels, shrink=0.6, aspect=30, pad=0.01)
            bar.set_label("weight of a pixel (1 = standard training)", fontsize=8)
        known = {} if pool.true is None else {"accurate mask": ACCURATE}
        names = [escaped(name, lacking) for name in classes]
        handles = [
            *_explained({"mask as given": NOISY} | known, names),
            *_explained_void(pool),
        ]
        if len(classes) == 2:
            figure.legend(handles=handles, loc="upper right", ncols=3, fontsize=9)
        else:
            side_by_side = min(2 * blocks, -(-len(handles) // 2))
            figure.legend(handles=handles, loc="outside lower left", ncols=side_by_side, fontsize=9)
    return figure


def _explained(shades_of: Mapping[str, Sequence[str]], classes: Sequence[str]) -> list[Line2D]:
    """Lines for a legend of one or two kinds of outlines; of several classes, one for each shade.

    Args:
        shades_of: the shades of each kind, by its name.
        classes: names, the background first.
    """
    if len(classes) == 2:
        return [Line2D([], [], color=own[0], label=what) for what, own in shades_of.items()]
    count = len(NOISY)
    names = [", ".join(map(_short, classes[1 + shade :: count])) for shade in range(count)]
    return [
        Line2D([], [], color=own[shade], linestyle=style, label=f"{what}: {name}")
        for shade, name in enumerate(names)
        for (what, own), style in zip(shades_of.items(), ("solid", DASHED), strict=False)
        if name
    ]


def _explained_void(pool: Pool) -> list[Patch]:
    """What a legend says of pixels without a label, if there are any."""
    if not (pool.labels == VOID).any():
        return []
    return [Patch(color=UNKNOWN, alpha=VEIL, label="nobody knows")]


def _contours(axes: Axes, pool: Pool, row: int, *, several: bool) -> None:
    _picture(axes, pool, row)
    _outline(axes, pool.labels[row], NOISY)
    if pool.true is not None:
        _outline(axes, pool.true[row], ACCURATE, dashed=several)


def _picture(axes: Axes, pool: Pool, row: int) -> None:
    image = pool.inputs[row].float()
    image = (image - image.amin()) / (image.amax() - image.amin()).clamp_min(1e-9)
    if len(image) == 3:
        axes.imshow(image.permute(1, 2, 0).numpy())
    else:
        axes.imshow(image[0].numpy(), cmap="gray")
    void = (pool.labels[row] == VOID).float().numpy()
    if void.any():
        axes.imshow(np.ones_like(void), cmap=ListedColormap([UNKNOWN]), alpha=VEIL * void)


def _outline(axes: Axes, mask: Tensor, shades: tuple[str, ...], *, dashed: bool = False) -> None:
    for k in mask.unique().tolist():
        if k > 0:
            here = (mask == k).float().numpy()
            colour, style = shades[(k - 1) % len(shades)], DASHED if dashed else "solid"
            axes.contour(here, levels=[0.5], colors=colour, linewidths=1.2, linestyles=[style])

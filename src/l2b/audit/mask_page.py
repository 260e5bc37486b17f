"""One self-contained page to look at suspicious masks: contours, differences, cases."""

import base64
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from l2b.audit.thumbnails import encoded_png
from l2b.data import Data
from l2b.files import write_text
from l2b.mask_figure import NOISY, VEIL
from l2b.mask_figure import SUGGESTED as PROPOSED
from l2b.mask_figure import UNKNOWN as GREY
from l2b.page import rendered
from l2b.targets import VOID

LARGEST = 288  # pixels on the longer side of a picture
BUDGET = 16 * 2**20  # characters of all pictures in the page
GIVEN, SUGGESTED, (UNKNOWN,) = (
    [tuple(bytes.fromhex(colour[1:])) for colour in own] for own in (NOISY, PROPOSED, (GREY,))
)
DIFFERS = (0, 255, 128)
DASH = 6  # pixels for which one outline, where two classes share it, gives way to the other
TINT = 0.35  # of the pixels that differ


def write_mask_page(
    path: Path, data: Data, suggested: Tensor, suspicion: Tensor, summary: dict[str, Any]
) -> None:
    """Write ``audit.html``, whole or not at all; most suspicious masks first.

    Pictures are drawn until they fill 16 MB; images beyond that are in ``masks.csv``.

    Args:
        path: the file.
        data: what the run learned from.
        suggested: masks of its training images, [N, height, width].
        suspicion: of every one of them, in [0, 1], [N].
        summary: the content of ``summary.json``.
    """
    cases = data.train.cases
    assert cases is not None
    cards: list[dict[str, Any]] = []
    used = 0
    place, alone = cases.places(), cases.of.bincount() == 1
    changed = changed_pixels(data, suggested)
    rows = most_suspicious(data, suggested, suspicion).tolist()
    for row in rows:
        picture = drawn(data.train.inputs[row], data.train.labels[row], suggested[row])
        code = base64.b64encode(encoded_png(picture)).decode()
        used += len(code)
        if used > BUDGET:
            break
        case = int(cases.of[row])
        cards.append({
            "case": cases.names[case],
            "called": cases.names[case] + ("" if alone[case] else f", slice {int(place[row])}"),
            "index": int(data.train.index[row]),
            "suspicion": round(float(suspicion[row]), 3),
            "changed": int(changed[row]),
            "picture": f"data:image/png;base64,{code}",
        })  # fmt: skip
    text = rendered(
        "l2b.audit",
        "masks.html.j2",
        styles=("masks.css",),
        script="masks.js",
        data=cards,
        title=path.parent.parent.resolve().name,
        summary=summary,
        left_out=len(rows) - len(cards),
        classes=data.classes[1:],
        shades=len(GIVEN),
        void=bool((data.train.labels == VOID).any()),
    )
    write_text(path, text)


def most_suspicious(data: Data, suggested: Tensor, suspicion: Tensor) -> Tensor:
    """Rows of the images, the most suspicious first; of equally suspicious ones, by what differs.

    A stray pixel in an empty slice has nothing in common with its mask either, so suspicion alone
    would put it beside an object that was missed.

    Args:
        data: what the run learned from.
        suggested: masks of its training images, [N, height, width].
        suspicion: of every one of them, [N].

    Returns:
        Of all images with a labelled pixel, int64.
    """
    order = changed_pixels(data, suggested).argsort(descending=True, stable=True)
    order = order[suspicion[order].argsort(descending=True, stable=True)]
    return order[data.train.labelled()[order]]


def changed_pixels(data: Data, suggested: Tensor) -> Tensor:
    """How many pixels of each training image the model would draw otherwise, [N] int64."""
    return (suggested != data.train.labels).flatten(1).sum(dim=1)


def drawn(image: Tensor, given: Tensor, suggested: Tensor) -> Tensor:
    """An image with both masks' outlines, a tint where they differ, a veil where they are void.

    Each class has its own shade. Where two classes have an outline in common, as where they were
    mistaken for each other, both are seen by turns.

    Args:
        image: [channels, height, width], raw; three channels are colours, of others the first.
        given: the mask as given, [height, width].
        suggested: the other one, likewise.

    Returns:
        [height, width, 3], uint8, at most 288 pixels on the longer side: small images are
        enlarged, so that outlines are thin, large ones shrunk, so that outlines are still there.
    """
    low, high = image.min().float(), image.max().float()
    grey = (image.float() - low) / (high - low).clamp_min(1e-9)
    pixels = (grey if len(image) == 3 else grey[:1].expand(3, -1, -1)) * 255
    scale = max(1, LARGEST // max(given.shape))
    pixels, one, other = (_enlarged(x, scale) for x in (pixels, given, suggested))
    tints = (one == VOID, one != other)
    marks = torch.stack([*tints, *_outlines(one), *_outlines(other, beneath=one)]).float()
    if max(given.shape) > LARGEST:
        height, width = (max(1, round(n * LARGEST / max(given.shape))) for n in given.shape)
        size = (height, width)
        pixels = functional.adaptive_avg_pool2d(pixels, size)
        marks = functional.adaptive_max_pool2d(marks, size)  # a thin line does not fade
    paints = [(UNKNOWN, VEIL), (DIFFERS, TINT), *((c, 1.0) for c in (*GIVEN, *SUGGESTED))]
    for where, (colour, share) in zip(marks.bool(), paints, strict=True):
        paint = torch.tensor(colour, dtype=torch.float32).view(3, 1, 1)
        pixels = torch.where(where, (1 - share) * pixels + share * paint, pixels)
    return pixels.round().clamp(0, 255).to(torch.uint8).permute(1, 2, 0).contiguous()


def outline(mask: Tensor) -> Tensor:
    """The innermost pixels of every object: those beside another class, [height, width] bool."""
    edge = torch.zeros_like(mask, dtype=torch.bool)
    for axis in (0, 1):
        size = mask.shape[axis]
        apart = mask.narrow(axis, 1, size - 1) != mask.narrow(axis, 0, size - 1)
        edge.narrow(axis, 1, size - 1).logical_or_(apart)
        edge.narrow(axis, 0, size - 1).logical_or_(apart)
    return edge & (mask > 0)


def _outlines(mask: Tensor, beneath: Tensor | None = None) -> list[Tensor]:
    """Outlines in each shade, [height, width] bool; with gaps over those of another mask."""
    edge = outline(mask)
    if beneath is not None:
        row, column = (torch.arange(size) for size in mask.shape)
        gaps = (row[:, None] + column) // DASH % 2 == 1
        edge &= ~(gaps & outline(beneath) & (beneath != mask))
    return [edge & ((mask - 1) % len(GIVEN) == shade) for shade in range(len(GIVEN))]


def _enlarged(x: Tensor, scale: int) -> Tensor:
    return x.repeat_interleave(scale, dim=-1).repeat_interleave(scale, dim=-2)

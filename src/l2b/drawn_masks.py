"""Masks that are pictures: a grey value or a palette entry for every class."""

import math
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from l2b.decode import MOST_PIXELS, orientation, pillow, refuse_huge, refuse_pages, upright
from l2b.notices import notice
from l2b.targets import VOID

MOST_VALUES = 32  # a picture with more is no mask, or one that was compressed with loss
MARGINS = (255, 65535)  # what many sets mark as void, such as the outlines of PASCAL VOC
FEW = 31  # the largest value that classes beside such a margin usually have
LOSSY = ("JPEG", "MPO")  # Pillow's names of formats that blur values
Palette = dict[int, tuple[int, ...]]  # colours by entry
WITH_PALETTE = ("P", "PA")  # Pillow's modes whose values are entries of a palette
ENTRIES = 256  # that a palette has at most
WITH_ALPHA = ("LA", "PA", "RGBA")  # Pillow's modes whose last channel says nothing of classes


class DrawnMask(NamedTuple):
    """A mask file, brought to one size.

    Attributes:
        path: the file.
        values: what stands in the file for the class of each pixel, [size, size], int64.
        shares: of the file's pixels, by the value that they hold, least first; above 0.
    """

    path: Path
    values: np.ndarray
    shares: dict[int, float]


def read_masks(
    paths: Sequence[Path], sizes: Sequence[tuple[int, int]], size: int
) -> list[DrawnMask]:
    """Mask files, one after the other brought to one size.

    A pixel of the result gets the value that covers most of it, whatever the grid's phase. What
    is thinner than half a pixel of the result is lost.

    Args:
        paths: PNG or other images of one channel, or of equal channels.
        sizes: (width, height) of the image that each belongs to.
        size: height and width of the results, in pixels.

    Raises:
        ValueError: naming the file, if one cannot be decoded, was stored with loss, has another
            size than its image, is in colour, holds several pages, values that are not whole or
            too many; or if one entry of a palette is painted in two colours, or another than the
            least in black.
    """
    drawn, palettes = [], []
    for path, own in zip(paths, sizes, strict=True):
        values, palette = _read(path, own)
        drawn.append(_resized(path, values, size))
        palettes.append(palette)
    _refuse_palettes(paths, palettes)
    return drawn


def given_values(path: Path, size: tuple[int, int]) -> np.ndarray:
    """What stands in a mask file, pixel by pixel, [height, width] int64.

    Args:
        path: the file.
        size: (width, height) of its image.

    Raises:
        ValueError: as `read_masks`, of one file.
    """
    return _read(path, size)[0]


def mask_values(masks: Sequence[DrawnMask], ignore: int | None = None) -> tuple[int, ...]:
    """The values that occur, least first; the least is the background.

    Args:
        masks: as read.
        ignore: the value that is no class; None for none.

    Raises:
        ValueError: naming the file with which they become too many; if there is only one; or if
            two files mark the same thing by 1 and by 255.
    """
    values: set[int] = set()
    for mask in masks:
        values |= set(mask.shares) - {ignore}
        if len(values) > MOST_VALUES:
            raise ValueError(
                f"{mask.path} and the masks before it must hold one value per class, got "
                f"{len(values)} different ones together: they were smoothed, or number objects. "
                "Export masks with the same few values everywhere."
            )
    if len(values) < 2:
        found = f"a single value, {min(values)}" if values else "nothing"
        beside = "" if ignore is None else f" beside the ignored {ignore}"
        raise ValueError(f"The masks beside {masks[0].path} hold {found}{beside}.")
    if values == {0, 1, 255} and not any({1, 255} <= set(mask.shares) for mask in masks):
        one, other = (next(m.path for m in masks if v in m.shares) for v in (1, 255))
        raise ValueError(
            f"{one} marks by 1 what {other} marks by 255, which would make two classes: write all "
            "masks with the same values; or, if 255 means that nobody knows, set ignore to it."
        )
    found = sorted(values)
    if len(found) > 2 and found[-1] in MARGINS and found[-2] <= FEW:
        notice(
            f"{found[-1]} is learned as a class like the others: if it means that nobody knows "
            f"what is there, set --data.ignore {found[-1]}."
        )
    if ignore is not None and not any(ignore in mask.shares for mask in masks):
        notice(f"No mask holds {ignore}, the value to ignore: is it another?")
    elif ignore is not None and ignore < found[0]:
        notice(
            f"With {ignore} ignored, {found[0]} is the least value, which is read as the "
            "background: Dice leaves it out."
        )
    return tuple(found)


def class_masks(
    masks: Sequence[DrawnMask], values: tuple[int, ...], ignore: int | None = None
) -> Tensor:
    """Class indices of masks.

    Notices say where a class has vanished from a mask as it was resized, where masks mark
    nothing, and where they look inverted.

    Args:
        masks: as read.
        values: that of each class.
        ignore: the value that is no class; None for none.

    Returns:
        [N, size, size], int64; −1 where nobody knows the class.

    Raises:
        ValueError: naming the file with a value that is no class.
    """
    for mask in masks:
        wrong = sorted(set(mask.shares) - {*values, ignore})
        if wrong:
            raise ValueError(
                f"{mask.path} must hold the values {told_values(values, ignore)}, got {wrong[0]}: "
                "there is no such class."
            )
    _tell(masks, values, ignore)
    classes = np.stack([np.searchsorted(values, mask.values) for mask in masks])
    for found, mask in zip(classes, masks, strict=True):
        found[mask.values == ignore] = VOID
    return torch.from_numpy(classes)


def told_values(values: Sequence[int], ignore: int | None) -> str:
    """Which values masks may hold, in words."""
    beside = "" if ignore is None else f" (or {ignore}, where nobody knows)"
    return f"{', '.join(map(str, values))}, one per class{beside}"


def _tell(masks: Sequence[DrawnMask], values: tuple[int, ...], ignore: int | None) -> None:
    """Say what is odd about masks as a whole."""
    background, void = values[0], set[int]() if ignore is None else {ignore}
    labelled = sum(1 - sum(mask.shares.get(v, 0.0) for v in void) for mask in masks)
    covered = sum(mask.shares.get(background, 0.0) for mask in masks) / max(labelled, 1e-9)
    if covered < 0.5:
        notice(
            f"The least value of the masks, {background}, is read as the background, and covers "
            f"only {covered:.0%} of the pixels of masks like {masks[0].path}: if they are "
            "inverted, invert them back."
        )
    empty = [mask.path for mask in masks if mask.shares.keys() - void == {background}]
    if empty:
        notice(
            f"{len(empty)} of {len(masks)} masks mark nothing, such as {empty[0]}, every "
            f"{'labelled ' if void else ''}pixel of which is {background}: they teach that nothing "
            "is there. Remove the pairs if that is not meant."
        )
    lost = [(m, sorted(m.shares.keys() - {background, *void, *np.unique(m.values).tolist()}))
            for m in masks]  # fmt: skip
    lost = [(mask, gone) for mask, gone in lost if gone]
    if lost:
        first, gone = lost[0]
        size = " × ".join(map(str, first.values.shape))
        notice(
            f"{first.path} has none of its pixels of value {gone[0]} left at {size} pixels, and "
            f"{len(lost)} of {len(masks)} masks lose a class like that: it is too thin or too "
            "small for them. Raise size."
        )


def mask_palette(paths: Sequence[Path], values: Collection[int] = ()) -> bytes:
    """The palette that mask files share: the colour of each entry, in a file that uses it.

    Args:
        paths: the files.
        values: once a colour of each of them is known, no more files are read; none reads all.

    Returns:
        Red, green and blue of one entry after another; empty if no file has a palette.

    Raises:
        ValueError: naming the file, if one cannot be decoded.
    """
    used: Palette = {}
    first: Palette = {}  # with what no file uses
    for path in paths:
        try:
            with pillow().open(path) as opened:
                if opened.mode in WITH_PALETTE:
                    used = _palette(opened, _values(opened)) | used
                    first = first or _palette(opened, np.arange(ENTRIES))
        except Exception as error:  # Pillow raises many kinds
            raise ValueError(f"{path} cannot be decoded as a mask ({error}).") from error
        if values and used.keys() >= set(values):
            break
    colours = first | used
    return b"".join(bytes(colours.get(k, (k, k, k))) for k in range(max(colours, default=-1) + 1))


def image_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """(width, height) of image files as they are to be looked at, without decoding them."""
    sizes = []
    for path in paths:
        try:
            with pillow().open(path) as image:
                # Pillow gives TIFF files their final size by itself.
                on_its_side = image.format != "TIFF" and orientation(image) >= 5
                sizes.append(image.size[::-1] if on_its_side else image.size)
        except Exception as error:  # Pillow raises many kinds
            raise ValueError(f"{path} cannot be read as an image ({error}).") from error
    return sizes


def picture_spacing(sizes: Sequence[tuple[int, int]], size: int) -> Tensor:
    """Distances between the pixels of resized pictures in pixels of their files, [N, 3].

    Args:
        sizes: (width, height) of the files.
        size: height and width that they are brought to.
    """
    return torch.tensor([[1.0, height / size, width / size] for width, height in sizes])


def told_turned(images: Sequence[Path], masks: Sequence[Path]) -> None:
    """Say so where images are turned by their EXIF orientation and their masks have none."""
    turned = [
        image
        for image, mask in zip(images, masks, strict=True)
        if _orientation(image) != 1 and _orientation(mask) == 1
    ]
    if turned:
        notice(
            f"{len(turned)} images are turned by their EXIF orientation, such as {turned[0]}, and "
            "their masks have none: these must have been drawn on the picture as it is looked at."
        )


def _orientation(path: Path) -> int:
    with pillow().open(path) as image:
        return orientation(image)


def _values(opened: Any) -> np.ndarray:
    opened = upright(opened)
    values = np.asarray(opened.convert("L") if opened.mode == "1" else opened)
    return values[..., :-1] if opened.mode in WITH_ALPHA else values


def _palette(opened: Any, values: np.ndarray) -> Palette:
    """The colour of every entry that a mask with a palette uses."""
    if opened.mode not in WITH_PALETTE:
        return {}
    colours = np.asarray(opened.getpalette("RGB"), dtype=int).reshape(-1, 3)
    return {k: tuple(colours[k].tolist()) for k in np.unique(values).tolist() if k < len(colours)}


def _refuse_palettes(paths: Sequence[Path], palettes: Sequence[Palette]) -> None:
    """Refuse palettes that do not mean the same everywhere, or whose background is not the least.

    A mask is read by its entries, and whoever looks at it sees colours.
    """
    first: dict[int, tuple[tuple[int, ...], Path]] = {}
    for path, palette in zip(paths, palettes, strict=True):
        for entry, colour in palette.items():
            usual, other = first.setdefault(entry, (colour, path))
            if colour != usual:
                raise ValueError(
                    f"{path} paints entry {entry} of its palette in the colour {colour}, and "
                    f"{other} in {usual}: an entry must be the same class everywhere. Export masks "
                    "in grey, one value per class."
                )
    black = [entry for entry, (colour, _) in first.items() if not any(colour)]
    if black and min(first) not in black:
        raise ValueError(
            f"{first[black[0]][1]} paints entry {black[0]} of its palette black, and the least, "
            f"{min(first)}, is read as the background: export masks in grey, with the background 0."
        )


def _read(path: Path, size: tuple[int, int]) -> tuple[np.ndarray, Palette]:
    pages = 1
    try:
        with pillow().open(path) as opened:
            stored, kind = opened.size, opened.format  # known before anything is unpacked
            pages = getattr(opened, "n_frames", 1)
            whole = math.prod(stored) <= MOST_PIXELS and kind not in LOSSY and pages == 1
            values = _values(opened) if whole else np.zeros((0, 0))
            palette = _palette(opened, values)
    except Exception as error:  # Pillow raises many kinds, down to SyntaxError
        raise ValueError(
            f"{path} cannot be decoded as a mask ({error}): it is damaged or no image."
        ) from error
    refuse_huge(path, stored)
    refuse_pages(path, pages)
    if kind in LOSSY:
        raise ValueError(
            f"{path} must be stored without loss, got {kind}, which blurs values at every edge: "
            "export masks as PNG."
        )
    if values.ndim == 3:
        if (values != values[..., :1]).any():
            raise ValueError(
                f"{path} must hold one grey value per class, got colours: export it in grey."
            )
        values = values[..., 0]
    if values.shape != (size[1], size[0]):
        raise ValueError(
            f"{path} must have the size of its image, {size[0]} × {size[1]} pixels, got "
            f"{values.shape[1]} × {values.shape[0]}: it belongs to another image."
        )
    if values.dtype.kind == "f" and not (np.isfinite(values) & (values == np.rint(values))).all():
        raise ValueError(
            f"{path} must hold one whole number per class, got fractions or no numbers: a map of "
            "probabilities is no mask. Export classes."
        )
    return values.astype(np.int64), palette


def _resized(path: Path, values: np.ndarray, size: int) -> DrawnMask:
    found, counts = np.unique(values, return_counts=True)
    if len(found) > MOST_VALUES:
        raise ValueError(
            f"{path} must hold one value per class, got {len(found)} different ones: it was "
            "compressed with loss (JPEG) or smoothed. Export masks as PNG without smoothing."
        )
    covering = np.stack([_share(values == value, size) for value in found]).argmax(axis=0)
    shares = dict(zip(found.tolist(), (counts / values.size).tolist(), strict=True))
    return DrawnMask(path, found[covering], shares)


def _share(covered: np.ndarray, size: int) -> np.ndarray:
    image = pillow().fromarray(covered.astype(np.float32))
    return np.asarray(image.resize((size, size), pillow().Resampling.BOX))

"""Masks that are pictures: a grey value or a palette entry for every class."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l2b.decode import MOST_PIXELS, orientation, pillow, refuse_huge, refuse_pages, upright
from l2b.notices import notice

MOST_VALUES = 32  # a picture with more is no mask, or one that was compressed with loss
LOSSY = ("JPEG", "MPO")  # Pillow's names of formats that blur values
Palette = dict[int, tuple[int, ...]]  # colours by entry
WITH_ALPHA = ("LA", "PA", "RGBA")  # Pillow's modes whose last channel says nothing of classes


def read_masks(paths: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Raw values of mask files, [height, width] each.

    Args:
        paths: PNG or other images of one channel, or of equal channels.
        sizes: (width, height) of the image that each belongs to.

    Raises:
        ValueError: naming the file, if one cannot be decoded, was stored with loss, has another
            size than its image, is in colour, holds several pages or values that are not whole;
            or if one entry of a palette is painted in two colours, or another than the least in
            black.
    """
    read = [_read(path, size) for path, size in zip(paths, sizes, strict=True)]
    _refuse_palettes(paths, [palette for _, palette in read])
    return [values for values, _ in read]


def mask_values(masks: Sequence[np.ndarray], paths: Sequence[Path]) -> tuple[int, ...]:
    """The values that occur, least first; the least is the background.

    Raises:
        ValueError: naming the file that has too many of them, or with which they become too many;
            if there is only one; or if two files mark the same thing by 1 and by 255.
    """
    found = [np.unique(mask).tolist() for mask in masks]
    values: set[int] = set()
    for path, own in zip(paths, found, strict=True):
        values |= set(own)
        if len(own) > MOST_VALUES:
            raise ValueError(
                f"{path} must hold one value per class, got {len(own)} different ones: it was "
                "compressed with loss (JPEG) or smoothed. Export masks as PNG without smoothing."
            )
        if len(values) > MOST_VALUES:
            raise ValueError(
                f"{path} and the masks before it must hold one value per class, got "
                f"{len(values)} different ones together: they were smoothed, or number objects. "
                "Export masks with the same few values everywhere."
            )
    if len(values) < 2:
        raise ValueError(f"The masks beside {paths[0]} hold a single value, {min(values)}.")
    if values == {0, 1, 255} and not any({1, 255} <= set(own) for own in found):
        one, other = (next(p for p, own in zip(paths, found, strict=True) if v in own)
                      for v in (1, 255))  # fmt: skip
        raise ValueError(
            f"{one} marks by 1 what {other} marks by 255, which would make two classes: write all "
            "masks with the same values."
        )
    return tuple(sorted(values))


def class_masks(
    masks: Sequence[np.ndarray], paths: Sequence[Path], values: tuple[int, ...], size: int
) -> Tensor:
    """Class indices of masks, brought to one size.

    A pixel of the result gets the class that covers most of it, whatever the grid's phase. What
    is thinner than half a pixel of the result is lost; where a class vanishes from a mask
    altogether, a notice says so.

    Args:
        masks: raw values.
        paths: their files, for messages.
        values: that of each class.
        size: height and width of the result, in pixels.

    Returns:
        [N, size, size], int64.

    Raises:
        ValueError: naming the file with a value that is no class, or that marks nothing.
    """
    resized, lost = [], []
    for mask, path in zip(masks, paths, strict=True):
        small, gone = _resized(mask, path, values, size)
        resized.append(small)
        lost += [f"{path} has none of its pixels of value {gone[0]} left"] if gone else []
    covered = np.mean([(mask == values[0]).mean() for mask in masks])
    if covered < 0.5:
        notice(
            f"The least value of the masks, {values[0]}, is read as the background, and covers "
            f"only {covered:.0%} of the pixels of masks like {paths[0]}: if they are inverted, "
            "invert them back."
        )
    if lost:
        notice(
            f"{lost[0]} at {size} × {size} pixels, and {len(lost)} of {len(masks)} masks lose a "
            "class like that: it is too thin or too small for them. Raise size."
        )
    return torch.stack(resized)


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
    if opened.mode not in ("P", "PA"):
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


def _resized(
    mask: np.ndarray, path: Path, values: tuple[int, ...], size: int
) -> tuple[Tensor, list[int]]:
    """A mask of class indices, and the values, the background's aside, that it lost."""
    wrong = mask[~np.isin(mask, values)]
    if len(wrong):
        raise ValueError(
            f"{path} must hold the values {', '.join(map(str, values))}, one per class, got "
            f"{wrong[0]}: there is no such class."
        )
    if (mask == values[0]).all():
        raise ValueError(
            f"{path} marks nothing, every pixel is {values[0]}: an empty mask teaches that "
            "nothing is there. Remove the pair if that is not meant."
        )
    shares = np.stack([_share(mask == value, size) for value in values])
    small = shares.argmax(axis=0)
    lost = [v for k, v in enumerate(values) if k and shares[k].any() and not (small == k).any()]
    return torch.from_numpy(small), lost


def _share(covered: np.ndarray, size: int) -> np.ndarray:
    image = pillow().fromarray(covered.astype(np.float32))
    return np.asarray(image.resize((size, size), pillow().Resampling.BOX))

"""Masks that are pictures: a grey value or a palette entry for every class."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l2b.decode import MOST_PIXELS, pillow, refuse_huge

MOST_VALUES = 32  # a picture with more is no mask, or one that was compressed with loss


def read_masks(paths: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> list[np.ndarray]:
    """Raw values of mask files, [height, width] each.

    Args:
        paths: PNG or other images of one channel, or of equal channels.
        sizes: (width, height) of the image that each belongs to.

    Raises:
        ValueError: naming the file, if one cannot be decoded, has another size than its image,
            is in colour, or marks nothing.
    """
    return [_read(path, size) for path, size in zip(paths, sizes, strict=True)]


def mask_values(masks: Sequence[np.ndarray], paths: Sequence[Path]) -> tuple[int, ...]:
    """The values that occur, least first; the least is the background.

    Raises:
        ValueError: naming the file that has too many of them, or if there is only one.
    """
    for path, mask in zip(paths, masks, strict=True):
        count = len(np.unique(mask))
        if count > MOST_VALUES:
            raise ValueError(
                f"{path} must hold one value per class, got {count} different ones: it was "
                "compressed with loss (JPEG) or smoothed. Export masks as PNG without smoothing."
            )
    values = sorted(set(np.concatenate([np.unique(mask) for mask in masks]).tolist()))
    if len(values) < 2:
        raise ValueError(f"The masks beside {paths[0]} hold a single value, {values[0]}.")
    return tuple(values)


def class_masks(
    masks: Sequence[np.ndarray], paths: Sequence[Path], values: tuple[int, ...], size: int
) -> Tensor:
    """Class indices of masks, brought to one size.

    A pixel of the result gets the class that covers most of it, so that thin structures do not
    come and go with the grid.

    Args:
        masks: raw values.
        paths: their files, for messages.
        values: that of each class.
        size: height and width of the result, in pixels.

    Returns:
        [N, size, size], int64.

    Raises:
        ValueError: naming the file with a value that is no class.
    """
    return torch.stack(
        [_resized(mask, path, values, size) for mask, path in zip(masks, paths, strict=True)]
    )


def image_sizes(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """(width, height) of image files, without decoding them."""
    sizes = []
    for path in paths:
        try:
            with pillow().open(path) as image:
                sizes.append(image.size)
        except Exception as error:  # Pillow raises many kinds
            raise ValueError(f"{path} cannot be read as an image ({error}).") from error
    return sizes


def _values(opened: Any) -> Any:
    opened.load()
    return np.asarray(opened.convert("L") if opened.mode == "1" else opened)


def _read(path: Path, size: tuple[int, int]) -> np.ndarray:
    try:
        with pillow().open(path) as opened:
            stored = opened.size  # known before anything is unpacked
            whole = math.prod(stored) <= MOST_PIXELS
            values = _values(opened) if whole else np.zeros((0, 0))
    except Exception as error:  # Pillow raises many kinds, down to SyntaxError
        raise ValueError(
            f"{path} cannot be decoded as a mask ({error}): it is damaged or no image."
        ) from error
    refuse_huge(path, stored)
    if values.ndim == 3:
        values = values[..., :3]  # an alpha channel says nothing of classes
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
    if values.min() == values.max():
        raise ValueError(
            f"{path} marks nothing, every pixel is {values.min()}: an empty mask teaches that "
            "nothing is there. Remove the pair if that is not meant."
        )
    return values.astype(np.int64)


def _resized(mask: np.ndarray, path: Path, values: tuple[int, ...], size: int) -> Tensor:
    wrong = mask[~np.isin(mask, values)]
    if len(wrong):
        raise ValueError(
            f"{path} must hold the values {', '.join(map(str, values))}, one per class, got "
            f"{wrong[0]}: there is no such class."
        )
    shares = np.stack([_share(mask == value, size) for value in values])
    return torch.from_numpy(shares.argmax(axis=0))


def _share(covered: np.ndarray, size: int) -> np.ndarray:
    image = pillow().fromarray(covered.astype(np.float32))
    return np.asarray(image.resize((size, size), pillow().Resampling.BOX))

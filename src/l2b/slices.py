"""Images in three dimensions and their masks: from volumes to slices of one size."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l2b.notices import notice
from l2b.targets import VOID
from l2b.types import Cases
from l2b.volumes import Volume

MULTIPLE = 16  # pixels; networks halve slices four times
CLIP = (0.005, 0.995)  # quantiles of a volume's intensities that are kept


class Slices(NamedTuple):
    """Volumes cut into slices, or into slabs of neighbouring slices, of one size.

    Attributes:
        images: standardised intensities, [N, 1, height, width] or [N, 1, depth, height, width],
            float32.
        masks: class indices, [N, height, width] or [N, depth, height, width], int64; −1 is void.
        cases: which slices or slabs make up which volume.
    """

    images: Tensor
    masks: Tensor
    cases: Cases


def cut(
    volumes: Sequence[tuple[str, Volume, Volume]],
    *,
    axis: int = 2,
    size: int | None = None,
    depth: int | None = None,
) -> Slices:
    """Cut volumes into slices of one size, background slices included, or into slabs of them.

    The intensities of each volume are clipped to its 0.5 % and 99.5 % quantiles, then shifted
    and scaled to mean 0 and standard deviation 1 over the volume: MRI has no unit of its own.

    Args:
        volumes: name, image and mask of each.
        axis: across which they are cut.
        size: height and width to which every slice is resampled (images bilinear, masks by
            their nearest voxel; the spacing changes with them). With None nothing is resampled:
            slices are padded evenly, images by their least value and masks by background, to
            the smallest multiples of 16 that hold all of them.
        depth: how many neighbouring slices make one sample in three dimensions; the last slab
            of a volume is filled up, images by their least value, masks as void. None takes every
            slice as one in two dimensions.

    Raises:
        ValueError: if no mask marks anything.
    """
    images, cases = cut_images([(n, x) for n, x, _ in volumes], axis=axis, size=size, depth=depth)
    masks = cut_masks([(n, m) for n, _, m in volumes], axis=axis, size=size, depth=depth)
    return Slices(images, masks, cases)


def cut_images(
    volumes: Sequence[tuple[str, Volume]],
    *,
    axis: int = 2,
    size: int | None = None,
    depth: int | None = None,
) -> tuple[Tensor, Cases]:
    """Cut and standardise images as `cut` does with those of its volumes.

    Args:
        volumes: name and image of each.
        axis: across which they are cut.
        size: height and width to which every slice is resampled; None pads them.
        depth: how many neighbouring slices make one sample; None takes every slice as one.

    Returns:
        Intensities, [N, 1, height, width] or [N, 1, depth, height, width], float32, and which of
        them make up which volume.
    """
    room = _room([image for _, image in volumes], axis)
    images, spacings, counts, lengths = [], [], [], []
    for _, image in volumes:
        x = _standardised(_turned(image.voxels, axis))
        spacing = torch.tensor(_turned_spacing(image.spacing, axis))
        if size is None:
            images.append(_padded(x, room, float(x.min())))
        else:
            images.append(_resampled(x, size, "bilinear"))
            spacing[1:] *= torch.tensor(x.shape[1:]) / size
        if depth is not None:
            images[-1] = _slabs(images[-1], depth, float(x.min()))
        spacings.append(spacing)
        counts.append(len(images[-1]))
        lengths.append(len(x))
    numbers = torch.arange(len(images))
    cases = Cases(
        of=numbers.repeat_interleave(torch.tensor(counts)),
        names=tuple(name for name, _ in volumes),
        spacing=torch.stack(spacings).float(),
        patient=numbers,
        lengths=None if depth is None else torch.tensor(lengths),
    )
    return torch.cat(images).unsqueeze(1), cases


def cut_masks(
    volumes: Sequence[tuple[str, Volume]],
    *,
    axis: int = 2,
    size: int | None = None,
    depth: int | None = None,
) -> Tensor:
    """Cut masks as `cut` does with those of its volumes.

    Notices say where masks mark nothing, and where a class vanishes through resampling.

    Args:
        volumes: name and mask of each.
        axis: across which they are cut.
        size: height and width to which every slice is resampled; None pads them.
        depth: how many neighbouring slices make one sample; None takes every slice as one.

    Returns:
        Class indices, [N, height, width] or [N, depth, height, width], int64.

    Raises:
        ValueError: if no mask marks anything.
    """
    room = _room([mask for _, mask in volumes], axis)
    masks, lost, empty = [], [], []
    for name, mask in volumes:
        y = torch.from_numpy(_turned(mask.voxels, axis).astype(np.int64))
        empty += [name] if (y <= 0).all() and (y == 0).any() else []  # what is void teaches nothing
        if size is None:
            masks.append(_padded(y, room, 0))
            masks[-1][(y == VOID).flatten(1).all(dim=1)] = VOID  # of these no frame is known either
        else:
            masks.append(_resampled(y.float(), size, "nearest-exact").long())
            lost += [(label, name) for label in _vanished(y, masks[-1])]
        if depth is not None:
            masks[-1] = _slabs(masks[-1], depth, VOID)
    if empty:
        _tell_empty(empty, len(volumes))
    if lost:
        _tell_lost(lost, len(volumes), f"{size} × {size}")
    return torch.cat(masks)


def _turned(voxels: np.ndarray, axis: int) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(voxels, axis, 0))


def _turned_spacing(spacing: tuple[float, ...], axis: int) -> list[float]:
    return [spacing[axis], *(s for k, s in enumerate(spacing) if k != axis)]


def _standardised(voxels: np.ndarray) -> Tensor:
    x = voxels.astype(np.float64)
    x = np.clip(x, *np.quantile(x, CLIP))
    return torch.from_numpy(((x - x.mean()) / (x.std() or 1.0)).astype(np.float32))


def _room(volumes: Sequence[Volume], axis: int) -> list[int]:
    """Height and width, multiples of 16, that hold the slices of all volumes."""
    shapes = torch.tensor([[n for k, n in enumerate(v.voxels.shape) if k != axis] for v in volumes])
    return ((shapes.max(dim=0).values + MULTIPLE - 1) // MULTIPLE * MULTIPLE).tolist()


def _padded(slices: Tensor, room: list[int], value: float) -> Tensor:
    height, width = (total - own for total, own in zip(room, slices.shape[1:], strict=True))
    margins = (width // 2, width - width // 2, height // 2, height - height // 2)
    return functional.pad(slices, margins, value=value)


def _slabs(slices: Tensor, depth: int, value: float) -> Tensor:
    """[slices, height, width] → [slabs, depth, height, width], the last one filled up."""
    lacking = -len(slices) % depth
    whole = functional.pad(slices, (0, 0, 0, 0, 0, lacking), value=value)
    return whole.unflatten(0, (-1, depth))


def _resampled(slices: Tensor, size: int, mode: str) -> Tensor:
    return functional.interpolate(slices.unsqueeze(1), (size, size), mode=mode).squeeze(1)


def _vanished(mask: Tensor, resampled: Tensor) -> list[int]:
    """The classes of a volume's mask, the background aside, that resampling left nothing of."""
    return sorted(set(mask.unique().tolist()) - set(resampled.unique().tolist()) - {0, VOID})


def _tell_empty(empty: list[str], volumes: int) -> None:
    """Say which masks mark nothing.

    Args:
        empty: the volumes that they are of.
        volumes: how many there are.

    Raises:
        ValueError: if that is all of them.
    """
    if len(empty) == volumes:
        raise ValueError(f"The masks of all {volumes} volumes mark nothing, such as {empty[0]}.")
    notice(
        f"The masks of {len(empty)} of {volumes} volumes mark nothing, such as that of {empty[0]}: "
        "they teach that nothing is there. Remove the pairs if that is not meant."
    )


def _tell_lost(lost: list[tuple[int, str]], volumes: int, size: str) -> None:
    """Say which classes vanished from how many volumes.

    Args:
        lost: every class that vanished, and the volume that it vanished from.
        volumes: how many there are.
        size: height and width of the resampled slices, in pixels.
    """
    owners = {label: [name for k, name in lost if k == label] for label, _ in sorted(lost)}
    said = (
        f"label {label} in {len(names)} of {volumes} volumes, such as {names[0]}"
        for label, names in owners.items()
    )
    notice(
        f"At {size} pixels nothing is left of {'; of '.join(said)}: it is too thin or too small "
        "for them, and is scored as if it were not there. Raise size."
    )

"""Images in three dimensions and their masks: files to slices of one size.

Files: NIfTI (through nibabel); MetaImage is read by `l2b.metaimage`.
"""

import gzip
import itertools
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l2b.notices import notice
from l2b.types import Cases

MULTIPLE = 16  # pixels; networks halve slices four times
CLIP = (0.005, 0.995)  # quantiles of a volume's intensities that are kept
SPACING_TOLERANCE = 1e-3
MOST_BYTES = 2**32  # of a volume as 64-bit numbers; more is no training sample but an attack


class Volume(NamedTuple):
    """One file.

    Attributes:
        voxels: [x, y, z]; of NIfTI turned so that these run as nearly as possible to the
            patient's right, front and head, of MetaImage as stored.
        spacing: distance between voxels along each axis, in mm.
        affine: from voxel indices to places in mm, [4, 4]; None where the file does not tell.
    """

    voxels: np.ndarray
    spacing: tuple[float, ...]
    affine: np.ndarray | None = None


class Slices(NamedTuple):
    """Volumes cut into slices, or into slabs of neighbouring slices, of one size.

    Attributes:
        images: standardised intensities, [N, 1, height, width] or [N, 1, depth, height, width],
            float32.
        masks: class indices, [N, height, width] or [N, depth, height, width], int64.
        cases: which slices or slabs make up which volume.
    """

    images: Tensor
    masks: Tensor
    cases: Cases


def read_nifti(path: Path) -> Volume:
    """Read a .nii or .nii.gz file.

    Raises:
        FileNotFoundError: if there is none.
        ImportError: without nibabel.
        ValueError: if it is damaged, cut off, of another format, in colour, complex, not of three
            dimensions, or would fill the memory.
    """
    try:
        import nibabel
        from nibabel.filebasedimages import ImageFileError
        from nibabel.orientations import OrientationError
        from nibabel.spatialimages import HeaderDataError
    except ImportError as error:
        raise ImportError(
            "Reading NIfTI needs nibabel, which is not installed: pip install 'l2b[seg]'."
        ) from error
    check_there(path)
    damaged = (ImageFileError, HeaderDataError, OrientationError)
    try:
        image: Any = nibabel.load(path)  # pyright: ignore[reportPrivateImportUsage]
        refused = _no_scan(image, path) or _bomb(image, path)
        if not refused:
            image = nibabel.squeeze_image(image)  # pyright: ignore[reportPrivateImportUsage]
            if len(image.shape) == 3:
                image = nibabel.as_closest_canonical(image)  # pyright: ignore[reportPrivateImportUsage]
        voxels = np.zeros(0) if refused else np.asarray(image.dataobj)
        spacing = () if refused else tuple(float(size) for size in image.header.get_zooms()[:3])
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, *damaged) as e:
        raise ValueError(
            f"{path} cannot be read as NIfTI ({_one_line(e)}): it is damaged or cut off. Fetch "
            "it again."
        ) from e
    if refused:
        raise ValueError(refused)
    return checked(Volume(voxels, spacing, np.asarray(image.affine)), path)


def _no_scan(image: Any, path: Path) -> str | None:
    """What is wrong with a file of another format, or with voxels that are no real numbers, if so.

    Args:
        image: of nibabel, its voxels unread.
        path: the file.
    """
    import nibabel

    if not isinstance(image, nibabel.Nifti1Image):  # pyright: ignore[reportPrivateImportUsage]
        return f"{path} must be NIfTI in one file, got {type(image).__name__}: convert it."
    kind = image.header.get_data_dtype()
    if kind.kind in "iuf":
        return None
    got = "".join(kind.names) if kind.names else kind.name
    return (
        f"{path} must hold one real number per voxel, got {got}: save one channel, or of complex "
        "numbers the magnitude."
    )


def _bomb(image: Any, path: Path) -> str | None:
    """What is wrong with a NIfTI file that unpacks to more than a volume, if anything.

    Args:
        image: of nibabel, its voxels unread.
        path: the file.
    """
    shape, kind = image.header.get_data_shape(), image.header.get_data_dtype()
    voxels = math.prod(int(n) for n in shape)
    if 8 * voxels > MOST_BYTES:
        return (
            f"{path} must hold at most {MOST_BYTES // 8:,} voxels, got "
            f"{' × '.join(map(str, shape))}: unpacking them could fill the memory. Crop or "
            "resample it first."
        )
    promised = int(image.dataobj.offset) + voxels * kind.itemsize
    if path.suffix.lower() == ".gz" and _unpacked(path, promised + 1) > promised:
        return (
            f"{path} must unpack to the {promised:,} bytes that its header announces, got more: "
            "it is damaged, or made to fill the memory. Fetch it again."
        )
    return None


def _unpacked(path: Path, most: int) -> int:
    """How many bytes a gzip file unpacks to; what is beyond ``most`` is not looked at."""
    found = 0
    with gzip.open(path) as file:
        while found < most and (piece := file.read(min(2**20, most - found))):
            found += len(piece)
    return found


def check_pair(image: Volume, mask: Volume, file: Path, *, classes: int) -> None:
    """Refuse a mask that does not fit its image.

    Args:
        image: intensities.
        mask: class indices.
        file: of the mask, for messages.
        classes: number of classes; every voxel must be one of [0, classes).

    Raises:
        ValueError: on another size, spacing or place, unknown values, or a mask without any
            object.
    """
    if mask.voxels.shape != image.voxels.shape:
        raise ValueError(
            f"{file} must have the size of its image, {image.voxels.shape} voxels, got "
            f"{mask.voxels.shape}: it belongs to another image."
        )
    if not np.allclose(mask.spacing, image.spacing, rtol=SPACING_TOLERANCE):
        raise ValueError(
            f"{file} must have the spacing of its image, {_mm(image.spacing)}, got "
            f"{_mm(mask.spacing)}: it was resampled, or belongs to another image."
        )
    apart = _apart(image, mask)
    if apart > min(image.spacing) / 2:
        raise ValueError(
            f"{file} must lie where its image lies, got one that is turned, mirrored or moved, by "
            f"up to {apart:.3g} mm: it was drawn on another grid, so resample it; or its header "
            "is wrong, so copy the image's."
        )
    found = np.unique(mask.voxels)
    wrong = found[~np.isin(found, np.arange(classes))]
    if len(wrong):
        raise ValueError(
            f"{file} must hold the labels 0 to {classes - 1}, got {wrong[0]:g}: there is no such "
            "class. Renumber its labels from 0 (background)."
        )
    if len(found) == 1 and found[0] == 0:
        raise ValueError(
            f"{file} marks nothing: an empty mask teaches that nothing is there. Remove the pair "
            "if that is not meant."
        )


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
    Where a class vanishes from a volume through resampling, a notice says so.

    Args:
        volumes: name, image and mask of each.
        axis: across which they are cut.
        size: height and width to which every slice is resampled (images bilinear, masks by
            their nearest voxel; the spacing changes with them). With None nothing is resampled:
            slices are padded evenly, images by their least value and masks by background, to
            the smallest multiples of 16 that hold all of them.
        depth: how many neighbouring slices make one sample in three dimensions; the last slab
            of a volume is filled up likewise. None takes every slice as one in two dimensions.
    """
    pairs = [
        (_turned(image.voxels, axis), _turned(mask.voxels, axis)) for _, image, mask in volumes
    ]
    shapes = torch.tensor([pair[0].shape[1:] for pair in pairs])
    largest = shapes.max(dim=0).values
    room = ((largest + MULTIPLE - 1) // MULTIPLE * MULTIPLE).tolist()
    images, masks, spacings, lost = [], [], [], []
    for (voxels, labels), (name, image, _) in zip(pairs, volumes, strict=True):
        x, y = _standardised(voxels), torch.from_numpy(labels.astype(np.int64))
        spacing = torch.tensor(_turned_spacing(image.spacing, axis))
        if size is None:
            images.append(_padded(x, room, float(x.min())))
            masks.append(_padded(y, room, 0))
        else:
            images.append(_resampled(x, size, "bilinear"))
            masks.append(_resampled(y.float(), size, "nearest-exact").long())
            lost += [(label, name) for label in _vanished(y, masks[-1])]
            spacing[1:] *= torch.tensor(x.shape[1:]) / size
        if depth is not None:
            images[-1] = _slabs(images[-1], depth, float(x.min()))
            masks[-1] = _slabs(masks[-1], depth, 0)
        spacings.append(spacing)
    if lost:
        _tell_lost(lost, len(volumes), f"{size} × {size}")
    counts = torch.tensor([len(mask) for mask in masks])
    lengths = torch.tensor([len(pair[1]) for pair in pairs])
    numbers = torch.arange(len(masks))
    cases = Cases(
        of=numbers.repeat_interleave(counts),
        names=tuple(name for name, _, _ in volumes),
        spacing=torch.stack(spacings).float(),
        patient=numbers,
        lengths=None if depth is None else lengths,
    )
    return Slices(torch.cat(images).unsqueeze(1), torch.cat(masks), cases)


def write_nifti(path: Path, mask: Tensor, spacing: Sequence[float]) -> None:
    """Write a mask as NIfTI.

    Args:
        path: the file, .nii or .nii.gz.
        mask: class indices, [slices, height, width]; slices become the last axis.
        spacing: along slices, rows and columns, in mm.
    """
    import nibabel

    kind = np.uint8 if mask.numel() == 0 or int(mask.max()) < 256 else np.uint16
    voxels = mask.cpu().numpy().astype(kind).transpose(1, 2, 0)
    affine = np.diag([spacing[1], spacing[2], spacing[0], 1.0])
    nibabel.save(nibabel.Nifti1Image(voxels, affine), path)  # pyright: ignore[reportPrivateImportUsage]


def checked(volume: Volume, path: Path) -> Volume:
    """The volume itself.

    Raises:
        ValueError: if it has not three dimensions, a spacing and finite voxels.
    """
    if volume.voxels.ndim != 3 or len(volume.spacing) != 3:
        raise ValueError(
            f"{path} must hold one volume of three dimensions, got the shape "
            f"{volume.voxels.shape}: pick one channel or time point."
        )
    if not all(0 < distance < math.inf for distance in volume.spacing):
        raise ValueError(
            f"{path} must have a spacing above 0, got {_mm(volume.spacing)}: distances between "
            "surfaces are measured in it."
        )
    if not np.isfinite(volume.voxels).all():
        raise ValueError(f"{path} holds NaN or infinite voxels: fill them first.")
    return volume


def _apart(image: Volume, mask: Volume) -> float:
    """How far apart the corners of two volumes of one size lie at most, in mm; 0 if unknown."""
    if image.affine is None or mask.affine is None:
        return 0.0
    ends = [(0, n - 1) for n in image.voxels.shape]
    corners = np.array([(*corner, 1) for corner in itertools.product(*ends)])
    return float(np.linalg.norm(corners @ (image.affine - mask.affine).T, axis=1).max())


def check_there(path: Path) -> None:
    """Refuse a file that is missing.

    Raises:
        FileNotFoundError: if it is.
    """
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}: its pair or its list names it.")


def _turned(voxels: np.ndarray, axis: int) -> np.ndarray:
    return np.ascontiguousarray(np.moveaxis(voxels, axis, 0))


def _turned_spacing(spacing: tuple[float, ...], axis: int) -> list[float]:
    return [spacing[axis], *(s for k, s in enumerate(spacing) if k != axis)]


def _standardised(voxels: np.ndarray) -> Tensor:
    x = voxels.astype(np.float64)
    x = np.clip(x, *np.quantile(x, CLIP))
    return torch.from_numpy(((x - x.mean()) / (x.std() or 1.0)).astype(np.float32))


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
    return sorted(set(mask.unique().tolist()) - set(resampled.unique().tolist()) - {0})


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


def _mm(spacing: Sequence[float]) -> str:
    return " × ".join(f"{s:g}" for s in spacing) + " mm"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]

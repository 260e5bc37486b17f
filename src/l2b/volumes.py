"""Files of images in three dimensions and of their masks.

NIfTI (through nibabel); MetaImage is read by `l2b.metaimage`. What becomes of them: `l2b.slices`.
"""

import gzip
import itertools
import logging
import math
import zlib
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from l2b.notices import notice

SPACING_TOLERANCE = 1e-3
MOST_BYTES = 2**32  # of a volume as 64-bit numbers; more is no training sample but an attack


class Volume(NamedTuple):
    """One file.

    Attributes:
        voxels: [x, y, z]; of NIfTI turned so that these run as nearly as possible to the
            patient's right, front and head, of MetaImage as stored.
        spacing: distance between voxels along each axis, in mm.
        affine: from voxel indices to places in mm, [4, 4]; None where the file does not tell.
        placed: whether a code of NIfTI says how it lies; else that is nibabel's guess.
    """

    voxels: np.ndarray
    spacing: tuple[float, ...]
    affine: np.ndarray | None = None
    placed: bool = True


def read_nifti(path: Path) -> Volume:
    """Read a .nii or .nii.gz file.

    Notices say what nibabel finds odd, or mends, in its header.

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
        with nibabel_heard() as odd:
            image = nibabel.load(path)  # pyright: ignore[reportPrivateImportUsage]
            refused = _no_scan(image, path) or _bomb(image, path)
            found = None if refused else _turned(image)
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, *damaged) as e:
        raise ValueError(
            f"{path} cannot be read as NIfTI ({_one_line(e)}): it is damaged or cut off. Fetch "
            "it again."
        ) from e
    if found is None:
        raise ValueError(refused)
    checked(found, path)
    for words in dict.fromkeys(odd):
        notice(  # the same for all files of a folder, so that it is told once
            f"Volumes in {path.parent} have odd headers, of which nibabel says: {words}. Correct "
            "them if that is wrong."
        )
    return found


def _turned(image: Any) -> Volume:
    """The volume of a NIfTI file, turned as `Volume` says.

    Args:
        image: of nibabel.
    """
    import nibabel

    # Turning writes a code of its own.
    placed = bool(image.header["sform_code"] or image.header["qform_code"])
    image = nibabel.squeeze_image(image)  # pyright: ignore[reportPrivateImportUsage]
    if len(image.shape) == 3:
        image = nibabel.as_closest_canonical(image)  # pyright: ignore[reportPrivateImportUsage]
    spacing = tuple(float(size) for size in image.header.get_zooms()[:3])
    return Volume(np.asarray(image.dataobj), spacing, np.asarray(image.affine), placed)


@contextmanager
def nibabel_heard() -> Iterator[list[str]]:
    """What nibabel and NumPy would print of odd headers, kept off the terminal."""
    from nibabel.imageglobals import logger

    said: list[str] = []

    def heard(record: logging.LogRecord) -> bool:
        said.append(record.getMessage())
        return False

    logger.addFilter(heard)
    try:
        with np.errstate(all="ignore"):
            yield said
    finally:
        logger.removeFilter(heard)


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


def check_pair(
    image: Volume, mask: Volume, file: Path, *, classes: int, void: Collection[int] = ()
) -> None:
    """Refuse a mask that does not fit its image; a notice says where they have no place.

    Args:
        image: intensities.
        mask: class indices.
        file: of the mask, for messages.
        classes: number of classes; every voxel must be one of [0, classes).
        void: further values that voxels may have, of which nobody knows the class.

    Raises:
        ValueError: on another size, spacing or place, or unknown values.
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
    wrong = found[~np.isin(found, [*range(classes), *void])]
    if len(wrong):
        raise ValueError(
            f"{file} must hold the labels 0 to {classes - 1}"
            f"{''.join(f' (or {v}, where nobody knows)' for v in void)}, got {wrong[0]:g}: there "
            "is no such class. Renumber its labels from 0 (background), or name it with ignore if "
            "it means that nobody knows."
        )
    if not (image.placed and mask.placed):
        tell_unplaced(f"{file.parent}, or their images,")


def tell_unplaced(which: str) -> None:
    """Say that volumes do not say how they lie; with the same words it is shown once.

    Args:
        which: the folder of the volumes, for the message.
    """
    notice(
        f"Volumes in {which} do not say how they lie (sform_code and qform_code are 0), and are "
        "read as stored from the patient's right to left, back to front and feet to head: set the "
        "codes if that is wrong."
    )


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


def _mm(spacing: Sequence[float]) -> str:
    return " × ".join(f"{s:g}" for s in spacing) + " mm"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:160]

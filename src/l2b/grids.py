"""The grids of mask files: what a model draws on the grid it learned on is brought back."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from l2b.decode import pillow
from l2b.volumes import check_there, nibabel_heard

DEEPEST = 2**16  # values that a PNG can hold
LPS_TO_RAS = np.diag(
    [-1.0, -1.0, 1.0, 1.0]
)  # MetaImage counts to the left and back, NIfTI does not


class Void(NamedTuple):
    """What a mask as given says of pixels whose class nobody knows, which masks drawn anew keep.

    Attributes:
        values: that mean so.
        given: reads the mask, shaped like its file.
    """

    values: tuple[int, ...]
    given: Callable[[], np.ndarray]

    def kept(self, drawn: np.ndarray) -> np.ndarray:
        """A mask in the values of its file, but void where the mask as given is."""
        given = self.given()
        void = np.isin(given, self.values)
        kind = np.result_type(drawn.dtype, *map(np.min_scalar_type, self.values))
        return np.where(void, given, drawn).astype(kind)


@dataclass(frozen=True, kw_only=True)
class Grid(ABC):
    """Where the pixels of one case's mask file lie, and how they became the learned ones.

    Attributes:
        void: which pixels stay as the mask as given has them; None for none.
    """

    ending: ClassVar[str]
    void: Void | None = None

    @abstractmethod
    def drawn(self, probabilities: Tensor) -> np.ndarray:
        """The most likely class of every pixel of the file.

        Args:
            probabilities: of every class on the learned grid, [slices, classes, height, width].

        Returns:
            Class indices, shaped like the file.

        Raises:
            ValueError: if such a file cannot have become so many slices of that size.
        """

    @abstractmethod
    def write(self, path: Path, mask: np.ndarray, values: Sequence[int] = ()) -> None:
        """Write a mask as the file's own masks are written.

        Args:
            path: the file, which has this grid's ending.
            mask: class indices, as `drawn` gives them.
            values: what stands for each class in a picture; none writes class indices.
        """


@dataclass(frozen=True, kw_only=True)
class Picture(Grid):
    """A picture, which was brought to the learned size.

    Attributes:
        size: width and height in pixels, as it is to be looked at.
        palette: colours of the masks' values, see `l2b.drawn_masks.mask_palette`; none are grey.
    """

    ending: ClassVar[str] = ".png"
    size: tuple[int, int]
    palette: bytes = b""

    def drawn(self, probabilities: Tensor) -> np.ndarray:
        """[height, width]; see `Grid.drawn`."""
        if len(probabilities) != 1:
            raise ValueError(f"A picture is one slice, got {len(probabilities)}.")
        return _resampled(probabilities, self.size[1], self.size[0])[0].numpy()

    def write(self, path: Path, mask: np.ndarray, values: Sequence[int] = ()) -> None:
        """Write a PNG; class indices stand where a PNG cannot hold the values."""
        void, unknown = self.void, self.void.values if self.void else ()
        if not values or not all(0 <= value < DEEPEST for value in (*values, *unknown)):
            values, void, unknown = range(int(mask.max()) + 1), None, ()
        table = np.array(values, dtype=np.uint8 if max(values) < 256 else np.uint16)
        picture = pillow().fromarray(void.kept(table[mask]) if void else table[mask])
        if 3 * max((*values, *unknown)) < len(self.palette):  # each value has its colour
            picture.putpalette(self.palette)
        picture.save(path)


@dataclass(frozen=True, kw_only=True)
class Scan(Grid):
    """A volume, which was cut into slices, and these padded or resampled.

    Attributes:
        shape: of the file's voxels, with any further axes of one entry.
        affine: from its voxel indices to places in mm, to the right, front and head, [4, 4].
        axis: across which it was cut, counted after turning.
        turned: whether its axes were first brought to the patient's, see `l2b.volumes.Volume`.
        resampled: whether slices were resampled to the learned size; else they were padded.
        header: of NIfTI, whose units and codes written masks take over; None for usual ones.
    """

    ending: ClassVar[str] = ".nii.gz"
    shape: tuple[int, ...]
    affine: np.ndarray
    axis: int = 2
    turned: bool = True
    resampled: bool = False
    header: Any = None

    def drawn(self, probabilities: Tensor) -> np.ndarray:
        """Shaped as the file; see `Grid.drawn`."""
        from nibabel.orientations import apply_orientation, ornt_transform

        usual = np.array([[0, 1], [1, 1], [2, 1]])
        turns = self._turns() if self.turned else usual
        sizes = [0, 0, 0]
        for own, (place, _) in zip(self.shape, turns, strict=False):
            sizes[int(place)] = own
        slices, height, width = sizes.pop(self.axis), *sizes
        learned = probabilities.shape[2:]
        fits = self.resampled or (height <= learned[0] and width <= learned[1])
        if len(probabilities) != slices or not fits:
            raise ValueError(
                f"A volume of {' × '.join(map(str, self.shape))} voxels has {slices} slices of "
                f"{height} × {width} pixels across its axis {self.axis}, got {len(probabilities)} "
                f"of {learned[0]} × {learned[1]}."
            )
        back = _resampled if self.resampled else _cropped
        mask = np.moveaxis(back(probabilities, height, width).numpy(), 0, self.axis)
        return apply_orientation(mask, ornt_transform(usual, turns)).reshape(self.shape)

    def write(self, path: Path, mask: np.ndarray, values: Sequence[int] = ()) -> None:
        """Write NIfTI, which holds class indices."""
        import nibabel

        del values
        mask = mask.astype(np.uint8 if mask.size == 0 or mask.max() < 256 else np.uint16)
        if self.void:
            mask = self.void.kept(mask)
        header = None if self.header is None else self.header.copy()
        if header is not None:
            header.set_data_dtype(mask.dtype)
            header["cal_min"] = header["cal_max"] = 0  # the brightness at which an image was shown
        with nibabel_heard():
            image = nibabel.Nifti1Image(mask, self.affine, header)  # pyright: ignore[reportPrivateImportUsage]
            nibabel.save(image, path)  # pyright: ignore[reportPrivateImportUsage]

    def _turns(self) -> np.ndarray:
        """Which of the patient's axes each of the file's is, and whether it runs along it."""
        from nibabel.orientations import io_orientation

        return io_orientation(self.affine)


def nifti_grid(path: Path, *, axis: int, resampled: bool, void: tuple[int, ...] = ()) -> Scan:
    """The grid of a NIfTI file, of which only the header is read for now.

    Args:
        path: the file.
        axis: across which it is cut, counted after turning.
        resampled: whether its slices are resampled; else they are padded.
        void: values of its voxels where nobody knows the class.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged.
    """
    import nibabel
    from nibabel.filebasedimages import ImageFileError
    from nibabel.spatialimages import HeaderDataError

    check_there(path)
    try:
        with nibabel_heard():  # whoever reads the voxels is told
            image: Any = nibabel.load(path)  # pyright: ignore[reportPrivateImportUsage]
            shape, affine = tuple(map(int, image.shape)), np.asarray(image.affine)
    except (OSError, EOFError, ValueError, ImageFileError, HeaderDataError) as error:
        raise ValueError(
            f"{path} cannot be read as NIfTI ({' '.join(str(error).split())[:160]}): it is damaged "
            "or cut off. Fetch it again."
        ) from error
    return Scan(
        shape=shape,
        affine=affine,
        axis=axis,
        resampled=resampled,
        header=image.header,
        void=Void(void, lambda: np.asanyarray(image.dataobj)) if void else None,
    )


def learned_grid(slices: int, size: Sequence[int], spacing: Sequence[float]) -> Grid:
    """The learned grid itself, for cases whose files nobody knows.

    Args:
        slices: of the case; a single one is a picture.
        size: height and width of the learned slices, in pixels.
        spacing: along slices, rows and columns, in mm.
    """
    height, width = size
    if slices == 1:
        return Picture(size=(width, height))
    affine = np.diag([spacing[1], spacing[2], spacing[0], 1.0])
    return Scan(shape=(height, width, slices), affine=affine, turned=False)


def _cropped(probabilities: Tensor, height: int, width: int) -> Tensor:
    """The classes of what padding left in the middle, [slices, height, width]."""
    top, left = (probabilities.shape[2] - height) // 2, (probabilities.shape[3] - width) // 2
    return probabilities[..., top : top + height, left : left + width].argmax(dim=1)


def _resampled(probabilities: Tensor, height: int, width: int) -> Tensor:
    """Classes on another grid, from probabilities in between, [slices, height, width].

    A class at a time, for pictures may have many pixels.
    """
    best = torch.full((len(probabilities), height, width), -1.0)
    classes = torch.zeros(best.shape, dtype=torch.int64)
    for k in range(probabilities.shape[1]):
        own = probabilities[:, k : k + 1].float()
        found = functional.interpolate(own, (height, width), mode="bilinear", antialias=True)[:, 0]
        classes[found > best] = k
        best = torch.maximum(best, found)
    return classes

"""Your own images with masks, as pictures in two folders."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch

from l2b.datasets.base import Dataset, Source, check_patient, patient_of
from l2b.datasets.base_masks import checked_cases, judging, mask_source
from l2b.datasets.image_folder import SUFFIXES
from l2b.decode import decode_images
from l2b.drawn_masks import (
    DrawnMask,
    class_masks,
    given_values,
    image_sizes,
    mask_palette,
    mask_values,
    picture_spacing,
    read_masks,
    told_turned,
)
from l2b.grids import Picture, Void
from l2b.types import Cases

FURTHER = "masks_"  # begins the names of folders with second annotations


@dataclass(frozen=True, kw_only=True)
class MaskFolder(Dataset):
    """Your own images with masks: root/images/… and root/masks/…, paired by file name.

    Beside them may lie ``clean.txt``, the names of images whose masks were checked, one a line:
    the masks then are as observed, and only these are trusted; only patients all of whose masks
    were checked are held out for testing. Without it all masks are taken for true. ``test.txt``,
    likewise, names what is held out instead of a draw, whole patients. Any further
    folder ``masks_<name>`` with a mask for every image is a second annotation, for ``--noise
    second_annotator --annotation <name>``.

    Images of one patient stay on one side of every split. Intensities are scaled by the
    training images' moments per channel.

    Attributes:
        root: folder that holds ``images`` and ``masks``.
        size: height and width to which everything is brought, in pixels.
        patient: regular expression whose first group in a file's stem names the patient, such
            as ``(.+)_[0-9]+``; empty takes every image for a patient of its own.
        test: share of the patients (of the checked ones, if there is ``clean.txt``) held out for
            testing, drawn once and for all, in (0, 1).
        ignore: value of masks where nobody knows the class, such as 255 along outlines: such
            pixels are neither learned nor judged. None learns every value.
        workers: threads that decode images; changes no result.
    """

    root: Path | str
    size: int = 128
    patient: str = ""
    test: float = 0.25
    ignore: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse images without pixels and patterns without a group."""
        if self.size < 1:
            raise ValueError(f"MaskFolder needs size >= 1, got {self.size}: it is in pixels.")
        check_patient("MaskFolder", self.patient)

    def load(self) -> Source:
        """Decode every pair."""
        root = Path(self.root)
        images, sizes, masks = self._read()
        values = mask_values(masks, self.ignore)
        names = ("object",) if len(values) == 2 else [f"value {v}" for v in values[1:]]
        cases = _cases(images, self.patient, sizes, self.size)
        further = {
            folder.name.removeprefix(FURTHER): class_masks(
                read_masks(_pairs(root / "images", folder)[1], sizes, self.size),
                values,
                self.ignore,
            )
            for folder in sorted(root.glob(f"{FURTHER}*"))
            if folder.is_dir()
        }
        return mask_source(
            decode_images(images, self.size, name=root, resize=True, workers=self.workers),
            class_masks(masks, values, self.ignore),
            cases,
            ("background", *names),
            test=judging(root, cases, self.test),
            annotations=further,
            checked=checked_cases(root, cases),
            values=values,
        )

    def values(self) -> tuple[int, ...]:
        """What stands for each class in the masks, the background first."""
        return mask_values(self._read()[2], self.ignore)

    def files(self) -> dict[str, tuple[Path, Path]]:
        """The image and the mask of each case, by its name.

        Raises:
            FileNotFoundError: if there are none, or one of a pair is missing.
        """
        images, masks = _pairs(Path(self.root) / "images", Path(self.root) / "masks")
        return {image.stem: (image, mask) for image, mask in zip(images, masks, strict=True)}

    def grids(self) -> dict[str, Picture]:
        """Pictures of the sizes of the images, in the colours of the masks."""
        files = self.files()
        sizes = image_sizes([image for image, _ in files.values()])
        palette = mask_palette([mask for _, mask in files.values()])

        def void(mask: Path, size: tuple[int, int]) -> Void | None:
            own = partial(given_values, mask, size)
            return None if self.ignore is None else Void((self.ignore,), own)

        return {
            name: Picture(size=size, palette=palette, void=void(mask, size))
            for (name, (_, mask)), size in zip(files.items(), sizes, strict=True)
        }

    def _read(self) -> tuple[list[Path], list[tuple[int, int]], list[DrawnMask]]:
        """Files of images, their sizes, and the masks."""
        root = Path(self.root)
        images, masks = _pairs(root / "images", root / "masks")
        sizes = image_sizes(images)
        told_turned(images, masks)
        return images, sizes, read_masks(masks, sizes, self.size)


def _pairs(images: Path, masks: Path) -> tuple[list[Path], list[Path]]:
    """Files of both folders with the same stem, in the order of the names."""
    by_stem = []
    for folder in (images, masks):
        if not folder.is_dir():
            raise FileNotFoundError(
                f"There is no folder {folder.absolute()}: put images into images/ and the mask "
                "of each, under the same name, into masks/."
            )
        found: dict[str, Path] = {}
        for path in sorted(folder.iterdir()):
            if path.suffix.lower() not in SUFFIXES or path.name[0] == ".":
                continue
            if path.stem in found:
                raise ValueError(
                    f"{folder} holds both {found[path.stem].name} and {path.name}, and pairs go by "
                    "the name without its ending: remove or rename one."
                )
            found[path.stem] = path
        by_stem.append(found)
    alone = sorted(set(by_stem[0]) ^ set(by_stem[1]))
    if alone:
        there = by_stem[0].get(alone[0]) or by_stem[1][alone[0]]
        lacking = masks if alone[0] in by_stem[0] else images
        annotation = (
            f", or rename {masks}, for every folder called masks_… is read as a second annotation"
            if masks.name.startswith(FURTHER)
            else ""
        )
        raise FileNotFoundError(
            f"{there} has no partner called {alone[0]} in {lacking}: every image needs a mask. "
            f"Complete the pair or remove it{annotation}."
        )
    if not by_stem[0]:
        raise FileNotFoundError(f"{images} holds no images ({', '.join(SUFFIXES)}).")
    names = sorted(by_stem[0])
    return [by_stem[0][n] for n in names], [by_stem[1][n] for n in names]


def _cases(images: list[Path], pattern: str, sizes: list[tuple[int, int]], size: int) -> Cases:
    owners = []
    for path in images:
        owners.append(patient_of(path.stem, pattern, path))
    known = sorted(set(owners))
    numbers = torch.arange(len(images))
    return Cases(
        of=numbers,
        names=tuple(path.stem for path in images),
        spacing=picture_spacing(sizes, size),
        patient=torch.tensor([known.index(owner) for owner in owners]),
    )

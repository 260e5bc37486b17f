"""Your own images with masks, as pictures in two folders."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, Split, check_patient, mask_source, patient_of
from l2b.datasets.image_folder import SUFFIXES
from l2b.decode import decode_images
from l2b.drawn_masks import (
    class_masks,
    image_sizes,
    mask_values,
    picture_spacing,
    read_masks,
    told_turned,
)
from l2b.files import read_text
from l2b.streams import stream
from l2b.types import Cases

FURTHER = "masks_"  # begins the names of folders with second annotations


@dataclass(frozen=True, kw_only=True)
class MaskFolder(Dataset):
    """Your own images with masks: root/images/… and root/masks/…, paired by file name.

    Beside them may lie ``clean.txt``, the names of images whose masks were checked, one a line:
    the masks then are as observed, and only these are trusted; only patients all of whose masks
    were checked are held out for testing. Without it all masks are taken for true. Any further
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
        workers: threads that decode images; changes no result.
    """

    root: Path | str
    size: int = 128
    patient: str = ""
    test: float = 0.25
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse images without pixels and patterns without a group."""
        if self.size < 1:
            raise ValueError(f"MaskFolder needs size >= 1, got {self.size}: it is in pixels.")
        check_patient("MaskFolder", self.patient)

    def load(self) -> Source:
        """Decode every pair."""
        root = Path(self.root)
        images, masks, sizes, raw = self._read()
        values = mask_values(raw, masks)
        names = ("object",) if len(values) == 2 else [f"value {v}" for v in values[1:]]
        cases = _cases(images, self.patient, sizes, self.size)
        checked = _checked(root / "clean.txt", cases)
        source = mask_source(
            decode_images(images, self.size, name=root, resize=True, workers=self.workers),
            class_masks(raw, masks, values, self.size),
            cases,
            ("background", *names),
            test=self.test if checked is None else _held_out(cases, checked, self.test),
        )
        further = {
            folder.name.removeprefix(FURTHER): class_masks(
                read_masks(found := _pairs(root / "images", folder)[1], sizes),
                found, values, self.size,
            )
            for folder in sorted(root.glob(f"{FURTHER}*")) if folder.is_dir()
        }  # fmt: skip
        rows = _rows_of(source.train, cases)
        source = replace(source, annotations={name: m[rows] for name, m in further.items()})
        if checked is None:
            return source
        trusted = checked[rows].nonzero().squeeze(1)
        return replace(source, truth_known=False, trusted=trusted)

    def values(self) -> tuple[int, ...]:
        """What stands for each class in the masks, the background first."""
        _, masks, _, raw = self._read()
        return mask_values(raw, masks)

    def _read(self) -> tuple[list[Path], list[Path], list[tuple[int, int]], list[np.ndarray]]:
        """Files of images and of masks, sizes of the images, raw values of the masks."""
        root = Path(self.root)
        images, masks = _pairs(root / "images", root / "masks")
        sizes = image_sizes(images)
        told_turned(images, masks)
        return images, masks, sizes, read_masks(masks, sizes)


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


def _rows_of(split: Split, cases: Cases) -> Tensor:
    """Positions of a split's images among all, whose cases have one image each."""
    return cases.of if split.cases is None else split.cases.of


def _checked(listed: Path, cases: Cases) -> Tensor | None:
    """Whether each image is on the list of checked ones, [N]; None without a list."""
    if not listed.is_file():
        return None
    stems, known = set(), set(cases.names)
    for name in filter(None, map(str.strip, read_text(listed).splitlines())):
        # A stem may hold a dot, so what names an image as it stands is not cut.
        stem = name if name in known else Path(name).stem
        if stem not in known:
            raise ValueError(f"{listed} names {name!r}, and there is no such image.")
        stems.add(stem)
    if not stems:
        raise ValueError(
            f"{listed} is empty, so no checked image is left to train with: list some, or remove "
            "it if all masks are right."
        )
    return torch.tensor([name in stems for name in cases.names])


def _held_out(cases: Cases, checked: Tensor, share: float) -> Tensor:
    """Patients that judge: a share of those all of whose masks were checked, never all of them.

    What nobody checked cannot judge, and is needed to learn from.
    """
    unchecked = cases.patient[~checked].unique()
    known = cases.patient.unique()
    whole = known[~torch.isin(known, unchecked)]
    count = min(max(1, round(share * len(whole))), len(whole) - 1) if len(whole) else 0
    return whole[torch.randperm(len(whole), generator=stream(0, "test"))[:count]]

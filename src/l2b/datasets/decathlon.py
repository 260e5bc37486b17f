"""Folders of the Medical Segmentation Decathlon (Antonelli et al. 2022): NIfTI and a list."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l2b.datasets.base import (
    Dataset,
    Source,
    check_depth,
    check_limit,
    check_patient,
    patient_of,
)
from l2b.datasets.base_masks import checked_cases, judging, mask_source
from l2b.files import read_text
from l2b.grids import Scan, nifti_grid
from l2b.notices import notice
from l2b.slices import cut, cut_masks
from l2b.targets import VOID
from l2b.volumes import Volume, check_pair, read_nifti

SUFFIX = re.compile(r"\.nii(\.gz)?\Z", re.IGNORECASE)
LABELS = "labelsTr"
IGNORE = "ignore"  # what nnU-Net calls the label of voxels whose class nobody knows
FURTHER = f"{LABELS}_"  # begins the names of folders with second annotations


@dataclass(frozen=True, kw_only=True)
class Decathlon(Dataset):
    """A task folder of the Medical Segmentation Decathlon: dataset.json, imagesTr, labelsTr.

    Volumes are cut into slices; training and test set, which the official archive does not
    give labels for, are made of whole patients. How intensities are handled says `l2b.slices.cut`.
    Images of several channels (four dimensions), which some tasks have, are not read.

    Beside the list may lie ``clean.txt``, the names of volumes whose masks were checked, one a
    line: the masks then are as observed, and only these are trusted; only patients all of whose
    masks were checked are held out for testing. Without it all masks are taken for true.
    ``test.txt``, likewise, names what is held out instead of a draw, whole patients. Any
    further folder ``labelsTr_<name>`` with a mask for every volume, under the name that it has in
    labelsTr, is a second annotation, for ``--noise second_annotator --annotation <name>``.

    Attributes:
        root: the task's folder.
        axis: across which volumes are cut: 0, 1 or 2, from the patient's left to right, back to
            front, or foot to head.
        size: height and width to which slices are resampled; None pads them instead.
        depth: how many neighbouring slices make one sample, for networks in three dimensions
            (U-Nets need at least 16); None trains on slices.
        limit: keep only the first so many volumes of the list; None keeps all.
        patient: regular expression whose first group in a volume's name, that of its mask without
            folders and .nii.gz, names the patient, such as ``(.+)_visit[0-9]+``; empty takes
            every volume for a patient of its own.
        test: share of the patients (of the checked ones, if there is ``clean.txt``) held out for
            testing, drawn once and for all, in (0, 1).
        ignore: value of masks where nobody knows the class: such voxels are neither learned nor
            judged. A label that the list calls ignore, as nnU-Net has it, always means that.
    """

    root: Path | str | None
    axis: int = 2
    size: int | None = None
    depth: int | None = None
    limit: int | None = None
    patient: str = ""
    test: float = 0.25
    ignore: int | None = None

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning."""
        check_limit("Decathlon", self.limit)
        check_depth("Decathlon", self.depth)
        check_patient("Decathlon", self.patient)
        if self.axis not in (0, 1, 2):
            raise ValueError(f"Decathlon needs axis 0, 1 or 2, got {self.axis}.")
        if self.size is not None and self.size < 1:
            raise ValueError(
                f"Decathlon needs size >= 1 or none, got {self.size}: it is in pixels; none pads "
                "slices instead."
            )

    def load(self) -> Source:
        """Read every labelled volume of the list."""
        folder = self.folder()
        listed = self._listed(folder)
        classes, void = _labels(listed, folder, self.ignore)
        files = self._files(folder, listed)
        owners = [patient_of(name, self.patient, mask) for name, (_, mask) in files.items()]
        scans = [read_nifti(image) for image, _ in files.values()]
        drawn = [mask for _, mask in files.values()]

        def masks(paths: list[Path]) -> list[Volume]:
            pairs = zip(scans, paths, strict=True)
            return [_mask(scan, path, len(classes), void) for scan, path in pairs]

        shape = {"axis": self.axis, "size": self.size, "depth": self.depth}
        volumes = list(zip(files, scans, masks(drawn), strict=True))
        images, labels, cases = cut(volumes, **shape)
        cases = cases._replace(patient=_numbers(owners))
        if self.ignore is not None and not any((m.voxels == VOID).any() for *_, m in volumes):
            notice(f"No mask holds {self.ignore}, the value to ignore: is it another?")
        further = {}
        for other in annotations(folder):
            second = masks([annotation_of(other, mask.relative_to(folder)) for mask in drawn])
            pairs = list(zip(files, second, strict=True))
            further[other.name.removeprefix(FURTHER)] = cut_masks(pairs, **shape)
        return mask_source(
            images,
            labels,
            cases,
            classes,
            test=judging(folder, cases, self.test),
            annotations=further,
            checked=checked_cases(folder, cases),
        )

    def folder(self) -> Path:
        """Where the task lies."""
        return Path(str(self.root))

    def void(self) -> tuple[int, ...]:
        """Values of masks where nobody knows the class."""
        folder = self.folder()
        return _labels(self._listed(folder), folder, self.ignore)[1]

    def files(self) -> dict[str, tuple[Path, Path]]:
        """The image and the mask of every volume of the list, up to the limit, by its name.

        Raises:
            FileNotFoundError: if there is no list.
            ValueError: if it is damaged.
        """
        folder = self.folder()
        return self._files(folder, self._listed(folder))

    def _files(self, folder: Path, listed: dict[str, Any]) -> dict[str, tuple[Path, Path]]:
        entries = listed["training"]
        names = _names([entry["label"] for entry in entries], folder)
        return {
            name: (folder / entry["image"], folder / entry["label"])
            for name, entry in list(zip(names, entries, strict=True))[: self.limit]
        }

    def grids(self) -> dict[str, Scan]:
        """Those in the headers of the masks."""
        folder = self.folder()
        listed = self._listed(folder)
        resampled, void = self.size is not None, _labels(listed, folder, self.ignore)[1]
        return {
            name: nifti_grid(mask, axis=self.axis, resampled=resampled, void=void)
            for name, (_, mask) in self._files(folder, listed).items()
        }

    def _listed(self, folder: Path) -> dict[str, Any]:
        path = folder / "dataset.json"
        if not path.is_file():
            raise FileNotFoundError(
                f"There is no {path.absolute()}. Fetch the task from http://medicaldecathlon.com "
                "and give its folder with --root."
            )
        try:
            listed = json.loads(read_text(path))
        except json.JSONDecodeError as error:
            raise ValueError(f"{path} is no JSON ({error}): fetch it again.") from error
        entries = listed.get("training") if isinstance(listed, dict) else None
        if not isinstance(entries, list):
            raise ValueError(
                f"{path} is no list of a Decathlon task: it must name labels, and under training "
                "the image and label of every volume."
            )
        if len(entries) < 2:
            raise ValueError(f"{path} must list at least 2 training volumes, got {len(entries)}.")
        for place, entry in enumerate(entries):
            _check_entry(entry, f"{path}, training[{place}]")
        return listed


def _mask(scan: Volume, path: Path, classes: int, void: tuple[int, ...]) -> Volume:
    """The mask of an image, if it fits."""
    mask = read_nifti(path)
    check_pair(scan, mask, path, classes=classes, void=void)
    if not void:
        return mask
    known = mask.voxels.astype(np.int16)
    return mask._replace(voxels=np.where(np.isin(mask.voxels, void), VOID, known))


def annotations(folder: Path) -> list[Path]:
    """The folders of second annotations of a task, in the order of their names."""
    return sorted(path for path in folder.glob(f"{FURTHER}*") if path.is_dir())


def annotation_of(annotation: Path, label: Path) -> Path:
    """Where a further annotation of a volume lies.

    Args:
        annotation: its folder, labelsTr_….
        label: the volume's mask, from the task's folder; compressed or not, either may be.

    Raises:
        FileNotFoundError: if there is none.
    """
    path = annotation / (label.relative_to(LABELS) if label.is_relative_to(LABELS) else label)
    stem = SUFFIX.sub("", path.name)
    found = [
        own
        for own in (path, path.with_name(f"{stem}.nii"), path.with_name(f"{stem}.nii.gz"))
        if own.is_file()
    ]
    if not found:
        raise FileNotFoundError(
            f"There is no {path}: every folder called {FURTHER}… is read as a second annotation "
            f"of all volumes. Complete it, or rename {annotation}."
        )
    return found[0]


def _check_entry(entry: Any, place: str) -> None:
    """Refuse an entry that does not name one image and one mask.

    Args:
        entry: what the list says of a volume.
        place: the list and the number of the entry, for messages.

    Raises:
        ValueError: naming the place.
    """
    if not isinstance(entry, dict):
        raise ValueError(
            f'{place} must be {{"image": …, "label": …}}, got {_short(entry)}: every '
            "image needs a mask. Complete the entry or remove it."
        )
    for key in ("image", "label"):
        file = entry.get(key)
        if not isinstance(file, str) or not SUFFIX.search(file):
            got = "nothing" if file is None else _short(file)
            raise ValueError(
                f"{place}.{key} must name one .nii or .nii.gz file, got {got}: other formats, and "
                "images of several files, are not read. Convert it, or remove the entry."
            )


def _short(found: Any) -> str:
    """What a list holds, as it is written there, cut off where it is long."""
    return json.dumps(found, ensure_ascii=False)[:80]


def _names(masks: list[str], folder: Path) -> list[str]:
    """What each volume is called: its mask's file, with its folders where files share a name."""
    paths = [SUFFIX.sub("", Path(mask).as_posix()) for mask in masks]
    short = [path.rpartition("/")[2] for path in paths]
    names = [
        name if short.count(name) == 1 else path.replace("/", "_")
        for name, path in zip(short, paths, strict=True)
    ]
    if len(set(names)) < len(names):
        again = next(mask for mask, name in zip(masks, names, strict=True) if names.count(name) > 1)
        raise ValueError(
            f"{folder / 'dataset.json'} must list every volume once, got {again} more often: one "
            "volume on both sides of a split would be told by heart. Remove one."
        )
    return names


def _numbers(owners: list[str]) -> Tensor:
    """A number for each patient, in the order in which they come, [volumes] int64."""
    known = list(dict.fromkeys(owners))
    return torch.tensor([known.index(owner) for owner in owners])


def _labels(
    listed: dict[str, Any], folder: Path, ignore: int | None
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names of the classes, and values of masks that are none because nobody knows the class.

    Labels are written "0": "background", by nnU-Net "background": 0.
    """
    path, written = folder / "dataset.json", listed.get("labels", {})
    try:
        pairs = [(v, k) if isinstance(v, int) else (k, v) for k, v in written.items()]
        labels = {int(number): str(name) for number, name in pairs}
    except (AttributeError, ValueError) as error:
        raise ValueError(
            f'{path} must name its labels as {{"0": "background", …}}, got {str(written)[:80]}.'
        ) from error
    found = [number for number, name in labels.items() if name == IGNORE or number == ignore]
    labels = {number: name for number, name in labels.items() if number not in found}
    whole = len(labels) + len(found) == len(written)
    if sorted(labels) != list(range(len(labels))) or len(labels) < 2 or not whole:
        raise ValueError(
            f"{path} must name its labels 0 (background), 1, … without gaps, "
            f"got {', '.join(map(str, sorted(labels))) or 'none'}"
            f"{''.join(f' beside {number}, which is ignored' for number in found)}."
        )
    names = tuple(labels[k] for k in sorted(labels))
    if len(set(names)) < len(names):
        raise ValueError(f"{path} must give every label a name of its own, got {', '.join(names)}.")
    return names, tuple({*found, *(() if ignore is None else (ignore,))})

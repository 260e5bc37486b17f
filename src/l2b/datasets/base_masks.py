"""What data sets of masks share: whole patients are held out, lists say what was checked."""

import re
from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from l2b.datasets.base import Source, Split, moments
from l2b.datasets.image_folder import SUFFIXES
from l2b.files import read_text
from l2b.streams import stream
from l2b.types import Cases

ENDING = re.compile(
    rf"({'|'.join(map(re.escape, SUFFIXES))}|\.nii(\.gz)?|(_segmentation)?\.mhd)\Z",
    re.IGNORECASE,
)
CLEAN, TEST = "clean.txt", "test.txt"


def mask_source(
    images: Tensor,
    masks: Tensor,
    cases: Cases,
    classes: tuple[str, ...],
    *,
    test: float | Tensor,
    annotations: Mapping[str, Tensor] | None = None,
    checked: Tensor | None = None,
    values: tuple[int, ...] = (),
    remark: str = "",
) -> Source:
    """Images with masks, some patients held out with all of their images.

    Args:
        images: [N, channels, *pixels].
        masks: class indices, [N, *pixels].
        cases: which of them make up which volume, of which patient.
        classes: names, the background first.
        test: share of the patients that are held out, drawn once and for all, in (0, 1); or the
            numbers of these patients. Of checked cases, the share of the patients all of whose
            masks were checked: what nobody checked cannot judge, and is needed to learn from.
        annotations: second annotations by name, each like ``masks``.
        checked: whether the masks of each case were checked, [cases] bool, so that only these
            are trusted; None takes all masks for the truth.
        values: of masks that are pictures, what stands for each class in their files.
        remark: what a reader must know of these bytes.

    Raises:
        ValueError: if either side would have no patient.
    """
    if not isinstance(test, Tensor):
        test = _held_out(cases, checked, test)
    held_out = torch.isin(cases.patient[cases.of], test)
    train, tested = (~held_out).nonzero().squeeze(1), held_out.nonzero().squeeze(1)
    mean, std = moments(images[train])
    source = Source(
        train=Split(images[train], masks[train], cases.take(train)),
        test=Split(images[tested], masks[tested], cases.take(tested)) if len(tested) else None,
        classes=classes,
        annotations={name: found[train] for name, found in (annotations or {}).items()},
        mean=mean,
        std=std,
        values=values,
        remark=remark,
    )
    if checked is None:
        return source
    trusted = checked[cases.of[train]].nonzero().squeeze(1)
    return replace(source, truth_known=False, trusted=trusted)


def checked_cases(folder: Path, cases: Cases) -> Tensor | None:
    """Whether the masks of each case were checked, [cases] bool; None without a list.

    Args:
        folder: holds ``clean.txt``, the name of an image or volume a line, with or without the
            ending of its file.
        cases: all there are.

    Raises:
        ValueError: if the list is empty, no text, or names what is not there.
    """
    listed = folder / CLEAN
    if not listed.is_file():
        return None
    found = listed_cases(listed, cases.names)
    if not found:
        raise ValueError(
            f"{listed} is empty, so no checked image is left to train with: list some, or remove "
            "it if all masks are right."
        )
    return torch.tensor([name in found for name in cases.names])


def listed_cases(path: Path, known: Collection[str]) -> set[str]:
    """The images or volumes that a text file names, one a line, with or without their endings.

    Args:
        path: the file.
        known: names of all.

    Raises:
        ValueError: if it is no text, or names what is not there.
    """
    found = set[str]()
    for line in read_text(path).splitlines():
        wanted = line.strip()
        # A name may begin or end with spaces, or hold a dot: as it stands it comes first.
        name = next((n for n in (line, wanted, without_ending(wanted)) if n in known), None)
        if name is not None:
            found.add(name)
        elif wanted:
            raise ValueError(f"{path} names {wanted!r}, and there is no such image.")
    return found


def judging(folder: Path, cases: Cases, share: float) -> float | Tensor:
    """What `mask_source` takes as ``test``: the patients that a list names, or a share.

    Args:
        folder: may hold ``test.txt``, the names of what is held out for testing, like those of
            ``clean.txt``, whole patients; it counts whatever was checked.
        cases: all there are.
        share: where there is no list.

    Raises:
        ValueError: if the list is empty, no text, or names what is not there, all there is, or a
            part of a patient.
    """
    listed = folder / TEST
    if not listed.is_file():
        return share
    names = listed_cases(listed, cases.names)
    named = torch.tensor([name in names for name in cases.names])
    patients, others = cases.patient[named].unique(), cases.patient[~named].unique()
    if not len(patients) or not len(others):
        raise ValueError(
            f"{listed} must name some of the images, not {'all' if len(patients) else 'none'}: "
            "the others are learned from."
        )
    cut = torch.isin(cases.patient, others) & named
    if cut.any():
        raise ValueError(
            f"{listed} names {cases.names[int(cut.nonzero()[0])]!r} without the other images of "
            "that patient, which must all be on one side: name them too."
        )
    return patients


def _held_out(cases: Cases, checked: Tensor | None, share: float) -> Tensor:
    """Numbers of the patients that judge."""
    patients = cases.patient.unique()
    if checked is None:
        count = round(share * len(patients))
        if not 0 < count < len(patients):
            raise ValueError(
                f"test must leave patients on both sides, got {share} of {len(patients)}: it is "
                "the share of patients held out for testing, in (0, 1)."
            )
    else:  # a share of those all of whose masks were checked, never all of them
        patients = patients[~torch.isin(patients, cases.patient[~checked])]
        whole = len(patients)
        count = min(max(1, round(share * whole)), whole - 1) if whole else 0
    return patients[torch.randperm(len(patients), generator=stream(0, "test"))[:count]]


def without_ending(name: str) -> str:
    """What the image of a file is called; a name with another ending is none."""
    file = Path(name).name
    ending = ENDING.search(file)
    return file[: ending.start()] if ending else name

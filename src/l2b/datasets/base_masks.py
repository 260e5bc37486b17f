"""What data sets of masks share: whole patients are held out, and ``clean.txt`` says who judges."""

from collections.abc import Collection, Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from l2b.datasets.base import Source, Split, moments
from l2b.files import read_text
from l2b.streams import stream
from l2b.types import Cases

CLEAN = "clean.txt"


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
    for line in filter(None, map(str.strip, read_text(path).splitlines())):
        # A name may hold a dot, so one that is known as it stands is not cut.
        name = next((name for name in (line, *_without_ending(line)) if name in known), None)
        if name is None:
            raise ValueError(f"{path} names {line!r}, and there is no such image.")
        found.add(name)
    return found


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


def _without_ending(name: str) -> tuple[str, str]:
    """What a file may be called without its ending, and without the two of .nii.gz."""
    stem = Path(name).stem
    return stem, Path(stem).stem

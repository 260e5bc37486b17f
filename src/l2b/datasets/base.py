"""What a data set is: a description that loads into plain tensors."""

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from l2b.features import Encoding
from l2b.grids import Grid
from l2b.targets import VOID, labelled
from l2b.types import Cases

PIECE = 4096  # samples looked at at a time
NUMBERS = 2**20  # and the numbers that they hold at most
ROUNDING = 1e-12  # a spread below this share of the mean is rounding: the feature is constant


class Split(NamedTuple):
    """Samples and their labels.

    Attributes:
        inputs: one row per sample; images as [N, channels, height, width], kept in their
            raw type (uint8 where the files hold bytes). They may stay in a file, see
            `RowsOnDisk`.
        labels: class indices, int64: one per sample, [N]; or a mask per image,
            [N, height, width], in which class 0 is the background; or several yes-or-no labels
            per sample, [N, tags], which are 0, 1 or −1 where nobody knows.
        cases: of masks, which images are slices of which volume; None for labels.
    """

    inputs: Tensor
    labels: Tensor
    cases: Cases | None = None


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set, in raw units.

    Attributes:
        train: training samples, with true labels if ``truth_known``, else as observed.
        test: held-out samples with true labels, or None if the data has none.
        classes: name of each class, in the order of the indices.
        truth_known: whether the labels of ``train`` are the truth.
        annotations: further label sets for ``train``, by name, each shaped like its labels:
            crowd labels, weak rules, a second annotator.
        trusted: positions in ``train`` whose labels were checked, [k] int64, or None.
        mean: subtracted from every raw sample, broadcastable to one sample.
        std: then divided by, broadcastable to one sample.
        encoding: what rows of a table become, where the samples are such.
        remark: what a reader must know of these bytes, for the run's record.
        names: what a person calls each training sample, such as the path of its file; each
            differs from the others, and there are none if the data gives none.
        values: of masks that are pictures, what stands for each class in their files.
        tags: of several yes-or-no labels per sample, the name of each; the classes are then no
            and yes. Empty where samples have one label, or a mask.
        checked: of several labels, which answers were checked, [N, tags] bool, none but of the
            trusted samples; None where all of theirs were.
    """

    train: Split
    test: Split | None
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    truth_known: bool = True
    annotations: Mapping[str, Tensor] = field(default_factory=dict)
    trusted: Tensor | None = None
    encoding: Encoding | None = None
    remark: str = ""
    names: tuple[str, ...] = ()
    values: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    checked: Tensor | None = None

    def shown(self) -> Tensor:
        """What trusted samples show: labels of ``train``, −1 where nobody checked an answer."""
        labels = self.train.labels
        return labels if self.checked is None else labels.masked_fill(~self.checked, VOID)

    def doubtful(self, labels: Tensor) -> Tensor:
        """Labels that may be wrong: single answers that were checked are −1 among them.

        Args:
            labels: of ``train``, or such as noise makes of them.
        """
        return labels if self.checked is None else labels.masked_fill(self.checked, VOID)

    def checked_in_part(self) -> Tensor:
        """Positions of the trusted samples of which answers are left that nobody checked."""
        if self.trusted is None or self.checked is None:
            return torch.zeros(0, dtype=torch.int64)
        left = labelled(self.doubtful(self.train.labels))
        return self.trusted[left[self.trusted]]


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """A data set by name and place."""

    @abstractmethod
    def load(self) -> Source:
        """Read everything that is not read later, batch by batch.

        Raises:
            FileNotFoundError: if files are missing; the message says where to fetch them
                and where to put them.
            ValueError: if a file is not what its name promises; the message names it.
        """

    def grids(self) -> Mapping[str, Grid]:
        """The grid of the file that each case's mask is read from, by the name of the case.

        Empty where masks have no files of their own; files are read as far as that takes.

        Raises:
            FileNotFoundError: if files are missing.
            ValueError: naming the file, if one is damaged.
        """
        return {}


def data_root(root: Path | str | None, name: str) -> Path:
    """Where the files of a named data set lie.

    Args:
        root: the user's own choice; comes first.
        name: folder under $L2B_DATA if that is set, else under ./data.
    """
    return Path(root) if root is not None else Path(os.environ.get("L2B_DATA", "data")) / name


def missing_file(path: Path, source: str) -> FileNotFoundError:
    """The error for a file that is not there.

    Args:
        path: the file.
        source: where it can be fetched.
    """
    return FileNotFoundError(
        f"There is no {path.name} in {path.parent.absolute()}. Fetch it from {source} and put it "
        "there, or give its folder (root, --root) or, for the parent of all data folders, the "
        "environment variable L2B_DATA."
    )


def check_depth(owner: str, depth: int | None) -> None:
    """Refuse a slab without slices.

    Raises:
        ValueError: if the depth is below 1.
    """
    if depth is not None and depth < 1:
        raise ValueError(
            f"{owner} needs depth >= 1 or none, got {depth}: it is how many neighbouring slices "
            "make one sample (U-Nets need 16); none trains on slices."
        )


def check_limit(owner: str, limit: int | None) -> None:
    """Refuse a number of training samples that leaves none.

    Raises:
        ValueError: if the limit is below 1.
    """
    if limit is not None and limit < 1:
        raise ValueError(
            f"{owner} needs limit >= 1 or None for all, got {limit}: it is the number of training "
            "samples to keep, from the first one on."
        )


def check_patient(owner: str, pattern: str) -> None:
    """Refuse a pattern that names no patient.

    Args:
        owner: the data set, for messages.
        pattern: regular expression whose first group names the patient; empty for none.

    Raises:
        ValueError: if it is no regular expression, or has no group.
    """
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(
            f"{owner} needs a regular expression as patient, got {pattern!r} "
            f"({error}): write a bracket that is meant as such with a backslash."
        ) from error
    if pattern and groups < 1:
        raise ValueError(
            f"{owner} needs a pattern with a group as patient, got {pattern!r}: put "
            "brackets around the part of the name that is the patient, such as (.+)_[0-9]+."
        )


def patient_of(name: str, pattern: str, file: Path) -> str:
    """Whom an image or a volume belongs to.

    Args:
        name: of the image or volume.
        pattern: as `check_patient` has it; if empty, everything has a patient of its own.
        file: the one with this name, for messages.

    Raises:
        ValueError: naming the file, if its name does not fit, or leaves the group out.
    """
    if not pattern:
        return name
    match = re.search(pattern, name)
    if match is None:
        raise ValueError(
            f"{file} does not fit the pattern {pattern!r} that names its patient (patient)."
        )
    if match.group(1) is None:
        raise ValueError(
            f"{file} fits the pattern {pattern!r} without its first group, which names the "
            "patient: let every name fill it (patient)."
        )
    return match.group(1)


def check_classes(labels: Tensor, classes: int, file: Path | str) -> None:
    """Refuse class indices that do not exist.

    Raises:
        ValueError: if one is out of [0, classes).
    """
    wrong = (labels < 0) | (labels >= classes)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(
            f"{file} must hold labels in [0, {classes}), got {int(labels[row])} in row {row}: "
            "there is no such class."
        )


def moments(inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of each feature, or of each channel of images.

    Args:
        inputs: [N, features] or [N, channels, *pixels], of any type.

    Returns:
        Both in raw units, float32, [features] or [channels, 1, …]; a standard deviation of
        0, but for rounding, is given as 1, so that constant features stay finite.
    """
    axes = [0, *range(2, inputs.ndim)]
    count = inputs.numel() // inputs.shape[1]
    # A piece at a time, in float64: exact, and without a float copy of everything.
    # Added up in place, since what is kept between pieces keeps the heap from shrinking.
    total, spread = torch.zeros(2, *inputs[:1].double().sum(axes, keepdim=True).shape).double()
    for piece in pieces(inputs):
        total += piece.double().sum(axes, keepdim=True)
    mean = total / count
    for piece in pieces(inputs):
        spread += (piece.double() - mean).square_().sum(axes, keepdim=True)
    std = (spread / count).sqrt()
    std = torch.where(std > ROUNDING * mean.abs(), std, 1.0)
    return mean[0].float(), std[0].float()


def pieces(inputs: Tensor) -> tuple[Tensor, ...]:
    """Consecutive samples, few enough that a copy of them takes little memory.

    Args:
        inputs: [N, …]; samples that lie in a file are read when they are computed with.
    """
    return inputs.split(max(1, min(PIECE, NUMBERS // max(1, math.prod(inputs.shape[1:])))))

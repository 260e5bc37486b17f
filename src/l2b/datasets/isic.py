"""ISIC 2019: skin lesions by dermoscopy (Tschandl et al. 2018; Combalia et al. 2019)."""

import csv
import hashlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from l2b.datasets.base import (
    Dataset,
    Source,
    Split,
    check_limit,
    data_root,
    missing_file,
    moments,
)
from l2b.decode import decode_images
from l2b.files import named_if_not_utf8, read_text

TRUTH = "ISIC_2019_Training_GroundTruth.csv"
IMAGES = "ISIC_2019_Training_Input"
METADATA = "ISIC_2019_Training_Metadata.csv"  # says which images show one lesion
LISTS = ("train.lst", "val.lst", "test.lst")
FIFTH = 2**256 // 5  # of all SHA-256 digests
SOURCE = "https://challenge.isic-archive.com/data/#2019"
CLASSES = ("MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC")
UNKNOWN = "UNK"  # a column that no training image belongs to
DRAWN = "There are no lists, so a fifth of the images was drawn for testing."


@dataclass(frozen=True, kw_only=True)
class Isic(Dataset):
    """ISIC 2019: 25,331 images of skin lesions, 8 diagnoses, two thirds of them one class.

    Reads the challenge's ground truth and its image folder. Who has lists of an experiment puts
    train.lst, val.lst and test.lst beside them, with one image name per line; images of val.lst
    follow those of train.lst, and clean and validation samples are drawn from both. Without
    lists a fifth of the images is for testing, always the same, and images of one lesion stay
    together where the challenge's metadata is there. Classes are far from balanced, so look at
    the balanced accuracy too.

    Attributes:
        root: folder of the files; by default $L2B_DATA/isic, else ./data/isic.
        size: height and width to which every image is brought, in pixels.
        limit: keep only the first so many training images; None keeps all.
        workers: threads that decode images; changes no result.
    """

    root: Path | str | None = None
    size: int = 64
    limit: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse images without pixels and a limit that leaves nothing."""
        if self.size < 1:
            raise ValueError(f"Isic needs size >= 1, got {self.size}: it is in pixels.")
        check_limit("Isic", self.limit)

    def load(self) -> Source:
        """Decode the images; channels are scaled by training moments."""
        root = data_root(self.root, "isic")
        truth = _truth(root / TRUTH)
        listed = any((root / name).is_file() for name in LISTS)
        train, test = _listed(root, truth) if listed else _drawn(root, truth)
        samples = self._split(train[: self.limit], truth, root)
        mean, std = moments(samples.inputs)
        return Source(
            train=samples,
            test=self._split(test, truth, root),
            classes=CLASSES,
            mean=mean,
            std=std,
            remark="" if listed else DRAWN,
        )

    def _split(self, names: list[str], truth: dict[str, int], root: Path) -> Split:
        paths = [root / IMAGES / f"{name}.jpg" for name in names]
        absent = next((path for path in paths if not path.is_file()), None)
        if absent is not None:
            raise missing_file(absent, SOURCE)
        pixels = decode_images(
            paths, self.size, name=root / IMAGES, resize=True, workers=self.workers
        )
        return Split(pixels, _labels(names, truth))


def _labels(names: list[str], truth: dict[str, int]) -> Tensor:
    return torch.tensor([truth[name] for name in names])


def _truth(path: Path) -> dict[str, int]:
    """The class of every image by name, from one-hot rows."""
    if not path.is_file():
        raise missing_file(path, SOURCE)
    with named_if_not_utf8(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        expected = ("image", *CLASSES)
        if not set(expected) <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path} must have the columns {', '.join(expected)}, got "
                f"{', '.join(reader.fieldnames or ()) or 'none'}."
            )
        truth = {}
        for number, row in enumerate(reader, start=2):
            ones = [k for k, name in enumerate(CLASSES) if row[name] == "1.0"]
            if len(ones) != 1 or row.get(UNKNOWN, "0.0") != "0.0":
                raise ValueError(
                    f"{path} must mark exactly one of {', '.join(CLASSES)} with 1.0 in every "
                    f"row, got {len(ones)} in line {number}: the line is cut or changed."
                )
            if truth.setdefault(row["image"], ones[0]) != ones[0]:
                raise ValueError(
                    f"{path} gives {row['image']} a second class in line {number}: every image "
                    "has one."
                )
    return truth


def _listed(root: Path, truth: dict[str, int]) -> tuple[list[str], list[str]]:
    """Names of training and test images by the lists."""
    first, second, test = (_names(root / name, truth) for name in LISTS)
    train = first + second
    _refuse_overlap(train, test, root)
    return train, test


def _drawn(root: Path, truth: dict[str, int]) -> tuple[list[str], list[str]]:
    """Names of training and test images where there are no lists; the same on every machine."""
    lesion = _lesions(root / METADATA)
    parts: tuple[list[str], list[str]] = [], []
    for name in truth:
        digest = hashlib.sha256((lesion.get(name) or name).encode()).digest()
        parts[int.from_bytes(digest) < FIFTH].append(name)
    for kind, names in zip(("training", "test"), parts, strict=True):
        if not names:
            raise ValueError(
                f"{root / TRUTH} names too few images, {len(truth)}, to draw a fifth of them for "
                f"testing: none is left for {kind}. Add {', '.join(LISTS)}."
            )
    return parts


def _lesions(path: Path) -> dict[str, str]:
    """The lesion that each image shows, as far as the metadata tells."""
    if not path.is_file():
        return {}
    with named_if_not_utf8(path), path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        if not {"image", "lesion_id"} <= set(reader.fieldnames or ()):
            raise ValueError(
                f"{path} must have the columns image and lesion_id, got "
                f"{', '.join(reader.fieldnames or ()) or 'none'}: fetch it again."
            )
        return {row["image"]: row["lesion_id"] or "" for row in reader}


def _names(path: Path, truth: dict[str, int]) -> list[str]:
    """Image names of one list, each with a known class."""
    if not path.is_file():
        raise missing_file(path, "the lists of the experiment (one image name per line)")
    names = [line.strip() for line in read_text(path).splitlines()]
    names = [name.removesuffix(".jpg") for name in names if name]
    unknown = next((name for name in names if name not in truth), None)
    if unknown is not None or not names:
        what = "is empty" if unknown is None else f"names {unknown}"
        raise ValueError(
            f"{path} must name images of {TRUTH}, one per line, but it {what}: its class is not "
            "known."
        )
    return names


def _refuse_overlap(train: list[str], test: list[str], root: Path) -> None:
    twice = next((name for name, count in Counter(train + test).items() if count > 1), None)
    if twice is not None:
        raise ValueError(
            f"The lists in {root} must name every image once, but {twice} occurs twice: what is "
            "trained on cannot be judged by."
        )

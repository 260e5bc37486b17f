"""Clothing1M: product images with labels from the text around them (Xiao et al. 2015)."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, Split, data_root, missing_file, moments
from l2b.decode import decode_images
from l2b.files import read_text

CLASSES = (
    "T-Shirt", "Shirt", "Knitwear", "Chiffon", "Sweater", "Hoodie", "Windbreaker", "Jacket",
    "Downcoat", "Suit", "Shawl", "Dress", "Vest", "Underwear",
)  # fmt: skip
KEY_VALUES = "{}_label_kv.txt"
SOURCE = "the authors (https://github.com/Cysu/noisy_label)"


@dataclass(frozen=True, kw_only=True)
class Clothing1m(Dataset):
    """Clothing1M: a million product images, 14 classes, real noise from shop texts (38 %).

    Reads noisy_train_key_list.txt, clean_val_key_list.txt and clean_test_key_list.txt (one
    path per line) and noisy_label_kv.txt and clean_label_kv.txt (path, space, class index).
    The 14,313 images of the clean validation list follow the noisy ones and are the trusted
    samples; the labels of the others are as observed, so choose ``--noise none``.

    Attributes:
        root: folder of the files; by default $L2B_DATA/clothing1m, else ./data/clothing1m.
        per_class: keep only the first so many noisy images of every (noisy) class, which also
            balances them; None keeps all. Everything is held in memory, at 3 · size² bytes
            per image.
        size: height and width to which every image is brought, in pixels.
        workers: threads that decode images; changes no result.
    """

    root: Path | str | None = None
    per_class: int | None = None
    size: int = 64
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse images without pixels and classes without images."""
        if self.size < 1:
            raise ValueError(f"Clothing1m needs size >= 1, got {self.size}: it is in pixels.")
        if self.per_class is not None and self.per_class < 1:
            raise ValueError(
                f"Clothing1m needs per_class >= 1 or None for all, got {self.per_class}: it is "
                "the number of noisy images to keep of every class."
            )

    def load(self) -> Source:
        """Decode the noisy, the clean validation and the clean test images."""
        root = data_root(self.root, "clothing1m")
        noisy, clean = (_labels(root / KEY_VALUES.format(kind)) for kind in ("noisy", "clean"))
        keys = self._kept(_keys(root, "noisy", "train", noisy), noisy)
        trusted, test = _keys(root, "clean", "val", clean), _keys(root, "clean", "test", clean)
        _refuse_overlap(keys, trusted, test, root)
        labels = [noisy[key] for key in keys] + [clean[key] for key in trusted]
        train = Split(self._pixels(keys + trusted, root), torch.tensor(labels))
        mean, std = moments(train.inputs)
        held_out = torch.tensor([clean[key] for key in test])
        return Source(
            train=train,
            test=Split(self._pixels(test, root), held_out),
            classes=CLASSES,
            mean=mean,
            std=std,
            truth_known=False,
            trusted=torch.arange(len(keys), len(labels)),
        )

    def _kept(self, keys: list[str], labels: dict[str, int]) -> list[str]:
        if self.per_class is None:
            return keys
        counts, kept = [0] * len(CLASSES), []
        for key in keys:
            if counts[labels[key]] < self.per_class:
                counts[labels[key]] += 1
                kept.append(key)
        return kept

    def _pixels(self, keys: list[str], root: Path) -> Tensor:
        paths = [root / key for key in keys]
        absent = next((path for path in paths if not path.is_file()), None)
        if absent is not None:
            raise missing_file(absent, SOURCE)
        return decode_images(paths, self.size, name=root, resize=True, workers=self.workers)


def _labels(path: Path) -> dict[str, int]:
    """The class index of every path of a key-value file."""
    found = {}
    for number, line in enumerate(_lines(path), start=1):
        key, _, label = line.rpartition(" ")
        if not key or not label.isdecimal() or int(label) >= len(CLASSES):
            raise ValueError(
                f"{path} must hold a path, a space and a class index in [0, {len(CLASSES)}) in "
                f"every line, got {line!r} in line {number}."
            )
        found[key] = int(label)
    return found


def _keys(root: Path, kind: str, part: str, labels: dict[str, int]) -> list[str]:
    """Paths of one list, each with a known label."""
    path = root / f"{kind}_{part}_key_list.txt"
    keys = _lines(path)
    unknown = next((key for key in keys if key not in labels), None)
    if unknown is not None:
        raise ValueError(
            f"{path} names {unknown}, which has no label in {KEY_VALUES.format(kind)} beside it: "
            "fetch both again."
        )
    return keys


def _refuse_overlap(noisy: list[str], trusted: list[str], test: list[str], root: Path) -> None:
    """What is learned from may not be judged by, and a checked image has one label."""
    for part, others, name in (
        (test, {*noisy, *trusted}, "clean_test_key_list.txt"),
        (trusted, {*noisy}, "clean_val_key_list.txt"),
    ):
        both = next((key for key in part if key in others), None)
        if both is not None:
            raise ValueError(
                f"The lists in {root} must not share images, but {both} of {name} is in another "
                "one too: what is trained on cannot be judged by."
            )


def _lines(path: Path) -> list[str]:
    if not path.is_file():
        raise missing_file(path, SOURCE)
    lines = [line.strip() for line in read_text(path).splitlines()]
    lines = [line for line in lines if line]
    if not lines:
        raise ValueError(f"{path} must hold one image per line, got none.")
    return lines

"""Your own images, one folder per class."""

import hashlib
import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, Split, moments
from l2b.decode import decode_images
from l2b.files import spelled_out

SUFFIXES = (".png", ".jpg", ".jpeg", ".jfif", ".bmp", ".gif", ".tif", ".tiff", ".webp")
SHOWN = 5  # kinds of files that a remark names
PARTS = ("train", "clean", "test")


@dataclass(frozen=True, kw_only=True)
class ImageFolder(Dataset):
    """Your own images: root/train/<class>/…, optionally root/test/… and root/clean/….

    Class names are the folders of ``train``, sorted. Images of ``clean`` are samples whose
    label was checked; they follow those of ``train`` and are listed in ``trusted``. No image may
    be in two of the three folders. Hidden files are left out, and a remark tells what else was
    not read, such as images in folders below those of the classes.

    Attributes:
        root: folder that holds ``train`` and, if there are any, ``test`` and ``clean``.
        size: height and width to which every image is brought, in pixels.
        workers: threads that decode images; changes no result.
    """

    root: Path | str
    size: int = 32
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse images without pixels."""
        if self.size < 1:
            raise ValueError(f"ImageFolder needs size >= 1, got {self.size}: it is in pixels.")

    def load(self) -> Source:
        """Decode every image; channels are scaled by the training samples' moments."""
        root = Path(self.root)
        classes = _classes(root / "train")
        files = {part: _files(root / part, classes) for part in PARTS if (root / part).is_dir()}
        _refuse_shared(files, root)
        train = self._split(root / "train", files["train"])
        trusted = None
        if "clean" in files:
            clean = self._split(root / "clean", files["clean"])
            trusted = len(train.labels) + torch.arange(len(clean.labels))
            inputs = torch.cat([train.inputs, clean.inputs])
            train = Split(inputs, torch.cat([train.labels, clean.labels]))
        mean, std = moments(train.inputs)
        learned = itertools.chain(*files["train"], *files.get("clean", []))
        return Source(
            train=train,
            test=self._split(root / "test", files["test"]) if "test" in files else None,
            classes=classes,
            mean=mean,
            std=std,
            truth_known=False,
            trusted=trusted,
            remark=_unread(files, root),
            names=tuple(spelled_out(path.relative_to(root).as_posix()) for path in learned),
        )

    def _split(self, folder: Path, files: list[list[Path]]) -> Split:
        """The decoded images of one folder, whose files are given class by class."""
        counts = torch.tensor([len(found) for found in files])
        paths = [path for found in files for path in found]
        pixels = decode_images(paths, self.size, name=folder, resize=True, workers=self.workers)
        return Split(pixels, _repeated(counts))


def _classes(train: Path) -> tuple[str, ...]:
    """Names of the classes, sorted."""
    if not train.is_dir():
        raise FileNotFoundError(
            f"There is no folder {train.absolute()}: put the images of each class into a folder of "
            "its own, train/<class>/."
        )
    classes = tuple(sorted(_folders(train)))
    if len(classes) < 2:
        raise ValueError(
            f"{train} must hold one folder per class, at least 2, got "
            f"{', '.join(classes) or 'none'}: there is nothing to tell apart."
        )
    return classes


def _files(folder: Path, classes: tuple[str, ...]) -> list[list[Path]]:
    """Image files of every class."""
    unknown = sorted(_folders(folder) - set(classes))
    if unknown:
        raise ValueError(
            f"{folder / unknown[0]} must be named like a class of train, which are "
            f"{', '.join(classes)}: a model never learns other classes."
        )
    return [_images(folder / name) for name in classes]


def _refuse_shared(files: dict[str, list[list[Path]]], root: Path) -> None:
    """What is learned from may not be judged by, and a checked image has one label."""
    by_size: dict[int, list[tuple[str, Path]]] = {}
    for part, classes in files.items():
        for path in itertools.chain(*classes):
            by_size.setdefault(path.stat().st_size, []).append((part, path))
    for alike in by_size.values():
        if len({part for part, _ in alike}) == 1:
            continue
        seen: dict[str, tuple[str, Path]] = {}
        for part, path in alike:
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            other, first = seen.setdefault(content, (part, path))
            if other != part:
                raise ValueError(
                    f"{root} must hold every image in one of {', '.join(PARTS)}, got the same in "
                    f"{first} and {path}: what is learned from cannot be judged by, and a checked "
                    "image has one label. Move images, do not copy them."
                )


def _folders(folder: Path) -> set[str]:
    return {p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")}


def _images(folder: Path) -> list[Path]:
    """Image files of one class, sorted; none if the split leaves the class out."""
    if not folder.is_dir():
        return []
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES and p.name[0] != ".")
    if not found:
        raise ValueError(
            f"{folder} must hold images ({', '.join(SUFFIXES)}), got none: fill the folder or "
            "remove it."
        )
    wrong = next((path for path in found if not path.is_file()), None)
    if wrong is not None:
        what = "a folder" if wrong.is_dir() else "a link to nothing, or no file"
        raise ValueError(f"{wrong} must be an image, got {what}: rename or remove it.")
    return found


def _unread(files: dict[str, list[list[Path]]], root: Path) -> str:
    """What a reader must know of files that are there and were not read."""
    read = {path for classes in files.values() for path in itertools.chain(*classes)}
    there = (path for part in files for path in (root / part).rglob("*") if path not in read)
    left = [path for path in there if path.is_file() and not is_hidden(path.relative_to(root))]
    if not left:
        return ""
    endings = {path.suffix.lower() or "without an ending" for path in left}
    kinds = sorted(endings.difference(SUFFIXES))
    shown = [*kinds[:SHOWN], *(["…"] if len(kinds) > SHOWN else [])]
    misplaced = ["images in other folders"] if endings.intersection(SUFFIXES) else []
    return f"{len(left)} files were not read ({', '.join([*misplaced, *shown])})."


def is_hidden(path: Path) -> bool:
    """Whether a path, or a folder on its way, is left alone as file managers do."""
    return any(part.startswith(".") for part in path.parts)


def _repeated(counts: Tensor) -> Tensor:
    return torch.arange(len(counts)).repeat_interleave(counts)

"""Your own data as NumPy arrays in one .npz file."""

import zipfile
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, Split, moments
from l2b.files import physical_memory
from l2b.notices import notice

Stored: TypeAlias = Mapping[str, np.ndarray]

REQUIRED = ("x_train", "y_train")
OPTIONAL = ("x_test", "y_test", "y_true", "clean_index", "classes")
DAMAGE = (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, SyntaxError)
LABELS = ("y_train", "y_true", "y_test")
NO_YES = ("no", "yes")  # the classes of every tag
CHANNELS = (3, 4)  # of images; as the length of the last axis, they are in the wrong place


@dataclass(frozen=True, kw_only=True)
class Arrays(Dataset):
    """Your own arrays in one .npz file: x_train, y_train and, if you have them, more.

    ============ ==========================================================================
    x_train      samples, [N, features] or [N, channels, height, width], floats or uint8
    y_train      observed labels, [N], integers from 0 or strings; or several tags a sample,
                 [N, tags], each 1 (yes), 0 (no), or −1 or NaN where nobody knows
    x_test       held-out samples, with y_test, their true labels
    y_true       true labels of x_train; y_train is then the annotation ``observed``, which
                 the noise model ``existing`` trains on; tags that are unknown here are so there
    clean_index  rows of x_train whose label in y_train (or y_true) was checked
    classes      names of the classes, in the order of the integers; or of the tags, in the
                 order of the columns
    ============ ==========================================================================

    Attributes:
        path: the file; ``np.savez(path, x_train=…, y_train=…)`` writes it.
    """

    path: Path | str

    def load(self) -> Source:
        """Read and check the arrays; features are scaled by the training samples' moments."""
        path = Path(self.path)
        stored = _read(path)
        inputs = _inputs(stored, "x_train", path)
        return assembled(stored, inputs, path, lambda labels: _test(stored, inputs, labels, path))


def assembled(
    stored: Stored,
    inputs: Tensor,
    where: Path,
    test: Callable[[Mapping[str, Tensor]], Split | None],
) -> Source:
    """A data set of arrays by their names.

    Args:
        stored: all of them but the samples.
        inputs: ``x_train``.
        where: their file or folder, for messages.
        test: makes the held-out samples, given the labels by name.

    Raises:
        ValueError: if they do not fit each other.
    """
    _check_shape(tuple(inputs.shape), where)
    given = {name: stored[name] for name in LABELS if name in stored}
    tagged = any(array.ndim == 2 for array in given.values())
    labels, names = (_tags if tagged else _labels)(stored, given, where)
    for name in LABELS[:2]:
        if name in labels:
            _check_length(labels[name], inputs, name, "x_train", where)
    known = "y_true" in labels
    mean, std = moments(inputs)
    return Source(
        train=Split(inputs, labels["y_true" if known else "y_train"]),
        test=test(labels),
        classes=NO_YES if tagged else names,
        mean=mean,
        std=std,
        truth_known=known,
        annotations={"observed": labels["y_train"]} if known else {},
        trusted=_trusted(stored, len(inputs), where),
        tags=names if tagged else (),
    )


def check_tags(labels: np.ndarray, tags: Sequence[str], where: str, advice: str = "") -> None:
    """Refuse tags that are the same wherever they are known; tell classes that look like tags.

    Args:
        labels: 0, 1 or −1 where nobody knows, [N, tags].
        tags: names of the columns.
        where: what has these columns, for messages.
        advice: what else may be wrong where an answer is lacking.

    Raises:
        ValueError: naming the column.
    """
    yes, no = (labels == 1).sum(axis=0), (labels == 0).sum(axis=0)
    constant = np.flatnonzero((yes == 0) | (no == 0)).tolist()
    if constant:
        first, *others = constant
        said = "only yes" if yes[first] else "only no" if no[first] else "neither"
        named = ", ".join(repr(tags[k]) for k in others)
        likewise = f" (and no two answers in {named})" if others else ""
        raise ValueError(
            f"Column {tags[first]!r} of {where} must hold yes and no, got {said} in "
            f"{len(labels)} rows{likewise}: there is nothing to tell apart there, leave it out"
            f"{advice}."
        )
    if (labels >= 0).all() and (labels.sum(axis=1) == 1).all():
        notice(
            f"Exactly one of the {len(tags)} tags of {where} is yes in every row: if they are "
            "classes of which each sample has one, give that one as an ordinary label."
        )


def _read(path: Path) -> Stored:
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path.absolute()}: write it with "
            "np.savez(path, x_train=…, y_train=…)."
        )
    try:
        with path.open("rb") as file:
            _refuse_bomb(file, path)
            loaded = np.load(file, allow_pickle=False)
            if isinstance(loaded, np.ndarray):
                raise ValueError("it holds a single array, as .npy does")
            stored = {name: loaded[name] for name in loaded.files}
    except (ValueError, OSError, EOFError, MemoryError, *DAMAGE) as error:
        raise ValueError(
            f"{path} cannot be read as .npz ({error}): it is damaged, no .npz file, or holds "
            "Python objects, which are refused because reading them can run any code. Write it "
            "with np.savez and arrays of numbers or strings."
        ) from error
    missing = [name for name in REQUIRED if name not in stored]
    if ("x_test" in stored) != ("y_test" in stored):
        missing.append("y_test" if "x_test" in stored else "x_test")
    unknown = [name for name in stored if name not in REQUIRED + OPTIONAL]
    if missing or unknown:
        wrong = [*(f"{name} is missing" for name in missing), *(f"{n} is unknown" for n in unknown)]
        raise ValueError(
            f"{path} must hold {', '.join(REQUIRED)} and may hold {', '.join(OPTIONAL)} (both of "
            f"x_test and y_test, or neither), but {', '.join(wrong)}."
        )
    return stored


def _refuse_bomb(file: BinaryIO, path: Path) -> None:
    """Refuse an archive that would not fit in memory, before anything is unpacked."""
    if not zipfile.is_zipfile(file):
        file.seek(0)
        return
    unpacked = sum(entry.file_size for entry in zipfile.ZipFile(file).infolist())
    memory = physical_memory()
    if unpacked > memory:
        raise ValueError(
            f"it unpacks from {path.stat().st_size:,} bytes to {unpacked / 2**30:,.1f} GiB, more "
            f"than the {memory / 2**30:,.1f} GiB of memory here"
        )
    file.seek(0)


def _inputs(stored: Stored, name: str, path: Path) -> Tensor:
    array = stored[name]
    if array.ndim < 2 or array.size == 0:
        raise ValueError(
            f"{name} in {path} must have one row per sample, [N, features] or [N, channels, "
            f"height, width], and not be empty, got the shape {array.shape}."
        )
    if array.dtype == np.uint8:
        return torch.from_numpy(array)
    if array.dtype.kind != "f":
        raise ValueError(
            f"{name} in {path} must hold floats or uint8, got {array.dtype}: convert it with "
            ".astype('float32'); turn categories into numbers first (e.g. one-hot)."
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is refused just below
        values = array.astype(np.float32)
    bad = ~np.isfinite(values)
    if bad.any():
        row, *column = np.argwhere(bad)[0].tolist()
        place = column[0] if len(column) == 1 else tuple(column)
        raise ValueError(
            f"{name} in {path} must hold finite numbers, got {array[row, *column]} in row {row}, "
            f"column {place} ({int(bad.sum())} such entries in all): fill them or drop the rows."
        )
    return torch.from_numpy(values)


def _check_shape(shape: tuple[int, ...], path: Path) -> None:
    """Refuse images whose channels are not in the second place."""
    if len(shape) == 4 and shape[3] in CHANNELS and min(shape[1:3]) > max(CHANNELS):
        raise ValueError(
            f"x_train in {path} must be [N, features] or [N, channels, height, width], got the "
            f"shape {shape}: channels come second, x.transpose(0, 3, 1, 2) puts them there."
        )


def _tags(
    stored: Stored, given: Mapping[str, np.ndarray], path: Path
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Labels of 0, 1 or −1 and the names of the tags."""
    if len({array.shape[1:] for array in given.values()}) > 1:
        shapes = ", ".join(f"{name} of shape {array.shape}" for name, array in given.items())
        raise ValueError(
            f"The labels in {path} must be all [N], or all [N, tags] with the same tags, got "
            f"{shapes}: they could not be compared."
        )
    width = given["y_train"].shape[1]
    if width < 2:
        raise ValueError(
            f"y_train in {path} must have at least 2 tags, [N, tags], got {width}: a single one "
            "is an ordinary label of two classes, y_train[:, 0] in place of y_train."
        )
    known = np.ravel(stored["classes"] if "classes" in stored else np.arange(width))
    names = tuple(map(str, known.tolist()))
    if len(names) != width or len(set(names)) < width:
        raise ValueError(
            f"classes in {path} must hold a different name for each of the {width} tags of "
            f"y_train, got {', '.join(names) or 'none'}."
        )
    answers = {name: _answers(array, name, path) for name, array in given.items()}
    check_tags(answers["y_train"], names, f"y_train in {path}")
    return {name: torch.from_numpy(array) for name, array in answers.items()}, names


def _answers(array: np.ndarray, name: str, path: Path) -> np.ndarray:
    """0, 1 or −1, int64, of what may be truth values, integers or floats."""
    rule = f"{name} in {path} must hold 1 (yes), 0 (no), or −1 or NaN (nobody knows)"
    if array.dtype.kind not in "biuf":
        raise ValueError(f"{rule}, got {array.dtype} of shape {array.shape}: write numbers.")
    values = np.where(np.isnan(array), -1, array) if array.dtype.kind == "f" else array
    wrong = ~np.isin(values, (-1, 0, 1))
    if wrong.any():
        row, column = np.argwhere(wrong)[0].tolist()
        raise ValueError(
            f"{rule}, got {values[row, column]} in row {row}, column {column}: of probabilities, "
            "say which are a yes; one integer for each sample, [N], is for classes."
        )
    return values.astype(np.int64)


def _labels(
    stored: Stored, given: Mapping[str, np.ndarray], path: Path
) -> tuple[dict[str, Tensor], tuple[str, ...]]:
    """Class indices and the names of the classes."""
    for name, array in given.items():
        if array.ndim != 1 or array.dtype.kind not in "iuUS":
            raise ValueError(
                f"{name} in {path} must hold one integer or string per sample, [N], or 0 or 1 for "
                f"each of its tags, [N, tags], got {array.dtype} of shape {array.shape}: class "
                "indices start at 0."
            )
    textual = {name for name, array in given.items() if array.dtype.kind in "US"}
    if textual and len(textual) < len(given):
        raise ValueError(
            f"The labels in {path} must be all integers or all strings, got strings in "
            f"{', '.join(sorted(textual))} only: they could not be compared."
        )
    if textual:
        given = {name: array.astype(str) for name, array in given.items()}
    seen = np.unique(np.concatenate(list(given.values())))
    classes = _classes(stored, seen, path)
    if textual:
        given = {name: _numbered(array, classes, name, path) for name, array in given.items()}
    _check_range(seen, classes, textual=bool(textual), path=path)
    return {name: torch.from_numpy(a.astype(np.int64)) for name, a in given.items()}, classes


def _classes(stored: Stored, seen: np.ndarray, path: Path) -> tuple[str, ...]:
    if "classes" in stored:
        names = tuple(map(str, stored["classes"].tolist()))
    elif seen.dtype.kind == "U":
        names = tuple(seen.tolist())
    else:
        names = tuple(map(str, range(len(seen))))
    if len(names) < 2 or len(set(names)) < len(names):
        raise ValueError(
            f"{path} must have at least 2 different classes, got {', '.join(names) or 'none'}: "
            "there is nothing to tell apart."
        )
    return names


def _numbered(array: np.ndarray, classes: tuple[str, ...], name: str, path: Path) -> np.ndarray:
    position = {label: k for k, label in enumerate(classes)}
    unknown = sorted(set(array.tolist()) - set(classes))
    if unknown:
        raise ValueError(
            f"{name} in {path} must hold names from classes, got {unknown[0]!r}: known are "
            f"{', '.join(classes)}."
        )
    return np.array([position[label] for label in array.tolist()], dtype=np.int64)


def _check_range(seen: np.ndarray, classes: tuple[str, ...], *, textual: bool, path: Path) -> None:
    if not textual and (seen[0] < 0 or seen[-1] >= len(classes)):
        wrong = seen[0] if seen[0] < 0 else seen[-1]
        raise ValueError(
            f"The labels in {path} must be the integers 0 to {len(classes) - 1} for "
            f"{len(classes)} classes, got {wrong}: renumber them from 0 without gaps, or, if a "
            "class just does not occur, name all of them (classes, --data.classes)."
        )


def _check_length(labels: Tensor, inputs: Tensor, label: str, name: str, path: Path) -> None:
    if len(labels) != len(inputs):
        raise ValueError(
            f"{path} has {len(inputs)} samples in {name} but {len(labels)} labels in {label}: "
            "every sample needs exactly one."
        )


def _test(stored: Stored, train: Tensor, labels: Mapping[str, Tensor], path: Path) -> Split | None:
    if "x_test" not in stored:
        return None
    inputs = _inputs(stored, "x_test", path)
    _check_length(labels["y_test"], inputs, "y_test", "x_test", path)
    if inputs.shape[1:] != train.shape[1:] or inputs.dtype != train.dtype:
        raise ValueError(
            f"x_test in {path} must look like x_train, samples of shape {tuple(train.shape[1:])} "
            f"and {train.dtype}, got {tuple(inputs.shape[1:])} and {inputs.dtype}."
        )
    return Split(inputs, labels["y_test"])


def _trusted(stored: Stored, samples: int, path: Path) -> Tensor | None:
    if "clean_index" not in stored:
        return None
    index = stored["clean_index"]
    ok = index.ndim == 1 and index.dtype.kind in "iu" and len(np.unique(index)) == len(index)
    if not ok or not len(index) or index.min() < 0 or index.max() >= samples:
        raise ValueError(
            f"clean_index in {path} must hold different rows of x_train, integers in [0, "
            f"{samples}), got {index.dtype} of shape {index.shape}"
            f"{f' from {index.min()} to {index.max()}' if ok and len(index) else ''}."
        )
    return torch.from_numpy(index.astype(np.int64))

"""Parquet files as a folder of arrays, a piece at a time, so that rows can be read in any order.

Parquet is compressed in blocks of many rows: a batch drawn at random would unpack most of the
file. Unpacked once, every row lies in one known place (see `l2b.datasets.array_folder`).
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from l2b.files import PARTIAL
from l2b.tables import TableFile, parquet_file

ROWS = 65_536  # unpacked at a time


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What the columns of a table are.

    Attributes:
        features: columns of numbers, or one column of lists of numbers, all of one length.
        label: column of classes, numbers or texts.
        checked: column of truth values, true where the label was checked; empty if there is none.
    """

    features: tuple[str, ...]
    label: str
    checked: str = ""

    def __post_init__(self) -> None:
        """Refuse no features, and a column that is two things."""
        if not any(self.features):
            raise ValueError(
                "There must be at least one column of features, got none: name those to learn from."
            )
        twice = next((name for name in self.all if self.all.count(name) > 1), None)
        if twice is not None:
            raise ValueError(
                f"Every column must be named once among features, label and checked, got {twice!r} "
                "twice: a model must not learn from the answer, nor from a column twice."
            )

    @property
    def all(self) -> tuple[str, ...]:
        """Every column that is read."""
        return (*self.features, self.label, *([self.checked] if self.checked else []))


def unpack_parquet(
    source: Path | str, out: Path | str, columns: Columns, *, progress: bool = True
) -> int:
    """Write ``x_train.npy``, ``y_train.npy`` and, if labels were checked, ``clean_index.npy``.

    Labels that are integers, but not those from 0 without a gap, are counted from 0, and
    ``classes.npy`` holds what they were.

    Memory holds 65,536 rows at a time and the labels. Features become float32. Nothing is left
    behind if it fails; what a killed process leaves, the next one to the same folder removes.

    Args:
        source: a Parquet file, or a folder of them, which are read in the order of their names.
        out: folder to make.
        columns: what to take.
        progress: show a progress bar on a terminal.

    Returns:
        The number of rows.

    Raises:
        FileExistsError: if the folder is there already.
        FileNotFoundError: if there is no Parquet file.
        ImportError: without pyarrow.
        ValueError: if a file is damaged, a column is missing, or cells are no numbers; the message
            names the file and the row.
    """
    files, out = _files(Path(source)), Path(out)
    if out.exists():
        raise FileExistsError(f"{out} exists already: choose another --out, or remove it.")
    for file in files:
        TableFile(file).check_columns(columns.all)
    counts = [parquet_file(file).metadata.num_rows for file in files]
    if not sum(counts):
        raise ValueError(f"{source} holds no rows: give a file with samples.")
    part = out.with_name(f".{out.name}{PARTIAL}")  # hidden, so no folder that a user made
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        _write(files, sum(counts), part, columns, progress=progress)
        part.rename(out)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return sum(counts)


def _files(source: Path) -> list[Path]:
    found = sorted(source.glob("*.parquet")) if source.is_dir() else [source]
    if not found or not found[0].is_file():
        raise FileNotFoundError(
            f"There is no Parquet file at {source.absolute()}: give a file, or a folder of files "
            "whose names end in .parquet."
        )
    return found


def _write(files: list[Path], rows: int, part: Path, columns: Columns, *, progress: bool) -> None:
    x: Any = None
    labels: list[np.ndarray] = []
    checked: list[np.ndarray] = []
    done = 0
    with tqdm(total=rows, unit=" rows", disable=None if progress else True) as bar:
        for file in files:
            first = 0  # row of this file
            for batch in parquet_file(file).iter_batches(ROWS, columns=list(columns.all)):
                where = f"{file}, rows {first + 1} to {first + len(batch)}"
                values = _features(batch, columns.features, where)
                if x is None:
                    shape = (rows, values.shape[1])
                    x = np.lib.format.open_memmap(
                        str(part / "x_train.npy"), mode="w+", dtype=np.float32, shape=shape
                    )
                if values.shape[1] != x.shape[1]:
                    raise ValueError(
                        f"{where}: there must be {x.shape[1]} features as before, got "
                        f"{values.shape[1]}: all rows have to be alike."
                    )
                x[done : done + len(batch)] = values
                labels.append(_labels(batch.column(columns.label), columns.label, where))
                if columns.checked:
                    mask = _truth(batch.column(columns.checked), columns.checked, where)
                    checked.append(done + np.flatnonzero(mask))
                done += len(batch)
                first += len(batch)
                bar.update(len(batch))
    x.flush()
    _write_labels(np.concatenate(labels), part)
    if columns.checked:
        index = np.concatenate(checked)
        if not len(index):
            raise ValueError(
                f"Column {columns.checked!r} is true nowhere: leave it out, or mark the rows whose "
                "labels were checked."
            )
        np.save(part / "clean_index.npy", index.astype(np.int64), allow_pickle=False)


def _write_labels(labels: np.ndarray, part: Path) -> None:
    if labels.dtype.kind == "i":
        seen, numbered = np.unique(labels, return_inverse=True)
        if not np.array_equal(seen, np.arange(len(seen))):
            labels = numbered.astype(np.int64)
            np.save(part / "classes.npy", seen.astype(str), allow_pickle=False)
    np.save(part / "y_train.npy", labels, allow_pickle=False)


def _features(batch: Any, names: Sequence[str], where: str) -> np.ndarray:
    """The features of some rows, [n, features], float32."""
    kinds = {name: batch.column(name).type for name in names}
    lists = [name for name, kind in kinds.items() if _is_list(kind)]
    if lists and len(names) > 1:
        raise ValueError(
            f"{where}: column {lists[0]!r} holds lists, so it has to be the only column of "
            f"features, got {', '.join(names)}."
        )
    for name in names:
        if batch.column(name).null_count:
            raise ValueError(
                f"{where}: column {name!r} has missing values: fill or remove these rows."
            )
    if lists:
        flat = batch.column(lists[0]).flatten()
        lengths = _lengths(batch.column(lists[0]))
        if len(lengths) != 1 or not lengths[0]:
            raise ValueError(
                f"{where}: the lists of {lists[0]!r} must have one length, got from "
                f"{lengths.min()} to {lengths.max()}: pad them."
            )
        return _numbers(flat, lists[0], where).reshape(-1, int(lengths[0]))
    return np.stack([_numbers(batch.column(name), name, where) for name in names], axis=1)


def _lengths(column: Any) -> np.ndarray:
    """Every length that occurs among the lists of a column."""
    size = getattr(column.type, "list_size", None)
    return np.unique(np.diff(column.offsets.to_numpy())) if size is None else np.array([size])


def _is_list(kind: Any) -> bool:
    import pyarrow as arrow

    tests = (arrow.types.is_list, arrow.types.is_large_list, arrow.types.is_fixed_size_list)
    return any(test(kind) for test in tests)


def _numbers(column: Any, name: str, where: str) -> np.ndarray:
    import pyarrow as arrow

    kind = column.type
    tests = (arrow.types.is_integer, arrow.types.is_floating, arrow.types.is_boolean)
    if not any(test(kind) for test in tests) or column.null_count:
        raise ValueError(
            f"{where}: column {name!r} must hold numbers, and no missing ones, got {kind}: turn "
            "texts into numbers first (e.g. one-hot), or leave the column out."
        )
    with np.errstate(over="ignore"):  # told below
        values = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float32)
    if not np.isfinite(values).all():
        row = int(np.flatnonzero(~np.isfinite(values))[0]) + 1
        raise ValueError(
            f"{where}: column {name!r} holds NaN, an infinite number or one beyond float32 (value "
            f"{row} of these): fill or remove it."
        )
    return values


def _labels(column: Any, name: str, where: str) -> np.ndarray:
    import pyarrow as arrow

    if column.null_count:
        raise ValueError(f"{where}: column {name!r} has missing labels: remove these rows.")
    if arrow.types.is_integer(column.type) or arrow.types.is_boolean(column.type):
        return np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.int64)
    return np.array([str(value) for value in column.to_pylist()])


def _truth(column: Any, name: str, where: str) -> np.ndarray:
    import pyarrow as arrow

    number = arrow.types.is_integer(column.type)
    if not (number or arrow.types.is_boolean(column.type)):
        raise ValueError(
            f"{where}: column {name!r} must hold truth values, or 1 and 0, got {column.type}: it "
            "says which labels were checked."
        )
    found = np.asarray(column.fill_null(0 if number else False).to_numpy(zero_copy_only=False))
    if number and not np.isin(found, (0, 1)).all():
        raise ValueError(
            f"{where}: column {name!r} must hold truth values, or 1 and 0, got "
            f"{found[~np.isin(found, (0, 1))][0]}: it says which labels were checked."
        )
    return found.astype(bool)

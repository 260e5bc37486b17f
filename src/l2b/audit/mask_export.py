"""Suggested masks as files, which are replaced only as long as nobody edited them."""

import hashlib
import shutil
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

from torch import Tensor

from l2b.files import read_json, write_json
from l2b.folder import set_aside
from l2b.grids import Grid, learned_grid
from l2b.types import Cases

STAGE = ".new"  # ends the name of the folder in which files are written first


def export_masks(
    folder: Path,
    cases: Cases,
    logits: Tensor,
    *,
    grids: Mapping[str, Grid] | None = None,
    values: Sequence[int] = (),
) -> tuple[str, ...]:
    """Write one file per case, on its own grid: volumes as NIfTI, single images as PNG.

    Beside the folder, ``<folder>.json`` holds the SHA-256 of what was written. A file that is
    no longer as it was written is somebody's work and stays; one that is, and whose case is
    gone, is removed. A folder without that record steps aside as a whole. What is written waits
    in a folder beside until the record knows it, so that an export that is stopped at any point
    tells its own files from those that somebody edits afterwards.

    Args:
        folder: where the files go.
        cases: which masks make up which volume.
        logits: of every class, on the learned grid, [N, classes, height, width].
        grids: of each case's file, by the name of the case; others are written on the learned one.
        values: what stands for each class in a PNG; none writes class indices.

    Returns:
        Names of the files that were edited since, and kept.

    Raises:
        ValueError: naming the case, if its grid is not the one that it was learned from.
    """
    record = folder.with_suffix(".json")
    if folder.is_dir() and not record.is_file():
        set_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, list[str]] = read_json(record) if record.is_file() else {}
    wanted = _writers(cases, logits, grids or {}, values)
    there = {path.name for path in folder.iterdir()}
    edited = tuple(sorted((there & {*wanted, *written}) - unedited(folder)))
    for name in sorted((there & set(written)) - set(wanted) - set(edited)):
        (folder / name).unlink()
        del written[name]
    ours, stage = sorted(set(wanted) - set(edited)), folder.with_name(folder.name + STAGE)
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    for name in ours:
        wanted[name](stage / name)
    new = {name: _digest(stage / name) for name in ours}
    # Until all have changed places, a file is one of both.
    write_json(record, written | {n: [*written.get(n, ()), digest] for n, digest in new.items()})
    for name in ours:
        (stage / name).replace(folder / name)
    stage.rmdir()
    write_json(record, written | {name: [digest] for name, digest in new.items()})
    return edited


def unedited(folder: Path) -> frozenset[str]:
    """Names of the files in a folder that are as `export_masks` wrote them.

    Raises:
        ValueError: if the record beside it is damaged.
    """
    record = folder.with_suffix(".json")
    written: dict[str, list[str]] = read_json(record) if record.is_file() else {}
    files = ((name, folder / name) for name in written)
    return frozenset(
        name for name, path in files if path.is_file() and _digest(path) in written[name]
    )


def _writers(
    cases: Cases, logits: Tensor, grids: Mapping[str, Grid], values: Sequence[int]
) -> dict[str, Callable[[Path], object]]:
    """What writes the mask of each case, by the name of its file."""
    found: dict[str, Callable[[Path], object]] = {}
    for case in cases.of.unique().tolist():
        rows, name = cases.rows(case), cases.names[case]
        spacing = cases.spacing[case].tolist()
        grid = grids.get(name) or learned_grid(len(rows), logits.shape[2:], spacing)
        found[f"{name}{grid.ending}"] = partial(_write, name, grid, logits, rows, values)
    return found


def _write(
    name: str, grid: Grid, logits: Tensor, rows: Tensor, values: Sequence[int], path: Path
) -> None:
    try:
        mask = grid.drawn(logits[rows].softmax(dim=1))
    except ValueError as error:
        raise ValueError(
            f"{name} was another file when the run learned from it: {error} Put it back as it was, "
            "or run it again."
        ) from error
    grid.write(path, mask, values)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

"""Suggested masks as files, which are replaced only as long as nobody edited them."""

import hashlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
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
    drawn: Iterable[tuple[int, Tensor]],
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
        cases: what each case is called, and its spacing.
        drawn: number of each case, and the logits of its slices on the learned grid,
            [slices, classes, height, width]; they are looked at one after the other.
        grids: of each case's file, by the name of the case; others are written on the learned one.
        values: what stands for each class in a PNG; none writes class indices.

    Returns:
        Names of the files that were edited since, and kept.

    Raises:
        ValueError: naming the case, if its grid is not the one that it was learned from.
    """
    stage = folder.with_name(folder.name + STAGE)
    shutil.rmtree(stage, ignore_errors=True)  # of an export that was killed
    stage.mkdir(parents=True)
    try:
        for case, logits in drawn:
            name = cases.names[case]
            spacing = cases.spacing[case].tolist()
            grid = (grids or {}).get(name) or learned_grid(len(logits), logits.shape[2:], spacing)
            _write(stage / f"{name}{grid.ending}", name, grid, logits, values)
        return _published(stage, folder)
    finally:
        shutil.rmtree(stage, ignore_errors=True)


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


def _published(stage: Path, folder: Path) -> tuple[str, ...]:
    """Move what was written into the folder, but for what was edited there, which is returned."""
    record = folder.with_suffix(".json")
    if folder.is_dir() and not record.is_file():
        set_aside(folder)
    folder.mkdir(exist_ok=True)
    written: dict[str, list[str]] = read_json(record) if record.is_file() else {}
    wanted = {path.name for path in stage.iterdir()}
    there = {path.name for path in folder.iterdir()}
    edited = (there & {*wanted, *written}) - unedited(folder)
    for name in sorted((there & set(written)) - wanted - edited):
        (folder / name).unlink()
        del written[name]
    new = {name: _digest(stage / name) for name in sorted(wanted - edited)}
    # Until all have changed places, a file is one of both.
    write_json(record, written | {n: [*written.get(n, ()), digest] for n, digest in new.items()})
    for name in new:
        (stage / name).replace(folder / name)
    write_json(record, written | {name: [digest] for name, digest in new.items()})
    return tuple(sorted(edited))


def _write(path: Path, name: str, grid: Grid, logits: Tensor, values: Sequence[int]) -> None:
    try:
        mask = grid.drawn(logits.softmax(dim=1))
    except ValueError as error:
        raise ValueError(
            f"{name} was another file when the run learned from it: {error} Put it back as it was, "
            "or run it again."
        ) from error
    grid.write(path, mask, values)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

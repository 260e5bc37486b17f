"""Suggested masks as files, which are replaced only as long as nobody edited them."""

import hashlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from l2b.files import read_json, write_json
from l2b.folder import set_aside
from l2b.types import Cases
from l2b.volumes import write_nifti

STAGE = ".new"  # ends the name of the folder in which files are written first
DEEPEST = 2**16  # values that a PNG can hold


def export_masks(
    folder: Path, cases: Cases, masks: Tensor, values: Sequence[int] | None = None
) -> tuple[str, ...]:
    """Write one file per case: volumes as NIfTI, single images as PNG.

    Beside the folder, ``<folder>.json`` holds the SHA-256 of what was written. A file that is
    no longer as it was written is somebody's work and stays; one that is, and whose case is
    gone, is removed. A folder without that record steps aside as a whole. What is written waits
    in a folder beside until the record knows it, so that an export that is stopped at any point
    tells its own files from those that somebody edits afterwards.

    Args:
        folder: where the files go.
        cases: which masks make up which volume.
        masks: class indices, [N, height, width].
        values: what stands for each class in a PNG; None writes class indices.

    Returns:
        Names of the files that were edited since, and kept.
    """
    record = folder.with_suffix(".json")
    if folder.is_dir() and not record.is_file():
        set_aside(folder)
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, list[str]] = read_json(record) if record.is_file() else {}
    wanted, there = _writers(cases, masks, values), {path.name for path in folder.iterdir()}
    edited = tuple(
        name
        for name in sorted(there & {*wanted, *written})
        if _digest(folder / name) not in written.get(name, ())
    )
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


def _writers(
    cases: Cases, masks: Tensor, values: Sequence[int] | None
) -> dict[str, Callable[[Path], object]]:
    """What writes the mask of each case, by the name of its file."""
    found: dict[str, Callable[[Path], object]] = {}
    for case in cases.of.unique().tolist():
        own, name = masks[cases.rows(case)], cases.names[case]
        if len(own) > 1:
            spacing = cases.spacing[case].tolist()
            found[f"{name}.nii.gz"] = lambda path, own=own, spacing=spacing: write_nifti(
                path, own, spacing
            )
        else:
            pixels = _pixels(own[0], values)
            found[f"{name}.png"] = lambda path, pixels=pixels: _save_png(path, pixels)
    return found


def _pixels(mask: Tensor, values: Sequence[int] | None) -> np.ndarray:
    if values is None or min(values) < 0 or max(values) >= DEEPEST:
        values = range(int(mask.max()) + 1)
    table = np.array(values, dtype=np.uint8 if max(values) < 256 else np.uint16)
    return table[mask.numpy()]


def _save_png(path: Path, pixels: np.ndarray) -> None:
    from l2b.decode import pillow

    pillow().fromarray(pixels).save(path)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()

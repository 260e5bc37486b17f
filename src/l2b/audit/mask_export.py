"""Suggested masks as files, which are replaced only as long as nobody edited them."""

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from torch import Tensor

from l2b.files import read_json, write_atomically, write_json
from l2b.folder import set_aside
from l2b.types import Cases
from l2b.volumes import write_nifti

UNKNOWN = None  # in the place of the SHA-256 of a file that is being written
DEEPEST = 2**16  # values that a PNG can hold


def export_masks(
    folder: Path, cases: Cases, masks: Tensor, values: Sequence[int] | None = None
) -> tuple[str, ...]:
    """Write one file per case: volumes as NIfTI, single images as PNG.

    Beside the folder, ``<folder>.json`` holds the SHA-256 of what was written. A file that is
    no longer as it was written is somebody's work and stays; one that is, and whose case is
    gone, is removed. A folder without that record steps aside as a whole.

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
    written: dict[str, str | None] = read_json(record) if record.is_file() else {}
    wanted, there = _writers(cases, masks, values), {path.name for path in folder.iterdir()}
    edited = tuple(
        name
        for name in sorted(there & {*wanted, *written})
        if written.get(name, "") not in (UNKNOWN, _digest(folder / name))
    )
    for name in sorted((there & set(written)) - set(wanted) - set(edited)):
        (folder / name).unlink()
        del written[name]
    ours = sorted(set(wanted) - set(edited))
    # A process that is killed in between leaves files that are known to be its own.
    write_json(record, written | dict.fromkeys(ours, UNKNOWN))
    for name in ours:
        write_atomically(folder / name, wanted[name])
        written[name] = _digest(folder / name)
    write_json(record, written)
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

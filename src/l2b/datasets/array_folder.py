"""Your own arrays, larger than memory: one .npy file each."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from l2b.datasets.arrays import OPTIONAL, _check_length, assembled
from l2b.datasets.base import Dataset, Source, Split
from l2b.on_disk import RowsOnDisk, unreadable

FILES = ("x_train", "y_train", *OPTIONAL)


@dataclass(frozen=True, kw_only=True)
class ArrayFolder(Dataset):
    """Your own arrays, one .npy file each: only the samples at hand are read into memory.

    The files are ``x_train.npy``, ``y_train.npy`` and, if you have them, ``x_test.npy``,
    ``y_test.npy``, ``y_true.npy``, ``clean_index.npy`` and ``classes.npy``, with the meaning that
    `Arrays` gives them. Samples stay on disk; labels are held in memory, 8 bytes each.

    Attributes:
        root: the folder; ``np.save(root / "x_train.npy", …)`` writes into it, and
            ``np.lib.format.open_memmap`` does so piece by piece.
    """

    root: Path | str

    def load(self) -> Source:
        """Read the labels and look through the samples once for their scale."""
        root = Path(self.root)
        if not root.is_dir():
            raise FileNotFoundError(
                f"There is no folder {root.absolute()}: put x_train.npy and y_train.npy into it, "
                "written with np.save."
            )
        self._check_names(root)
        inputs = RowsOnDisk(root / "x_train.npy")
        small = [name for name in FILES if not name.startswith("x_")]
        stored = {n: _read(root / f"{n}.npy") for n in small if (root / f"{n}.npy").exists()}
        return assembled(
            stored, inputs, root, lambda labels: _test(root, inputs, labels.get("y_test"))
        )

    def _check_names(self, root: Path) -> None:
        there = {path.stem for path in root.glob("*.npy")}
        missing = [name for name in FILES[:2] if name not in there]
        if ("x_test" in there) != ("y_test" in there):
            missing.append("y_test" if "x_test" in there else "x_test")
        wrong = [f"{name}.npy is missing" for name in missing]
        wrong += [f"{name}.npy is unknown" for name in sorted(there.difference(FILES))]
        if wrong:
            raise FileNotFoundError(
                f"{root} must hold x_train.npy and y_train.npy and may hold "
                f"{', '.join(f'{name}.npy' for name in OPTIONAL)} (both of x_test and y_test, or "
                f"neither), but {', '.join(wrong)}."
            )


def _read(path: Path) -> np.ndarray:
    """A whole small file."""
    try:
        return np.load(path, allow_pickle=False)
    except (ValueError, OSError, EOFError, MemoryError, SyntaxError) as error:
        raise unreadable(path, error) from error


def _test(root: Path, train: RowsOnDisk, labels: Tensor | None) -> Split | None:
    if labels is None:
        return None
    inputs = RowsOnDisk(root / "x_test.npy")
    _check_length(labels, inputs, "y_test", "x_test", root)
    if inputs.shape[1:] != train.shape[1:] or inputs.dtype != train.dtype:
        raise ValueError(
            f"{root / 'x_test.npy'} must look like x_train, samples of shape "
            f"{tuple(train.shape[1:])} and {train.dtype}, got {tuple(inputs.shape[1:])} and "
            f"{inputs.dtype}."
        )
    return Split(inputs, labels)

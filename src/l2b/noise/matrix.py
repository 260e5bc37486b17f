"""Noise by any transition matrix, written out or read from a file."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l2b.files import read_text
from l2b.noise.base import ClassConditional

TOLERANCE = 1e-6  # of a row's sum, so that printed decimals pass


@dataclass(frozen=True, kw_only=True)
class Matrix(ClassConditional):
    """Any transition matrix: row k says what class k is called, and how often.

    Attributes:
        rows: the matrix itself, one row per true class; each sums to 1 (within 1e-6).
        path: a file that holds it: .csv (commas, no header) or .npy. Give one of the two.
    """

    rows: tuple[tuple[float, ...], ...] | None = None
    path: Path | str | None = None

    def __post_init__(self) -> None:
        """Refuse no matrix, two matrices, and rows that are no distribution."""
        if (self.rows is None) == (self.path is None):
            given = "neither" if self.rows is None else "both"
            raise ValueError(
                f"Matrix needs either rows or path (--noise.rows, --noise.path), got {given}: "
                "there must be exactly one transition matrix."
            )
        if self.rows is not None:
            self._checked()

    def transition(self, classes: int) -> Tensor:
        """The matrix as given.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if the file cannot be read, a row is no distribution, or the size is
                not that of the data.
        """
        matrix = self._checked()
        if len(matrix) != classes:
            raise ValueError(
                f"{self._name()} is {len(matrix)} × {len(matrix)}, but the data has {classes} "
                f"classes: it must be {classes} × {classes}."
            )
        return torch.from_numpy(matrix)

    def _checked(self) -> np.ndarray:
        matrix = self._read()
        if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or not len(matrix):
            raise ValueError(
                f"{self._name()} must be square, one row and one column per class, got the "
                f"shape {matrix.shape}."
            )
        sums = matrix.sum(axis=1)
        ok = np.isfinite(matrix).all(axis=1) & (matrix >= 0).all(axis=1)
        ok &= np.abs(sums - 1) <= TOLERANCE
        if not ok.all():
            k = int(np.argmin(ok))
            raise ValueError(
                f"{self._name()} must have rows of probabilities that sum to 1, got row {k} = "
                f"{matrix[k].tolist()} with the sum {sums[k]:g}: row k says how often class k "
                "gets each label."
            )
        return matrix

    def _read(self) -> np.ndarray:
        try:
            if self.path is None:
                return np.array(self.rows, dtype=np.float64)
            path = Path(self.path)
            if not path.is_file():
                raise FileNotFoundError(
                    f"There is no file {path}: Matrix needs a .csv (commas, no header) or .npy "
                    "file with one row per class."
                )
            if path.suffix == ".npy":
                return np.load(path, allow_pickle=False).astype(np.float64)
            lines = read_text(path).splitlines()
            return np.array([row.split(",") for row in lines if row.strip()], dtype=np.float64)
        except (ValueError, EOFError, TypeError) as error:
            raise ValueError(
                f"{self._name()} cannot be read as a matrix of numbers ({error}): give .csv with "
                "commas and no header, or .npy, with rows of equal length."
            ) from error

    def _name(self) -> str:
        return "The transition matrix" if self.path is None else f"The matrix in {self.path}"

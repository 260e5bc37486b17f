"""A sparse matrix that hands out dense rows."""

from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

Features: TypeAlias = Any
"""A NumPy array or a CSR matrix: SciPy's annotations make every line on it an error."""


class SparseRows:
    """A CSR matrix in the place of an input tensor: only the rows asked for become dense.

    It has as much of a tensor's interface as training and judging use.

    Attributes:
        matrix: float32, CSR.
        device: where dense rows go.
    """

    def __init__(self, matrix: Features, device: torch.device | str = "cpu") -> None:
        """Hold the matrix; nothing is copied."""
        self.matrix, self.device = matrix, torch.device(device)

    @property
    def shape(self) -> torch.Size:
        """[N, features]."""
        return torch.Size(self.matrix.shape)

    def __len__(self) -> int:
        """Number of rows."""
        return self.matrix.shape[0]

    def __getitem__(self, rows: Tensor) -> Tensor:
        """Rows by their positions, dense."""
        return self._dense(self.matrix[rows.cpu().numpy()])

    def split(self, size: int) -> "Blocks":
        """Consecutive blocks, each dense only while it is looked at."""
        return Blocks(self, size)

    def float(self) -> Tensor:
        """Everything, dense."""
        return self._dense(self.matrix)

    def to(self, device: torch.device) -> "SparseRows":
        """The same matrix with its dense rows on another device."""
        return SparseRows(self.matrix, device)

    def block(self, start: int, size: int) -> Tensor:
        """Consecutive rows, dense."""
        return self._dense(self.matrix[start : start + size])

    def _dense(self, part: Features) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(part.toarray())).to(self.device)


class Blocks:
    """The consecutive blocks of a sparse matrix, one after the other."""

    def __init__(self, rows: SparseRows, size: int) -> None:
        """Make nothing dense yet."""
        self.rows, self.size = rows, size

    def __len__(self) -> int:
        """Number of blocks."""
        return -(-len(self.rows) // self.size)

    def __getitem__(self, number: int) -> Tensor:
        """One block, dense."""
        if number >= len(self):
            raise IndexError(number)
        return self.rows.block(number * self.size, self.size)

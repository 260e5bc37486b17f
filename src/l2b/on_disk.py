"""Samples that stay in a file: taking rows reads nothing, computing with them reads those alone."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

TYPES = {
    "f2": torch.float16,
    "f4": torch.float32,
    "f8": torch.float64,
    "u1": torch.uint8,
}
aten = torch.ops.aten


class RowsOnDisk(Tensor):
    """Rows of a .npy file, in any order, as a tensor that holds none of them.

    Taking rows (by positions, a mask, a slice, or in pieces) gives such a tensor again and reads
    nothing. Whatever else is done with it reads its rows, computes with an ordinary tensor and
    keeps neither: memory holds the rows at hand and, here, 8 bytes for each that was chosen one by
    one. The file is opened anew for every reading, so that none of it stays mapped.

    Attributes:
        path: the file.
        rows: which rows of it, in their order.
    """

    path: Path
    rows: range | Tensor

    # As torch documents for tensors that answer below autograd.
    __torch_function__: Any = torch._C._disabled_torch_function_impl

    def __new__(cls, path: Path, rows: range | Tensor | None = None) -> "RowsOnDisk":
        """Look at the file's header.

        Args:
            path: the file.
            rows: positions in it, [n] int64; None for all, in order.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged, or holds other than samples of floats or bytes.
        """
        stored = opened(path)
        return cls._make(path, range(len(stored)) if rows is None else rows, stored)

    @classmethod
    def _make(cls, path: Path, rows: range | Tensor, like: "np.ndarray | RowsOnDisk") -> Any:
        dtype = like.dtype if isinstance(like, Tensor) else TYPES[like.dtype.str[1:]]
        shape = (len(rows), *like.shape[1:])
        found = Tensor._make_wrapper_subclass(cls, shape, dtype=dtype)
        found.path, found.rows = path, rows
        return found

    def __init__(self, path: Path, rows: range | Tensor | None = None) -> None:
        """Nothing is left to do."""

    def __repr__(self, *, tensor_contents: object = None) -> str:
        """What it stands for, without reading it."""
        del tensor_contents
        return f"RowsOnDisk({str(self.path)!r}, shape={tuple(self.shape)}, dtype={self.dtype})"

    def read(self) -> Tensor:
        """The rows themselves, in memory of their own.

        Raises:
            FileNotFoundError: if the file is gone.
            ValueError: if it is not the file any more that it was.
        """
        stored = opened(self.path)
        if stored.shape[1:] != self.shape[1:] or TYPES[stored.dtype.str[1:]] != self.dtype:
            raise ValueError(
                f"{self.path} was replaced while it was being read: it held samples of shape "
                f"{tuple(self.shape[1:])} and {self.dtype}, and now holds {stored.shape[1:]} and "
                f"{stored.dtype}. Leave it alone until the run has ended."
            )
        if isinstance(self.rows, range):
            return _tensor(stored[self.rows.start : self.rows.stop : self.rows.step])
        order = self.rows.argsort()  # disks read best in their own order
        found = torch.empty(self.shape, dtype=self.dtype)
        found[order] = _tensor(stored[self.rows[order].numpy()])
        return found

    def taken(self, rows: range | Tensor) -> "RowsOnDisk":
        """Some of the rows, unread; ``rows`` are positions among them."""
        if isinstance(rows, range):
            return self._make(self.path, self.rows[rows.start : rows.stop : rows.step], self)
        rows = rows.detach().cpu()
        rows = rows.nonzero().squeeze(1) if rows.dtype == torch.bool else rows
        if len(rows) and not 0 <= int(rows.min()) <= int(rows.max()) < len(self):
            raise IndexError(f"Rows must lie in [0, {len(self)}), got {rows.min()}…{rows.max()}.")
        if isinstance(self.rows, range):
            if self.rows.start or self.rows.step != 1:
                rows = rows * self.rows.step + self.rows.start
            return self._make(self.path, rows, self)
        return self._make(self.path, self.rows[rows], self)

    def numpy(self, *, force: bool = False) -> np.ndarray:
        """The rows as an array of NumPy."""
        return self.read().numpy(force=force)

    def tolist(self) -> list[Any]:
        """The rows as nested lists."""
        return self.read().tolist()

    @classmethod
    def __torch_dispatch__(
        cls,
        func: Any,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Choose rows unread where the operation just does that; else read them first."""
        del types
        if func in CHOICES and isinstance(args[0], RowsOnDisk):
            chosen = CHOICES[func](*args, **(kwargs or {}))
            if chosen is not NotImplemented:
                return chosen

        def read(value: Any) -> Any:
            return value.read() if isinstance(value, RowsOnDisk) else value

        return func(*tree_map(read, args), **tree_map(read, kwargs or {}))


def opened(path: Path) -> np.ndarray:
    """A .npy file of samples, mapped into memory and unread.

    Raises:
        FileNotFoundError: if there is none.
        ValueError: if it is damaged, cut off, or holds other than floats or bytes.
    """
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path.absolute()}: write it with np.save, or with "
            "np.lib.format.open_memmap piece by piece where it does not fit in memory."
        )
    try:
        with np.errstate(over="raise"):  # sizes that lie may overflow
            stored = np.lib.format.open_memmap(str(path), mode="r")
    except (ValueError, OSError, EOFError, SyntaxError, ArithmeticError) as error:
        raise unreadable(path, error) from error
    if stored.ndim < 2 or stored.size == 0:
        raise ValueError(
            f"{path} must have one row per sample, [N, features] or [N, channels, height, width], "
            f"and not be empty, got the shape {stored.shape}."
        )
    if stored.dtype.str[1:] not in TYPES:
        raise ValueError(
            f"{path} must hold floats or uint8, got {stored.dtype}: convert it with "
            ".astype('float32'); turn categories into numbers first (e.g. one-hot)."
        )
    return stored


def unreadable(path: Path, error: Exception) -> ValueError:
    """The error for a .npy file that cannot be read."""
    return ValueError(
        f"{path} cannot be read as .npy ({' '.join(str(error).split())}): it is damaged, cut off, "
        "no .npy file, or holds Python objects, which are refused because reading them can run any "
        "code. Write it with np.save and an array of numbers (or, for labels, strings)."
    )


def _tensor(stored: np.ndarray) -> Tensor:
    """A copy in memory, in this machine's order of bytes."""
    return torch.from_numpy(np.array(stored, dtype=stored.dtype.newbyteorder("="), order="C"))


def _index(rows: RowsOnDisk, indices: Sequence[Tensor | None]) -> Any:
    plain = len(indices) == 1 and indices[0] is not None and indices[0].ndim == 1
    return rows.taken(indices[0]) if plain and indices[0] is not None else NotImplemented


def _slice(
    rows: RowsOnDisk, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1
) -> Any:
    if dim:
        return NotImplemented
    return rows.taken(range(len(rows))[slice(start, end, step)])


def _select(rows: RowsOnDisk, dim: int, index: int) -> Any:
    if dim:
        return NotImplemented
    first = index % len(rows) if -len(rows) <= index < len(rows) else index
    return rows.taken(torch.tensor([first])).read()[0]


def _split(rows: RowsOnDisk, size: int, dim: int = 0) -> Any:
    if dim:
        return NotImplemented
    starts = range(0, len(rows), size)
    return [rows.taken(range(s, min(s + size, len(rows)))) for s in starts]


def _same(rows: RowsOnDisk) -> RowsOnDisk:
    return rows.taken(range(len(rows)))


CHOICES: dict[Any, Callable[..., Any]] = {
    aten.index.Tensor: _index,
    aten.slice.Tensor: _slice,
    aten.select.int: _select,
    aten.split.Tensor: _split,
    aten.alias.default: _same,
    aten.detach.default: _same,
}

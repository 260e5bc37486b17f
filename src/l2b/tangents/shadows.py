"""A tangent for every piece of memory: views and in-place writes need no rules of their own."""

from collections.abc import Callable, Sequence
from typing import TypeAlias

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

SWEEP = 16  # registrations between two searches for memory that has been freed


class Unsupported(Exception):
    """What was met cannot be propagated beside the primal; another pass must do it."""


Kernel: TypeAlias = Callable[[Sequence[Tensor], Tensor | None], Tensor]
"""The tangent from given ones, in the memory of the second argument unless it is None."""


class _Twin:
    """The tangent of one storage, or how to obtain it.

    Attributes:
        storage: the storage it belongs to. Weak: it keeps the address from being used
            again, but not the memory alive.
        tangent: laid out like the storage; None while it is due.
        due: kernel, twins that it reads, and the views of them.
        readers: how many twins are due that read this one.
    """

    __slots__ = ("due", "readers", "storage", "tangent")

    def __init__(self, storage: StorageWeakRef, tangent: Tensor | None) -> None:
        self.storage, self.tangent = storage, tangent
        self.due: tuple[Kernel, list[_Twin], list[Tensor]] | None = None
        self.readers = 0

    def settled(self) -> Tensor:
        """The tangent; computed now if it is due, in memory that nobody else will read."""
        if self.due is not None:
            kernel, sources, dots = self.due
            self.forget()
            pairs = zip(sources, dots, strict=True)
            free = [d for s, d in pairs if s.storage.expired() and not s.readers]
            self.tangent = kernel(dots, free[0] if free else None)
        if self.tangent is None:
            raise RuntimeError("A twin holds neither a tangent nor a way to obtain it.")
        return self.tangent

    def forget(self) -> None:
        """Read no other twin any more."""
        if self.due is not None:
            for source in self.due[1]:
                source.readers -= 1
            self.due = None


class Shadows:
    """Tangents by storage: each tracked storage has a twin laid out in the same way.

    A tensor's tangent is the same view of the twin, so two views of one memory always have
    consistent tangents. Only a tensor that requires gradients has one: what autograd does
    not follow (detached, computed under `torch.no_grad`, frozen) stands still here too.
    """

    def __init__(self) -> None:
        """Start with nothing moving."""
        self._twins: dict[int, _Twin] = {}
        self._since_sweep = 0

    def of(self, x: Tensor) -> Tensor | None:
        """The tangent of x, a view of its twin; None if it is zero."""
        return self.behind(x) if x.requires_grad else None

    def behind(self, x: Tensor) -> Tensor | None:
        """The same view of the twin, whether autograd follows x or not."""
        found = self._twins.get(_address(x))
        if found is None:
            return None
        twin = found.settled()
        if twin.dtype != x.dtype:
            raise Unsupported(f"a view of {twin.dtype} memory as {x.dtype}")
        if twin.shape == x.shape and twin.stride() == x.stride() and x.storage_offset() == 0:
            return twin
        return twin.as_strided(x.shape, x.stride(), x.storage_offset())

    def tracks(self, x: Tensor) -> bool:
        """Whether the memory of x has a twin."""
        return _address(x) in self._twins

    def begin(self, x: Tensor, tangent: Tensor) -> None:
        """Give new memory its tangent, which must share none with another tangent."""
        if tangent.dtype != x.dtype:
            tangent = tangent.to(x.dtype)
        if not _same_layout(tangent, x):
            if _is_whole(x):
                tangent = torch.empty_strided(
                    x.shape, x.stride(), dtype=x.dtype, device=x.device
                ).copy_(tangent)
            else:
                self.write(x, tangent)
                return
        self._keep(x, tangent)

    def begin_later(self, y: Tensor, xs: Sequence[Tensor], kernel: Kernel) -> bool:
        """Give new memory a tangent of its inputs', computed when it is first asked for.

        By then the inputs may be gone, and their tangents' memory can be used again.

        Returns:
            Whether the layouts allow it; if not, nothing has happened.
        """
        if not xs or not _is_whole(y) or y.storage_offset() != 0:
            return False
        dots: list[Tensor] = []
        for x in xs:
            dot = self.of(x)
            if dot is None or not _same_layout(dot, y) or dot.dtype != y.dtype:
                return False
            dots.append(dot)
        sources = [self._twins[_address(x)] for x in xs]
        for source in sources:
            source.readers += 1
        self._keep(y, None).due = (kernel, sources, dots)
        return True

    def settle(self) -> None:
        """Compute what is due, before something that it reads is overwritten."""
        for twin in self._twins.values():
            if twin.due is not None and not twin.storage.expired():
                twin.settled()

    def write(self, x: Tensor, tangent: Tensor | None) -> None:
        """Overwrite the tangent of x, and with it that of every overlapping view."""
        view = self.behind(x)
        if view is None:
            if tangent is None:
                return
            size = x.untyped_storage().nbytes() // x.element_size()
            self._keep(x, torch.zeros(size, dtype=x.dtype, device=x.device))
            view = self.behind(x)
        if view is not None:
            view.zero_() if tangent is None else view.copy_(tangent)

    def _keep(self, x: Tensor, tangent: Tensor | None) -> _Twin:
        self._since_sweep += 1
        if self._since_sweep >= SWEEP:
            self._since_sweep = 0
            for address in [a for a, twin in self._twins.items() if twin.storage.expired()]:
                self._twins.pop(address).forget()
        twin = _Twin(StorageWeakRef(x.untyped_storage()), tangent)
        self._twins[_address(x)] = twin
        return twin


def _address(x: Tensor) -> int:
    try:
        return x.untyped_storage()._cdata
    except (NotImplementedError, RuntimeError) as error:
        raise Unsupported(f"a {x.layout} tensor of type {type(x).__name__}") from error


def _same_layout(a: Tensor, b: Tensor) -> bool:
    return (
        a.shape == b.shape
        and a.stride() == b.stride()
        and a.storage_offset() == b.storage_offset() == 0
        and a.untyped_storage().nbytes() >= b.untyped_storage().nbytes()
    )


def _is_whole(x: Tensor) -> bool:
    """Whether x covers its storage, each element once."""
    return x.untyped_storage().nbytes() == x.numel() * x.element_size()

"""Hashes by which one knows whether runs learned from the same data."""

import hashlib

import torch
from torch import Tensor

from l2b.datasets import Source
from l2b.datasets.base import NUMBERS, pieces

WHOLE = 2**32  # bytes of inputs that are hashed one and all, in a few seconds


def data_hash(source: Source) -> str:
    """SHA-256 of a data set as it was read: samples, labels, checked ones, and the scale.

    Args:
        source: a loaded data set.
    """
    names = source.classes if not source.tags else (source.classes, source.tags)
    found = hashlib.sha256(repr(names).encode())
    splits = [split for split in (source.train, source.test) if split is not None]
    trusted = [part for part in (source.trusted, source.checked) if part is not None]
    labels = (split.labels for split in splits)
    for tensor in (*labels, *trusted, *source.annotations.values(), source.mean, source.std):
        found.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        found.update(_plain(tensor).numpy().data)
    for split in splits:
        found.update(digest(split.inputs).encode())
    return found.hexdigest()


def digest(inputs: Tensor) -> str:
    """SHA-256 of samples in their order, in hexadecimal; wherever they lie, it is the same.

    Of more than 4 GB, evenly spaced samples with a million numbers stand for all: that others
    changed their places is not seen then. Floats count as float32, as models see them and as
    memory holds what a file has as float64.

    Args:
        inputs: [N, …]; those that lie in a file are read a piece at a time.
    """
    found = hashlib.sha256(f"{tuple(inputs.shape)}\n".encode())
    size, floats = inputs.numel(), inputs.is_floating_point()
    step = 1 if size * (4 if floats else 1) <= WHOLE else max(1, size // NUMBERS)
    for piece in pieces(inputs[::step]):
        found.update(_plain(piece.float() if floats else piece).numpy().data)
    return found.hexdigest()


def _plain(tensor: Tensor) -> Tensor:
    """Its bytes, row by row, [bytes]."""
    return torch.clone(tensor).cpu().reshape(-1).view(torch.uint8)  # a clone of rows in a file

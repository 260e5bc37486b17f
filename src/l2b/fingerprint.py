"""A hash by which one knows whether runs learned from the same data."""

import hashlib

import torch
from torch import Tensor

from l2b.datasets import Source
from l2b.datasets.base import NUMBERS, pieces
from l2b.on_disk import RowsOnDisk

WHOLE = 2**28  # bytes of inputs in memory that are hashed one and all


def data_hash(source: Source) -> str:
    """SHA-256 of a data set as it was read: samples, labels, checked ones, and the scale.

    Of inputs that are large or stay in a file, evenly spaced rows stand for all; that the others
    changed, their mean and standard deviation tell.

    Args:
        source: a loaded data set.
    """
    found = hashlib.sha256(repr(source.classes).encode())
    labels = [split.labels for split in (source.train, source.test) if split is not None]
    trusted = [] if source.trusted is None else [source.trusted]
    for tensor in (*labels, *trusted, *source.annotations.values(), *_inputs(source)):
        found.update(repr((tensor.dtype, tuple(tensor.shape))).encode())
        found.update(tensor.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _inputs(source: Source) -> list[Tensor]:
    """What stands for the inputs of both splits, in pieces."""
    found: list[Tensor] = []
    for split in (source.train, source.test):
        if split is None:
            continue
        inputs = split.inputs
        if inputs.nbytes <= WHOLE and not isinstance(inputs, RowsOnDisk):
            found += pieces(inputs)
            continue
        rows = inputs[:: max(1, inputs.numel() // NUMBERS)]
        found += [rows.read() if isinstance(rows, RowsOnDisk) else rows, source.mean, source.std]
    return found

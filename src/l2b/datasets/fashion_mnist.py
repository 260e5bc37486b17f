"""Fashion-MNIST (Xiao, Rasul and Vollgraf 2017) from the official IDX files."""

import gzip
import math
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l2b.datasets.base import (
    Dataset,
    Source,
    Split,
    check_classes,
    check_limit,
    data_root,
    missing_file,
)

CLASSES = (
    "T-shirt/top",
    "trouser",
    "pullover",
    "dress",
    "coat",
    "sandal",
    "shirt",
    "sneaker",
    "bag",
    "ankle boot",
)
MEAN, STD = 0.2860, 0.3530  # of pixels in [0, 1]
SOURCE = "https://github.com/zalandoresearch/fashion-mnist (data/fashion)"
LARGEST = 2**28  # bytes; several times the official files
UNSIGNED_BYTE = 0x08  # IDX's code for the type of the entries


@dataclass(frozen=True, kw_only=True)
class FashionMnist(Dataset):
    """Fashion-MNIST: 60,000 + 10,000 grey images of clothes, 28×28, 10 classes.

    Attributes:
        root: folder of the four official .gz files; by default $L2B_DATA/fashion_mnist, else
            ./data/fashion_mnist.
        limit: keep only the first so many training images; None keeps all.
    """

    root: Path | str | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        """Refuse a limit that leaves nothing."""
        check_limit("FashionMnist", self.limit)

    def load(self) -> Source:
        """Read both splits."""
        root = data_root(self.root, "fashion_mnist")
        train = _read_split(root, "train")
        return Source(
            train=Split(train.inputs[: self.limit], train.labels[: self.limit]),
            test=_read_split(root, "t10k"),
            classes=CLASSES,
            mean=torch.tensor(255 * MEAN).view(1, 1, 1),
            std=torch.tensor(255 * STD).view(1, 1, 1),
        )


def read_idx(path: Path, dimensions: int) -> Tensor:
    """Read a gzip-compressed IDX file of bytes.

    The format: two zero bytes, the type of the entries, the number of dimensions, each size
    as a big-endian 32-bit integer, then the entries.

    Args:
        path: the file.
        dimensions: how many the file must have.

    Returns:
        The entries, uint8.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged, cut off, or no IDX file of this kind.
    """
    if not path.is_file():
        raise missing_file(path, SOURCE)
    try:
        with gzip.open(path) as file:
            content = file.read(LARGEST + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise ValueError(
            f"{path} cannot be decompressed ({error}): it is damaged or cut off. Fetch it again "
            f"from {SOURCE}."
        ) from error
    if len(content) > LARGEST:
        raise ValueError(
            f"{path} must unpack to at most {LARGEST:,} bytes, got more: it is not the official "
            f"file. Fetch it again from {SOURCE}."
        )
    magic = bytes((0, 0, UNSIGNED_BYTE, dimensions))
    start = len(magic) + 4 * dimensions
    if content[:4] != magic or len(content) < start:
        raise ValueError(
            f"{path} must begin with the IDX magic number {magic.hex()} ({dimensions} dimensions "
            f"of bytes), got {content[:4].hex() or 'nothing'}: it is another kind of file."
        )
    shape = struct.unpack(f">{dimensions}I", content[4:start])
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{path} announces {math.prod(shape)} bytes of data, got {len(content) - start}: it "
            f"is damaged or cut off. Fetch it again from {SOURCE}."
        )
    return torch.from_numpy(np.frombuffer(content, np.uint8, offset=start).copy()).view(shape)


def _read_split(root: Path, prefix: str) -> Split:
    images_file = root / f"{prefix}-images-idx3-ubyte.gz"
    labels_file = root / f"{prefix}-labels-idx1-ubyte.gz"
    images, labels = read_idx(images_file, 3), read_idx(labels_file, 1).long()
    if len(images) != len(labels):
        raise ValueError(
            f"{images_file} holds {len(images)} images, but {labels_file.name} {len(labels)} "
            "labels: every image needs exactly one. They are not of the same split; fetch both "
            "again."
        )
    check_classes(labels, len(CLASSES), labels_file)
    return Split(images.unsqueeze(1), labels)

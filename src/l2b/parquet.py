"""Labelled images in the hub's parquet layout, from a folder or by name."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from l2b.decode import decode_images, is_jpeg


class Table(NamedTuple):
    """One split, images still encoded.

    Attributes:
        images: encoded bytes of each sample.
        labels: class indices, [N], int64.
        name: where it was read, for messages.
    """

    images: list[bytes]
    labels: Tensor
    name: str

    def decode(self, size: int, *, limit: int | None, workers: int) -> Tensor:
        """Pixels of the first ``limit`` images, [N, 3, size, size], uint8."""
        return decode_images(self.images[:limit], size, name=self.name, workers=workers)

    @property
    def jpeg(self) -> bool:
        """Whether the images are JPEG, so that pixels are not those of the original."""
        return any(map(is_jpeg, self.images))


def read_split(root: Path, split: str, label: str, *, hub: bool, source: str) -> Table:
    """Read one split, e.g. the files train-00000-of-00001.parquet under ``root``.

    Args:
        root: folder that holds the files, at any depth; or a name on the hub.
        split: ``train`` or ``test``.
        label: name of the label column; images are in ``img``.
        hub: whether ``root`` may be a name on the hub, where no such folder exists.
        source: where the files can be fetched, for messages.

    Raises:
        FileNotFoundError: if files are missing.
        ImportError: without pyarrow, or, for a name on the hub, without datasets.
        ValueError: if a file is damaged or lacks a column.
    """
    if hub and not root.exists() and re.fullmatch(r"[\w.-]+/[\w.-]+", root.as_posix()):
        return _table(_from_hub(root.as_posix(), split, source), label, f"{root} ({split})")
    files = _files(root, split, source)
    parts = [_table(_from_file(file), label, str(file)) for file in files]
    return Table(
        images=[image for part in parts for image in part.images],
        labels=torch.cat([part.labels for part in parts]),
        name=parts[0].name if len(parts) == 1 else f"{root} ({split})",
    )


def _files(root: Path, split: str, source: str) -> list[Path]:
    found = sorted(root.rglob(f"{split}-*.parquet"))
    numbered = re.search(r"-of-(\d+)$", found[0].stem) if found else None
    count = int(numbered[1]) if numbered else 1
    if len(found) == count:
        return found
    wanted = f"{split}-00000-of-{count:05}.parquet" + (f" and {count - 1} more" * (count > 1))
    raise FileNotFoundError(
        f"There must be {wanted} in {root.absolute()}, got {len(found)} file(s). Fetch the "
        f"parquet files from {source} and put them there, or give their folder (root, "
        "--root) or, for the parent of all data folders, the environment variable L2B_DATA."
    )


def _from_file(file: Path) -> Any:
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ImportError(
            "Reading parquet files needs pyarrow, which is not installed: "
            "pip install 'l2b[vision]'."
        ) from error
    try:
        return parquet.read_table(file)
    except (pyarrow.ArrowException, OSError) as error:
        raise ValueError(
            f"{file} is no complete parquet file ({error}): it is damaged or cut off. Fetch it "
            "again."
        ) from error


def _from_hub(name: str, split: str, source: str) -> Any:
    try:
        from datasets import load_dataset  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ImportError(
            f"There is no folder {name}, and to load it by name from the hub needs the library "
            "datasets, which is not installed: pip install datasets, or fetch the parquet files "
            f"from {source} and give their folder (root, --root)."
        ) from error
    return load_dataset(name, split=split).with_format("arrow")[:]


def _table(table: Any, label: str, name: str) -> Table:
    from pyarrow import types

    for column in ("img", label):
        if column not in table.column_names:
            raise ValueError(
                f"{name} must have the columns img and {label}, got "
                f"{', '.join(table.column_names) or 'neither'}: it belongs to another data set."
            )
    encoded, labels = table.column("img"), table.column(label)
    if not types.is_struct(encoded.type) or "bytes" not in encoded.type.names:
        raise ValueError(
            f"{name} must hold images as img = {{bytes, path}}, got {encoded.type}: this is not "
            "the hub's layout."
        )
    if not types.is_integer(labels.type) or labels.null_count or encoded.null_count:
        raise ValueError(
            f"{name} must hold an image and an integer {label} in every row, got "
            f"{labels.type} with {labels.null_count} empty labels and {encoded.null_count} "
            "empty images."
        )
    chunks = [chunk.field("bytes").to_pylist() for chunk in encoded.chunks]
    images = [image or b"" for chunk in chunks for image in chunk]  # b"" fails when decoded
    return Table(images, torch.tensor(labels.to_pylist(), dtype=torch.int64), name)

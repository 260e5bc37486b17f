"""CIFAR-10 (Krizhevsky 2009), with the human labels of CIFAR-10N (Wei et al. 2022)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from l2b.datasets.base import Dataset, Source, Split, check_classes, check_limit, data_root
from l2b.parquet import read_split

SIZE = 32  # pixels
BLOCK = 10_000  # samples of one file of the original archive
JPEG_REMARK = "pixels are JPEG-compressed, not bit-exact CIFAR"


@dataclass(frozen=True, kw_only=True)
class Edition:
    """What tells CIFAR-10 from CIFAR-100.

    Attributes:
        name: of the folder, and of the data set on the hub.
        label: column of the labels.
        classes: names of the classes.
        mean: per channel, of pixels in [0, 1].
        std: per channel, of pixels in [0, 1].
        human_file: official file of the human labels.
        human: key in that file of each annotation.
    """

    name: str
    label: str
    classes: tuple[str, ...]
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    human_file: str
    human: Mapping[str, str]


CIFAR10 = Edition(
    name="cifar10",
    label="label",
    classes=tuple(
        ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    ),
    mean=(0.4913, 0.4821, 0.4465),
    std=(0.2452, 0.2428, 0.2606),
    human_file="CIFAR-10_human.pt",
    human={
        "aggregate": "aggre_label",
        "random1": "random_label1",
        "random2": "random_label2",
        "random3": "random_label3",
        "worst": "worse_label",
    },
)


@dataclass(frozen=True, kw_only=True)
class Cifar10(Dataset):
    """CIFAR-10: 50,000 + 10,000 colour images, 32×32, 10 classes; human labels if present.

    Reads the hub's parquet files. If the official CIFAR-10_human.pt lies beside them, the
    annotations are aggregate, random1, random2, random3 and worst.

    Attributes:
        root: folder of the files, or a name on the hub (``uoft-cs/cifar10``); by default
            $L2B_DATA/cifar10, else ./data/cifar10.
        limit: keep only the first so many training images; None keeps all.
        workers: threads that decode images; changes no result.
    """

    root: Path | str | None = None
    limit: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse a limit that leaves nothing."""
        check_limit("Cifar10", self.limit)

    def load(self) -> Source:
        """Decode both splits, and read the human labels if they are there."""
        return load_cifar(CIFAR10, self.root, limit=self.limit, workers=self.workers)


def load_cifar(
    edition: Edition, root: Path | str | None, *, limit: int | None, workers: int
) -> Source:
    """Read either CIFAR; the fields of `Cifar10` say what the arguments mean."""
    folder = data_root(root, edition.name)
    source = f"https://huggingface.co/datasets/uoft-cs/{edition.name}"
    train, test = (
        read_split(folder, split, edition.label, hub=root is not None, source=source)
        for split in ("train", "test")
    )
    count = len(edition.classes)
    for table in (train, test):
        check_classes(table.labels, count, table.name)
    human = human_labels(folder / edition.human_file, edition.human, train.labels, count)
    return Source(
        train=Split(train.decode(SIZE, limit=limit, workers=workers), train.labels[:limit]),
        test=Split(test.decode(SIZE, limit=None, workers=workers), test.labels),
        classes=edition.classes,
        mean=255 * torch.tensor(edition.mean).view(3, 1, 1),
        std=255 * torch.tensor(edition.std).view(3, 1, 1),
        annotations={name: labels[:limit] for name, labels in human.items()},
        remark=JPEG_REMARK if train.jpeg or test.jpeg else "",
    )


def human_labels(
    path: Path, keys: Mapping[str, str], true: Tensor, classes: int
) -> dict[str, Tensor]:
    """Read an official label file of CIFAR-N and put it into the order of the images.

    The label file counts images as the five numbered files of the original archive do. A
    copy made in the order of the archive's table of contents holds these files in another
    order, so each block of images looks for its own labels.

    Args:
        path: CIFAR-10_human.pt or CIFAR-100_human.pt; absent means no human labels.
        keys: key in the file of each label set that is returned.
        true: true labels in the order of the images, [N].
        classes: number of classes.

    Returns:
        Label sets by name, each [N] int64; empty without a file.

    Raises:
        ValueError: if the file is damaged, incomplete, or about other images.
    """
    if not path.is_file():
        return {}
    stored = _read_human(path, ("clean_label", *keys.values()))
    order = _alignment(true, stored["clean_label"], path)
    aligned = {name: stored[key][order] for name, key in keys.items()}
    for labels in aligned.values():
        check_classes(labels, classes, path)
    return aligned


def _read_human(path: Path, keys: tuple[str, ...]) -> dict[str, Tensor]:
    rebuild = np.empty(0).__reduce__()[0]  # what numpy's arrays are unpickled with
    allowed = [
        (rebuild, "numpy.core.multiarray._reconstruct"),
        (rebuild, "numpy._core.multiarray._reconstruct"),
        np.ndarray,
        np.dtype,
        type(np.dtype(np.int64)),
    ]
    try:
        with torch.serialization.safe_globals(allowed):
            stored = torch.load(path, weights_only=True)
        found = {key: torch.as_tensor(labels).long() for key, labels in stored.items()}
    except Exception as error:  # on damaged files torch raises many kinds, down to IndexError
        raise ValueError(
            f"{path} cannot be read as the official label file of CIFAR-N: it is damaged or "
            "holds something else than arrays. Fetch it again from http://noisylabels.com."
        ) from error
    missing = [key for key in keys if key not in found]
    if missing or any(found[key].shape != found[keys[0]].shape for key in keys):
        raise ValueError(
            f"{path} must hold one label per image under each of {', '.join(keys)}, got "
            f"{', '.join(f'{key} {tuple(value.shape)}' for key, value in found.items())}: it is "
            "not the official file."
        )
    return found


def _alignment(true: Tensor, stored: Tensor, path: Path) -> Tensor:
    """Position in the label file of every image, found block by block."""
    blocks = stored.split(BLOCK)
    places = list(torch.arange(len(stored)).split(BLOCK))
    order = [
        next((places[i] for i, block in enumerate(blocks) if torch.equal(part, block)), None)
        for part in true.split(BLOCK)
    ]
    found = [place for place in order if place is not None]
    if len(true) != len(stored) or len(found) != len(order):
        raise ValueError(
            f"{path} must belong to the training images beside it, but its {len(stored)} "
            f"clean_label differ from the {len(true)} labels of the images: every human label "
            "would go to a wrong image."
        )
    return torch.cat(found)

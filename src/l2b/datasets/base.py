"""What a data set is: a description that loads into plain tensors."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor


class Split(NamedTuple):
    """Samples and their labels.

    Attributes:
        inputs: one row per sample; images as [N, channels, height, width], kept in their
            raw type (uint8 where the files hold bytes).
        labels: class indices, [N], int64.
    """

    inputs: Tensor
    labels: Tensor


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set in memory, in raw units.

    Attributes:
        train: training samples, with true labels if ``truth_known``, else as observed.
        test: held-out samples with true labels, or None if the data has none.
        classes: name of each class, in the order of the indices.
        truth_known: whether the labels of ``train`` are the truth.
        annotations: further label sets for ``train``, by name, each [N] int64: crowd
            labels, weak rules, a second annotator.
        trusted: positions in ``train`` whose labels were checked, [k] int64, or None.
        mean: subtracted from every raw sample, broadcastable to one sample.
        std: then divided by, broadcastable to one sample.
        remark: what a reader must know of these bytes, for the run's record.
    """

    train: Split
    test: Split | None
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    truth_known: bool = True
    annotations: Mapping[str, Tensor] = field(default_factory=dict)
    trusted: Tensor | None = None
    remark: str = ""


@dataclass(frozen=True, kw_only=True)
class Dataset(ABC):
    """A data set by name and place."""

    @abstractmethod
    def load(self) -> Source:
        """Read everything into memory.

        Raises:
            FileNotFoundError: if files are missing; the message says where to fetch them
                and where to put them.
            ValueError: if a file is not what its name promises; the message names it.
        """

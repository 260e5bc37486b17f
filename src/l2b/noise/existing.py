"""Noise that is already there: a further label set that comes with the data."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.catalog import unknown
from l2b.noise.base import Noise, check_labels
from l2b.targets import VOID


@dataclass(frozen=True, kw_only=True)
class Existing(Noise):
    """Real wrong labels that come with the data: crowd workers, rules, a second annotator.

    Attributes:
        annotation: name of the label set, such as worst for CIFAR-10N; any other word lists those
            that the data has.
    """

    annotation: str

    def corrupt(
        self,
        labels: Tensor,
        *,
        inputs: Tensor,
        classes: int,
        annotations: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """A copy of the named label set; nothing is drawn."""
        del inputs, generator
        if not annotations:
            raise ValueError(
                f"Existing needs a data set with the annotation {self.annotation!r}, but this "
                "one carries none: add its label file (CIFAR-10_human.pt or CIFAR-100_human.pt, "
                "from http://noisylabels.com, beside the images; a folder masks_<name> beside "
                "masks), or draw noise with another model."
            )
        if self.annotation not in annotations:
            raise ValueError(unknown("annotation", self.annotation, sorted(annotations)))
        found = annotations[self.annotation]
        if found.shape != labels.shape:
            raise ValueError(
                f"The annotation {self.annotation!r} has the shape {tuple(found.shape)}, but the "
                f"training labels have {tuple(labels.shape)}: every sample needs one label."
            )
        least, name = VOID if found.ndim > 1 else 0, f"Labels of the annotation {self.annotation!r}"
        check_labels(found, classes, name, least=least)
        return found.clone()

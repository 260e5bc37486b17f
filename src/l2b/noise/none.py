"""No noise: labels as they are."""

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.noise.base import Noise, check_labels


@dataclass(frozen=True, kw_only=True)
class NoNoise(Noise):
    """Labels as they are, true or not: nothing is corrupted."""

    def corrupt(
        self,
        labels: Tensor,
        *,
        inputs: Tensor,
        classes: int,
        annotations: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """A copy of the labels; nothing is drawn."""
        del inputs, annotations, generator
        check_labels(labels, classes, "True labels")
        return labels.clone()

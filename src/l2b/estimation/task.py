"""What the user gave, as the data that training takes."""

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import torch
from torch import Tensor

from l2b.class_weights import ClassWeights
from l2b.data import Data, Pool
from l2b.estimation.rows import Features, SparseRows
from l2b.estimation.scaling import Scale
from l2b.notices import notice
from l2b.scoring import Scoring
from l2b.streams import stream_seed


@dataclass(frozen=True, kw_only=True)
class Given:
    """Noisy and checked samples, labels as class indices.

    Several yes-or-no labels a sample are 1, 0, or −1 where nobody knows, or, among the noisy ones,
    where the answer was checked.

    Attributes:
        x: noisy samples, scaled.
        y: their observed labels, [N, *tags].
        index: their rows in the user's X, [N].
        x_clean: checked samples, scaled.
        y_clean: their labels, [M, *tags].
        classes: names of the classes.
        tags: of several yes-or-no labels, the name of each; else empty.
        stood_in: whether nobody checked the checked ones, which are then among the noisy ones too.
    """

    x: Tensor | SparseRows
    y: Tensor
    index: Tensor
    x_clean: Tensor
    y_clean: Tensor
    classes: tuple[str, ...]
    tags: tuple[str, ...] = ()
    stood_in: bool = False

    def data(
        self,
        validation: float,
        seed: int,
        class_weights: ClassWeights = "none",
        scoring: Scoring = "auto",
    ) -> Data:
        """Everything as training data, a part of the checked samples kept for validation.

        Args:
            validation: share of the checked samples of each class, in [0, 1); with several labels,
                of all.
            seed: of the draw.
            class_weights: how much classes count.
            scoring: what an epoch is chosen by.
        """
        aside = held_out(self.y_clean, validation, seed)
        if validation and not aside.any():
            notice(
                f"No class has so many checked samples that a share of {validation:g} could be "
                "kept aside, so the last epoch is kept: check more, or set validation=0."
            )
        return Data(
            train=Pool(inputs=cast(Tensor, self.x), labels=self.y, index=self.index, true=None),
            clean=self.checked(~aside),
            validation=self.checked(aside) if aside.any() else None,
            test=None,
            classes=self.classes,
            mean=torch.tensor(0.0),
            std=torch.tensor(1.0),
            noise_rate=None,
            noise_hash="",
            class_weights=class_weights,
            tags=self.tags,
            scoring=scoring,
        )

    def checked(self, chosen: Tensor) -> Pool:
        """Some of the checked samples.

        Args:
            chosen: mask or positions.
        """
        labels = self.y_clean[chosen]
        return Pool(
            inputs=self.x_clean[chosen], labels=labels, index=torch.arange(len(labels)), true=labels
        )

    def learn_from(self, chosen: Tensor) -> "Given":
        """The same with only some of the checked samples.

        Args:
            chosen: mask or positions.
        """
        return replace(self, x_clean=self.x_clean[chosen], y_clean=self.y_clean[chosen])


def held_out(labels: Tensor, share: float, seed: int) -> Tensor:
    """A stratified mask of about this share of the samples; single samples are never taken.

    Those with several labels each are one stratum.
    """
    generator = np.random.default_rng(stream_seed(seed, "validation"))
    mask = torch.zeros(len(labels), dtype=torch.bool)
    stratum = labels if labels.ndim == 1 else torch.zeros(len(labels))
    for c in stratum.unique():
        rows = (stratum == c).nonzero().flatten().numpy()
        count = int(share * len(rows) + 1e-9)
        mask[torch.from_numpy(generator.permutation(rows)[:count])] = True
    return mask


def scaled(scale: Scale, x: Features) -> Tensor:
    """Scaled samples, dense."""
    found = scale(x)
    return found.float() if isinstance(found, SparseRows) else found

"""From prepared data to batches, each a function of the seed and its number alone."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from l2b.augment import Augmentation, Identity
from l2b.class_weights import ClassWeights, drawn_again, sample_weights
from l2b.data import Data, Pool
from l2b.streams import stream
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class Feed:
    """Deterministic batches: each is a function of the seed and its number alone.

    An epoch goes through every sample once, but for what is left over and samples without a label
    (of masks, without a labelled pixel). With class weights it is as long, and goes through each
    sample as often as the weight of its label as given says.

    Attributes:
        data: what to draw from, already on its device.
        batch: noisy samples per step.
        clean_batch: clean samples per step, at most as many as there are.
        augment: what is done to every batch of inputs.
        seed: of the run.
        ranks: processes that share every batch; each gets an equal part.
        rank: number of this process, from 0.
    """

    data: Data
    batch: int
    clean_batch: int
    augment: Augmentation
    seed: int
    ranks: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        """Refuse batches that cannot be filled."""
        if len(self.data.train) and not len(self._noisy):
            what, part = ("sample", "label") if self.data.tags else ("image", "labelled pixel")
            raise ValueError(
                f"No {what} outside the clean set has a {part}, so nothing is left to learn from: "
                "lower clean, or label some."
            )
        if not len(self.data.train):
            raise ValueError(
                "Every row of the training data is checked, so no label is left to learn from: "
                "mark as checked only what a person has looked at, and lower clean where the data "
                "has no marks."
            )
        if not 1 <= self.batch <= len(self._noisy):
            raise ValueError(
                f"training.batch must lie in [1, {len(self._noisy)}], the number of "
                f"training samples left after the clean set{self._and_void} was removed, got "
                f"{self.batch}."
            )
        if self.clean_batch < 1:
            raise ValueError(
                f"training.clean_batch must be at least 1, got {self.clean_batch}: every step "
                "looks at clean samples."
            )
        clean = min(self.clean_batch, len(self._clean))
        for name, size in (("batch", self.batch), ("clean_batch", clean)):
            if size % self.ranks:
                fitting = size - size % self.ranks
                raise ValueError(
                    f"training.{name} must be a multiple of the {self.ranks} processes, got "
                    f"{size}: each takes an equal part of it. "
                    + (f"Set it to {fitting}." if fitting else "Start fewer processes.")
                )
        if self.data.class_weights != "none":
            _ = self._noisy_weights, self._clean_weights  # refused now, if at all

    @property
    def steps(self) -> int:
        """Full batches per epoch; what is left over is seen in other epochs."""
        return len(self._noisy) // self.batch

    def epoch(self, epoch: int, first: int = 0) -> Iterator[tuple[Batch, Batch]]:
        """Pairs of a noisy and a clean batch; ``index`` counts within each pool.

        Args:
            epoch: from 0.
            first: the step to begin with.
        """
        order = self._order(self.data.train, "order", epoch)
        for step in range(first, self.steps):
            number = epoch * self.steps + step
            rows = order[step * self.batch : (step + 1) * self.batch]
            yield (
                self._batch(self.data.train, rows, "augment", number),
                self._batch(self.data.clean, self._clean_rows(number), "augment clean", number),
            )

    def _clean_rows(self, number: int) -> Tensor:
        # One endless sequence of shuffled passes, so no clean sample is favoured.
        size = len(self._clean)
        width = min(self.clean_batch, size)
        first, last = number * width // size, ((number + 1) * width - 1) // size
        passes = [
            self._order(self.data.clean, "clean order", turn) for turn in range(first, last + 1)
        ]
        start = number * width - first * size
        return torch.cat(passes)[start : start + width]

    def _order(self, pool: Pool, *names: str | int) -> Tensor:
        rows = self._clean if pool is self.data.clean else self._noisy
        order = rows[torch.randperm(len(rows), generator=stream(self.seed, *names))]
        if self.data.class_weights == "none":
            return order
        weights = self._clean_weights if pool is self.data.clean else self._noisy_weights
        return drawn_again(order, weights, stream(self.seed, "by class", *names))

    @property
    def _and_void(self) -> str:
        """What else is no noisy sample, in words."""
        void = len(self.data.train) - len(self._noisy)
        what = "samples that have no label" if self.data.tags else "images without a labelled pixel"
        return f", with {void} {what}," if void else ""

    @cached_property
    def _noisy(self) -> Tensor:
        return self.data.train.labelled().nonzero().squeeze(1)

    @cached_property
    def _clean(self) -> Tensor:
        return self.data.clean.labelled().nonzero().squeeze(1)

    @cached_property
    def _noisy_weights(self) -> Tensor:
        return _drawable(self.data.class_weights, self.data.train, "noisy")

    @cached_property
    def _clean_weights(self) -> Tensor:
        return _drawable(self.data.class_weights, self.data.clean, "clean")

    def _batch(self, pool: Pool, rows: Tensor, name: str, number: int) -> Batch:
        rows = rows.to(pool.labels.device)
        size = len(rows) // self.ranks
        own = slice(self.rank * size, (self.rank + 1) * size)
        if isinstance(self.augment, Identity):
            rows = rows[own]
            inputs = self.data.standardise(pool.inputs[rows])
            return Batch(index=rows, inputs=inputs, labels=pool.labels[rows])
        # Drawn for the whole batch, so that it does not depend on how it is shared.
        inputs = self.data.standardise(pool.inputs[rows])
        inputs = self.augment(inputs, stream(self.seed, name, number))
        labels = pool.labels[rows]
        if self.data.masks:  # the same draws once more, so masks stay on their images
            labels = self.augment.masks(labels, stream(self.seed, name, number))
        return Batch(index=rows[own], inputs=inputs[own], labels=labels[own])


def _drawable(weights: ClassWeights, pool: Pool, kind: str) -> Tensor:
    """How often each sample of a pool is drawn, in proportion, [N], on the CPU."""
    labels = pool.labels.cpu()
    if not isinstance(weights, str) and not any(weights[k] for k in labels.unique().tolist()):
        raise ValueError(
            f"class_weight gives none of the {kind} samples any weight, so none can be drawn: give "
            "one of their classes a positive weight."
        )
    return sample_weights(weights, labels)

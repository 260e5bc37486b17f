"""What a noise model is: true labels in, observed labels out, drawn once from a seed."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from l2b.mask_severity import Deform, amount_for, keep_objects, sample
from l2b.targets import VOID


@dataclass(frozen=True, kw_only=True)
class Noise(ABC):
    """A way in which labels go wrong."""

    @property
    def needs_truth(self) -> bool:
        """Whether true labels are what it corrupts."""
        return False

    @abstractmethod
    def corrupt(
        self,
        labels: Tensor,
        *,
        inputs: Tensor,
        classes: int,
        annotations: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """Draw the observed labels of a whole training split; ``labels`` stays as it was.

        Args:
            labels: true class indices in [0, classes), [N] or [N, *pixels], int64.
            inputs: the samples in raw units, [N, ...], for noise that depends on them.
            classes: number of classes.
            annotations: further label sets of the data, by name, each shaped like ``labels``.
            generator: CPU random stream that belongs to this draw alone.

        Returns:
            New class indices in [0, classes), shaped like ``labels``, int64.

        Raises:
            ValueError: if labels do not fit the classes, or the model does not fit the data.
        """


@dataclass(frozen=True, kw_only=True)
class ClassConditional(Noise):
    """Noise that depends on nothing but the true class."""

    @property
    def needs_truth(self) -> bool:
        """It corrupts true labels."""
        return True

    @abstractmethod
    def transition(self, classes: int) -> Tensor:
        """Probability of each observed class (column), given the true class (row).

        Args:
            classes: number of classes.

        Returns:
            Rows that sum to 1, [classes, classes], float64.

        Raises:
            ValueError: if the model is not defined for so many classes.
        """

    def corrupt(
        self,
        labels: Tensor,
        *,
        inputs: Tensor,
        classes: int,
        annotations: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """Invert each row's distribution function at one uniform number per label."""
        del inputs, annotations
        check_labels(labels, classes, "True labels")
        cumulative = self.transition(classes).cumsum(dim=1)
        # Divided by its own end, which is then exactly 1 and above every uniform number, so
        # that rounding can never pick a class of probability zero.
        cumulative = cumulative / cumulative[:, -1:]
        uniform = torch.rand(labels.shape, generator=generator, dtype=torch.float64)
        observed = torch.empty_like(labels)
        for k in labels.unique().tolist():  # a row at a time, so memory stays at one per label
            here = labels == k
            observed[here] = torch.searchsorted(cumulative[k], uniform[here], right=True)
        return observed


@dataclass(frozen=True, kw_only=True)
class MaskNoise(Noise):
    """Deformed masks, image by image; no class vanishes from an image unless that is the noise.

    Attributes:
        dice: the Dice of the corrupted against the true masks that the amount is chosen for,
            over all pixels of the split and mean over the classes; None takes the usual amount.
    """

    dice: float | None = None
    strongest: ClassVar[float] = 8.0  # largest multiple of the usual amount
    may_empty: ClassVar[bool] = False  # whether a class may vanish

    def __post_init__(self) -> None:
        """Refuse a target that is none."""
        if self.dice is not None and not 0 < self.dice < 1:
            raise ValueError(
                f"{type(self).__name__} needs 0 < dice < 1 or none, got {self.dice}: it is how "
                "well corrupted masks still fit the true ones."
            )

    @property
    def needs_truth(self) -> bool:
        """It corrupts true masks."""
        return True

    @abstractmethod
    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """Draw everything random once; what is left open is how much.

        Args:
            masks: true masks, [N, height, width], int64.
            generator: CPU random stream that belongs to this draw alone.

        Returns:
            Amounts of the images to deformed masks; the more, the less they fit.
        """

    def corrupt(
        self,
        labels: Tensor,
        *,
        inputs: Tensor,
        classes: int,
        annotations: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """Deform every mask by one amount, found for the target Dice if there is one.

        Masks in three dimensions, [N, depth, height, width], go wrong slice by slice. Void pixels
        (−1) have no part in any of it, and are background in what comes out.
        """
        del inputs, annotations
        if labels.ndim == 4:
            return self._of_slices(labels.flatten(0, 1), classes, generator).view_as(labels)
        return self._of_slices(labels, classes, generator)

    def _of_slices(self, labels: Tensor, classes: int, generator: torch.Generator) -> Tensor:
        name = type(self).__name__
        if labels.ndim != 3:
            raise ValueError(
                f"{name} needs masks [N, height, width], got labels of shape "
                f"{tuple(labels.shape)}: for one label per sample choose symmetric or pair_flip."
            )
        check_labels(labels, classes, "True masks", least=VOID)
        some = sample(labels)
        deform, amount = self.guarded(some, classes, generator), 1.0
        if self.dice is not None and bool((labels > 0).any()):
            true = some.clamp_min(0)
            amount = amount_for(
                name, self.dice, true, deform, strongest=self.strongest, classes=classes
            )
        if some is not labels:
            deform = self.guarded(labels, classes, generator)
        return deform(torch.full((len(labels),), amount))

    def guarded(self, masks: Tensor, classes: int, generator: torch.Generator) -> Deform:
        """The deformation of these masks under which no class vanishes unless it may.

        Args:
            masks: true masks, [N, height, width], int64; where they are void (−1), deformed ones
                are background.
            classes: number of classes, or at least one more than the largest in the masks.
            generator: CPU random stream that belongs to this draw alone.
        """
        void, true = masks == VOID, masks.clamp_min(0)
        made = self.deformation(true, generator)

        def deform(amounts: Tensor) -> Tensor:
            return made(amounts).masked_fill(void, 0)

        if self.may_empty:
            return deform
        return lambda amounts: keep_objects(true, deform, amounts, classes)


def check_labels(labels: Tensor, classes: int, name: str, *, least: int = 0) -> None:
    """Refuse labels that are no class indices.

    Args:
        labels: of any shape.
        classes: number of classes.
        name: what they are, for the message.
        least: the smallest that is allowed, 0, or −1 where pixels may be void.

    Raises:
        ValueError: if they are not int64, or out of [least, classes).
    """
    if labels.dtype != torch.int64:
        raise ValueError(f"{name} must be int64 class indices, got {labels.dtype}: call .long().")
    wrong = labels[(labels < least) | (labels >= classes)]
    if len(wrong):
        raise ValueError(
            f"{name} must lie in [0, {classes}) for {classes} classes, got {int(wrong[0])} "
            f"({len(wrong)} are out of range). If that value means 'no label', leave these "
            "samples out first."
        )


def check_inputs(inputs: Tensor, labels: Tensor) -> None:
    """Refuse samples that are not those of the labels.

    Raises:
        ValueError: if there is not one for each.
    """
    if len(inputs) != len(labels):
        raise ValueError(
            f"Noise that depends on samples needs one for each of {len(labels)} labels, got "
            f"{len(inputs)}."
        )


def check_rate(owner: str, rate: float, *, below: float | None = None, why: str) -> None:
    """Refuse a rate that is no share, or one from which on nothing can be learnt.

    Args:
        owner: name of the noise model, for the message.
        rate: share of labels, in [0, 1], or in [0, below).
        below: what the rate must stay under; None allows everything up to 1.
        why: what is wrong with a rate outside the range.

    Raises:
        ValueError: if the rate is out of range or not a number.
    """
    allowed = 0 <= rate <= 1 if below is None else 0 <= rate < below
    if not allowed:
        bound = "<= 1" if below is None else f"< {below:g}"
        raise ValueError(f"{owner} needs 0 <= rate {bound}, got {rate}: {why}.")

"""What a loss adds to cross-entropy for the overlap of whole masks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.targets import probabilities

SMOOTH = 1e-5  # expected pixels; keeps an empty class from dividing by zero


@dataclass(frozen=True, kw_only=True)
class Overlap(ABC):
    """A term of the loss that sees masks as a whole."""

    @abstractmethod
    def __call__(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """What is added to the (weighted) cross-entropy of a batch.

        Args:
            z: logits, [n, classes, *pixels].
            target: class indices [n, *pixels], or probabilities shaped like ``z``.
            weight: of every pixel, [n, *pixels], as cross-entropy is weighted; None weighs all
                pixels alike, with a sum of 1.

        Returns:
            A scalar.
        """


@dataclass(frozen=True, kw_only=True)
class Ignored(Overlap):
    """Cross-entropy alone."""

    def __call__(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """0."""
        del target, weight
        return z.new_zeros(())


@dataclass(frozen=True, kw_only=True)
class Dice(Overlap):
    """Soft Dice loss beside cross-entropy, under the same weights.

    A pixel's weight w acts on both. It multiplies the pixel's cross-entropy, and it is the
    pixel's part in both sums of the Dice loss of its image, 1 − 2Σwpq / (Σwp + Σwq), mean over
    the classes but the background; the image's Dice loss then counts as much as its pixels
    weigh together, Σw. The clean loss, whose gradient scores the weights, holds the Dice loss of
    the clean masks too; a pixel's label is scored by its own cross-entropy along that gradient
    (Eqs. 19 and 24), because Dice is no sum over pixels. With equal weights it is the mean
    cross-entropy plus the mean Dice loss of the images. Void pixels have no weight.

    Attributes:
        share: factor on the Dice loss.
    """

    share: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a negative share."""
        if not self.share >= 0:
            raise ValueError(
                f"Dice needs share >= 0, got {self.share}: a negative share would train towards "
                "disjoint masks."
            )

    def __call__(self, z: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
        """Share · Σ over images of their weight times their weighted Dice loss."""
        if z.ndim < 3:
            raise ValueError(
                "The Dice loss is of masks, and this data has one label per sample: leave "
                "training.overlap at ignored."
            )
        if weight is None:
            weight = torch.full_like(z[:, 0], 1 / z[:, 0].numel())
        target = probabilities(target, z.shape[1])
        weight = weight * target.any(dim=1)
        of_image = weight.flatten(1).sum(dim=1)
        # Scaled to a mean of 1 per image, so that what smooths is a fixed number of pixels.
        pixels = weight[0].numel()
        scale = torch.where(of_image > 0, pixels / of_image.clamp_min(1e-30), 0.0)
        w = weight.flatten(1).mul(scale.unsqueeze(1)).unsqueeze(1)
        p = torch.softmax(z, dim=1)[:, 1:].flatten(2)
        q = target[:, 1:].flatten(2).to(p.dtype)
        both, either = (w * p * q).sum(dim=2), (w * (p + q)).sum(dim=2)
        loss = 1 - (2 * both + SMOOTH) / (either + SMOOTH)
        return self.share * (of_image * loss.mean(dim=1)).sum()

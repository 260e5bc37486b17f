"""Weights whose sum falls with the scores."""

from dataclasses import dataclass

from torch import Tensor

from l2b.normalise.base import Share, one_if_zero
from l2b.normalise.positive_share import PositiveShare


@dataclass(frozen=True, kw_only=True)
class Shrinking(Share):
    """Eq. 9 with a brake: weights whose sum falls to 0 as the scores do.

    Eq. 9 shares out a sum of 1 however small the scores are, so a step is as long where the
    labels hardly help as where they help much. Here the sum is m / (m + scale), where m is
    the mean over the samples of their positive scores; at scale 0 it is Eq. 9 again.

    Attributes:
        scale: mean positive score per sample at which the weights sum to 1/2, in units of
            the scores (clean loss per unit step, learning rate included).
    """

    scale: float = 1e-3

    def __post_init__(self) -> None:
        """Refuse a negative scale."""
        if not self.scale >= 0:
            raise ValueError(
                f"Shrinking needs scale >= 0, got {self.scale}: it is a mean of positive scores."
            )

    def __call__(self, scores: Tensor) -> Tensor:
        """score⁺ / (Σscore⁺ + n · scale)."""
        share = PositiveShare()(scores)
        count = (~scores.isneginf()).any(dim=0).sum().clamp_min(1)
        mean = scores.clamp_min(0).sum() / count
        return share * (mean / one_if_zero(mean + self.scale))

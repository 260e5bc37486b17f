"""Eq. 9: shares of positive scores."""

from dataclasses import dataclass

from torch import Tensor

from l2b.normalise.base import Share, one_if_zero


@dataclass(frozen=True, kw_only=True)
class PositiveShare(Share):
    """Clamp below at zero, then divide by the sum over the batch (L2B, Eq. 9)."""

    def __call__(self, scores: Tensor) -> Tensor:
        """Each positive score as a share of all positive scores; all zero if none is."""
        positive = scores.clamp_min(0)
        # Scaled by the largest first, so that neither tiny nor huge scores lose the sum.
        positive = positive / one_if_zero(positive.amax())
        return positive / one_if_zero(positive.sum())

"""α + β = 1 for every sample."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.normalise.base import Normaliser, in_own_units, one_if_zero


@dataclass(frozen=True, kw_only=True)
class PerSample(Normaliser):
    """α + β = 1 for every sample (then divided by their number): labels mixed, none dropped.

    Positive scores are shared out within the sample; where no candidate is positive, the
    sample is split evenly. The sum over the batch is 1, as for the other normalisers.

    Attributes:
        temperature: T > 0 shares by a softmax within the sample instead, of scores in units of
            the batch's root mean square times T; 0, as published, by positive scores.
    """

    temperature: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a negative temperature."""
        if not self.temperature >= 0:
            raise ValueError(
                f"PerSample needs temperature >= 0, got {self.temperature}: scores are divided "
                "by it, and 0 shares them out as they are."
            )

    @property
    def proportional(self) -> bool:
        """As published; a softmax is not."""
        return self.temperature == 0

    def __call__(self, scores: Tensor) -> Tensor:
        """Shares within each sample, over the number of samples that have any candidate."""
        shares = self._softmax(scores) if self.temperature else self._positive(scores)
        return shares / (~scores.isneginf()).any(dim=0).sum().clamp_min(1)

    def _softmax(self, scores: Tensor) -> Tensor:
        shares = torch.softmax(in_own_units(scores) / self.temperature, dim=0)
        return shares.nan_to_num(0.0)  # where every candidate is shut out

    @staticmethod
    def _positive(scores: Tensor) -> Tensor:
        positive = scores.clamp_min(0)
        largest = positive.amax(dim=0, keepdim=True)
        evenly = (~scores.isneginf()).to(scores)  # among those that are not shut out
        positive = torch.where(largest > 0, positive / one_if_zero(largest), evenly)
        return positive / one_if_zero(positive.sum(dim=0, keepdim=True))

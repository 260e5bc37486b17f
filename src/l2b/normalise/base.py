"""The bases of the normalisers, and what several of them need."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class Normaliser(ABC):
    """A map from scores to non-negative weights over one batch."""

    @abstractmethod
    def __call__(self, scores: Tensor) -> Tensor:
        """Weigh every candidate.

        Args:
            scores: [candidates, n, *pixels], in units of clean loss per unit step.

        Returns:
            Weights of the same shape, non-negative, with a sum of 1 (or of 0 where no
            candidate helps); only `Shrinking` weights have smaller sums, and those of images
            or regions of which some have no candidate that helps.
        """

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """Weigh every candidate, knowing the labels; most normalisers do not look at them.

        Args:
            scores: [candidates, n, *pixels], as for a call.
            observed: labels as given, class indices [n, *pixels] or probabilities.
            pseudo: labels the model predicts, likewise.
        """
        del observed, pseudo
        return self(scores)

    @property
    def proportional(self) -> bool:
        """Whether weights are shares of positive scores, so that a factor on one is on both."""
        return False

    @property
    def looks_at_labels(self) -> bool:
        """Whether `of_labels` gives anything else than a call."""
        return False


@dataclass(frozen=True, kw_only=True)
class Share(Normaliser):
    """A normaliser whose weights are shares of positive scores."""

    @property
    def proportional(self) -> bool:
        """A score of half the size has half the weight beside the same others."""
        return True


@dataclass(frozen=True, kw_only=True)
class ByLabels(Share):
    """Shares within parts of the batch, which the labels tell."""

    @property
    def looks_at_labels(self) -> bool:
        """They do."""
        return True


@dataclass(frozen=True, kw_only=True)
class Around(Normaliser):
    """A normaliser that leaves the weighing to another.

    Attributes:
        then: the other one.
    """

    then: Normaliser

    @property
    def proportional(self) -> bool:
        """As the other one."""
        return self.then.proportional

    @property
    def looks_at_labels(self) -> bool:
        """As the other one."""
        return self.then.looks_at_labels


@dataclass(frozen=True, kw_only=True)
class Changed(Around):
    """A normaliser that changes the scores before another weighs them."""

    @abstractmethod
    def change(self, scores: Tensor) -> Tensor:
        """What the other one sees, of the shape of the scores."""

    def __call__(self, scores: Tensor) -> Tensor:
        """The other one's weights."""
        return self.then(self.change(scores))

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """The same, for a normaliser that looks at labels."""
        return self.then.of_labels(self.change(scores), observed, pseudo)


def in_own_units(scores: Tensor) -> Tensor:
    """Scores over their root mean square, of which candidates that are shut out are no part."""
    shut_out = scores.isneginf()
    left = torch.where(shut_out, 0.0, scores)
    # Scaled by the largest first, so that squares of tiny scores do not vanish.
    largest = one_if_zero(left.abs().amax())
    count = (~shut_out).sum().clamp_min(1)
    size = one_if_zero(((left / largest).square().sum() / count).sqrt())
    return scores / largest / size


def without(scores: Tensor, candidates: slice) -> Tensor:
    """Scores with some candidates shut out."""
    left = scores.clone()
    left[candidates] = -torch.inf
    return left


def one_if_zero(divisor: Tensor) -> Tensor:
    """What may be divided by: 1 in the place of 0."""
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)

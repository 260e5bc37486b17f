"""Which labels compete for the weight of a sample.

The published method lets two compete: the label as given and the model's own. One pair (z, ż)
scores any target distribution, so more of them cost nothing but a sum. Cross-entropy is linear
in its target, so whatever they are, the weighted loss is again that of two labels: the observed
one, and the weighted mean of the others.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from l2b.normalise import Normaliser
from l2b.normalise.base import one_if_zero
from l2b.targets import probabilities
from l2b.types import Weights


class Candidate(NamedTuple):
    """One label for every sample.

    Attributes:
        target: class indices [n, *pixels], or probabilities [n, classes, *pixels].
        prior: how plausible the label is before it is scored, a factor on its score,
            [n, *pixels]; None for 1.
    """

    target: Tensor
    prior: Tensor | None = None

    def weighted(self, scores: Tensor) -> Tensor:
        """Scores of this candidate times its prior, −inf where that is 0, [n, *pixels].

        What is impossible is shut out, and not a label that neither helps nor hurts: a normaliser
        may give weight to one of those where nothing helps.
        """
        if self.prior is None:
            return scores
        prior = self.prior.to(scores)
        return torch.where(prior == 0, -torch.inf, scores * prior)

    def share(self, like: Tensor) -> Tensor:
        """Its prior, in the shape and type of a tensor, [n, *pixels]."""
        return torch.ones_like(like) if self.prior is None else self.prior.to(like)


@dataclass(frozen=True, kw_only=True)
class Candidates(ABC):
    """A choice of labels that compete."""

    @abstractmethod
    def __call__(self, z: Tensor, observed: Tensor, predicted: Tensor) -> tuple[Candidate, ...]:
        """The candidates of every sample.

        Args:
            z: the model's logits, without gradient, [n, classes, *pixels].
            observed: labels as given, class indices or probabilities.
            predicted: what the source of pseudo-labels says, class indices or probabilities.

        Returns:
            The observed label first, then at least one other.
        """

    @property
    def with_priors(self) -> bool:
        """Whether scores are multiplied by priors."""
        return False

    def refuse(self, normalise: Normaliser) -> None:
        """Refuse weights that take no notice of priors.

        Raises:
            ValueError: if there are priors, and weights are no shares of positive scores.
        """
        if self.with_priors and not normalise.proportional:
            raise ValueError(
                f"{type(self).__name__} multiplies scores by how plausible each class is, and "
                f"{type(normalise).__name__} would give weight to classes of score about 0: it "
                "pulls every sample towards all classes alike. Choose --normalise positive_share, "
                "per_class, shrinking or per_sample at temperature 0, or --candidates pair."
            )


@dataclass(frozen=True, kw_only=True)
class Pair(Candidates):
    """The observed label and the pseudo-label, as published (Eq. 3)."""

    def __call__(self, z: Tensor, observed: Tensor, predicted: Tensor) -> tuple[Candidate, ...]:
        """Observed, predicted."""
        del z
        return Candidate(observed), Candidate(predicted)


@dataclass(frozen=True, kw_only=True)
class Triple(Candidates):
    """The observed label, the model's own class, and the pseudo-label from elsewhere."""

    def __call__(self, z: Tensor, observed: Tensor, predicted: Tensor) -> tuple[Candidate, ...]:
        """Observed, argmax of the logits, predicted."""
        return Candidate(observed), Candidate(z.argmax(dim=1)), Candidate(predicted)


@dataclass(frozen=True, kw_only=True)
class AllClasses(Candidates):
    """The observed label and every class, each as plausible as the pseudo-label says.

    Scores alone would relabel wildly: a class that lowers the clean loss need not fit the
    sample. Times the averaged prediction, only plausible classes compete, so the pseudo-label
    should be soft; a hard one makes this `Pair`.

    Attributes:
        trust: prior of the observed label, at least 0; at 0 it competes as one class among
            the others. A class of prior 0 has no weight.
    """

    trust: float = 1.0

    @property
    def with_priors(self) -> bool:
        """The averaged prediction is the prior."""
        return True

    def __post_init__(self) -> None:
        """Refuse distrust."""
        if not self.trust >= 0:
            raise ValueError(
                f"AllClasses needs trust >= 0, got {self.trust}: it is a factor on scores, and a "
                "negative one would turn good labels into bad ones."
            )

    def __call__(self, z: Tensor, observed: Tensor, predicted: Tensor) -> tuple[Candidate, ...]:
        """Observed with prior ``trust``, then class k with prior p̄_k."""
        prior = probabilities(predicted, z.shape[1])
        place = torch.zeros_like(z[:, 0], dtype=torch.int64)
        first = Candidate(observed, torch.full_like(z[:, 0], self.trust))
        others = (Candidate(place + k, prior[:, k]) for k in range(z.shape[1]))
        return (first, *others)


def folded(field: Sequence[Candidate], weights: Tensor, scores: Tensor, classes: int) -> Weights:
    """Weighted candidates as two labels with the same loss: the observed one and a mixture.

    Σ_k w_k CE(z, q_k) = w_0 CE(z, q_0) + β CE(z, q̄) with β = Σ_{k≥1} w_k and
    q̄ = Σ_{k≥1} w_k q_k / β, since cross-entropy is linear in its target.

    Args:
        field: the candidates, observed label first.
        weights: of each, [candidates, n, *pixels].
        scores: as normalised, for the record.
        classes: number of classes.

    Returns:
        Weights whose pseudo-label is that of the only other candidate, or else q̄ (where
        β = 0, the mean of the other candidates by their priors).
    """
    alpha, rest, others = weights[0], weights[1:], field[1:]
    if len(others) == 1:
        return Weights(alpha=alpha, beta=rest[0], pseudo=others[0].target, scores=scores)
    beta = rest.sum(dim=0)
    priors = torch.stack([c.share(beta) for c in others])
    shares = torch.where(beta > 0, rest, priors)
    shares = shares / one_if_zero(shares.sum(dim=0, keepdim=True))  # no candidate: a void pixel
    mixture = torch.zeros_like(shares[0]).unsqueeze(1)
    for share, candidate in zip(shares, others, strict=True):
        mixture = mixture + share.unsqueeze(1) * probabilities(candidate.target, classes).to(share)
    return Weights(alpha=alpha, beta=beta, pseudo=mixture, scores=scores)

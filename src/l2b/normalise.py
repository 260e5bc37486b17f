"""From raw scores to weights.

A normaliser takes scores [candidates, n, *pixels] in their true units and returns weights
of the same shape. Candidate 0 is the observed label (α), all others are instead of it (β): as
published, the pseudo-label alone. The ablations of the method are normalisers too, because they
differ in nothing else.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field

import torch
from torch import Tensor

from l2b.regions import connected_regions
from l2b.targets import labels


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


@dataclass(frozen=True, kw_only=True)
class PositiveShare(Share):
    """Clamp below at zero, then divide by the sum over the batch (L2B, Eq. 9)."""

    def __call__(self, scores: Tensor) -> Tensor:
        """Each positive score as a share of all positive scores; all zero if none is."""
        positive = scores.clamp_min(0)
        # Scaled by the largest first, so that neither tiny nor huge scores lose the sum.
        positive = positive / _one_if_zero(positive.amax())
        return positive / _one_if_zero(positive.sum())


@dataclass(frozen=True, kw_only=True)
class Sigmoid(Normaliser):
    """Logistic function of each score, divided by the sum over the batch (L2B, Fig. 3)."""

    def __call__(self, scores: Tensor) -> Tensor:
        """σ(score) / Σσ(score)."""
        squashed = torch.sigmoid(scores)
        return squashed / _one_if_zero(squashed.sum())


@dataclass(frozen=True, kw_only=True)
class Softmax(Normaliser):
    """Softmax over all candidates of the batch (L2B, Fig. 3).

    Attributes:
        temperature: T in exp(score / T), in units of the scores; must be positive.
    """

    temperature: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a temperature that has no meaning."""
        if not self.temperature > 0:
            raise ValueError(
                f"Softmax needs temperature > 0, got {self.temperature}: scores are divided by it."
            )

    def __call__(self, scores: Tensor) -> Tensor:
        """exp(score / T) / Σexp(score / T)."""
        flat = (scores / self.temperature).flatten()
        if flat.isneginf().all():
            return torch.zeros_like(scores)
        return torch.softmax(flat, dim=0).view_as(scores)


@dataclass(frozen=True, kw_only=True)
class ObservedOnly(Changed):
    """β = 0: weigh observed labels alone, which is learning to reweight (L2RW).

    Attributes:
        then: the normaliser of what is left.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def change(self, scores: Tensor) -> Tensor:
        """Scores with every candidate but the first shut out."""
        return _without(scores, slice(1, None))


@dataclass(frozen=True, kw_only=True)
class PseudoOnly(Changed):
    """α = 0: weigh pseudo-labels alone.

    Attributes:
        then: the normaliser of what is left.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def change(self, scores: Tensor) -> Tensor:
        """Scores with candidate 0 shut out."""
        return _without(scores, slice(0, 1))


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
        """Shares within each sample, over the number of samples."""
        shares = self._softmax(scores) if self.temperature else self._positive(scores)
        return shares / scores[0].numel()

    def _softmax(self, scores: Tensor) -> Tensor:
        shares = torch.softmax(_in_own_units(scores) / self.temperature, dim=0)
        return shares.nan_to_num(0.0)  # where every candidate is shut out

    @staticmethod
    def _positive(scores: Tensor) -> Tensor:
        positive = scores.clamp_min(0)
        largest = positive.amax(dim=0, keepdim=True)
        evenly = (~scores.isneginf()).to(scores)  # among those that are not shut out
        positive = torch.where(largest > 0, positive / _one_if_zero(largest), evenly)
        return positive / _one_if_zero(positive.sum(dim=0, keepdim=True))


@dataclass(frozen=True, kw_only=True)
class Fixed(Normaliser):
    """The same (α, β) for every sample, whatever the scores: classic bootstrapping.

    Attributes:
        alpha: weight of the observed label before division by the number of samples.
        beta: weight of the pseudo-label before division by the number of samples; further
            candidates share it evenly.
    """

    alpha: float = 0.8
    beta: float = 0.2

    def __post_init__(self) -> None:
        """Refuse negative weights."""
        if self.alpha < 0 or self.beta < 0:
            raise ValueError(
                f"Fixed needs alpha >= 0 and beta >= 0, got {self.alpha} and {self.beta}: "
                "a negative weight would train away from its label."
            )

    def __call__(self, scores: Tensor) -> Tensor:
        """(α, β) / n for every sample; 0 for what is shut out."""
        weights = torch.empty_like(scores)
        weights[0], weights[1:] = self.alpha, self.beta / max(1, len(scores) - 1)
        return torch.where(scores.isneginf(), 0.0, weights / scores[0].numel())


@dataclass(frozen=True, kw_only=True)
class PerClass(ByLabels):
    """Eq. 9 within each observed class, so that no class takes the weight of another.

    A class in which no candidate helps leaves its share to the others.

    Attributes:
        balanced: every class of the batch gets the same total (True), or a total in
            proportion to its number of samples (False).
    """

    balanced: bool = False

    def __call__(self, scores: Tensor) -> Tensor:
        """Without the labels, all samples are of one class: Eq. 9."""
        return PositiveShare()(scores)

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """Positive scores as shares of their observed class, times the share of the class."""
        del pseudo
        positive = scores.clamp_min(0)
        positive = positive / _one_if_zero(positive.amax())
        group = labels(observed).flatten()
        size = torch.bincount(group).to(positive)
        sums = torch.zeros_like(size).index_add(0, group, positive.sum(dim=0).flatten())
        share = torch.where(sums > 0, torch.ones_like(size) if self.balanced else size, 0.0)
        share = share / _one_if_zero(share.sum())
        factor = (share / _one_if_zero(sums))[group].view_as(positive[0])
        return positive * factor


@dataclass(frozen=True, kw_only=True)
class Standardised(Changed):
    """Scores in units of their root mean square over the batch, before they become weights.

    In true units scores are tiny, and a sigmoid or a softmax of them hardly weighs at all.

    Attributes:
        then: what makes weights of them.
    """

    then: Normaliser = field(default_factory=lambda: Softmax())

    def change(self, scores: Tensor) -> Tensor:
        """Score / √(mean score²)."""
        return _in_own_units(scores)


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
        mean = scores.clamp_min(0).sum() / scores[0].numel()
        return share * (mean / _one_if_zero(mean + self.scale))


@dataclass(frozen=True, kw_only=True)
class PerImage(Around):
    """Every image of masks has the same weight in total, shared out over its pixels.

    Attributes:
        then: the normaliser within each image.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def __call__(self, scores: Tensor) -> Tensor:
        """The normaliser of each image alone, over the number of images."""
        return torch.cat([self.then(s) for s in scores.split(1, dim=1)], dim=1) / scores.shape[1]

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """The same, for a normaliser that looks at labels."""
        parts = zip(scores.split(1, dim=1), observed.split(1), pseudo.split(1), strict=True)
        each = [self.then.of_labels(*part) for part in parts]
        return torch.cat(each, dim=1) / scores.shape[1]


@dataclass(frozen=True, kw_only=True)
class PerRegion(ByLabels):
    """Eq. 9 within each connected region, which weighs in total what its pixels would.

    A region is a connected set of pixels with one observed and one pseudo-label: where the two
    masks agree, and every place where they differ. Labels without pixels are regions of their
    own. A region in which no candidate helps has no weight.
    """

    def __call__(self, scores: Tensor) -> Tensor:
        """Without the labels, every pixel is a region of its own."""
        region = torch.arange(scores[0].numel(), device=scores.device)
        return self._shares(scores, region)

    def of_labels(self, scores: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        """Each positive score as a share of all in its region, times the region's size."""
        given, predicted = labels(observed), labels(pseudo)
        if given.ndim == 1:
            return self(scores)
        pairs = given * (int(predicted.max()) + 1) + predicted
        return self._shares(scores, connected_regions(pairs).flatten())

    @staticmethod
    def _shares(scores: Tensor, region: Tensor) -> Tensor:
        size = torch.bincount(region)
        # Scaled by the largest of each region first, so that none loses its sum.
        positive = scores.clamp_min(0).flatten(1)
        largest = positive.new_zeros(len(size))
        largest = largest.scatter_reduce(0, region, positive.amax(dim=0), "amax")
        positive = positive / _one_if_zero(largest)[region]
        total = positive.new_zeros(len(size)).index_add(0, region, positive.sum(dim=0))
        factor = size / _one_if_zero(total) / len(region)
        return (positive * factor[region]).view_as(scores)


@dataclass(frozen=True, kw_only=True)
class ImageWeight(Around):
    """One weight for each image's observed mask and one for its pseudo-mask, for all pixels.

    Attributes:
        then: the normaliser of the images' scores, which are the sums over their pixels.
    """

    then: Normaliser = field(default_factory=PositiveShare)

    def __post_init__(self) -> None:
        """Refuse what needs the labels of pixels, which a whole image has not."""
        if self.looks_at_labels:
            raise ValueError(
                f"ImageWeight gives a whole image one weight, and {type(self.then).__name__} looks "
                "at the labels of pixels: choose another --normalise.then, or per_image around it."
            )

    @property
    def proportional(self) -> bool:
        """Of no pixel: each gets the weight of its image."""
        return False

    def __call__(self, scores: Tensor) -> Tensor:
        """The weight of each image, spread evenly over its pixels."""
        if scores.ndim == 2:
            return self.then(scores)  # labels without pixels
        pixels = scores[0, 0].numel()
        weights = self.then(scores.flatten(2).sum(dim=2)) / pixels
        return weights.view(*weights.shape, *[1] * (scores.ndim - 2)).expand_as(scores)


def _in_own_units(scores: Tensor) -> Tensor:
    """Scores over their root mean square; candidates that are shut out stay so."""
    finite = torch.where(scores.isneginf(), 0.0, scores)
    # Scaled by the largest first, so that squares of tiny scores do not vanish.
    largest = _one_if_zero(finite.abs().amax())
    size = _one_if_zero((finite / largest).square().mean().sqrt())
    return scores / largest / size


def _without(scores: Tensor, candidates: slice) -> Tensor:
    left = scores.clone()
    left[candidates] = -torch.inf
    return left


def _one_if_zero(divisor: Tensor) -> Tensor:
    return torch.where(divisor == 0, torch.ones_like(divisor), divisor)

"""Instance-dependent noise: how a label goes wrong depends on the sample itself."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.noise.base import Noise, check_inputs, check_labels

PIECE = 4096  # samples whose float copy exists at a time
NUMBERS = 2**25  # and the numbers that they hold at most: 256 MiB


@dataclass(frozen=True, kw_only=True)
class InstanceDependent(Noise):
    """Each sample has a rate and likely confusions of its own, by a random projection of it.

    Xia et al. 2020 (arXiv 2006.07836, Algorithm 2): sample i of class y is mislabelled with
    probability q_i, drawn from a normal distribution around ``rate`` that is truncated to
    [0, 1]; as what, is drawn from the softmax over the other classes of x_iᵀ W_y, where W_y is
    a matrix of standard normal numbers per class. The paper leaves the scale of x open: here
    every feature is centred over the split and all are divided by one standard deviation, so
    that samples differ in their confusions and not by a common mean. Not for masks, whose pixels
    do not go wrong one by one.

    Attributes:
        rate: about the share of wrong labels, in (0, 1): the mean of the rates before they
            are truncated, which draws it towards 1/2 where it is near 0 or 1.
        spread: standard deviation of the rates of samples before they are truncated.
    """

    rate: float
    spread: float = 0.1

    def __post_init__(self) -> None:
        """Refuse rates that are no shares and a spread that is none."""
        if not 0 < self.rate < 1:
            raise ValueError(
                f"InstanceDependent needs 0 < rate < 1, got {self.rate}: the rates of samples "
                "scatter around it. For labels as they are, use none."
            )
        if not self.spread > 0:
            raise ValueError(
                f"InstanceDependent needs spread > 0, got {self.spread}: it is the standard "
                "deviation of the rates of samples."
            )

    @property
    def needs_truth(self) -> bool:
        """It corrupts true labels."""
        return True

    def corrupt(
        self,
        labels: Tensor,
        *,
        inputs: Tensor,
        classes: int,
        annotations: Mapping[str, Tensor],
        generator: torch.Generator,
    ) -> Tensor:
        """Draw each label from its sample's own distribution (Algorithm 2)."""
        del annotations
        check_labels(labels, classes, "True labels")
        check_inputs(inputs, labels)
        if labels.ndim > 1:
            raise ValueError(
                "InstanceDependent noise must have one label per sample, got "
                f"{tuple(labels.shape[1:])} of each. Pixels do not go wrong one by one: choose "
                "--noise mask, or --noise none for masks as they are; for several yes-or-no labels "
                "--noise symmetric."
            )
        if classes < 2:
            raise ValueError(f"InstanceDependent needs at least 2 classes, got {classes}.")
        wrong = self._rates(labels.shape, generator)
        uniform = torch.rand(labels.shape, generator=generator, dtype=torch.float64)
        features = math.prod(inputs.shape[1:])
        centre, scale = _moments(inputs)
        observed = labels.clone()
        for k in range(classes):
            # Drawn for absent classes too, which thus change nothing for the others.
            projection = torch.randn(features, classes, generator=generator)
            rows = (labels == k).nonzero().squeeze(1)
            for part in rows.split(_piece(features)):
                x = (inputs[part].float() - centre).flatten(1) / scale
                logits = (x @ projection).double()
                logits[:, k] = -torch.inf
                p = wrong[part].unsqueeze(1) * torch.softmax(logits, dim=1)
                p[:, k] = 1 - wrong[part]
                observed[part] = _drawn(p, uniform[part])
        return observed

    def _rates(self, shape: torch.Size, generator: torch.Generator) -> Tensor:
        """Truncated normal numbers, by inverting their distribution function."""
        normal = torch.distributions.Normal(
            torch.tensor(self.rate, dtype=torch.float64), self.spread
        )
        low, high = normal.cdf(torch.tensor([0.0, 1.0], dtype=torch.float64))
        uniform = torch.rand(shape, generator=generator, dtype=torch.float64)
        return normal.icdf(low + uniform * (high - low)).clamp(0, 1)


def _drawn(p: Tensor, uniform: Tensor) -> Tensor:
    """One class per row of probabilities, by inverting its distribution function, [n]."""
    cumulative = p.cumsum(dim=1)
    # Divided by its own end, which is then 1 and above every uniform number.
    cumulative = cumulative / cumulative[:, -1:]
    return (cumulative <= uniform.unsqueeze(1)).sum(dim=1)


def _piece(features: int) -> int:
    """How many samples of so many features are looked at at a time."""
    return max(1, min(PIECE, NUMBERS // max(1, features)))


def _moments(inputs: Tensor) -> tuple[Tensor, float]:
    """The mean of every feature over the split, and one standard deviation of them all."""
    if not len(inputs):
        return torch.zeros(inputs.shape[1:]), 1.0
    pieces = inputs.split(_piece(math.prod(inputs.shape[1:])))
    total = torch.zeros(inputs.shape[1:], dtype=torch.float64)
    for piece in pieces:
        total += piece.double().sum(dim=0)
    centre = total / len(inputs)
    squares = [(piece.double() - centre).square().sum() for piece in pieces]
    scale = math.sqrt(float(torch.stack(squares).sum()) / inputs.numel())
    return centre.float(), scale or 1.0

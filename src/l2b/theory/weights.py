"""What a normaliser must do, checked on random scores (L2B, Eq. 9 and Fig. 3)."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from l2b import catalog
from l2b.normalise import Normaliser
from l2b.theory.claims import Check, at_most, largest
from l2b.theory.effort import Effort

T = TypeVar("T")

ROUNDING = 1e-12
FREE = ("fixed", "shrinking", "per_image", "per_region")
"""Normalisers whose sum is the user's choice, falls with the scores, or lacks silent parts."""
CLASSES = 3


def normaliser_checks(effort: Effort, generator: torch.Generator) -> list[Check]:
    """Check every normaliser, and Eq. 9 against a literal transcription.

    Args:
        effort: how many score batches.
        generator: source of the draws.

    Returns:
        One check a property and normaliser.
    """
    batches = [random_scores(generator) for _ in range(effort.cases)]
    batches += [torch.zeros(2, 4), -torch.ones(2, 3), torch.full((2, 1), 1e-300)]
    checks = []
    for name in catalog.names(Normaliser):
        normalise = built(Normaliser, name)
        labels = [torch.arange(s.shape[1]) % CLASSES for s in batches]
        weights = [normalise.of_labels(s, y, y) for s, y in zip(batches, labels, strict=True)]
        negative = largest(float((-w).max()) for w in weights)
        checks.append(at_most(f"{name}: largest weight below zero", negative, 0))
        if name not in FREE:
            off = largest(_sum_error(w) for w in weights)
            checks.append(at_most(f"{name}: distance of the sum from 1 or 0", off, ROUNDING))
    return checks + eq9_checks(batches, generator)


def eq9_checks(batches: list[Tensor], generator: torch.Generator) -> list[Check]:
    """Eq. 9: the literal formula, free of scale, blind to the order of samples."""
    share = built(Normaliser, "positive_share")
    literal, scale, order = [], [], []
    for scores in batches:
        weights = share(scores)
        literal.append(_distance(weights, literal_eq9(scores)))
        factor = float(10 ** (12 * torch.rand((), generator=generator) - 6))
        scale.append(_distance(share(factor * scores), weights))
        shuffled = torch.randperm(scores.shape[1], generator=generator)
        order.append(_distance(share(scores[:, shuffled]), weights[:, shuffled]))
    return [
        at_most("Eq. 9: distance from the literal formula", largest(literal), ROUNDING),
        at_most("Eq. 9: change when scores are scaled", largest(scale), ROUNDING),
        at_most("Eq. 9: change when samples are permuted", largest(order), ROUNDING),
    ]


def built(base: type[T], name: str) -> T:
    """The extension of that name with its defaults, looked up now."""
    make: Callable[[], T] = catalog.find(base, name)
    return make()


def random_scores(generator: torch.Generator) -> Tensor:
    """Scores [2, n] of any scale between 1e-6 and 1e6; a fifth of the batches all negative."""
    n = int(torch.randint(1, 20, (), generator=generator))
    scores = torch.randn(2, n, generator=generator)
    if torch.rand((), generator=generator) < 0.2:
        scores = -scores.abs()
    return scores * 10 ** (12 * torch.rand((), generator=generator) - 6)


def literal_eq9(scores: Tensor) -> Tensor:
    """Eq. 9 with loops: max(s, 0) over the sum of all of them, or 0 if that sum is 0."""
    positive = [max(score, 0.0) for score in scores.flatten().tolist()]
    total = sum(positive)
    shares = [p / total if total > 0 else 0.0 for p in positive]
    return torch.tensor(shares, dtype=scores.dtype).view_as(scores)


def _sum_error(weights: Tensor) -> float:
    total = float(weights.sum())
    return min(abs(total - 1), abs(total))


def _distance(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max())

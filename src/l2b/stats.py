"""Means over seeds, paired tests, and what many tests do to a p-value."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

RANKED_PAIRS = 6  # with fewer, no outcome of a rank or sign test reaches 5 %
ROUNDING = 1e-6  # values closer than this are equal: accuracies come as float32


@dataclass(frozen=True, kw_only=True)
class Paired:
    """How one method compares with another, seed by seed.

    Attributes:
        pairs: seeds that both have.
        difference: mean of first minus second, in the unit of the values; None without pairs.
        wins: pairs in which the first is larger.
        losses: pairs in which the second is larger.
        t: two-sided p-value of the paired t-test; None with fewer than two pairs, or where
            all differences are the same and not zero, so that nothing estimates their spread.
        wilcoxon: of the signed-rank test, exact with ties; None with fewer than
            `RANKED_PAIRS` pairs that differ.
        sign: of the sign test, on the pairs that differ; None likewise.
    """

    pairs: int
    difference: float | None
    wins: int
    losses: int
    t: float | None
    wilcoxon: float | None
    sign: float | None


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and standard deviation with n − 1; None in place of the latter for one value.

    Raises:
        ValueError: if there are no values.
    """
    if not values:
        raise ValueError("A mean needs at least one value, got none.")
    found = np.asarray(values, dtype=float)
    return float(found.mean()), float(found.std(ddof=1)) if len(found) > 1 else None


def paired(first: Sequence[float], second: Sequence[float]) -> Paired:
    """Test whether paired values differ.

    Args:
        first: one value per seed.
        second: values of the same seeds, in the same order and unit.

    Raises:
        ValueError: if the two do not pair up.
    """
    if len(first) != len(second):
        raise ValueError(
            f"Paired values must be as many on both sides, got {len(first)} and {len(second)}: "
            "take the seeds that both have."
        )
    change = np.asarray(first, dtype=float) - np.asarray(second, dtype=float)
    change = _tied(change)
    wins, losses = int((change > 0).sum()), int((change < 0).sum())
    ranked = wins + losses >= RANKED_PAIRS
    return Paired(
        pairs=len(change),
        difference=float(change.mean()) if len(change) else None,
        wins=wins,
        losses=losses,
        t=_t(change),
        wilcoxon=_wilcoxon(change[change != 0]) if ranked else None,
        sign=float(stats.binomtest(wins, wins + losses).pvalue) if ranked else None,
    )


def holm(p: Sequence[float | None]) -> list[float | None]:
    """Adjust p-values of several tests (Holm 1979), so that all of them hold together.

    Args:
        p: p-values in any order; None stands for a test that could not be made and does not
            count.

    Returns:
        Adjusted values in the same order, at least as large, at most 1; None stays None.
    """
    made = sorted((value, place) for place, value in enumerate(p) if value is not None)
    adjusted: list[float | None] = [None] * len(p)
    largest = 0.0
    for rank, (value, place) in enumerate(made):
        largest = max(largest, min(1.0, (len(made) - rank) * value))
        adjusted[place] = largest
    return adjusted


def _t(change: np.ndarray) -> float | None:
    if len(change) < 2:
        return None
    spread = change.std(ddof=1)
    if spread < ROUNDING:
        return None if change.any() else 1.0
    t = change.mean() / (spread / math.sqrt(len(change)))
    return float(2 * stats.t.sf(abs(t), len(change) - 1))


def _tied(change: np.ndarray) -> np.ndarray:
    """The same with sizes made equal that differ by rounding alone, and such zeros made zero."""
    size = np.concatenate([[0.0], np.abs(change)])
    order = np.argsort(size, kind="stable")
    group = np.concatenate([[0], np.cumsum(np.diff(size[order]) > ROUNDING)])
    size[order] = size[order][np.searchsorted(group, group)]  # the least of its group
    return np.sign(change) * size[1:]


def _wilcoxon(change: np.ndarray) -> float:
    """Of all 2ⁿ assignments of signs, the share whose rank sum is as far from the middle."""
    ranks = (2 * stats.rankdata(np.abs(change))).astype(int)  # whole numbers with ties too
    total, found = int(ranks.sum()), int(ranks[change > 0].sum())
    share = np.zeros(total + 1)  # of the assignments, by the sum of ranks with a plus
    share[0] = 1.0
    for rank in ranks:
        share[rank:] = (share[rank:] + share[: total + 1 - rank]) / 2
        share[:rank] /= 2
    return min(1.0, float(2 * share[max(found, total - found) :].sum()))

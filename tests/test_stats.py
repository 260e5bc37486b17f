"""Paired tests against scipy and against counting by hand."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from l2b.stats import holm, mean_sd, paired

FIRST = [0.91, 0.93, 0.90, 0.95, 0.92, 0.94, 0.90]
SECOND = [0.90, 0.91, 0.91, 0.92, 0.90, 0.90, 0.89]


def test_the_t_test_is_that_of_scipy():
    found = paired(FIRST, SECOND)
    assert found.pairs == 7
    assert found.difference == pytest.approx(np.mean(np.subtract(FIRST, SECOND)))
    assert found.t == pytest.approx(stats.ttest_rel(FIRST, SECOND).pvalue)
    assert (found.wins, found.losses) == (6, 1)


def test_the_t_test_of_two_pairs_by_hand():
    # Differences 1 and 3: mean 2, sd √2, t = 2 on one degree of freedom, a Cauchy tail.
    found = paired([2.0, 5.0], [1.0, 2.0])
    assert found.t == pytest.approx(1 - 2 / math.pi * math.atan(2))


def test_rank_and_sign_tests_by_enumerating_all_signs():
    found = paired(FIRST, SECOND)
    change = np.subtract(FIRST, SECOND).round(9)
    ranks = stats.rankdata(np.abs(change))
    signs = np.array(list(itertools.product((0, 1), repeat=7)))
    sums = signs @ ranks
    here = (change > 0) @ ranks
    centre = ranks.sum() / 2
    as_extreme = np.abs(sums - centre) >= abs(here - centre) - 1e-9
    assert found.wilcoxon == pytest.approx(as_extreme.mean())
    # Six of seven wins: 2 · (1 + 7) / 2⁷.
    assert found.sign == pytest.approx(16 / 128)


def test_few_pairs_get_no_rank_test():
    found = paired(FIRST[:5], SECOND[:5])
    assert found.t is not None
    assert found.wilcoxon is found.sign is None
    ties = paired([*FIRST[:5], 0.5], [*SECOND[:5], 0.5])  # six pairs, of which five differ
    assert ties.wilcoxon is ties.sign is None


def test_differences_without_spread():
    assert paired([0.5, 0.6, 0.7], [0.5, 0.6, 0.7]).t == 1
    assert paired([0.6, 0.7, 0.8], [0.5, 0.6, 0.7]).t is None  # nothing estimates the spread
    assert paired([0.5], [0.4]).t is None
    none = paired([], [])
    assert (none.pairs, none.difference, none.t) == (0, None, None)
    with pytest.raises(ValueError, match="3 and 2"):
        paired([1, 2, 3], [1, 2])


def test_many_pairs():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=30), draw.normal(0.5, size=30)
    assert paired(first, second).wilcoxon == pytest.approx(stats.wilcoxon(first, second).pvalue)


def test_holm_by_hand():
    # Sorted 0.005, 0.01, 0.03, 0.04, times 4, 3, 2, 1, never falling.
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), max_size=8))
def test_holm_lies_between_no_correction_and_bonferroni(p):
    for raw, adjusted in zip(p, holm(p), strict=True):
        assert raw <= adjusted <= min(1, len(p) * raw) + 1e-12


def test_mean_and_spread():
    assert mean_sd([1, 2, 3]) == (2, 1)
    assert mean_sd([4]) == (4, None)
    with pytest.raises(ValueError, match="at least one"):
        mean_sd([])


@pytest.mark.parametrize("count", [6, 9, 13, 16])
def test_ties_survive_single_precision(count):
    draw = np.random.default_rng(count)
    for _ in range(10):
        first, second = draw.integers(330, 360, (2, count))
        change = (first - second).astype(float)
        change = change[change != 0]
        found = paired(_share(first), _share(second)).wilcoxon
        if len(change) < 6:
            assert found is None
            continue
        ranks = stats.rankdata(np.abs(change))
        signs = np.array(list(itertools.product((0, 1), repeat=len(change))))
        far = np.abs(signs @ ranks - ranks.sum() / 2)
        here = abs((change > 0) @ ranks - ranks.sum() / 2)
        assert found == pytest.approx((far >= here - 1e-9).mean(), abs=1e-12)


def _share(right):
    """Accuracies as records hold them."""
    return (right / 360).astype(np.float32).astype(float).tolist()


def test_many_pairs_without_ties_are_those_of_scipy():
    first, second = np.random.default_rng(0).normal(size=(2, 40))
    expected = stats.wilcoxon(first - second, method="exact").pvalue
    assert paired(first, second).wilcoxon == pytest.approx(expected)

"""How many labels are wrong: two counts, and scores that are brought down to them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from l2b.audit.rate import at_least, confident_rate, noise_rate
from l2b.audit.summary import wrong_probability

CLASSES = 4


def drawn(rate, accuracy, seed, count=4000):
    """Labels of which a share is wrong, and a model that errs somewhere else."""
    draw = np.random.default_rng(seed)
    true = draw.integers(CLASSES, size=count)
    wrong = draw.random(count) < rate
    observed = np.where(wrong, (true + draw.integers(1, CLASSES, size=count)) % CLASSES, true)
    errs = draw.random(count) > accuracy
    guess = np.where(errs, (true + draw.integers(1, CLASSES, size=count)) % CLASSES, true)
    believed = np.full((count, CLASSES), 0.1) + 0.6 * np.eye(CLASSES)[guess]
    return true, observed, believed


@pytest.mark.parametrize("rate", [0.0, 0.2, 0.5])
@pytest.mark.parametrize("accuracy", [0.7, 1.0])
def test_a_model_that_errs_elsewhere_counts_wrong_labels(rate, accuracy):
    true, observed, believed = drawn(rate, accuracy, 0)
    checked, noisy = slice(0, 2000), slice(2000, None)
    found = noise_rate(believed[checked], true[checked], believed[noisy], observed[noisy])
    assert found == pytest.approx(rate, abs=0.06)


def test_confident_counting_by_hand():
    """Two classes, usual probabilities 0.8 and 0.7: the third sample belongs to the other."""
    believed = np.array([[0.9, 0.1], [0.9, 0.1], [0.6, 0.4], [0.2, 0.8], [0.4, 0.6]])
    observed = np.array([0, 0, 0, 1, 1])
    assert confident_rate(believed, observed) == 0.0
    observed = np.array([0, 0, 1, 1, 1])  # usual: 0.9 and 0.6
    assert confident_rate(believed, observed) == 0.0
    believed[2] = (0.95, 0.05)  # usual: 0.9 and about 0.48
    assert confident_rate(believed, observed) == pytest.approx(3 / 5 * 1 / 3)


@pytest.mark.parametrize("rate", [0.1, 0.3])
def test_a_model_that_knows_counts_confidently(rate):
    _, observed, believed = drawn(rate, 1.0, 1)
    assert confident_rate(believed, observed) == pytest.approx(rate, abs=0.02)


def test_a_class_without_labels_counts_for_nothing():
    believed = np.array([[0.9, 0.1, 0.0], [0.1, 0.9, 0.0]])
    assert confident_rate(believed, np.array([0, 1])) == 0.0


@given(
    st.lists(st.floats(-9, 9), min_size=1, max_size=30),
    st.floats(0, 0.95),
)
def test_scores_come_down_to_the_rate_and_never_up(odds, rate):
    before = np.array(odds)
    after = at_least(before, rate)

    def told(z):
        return wrong_probability(1 / (1 + np.exp(-z))).mean()

    assert (after <= before).all()
    assert np.ptp(after - before) == pytest.approx(0, abs=1e-9)  # the order stays
    assert told(after) == pytest.approx(max(rate, told(before)), abs=1e-6)

"""Who votes in the automatic choice, by checked labels and by noisy ones."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2b.estimation import election
from l2b.estimation.committee import tempered
from l2b.estimation.election import Evidence, by_chance, confusions, elected, likeliest, mixing

SEEDS = st.integers(0, 2**32 - 1)


def heard(p, labels, counts=None, matrix=None):
    counts = torch.ones(len(labels)) if counts is None else counts
    return Evidence(p=p, labels=labels, counts=counts, matrix=matrix)


def fitted(p, labels, counts=None):
    return likeliest(heard({"a": p}, labels, counts)).temperatures["a"]


def weights(p, labels, counts=None):
    """Of an election in which everybody votes at temperature 1."""
    part = heard(p, labels, counts)
    w = mixing(torch.stack([part.of(q.double()) for q in p.values()]), part.counts.double())
    return dict(zip(p, w.tolist(), strict=True))


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_many_labels_tell_at_which_temperature_they_were_drawn(true):
    draw = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(4000, 4, generator=draw)
    labels = torch.multinomial(torch.softmax(z / true, dim=1), 1, generator=draw).flatten()
    assert fitted(torch.softmax(z, dim=1), labels) == pytest.approx(true, rel=0.1)
    # One label is no evidence, whatever it is.
    assert 0.7 < fitted(torch.softmax(z[:1], dim=1), labels[:1]) < 1.5


@given(SEEDS)
def test_a_temperature_is_the_likeliest_under_its_prior(seed):
    draw = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(20, 3, generator=draw, dtype=torch.double)
    labels = torch.randint(3, (20,), generator=draw)
    counts = torch.rand(20, generator=draw, dtype=torch.double)
    counts = counts / counts.mean()

    def loss(t):
        nll = torch.nn.functional.cross_entropy(z / t, labels, reduction="none")
        return (counts * nll).sum() + 2 * math.log(t) ** 2

    found = fitted(torch.softmax(z, dim=1), labels, counts)
    best = min(loss(math.exp(k / 100)) for k in range(-230, 231))
    assert 0.1 <= found <= 10 and loss(found) < best + 0.02


def test_an_unsure_member_that_is_right_outvotes_a_sure_one_that_errs():
    labels = torch.arange(60) % 3
    true = torch.eye(3)[labels]
    unsure = 0.42 * true + 0.29 * (1 - true)  # has learned labels of which most are wrong
    errs = true.clone()
    errs[:12] = true[:12].roll(1, dims=1)
    p = {"unsure": unsure, "sure": 0.7 * errs + 0.15 * (1 - errs)}
    alike = weights(p, labels)
    assert alike["sure"] > alike["unsure"]
    found = elected(heard(p, labels))
    assert next(iter(found.members)) == "unsure" and found.members["unsure"] > 0.9
    assert found.temperatures["unsure"] < 0.3 and found.heard is None


def test_an_election_takes_members_that_make_up_for_each_other():
    labels = torch.tensor([0, 1, 0, 1])
    sure, unsure = torch.tensor([0.9, 0.1]), torch.tensor([0.45, 0.55])
    left = torch.stack([sure, sure.flip(0), unsure, unsure.flip(0)])
    right = torch.stack([unsure, unsure.flip(0), sure, sure.flip(0)])
    wrong = 1 - torch.eye(2)[labels]
    three = {"a": left, "b": right, "c": wrong}
    assert elected(heard(three, labels)).members == pytest.approx({"a": 0.5, "b": 0.5})
    assert elected(heard({"a": left, "c": wrong}, labels)).members == {"a": 1.0}
    assert elected(heard({"c": wrong}, labels)).members == {"c": 1.0}


@given(SEEDS)
def test_an_election_finds_the_likeliest_mixture(seed):
    draw = torch.Generator().manual_seed(seed)
    p = {n: torch.softmax(2 * torch.randn(30, 3, generator=draw), dim=1) for n in "abc"}
    labels = torch.randint(3, (30,), generator=draw)
    rows = torch.arange(30)

    fits = torch.stack([q[rows, labels].double() for q in p.values()], dim=1)
    grid = [(i / 20, j / 20, (20 - i - j) / 20) for i in range(21) for j in range(21 - i)]
    best = (torch.tensor(grid).double() @ fits.T).log().sum(dim=1).max()
    found = torch.tensor(list(weights(p, labels).values())).double()
    assert (fits @ found).log().sum() > best - 1e-3
    members = elected(heard(p, labels)).members
    assert list(members.values()) == sorted(members.values(), reverse=True)
    assert sum(members.values()) == pytest.approx(1) and min(members.values()) >= 0.05


@given(SEEDS)
def test_an_election_counts_labels_as_often_as_they_are_worth(seed):
    draw = torch.Generator().manual_seed(seed)
    p = {n: torch.softmax(2 * torch.randn(12, 3, generator=draw), dim=1) for n in "ab"}
    labels = torch.randint(3, (12,), generator=draw)
    times = torch.randint(1, 4, (12,), generator=draw)
    rows = torch.arange(12).repeat_interleave(times)
    repeated = weights({n: q[rows] for n, q in p.items()}, labels[rows])
    assert weights(p, labels, times / times.float().mean()) == pytest.approx(repeated, abs=1e-6)


# --- noisy labels ----------------------------------------------------------------------------

SYMMETRIC = 0.6 * torch.eye(3) + 0.4 / 3
PAIRS = 0.7 * torch.eye(3) + 0.3 * torch.eye(3).roll(1, dims=1)


class Crowd:
    """Samples whose classes are known up to some errors, by two who err a little and much."""

    def __init__(self, checked=12, noisy=3000, matrix=SYMMETRIC, by_rule=False, seed=0):
        self.draw = torch.Generator().manual_seed(seed)
        self.matrix = matrix
        count = checked + noisy
        true = torch.randint(3, (count,), generator=self.draw)
        self.labels = torch.multinomial(matrix[true], 1, generator=self.draw).flatten()
        if by_rule:  # a rule that can be learned says what the label is, right or wrong
            imitated = 0.9 * torch.eye(3)[self.labels] + 0.1 / 3
        else:  # who learns labels made by chance knows their odds
            imitated = self.says(true, 0.25) @ matrix
        self.p = {
            "good": self.says(true, 0.1),
            "poor": self.says(true, 0.2),
            "imitator": imitated,
        }
        self.true = true
        self.checked = heard({n: q[:checked] for n, q in self.p.items()}, true[:checked])
        self.noisy = heard({n: q[checked:] for n, q in self.p.items()}, self.labels[checked:])

    def says(self, true, errs):
        odds = (1 - errs) * torch.eye(3) + errs * (1 - torch.eye(3)) / 2
        said = torch.multinomial(odds[true], 1, generator=self.draw).flatten()
        return odds[said]


@pytest.mark.parametrize("matrix", [SYMMETRIC, PAIRS])
def test_noisy_labels_tell_what_a_dozen_checked_ones_cannot(matrix):
    right = {True: 0, False: 0}
    for seed in range(10):
        crowd = Crowd(matrix=matrix, seed=seed)
        for listen in right:
            found = elected(crowd.checked, crowd.noisy if listen else None)
            right[listen] += found.members.get("good", 0.0) > 0.6
            assert found.heard > 0.6 if listen else found.heard is None
    assert right[True] == 10 and right[False] < 8


def test_labels_that_follow_a_rule_have_no_say():
    for seed in range(5):
        crowd = Crowd(checked=60, by_rule=True, seed=seed)
        without = elected(crowd.checked)
        found = elected(crowd.checked, crowd.noisy)
        assert found.heard < 0.05
        assert found.members == pytest.approx(without.members, abs=0.1)
        # Whoever takes them at their word elects who repeats them.
        deaf = replace(crowd.noisy, matrix=torch.eye(3).double())
        taken = likeliest(crowd.checked, deaf).weights
        assert taken["imitator"] > 0.9 > 0.5 > found.members.get("imitator", 0.0)


@given(SEEDS)
def test_the_share_of_chance_is_the_likeliest(seed):
    draw = torch.Generator().manual_seed(seed)
    p = {n: torch.softmax(2 * torch.randn(40, 3, generator=draw), dim=1) for n in "ab"}
    noisy = heard(p, torch.randint(3, (40,), generator=draw))
    chance = torch.rand(40, generator=draw, dtype=torch.double).clamp_min(0.01)
    best = likeliest(noisy)
    imitated = noisy.of(best(p))
    share = torch.linspace(0, 1, 101).double().unsqueeze(1)
    fit = (share * chance + (1 - share) * imitated).log().sum(dim=1)
    found = by_chance(noisy, chance)
    assert 0 <= found <= 1
    assert (found * chance + (1 - found) * imitated).log().sum() > fit.max() - 0.02


@pytest.mark.parametrize("matrix", [SYMMETRIC, PAIRS])
def test_confusions_are_found_without_the_true_classes(matrix):
    crowd = Crowd(noisy=20_000, matrix=matrix)
    noisy = crowd.noisy
    found = confusions(noisy.p["good"].double(), noisy)
    torch.testing.assert_close(found.sum(dim=1), torch.ones(3).double())
    assert (found - matrix).abs().max() < 0.04
    # A label that never occurs, and samples that count for nothing.
    few = Evidence(p={}, labels=torch.tensor([0, 0]), counts=torch.tensor([2.0, 0.0]))
    sure = torch.tensor([[1.0, 0, 0], [0, 1.0, 0]]).double()
    by_hand = torch.tensor([[7 / 9, 1 / 9, 1 / 9], [1 / 3] * 3, [1 / 3] * 3]).double()
    torch.testing.assert_close(confusions(sure, few), by_hand)


@given(SEEDS)
def test_a_noisy_label_is_as_likely_as_its_matrix_makes_it(seed):
    draw = torch.Generator().manual_seed(seed)
    p = torch.softmax(torch.randn(8, 3, generator=draw), dim=1)
    labels = torch.randint(3, (8,), generator=draw)
    part = heard({"a": p}, labels, matrix=PAIRS.double())
    at = 40
    q = tempered(p.double(), election.TEMPERATURES[at].item())
    by_hand = torch.stack(
        [sum(q[i, y] * PAIRS[y, labels[i]].double() for y in range(3)) for i in range(8)]
    )
    torch.testing.assert_close(part.fits[0, at], by_hand)


@given(SEEDS)
def test_labels_that_count_for_nothing_change_nothing(seed):
    draw = torch.Generator().manual_seed(seed)
    p = {n: torch.softmax(2 * torch.randn(20, 3, generator=draw), dim=1) for n in "ab"}
    labels = torch.randint(3, (20,), generator=draw)
    few = heard({n: q[:8] for n, q in p.items()}, labels[:8])
    rest = {n: q[8:] for n, q in p.items()}
    unheard = heard(rest, labels[8:], counts=torch.zeros(12), matrix=PAIRS.double())
    alone, both = likeliest(few), likeliest(few, unheard)
    assert both.temperatures == alone.temperatures
    assert both.weights == pytest.approx(alone.weights)
    # Labels that are true are worth as much wherever they come from.
    known = heard(rest, labels[8:], matrix=torch.eye(3).double())
    together = likeliest(heard(p, labels))
    assert likeliest(few, known).weights == pytest.approx(together.weights, abs=1e-6)


def test_certainty_of_one_label_outweighs_nothing():
    sure = torch.tensor([[1.0, 0.0]] * 20)
    labels = torch.tensor([0] * 19 + [1])
    careful = torch.tensor([[0.6, 0.4]] * 20)
    found = elected(heard({"sure": sure, "careful": careful}, labels))
    assert found.members["sure"] > 0.3
    assert all(0 < t < math.inf for t in found.temperatures.values())

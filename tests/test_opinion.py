"""The second opinion: what checked samples say of labels that a run was taken in by."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score
from torch import nn

from l2b.audit import opinion, views
from l2b.audit.opinion import Opinion, _exponents
from l2b.audit.summary import wrong_probability
from l2b.audit.table import AuditTable
from l2b.data import Data, Pool
from l2b.streams import stream


def heard(table, data, module):
    """The second opinion of a run's network."""
    seen = views.view_of(data, module)
    return opinion.second_opinion(table, seen, data.clean.labels.numpy())


def pool(x, labels, true):
    return Pool(inputs=x, labels=labels, index=torch.arange(len(x)), true=true)


@pytest.fixture
def data():
    """The sign of the first feature counts; a rule on the second one has set wrong labels."""
    x = torch.randn(500, 4, generator=stream(0, "x"))
    true = (x[:, 0] > 0).long()
    observed = torch.where(x[:, 1] > 0.5, 1 - true, true)
    return Data(
        train=pool(x[:400], observed[:400], true[:400]), clean=pool(x[400:], true[400:], None),
        validation=None, test=None, classes=("a", "b"), mean=torch.tensor(0.0),
        std=torch.tensor(1.0), noise_rate=None, noise_hash="",
    )  # fmt: skip


def judged(data, quality):
    """A run's table that suggests to keep every label."""
    observed, nothing = data.train.labels.numpy(), np.zeros(len(data.train))
    return AuditTable(
        classes=data.classes, ids=(), index=data.train.index.numpy(), observed=observed,
        suggested=observed.copy(), quality=quality, confidence=nothing + 1, alpha=nothing,
        beta=nothing, rejected=nothing, first_rejection=nothing.astype(int), neighbours=nothing,
    )  # fmt: skip


class Taken(nn.Module):
    """Learned the rule along with the labels, and is sure of it; or has learned the truth."""

    def __init__(self, *, rule):
        super().__init__()
        self.rule = rule

    def forward(self, x):
        side = torch.where(x[:, 1] > 0.5, -x[:, 0], x[:, 0]) if self.rule else x[:, 0]
        z = 8 * side.sign()
        return torch.stack([-z, z], dim=1)


def auroc(data, table):
    return roc_auc_score((data.train.labels != data.train.true).numpy(), -table.quality)


def test_a_run_that_was_taken_in_is_corrected_by_the_checked_samples(data):
    table = judged(data, np.full(400, 0.9))
    found = heard(table, data, Taken(rule=True))
    assert auroc(data, found) > 0.9
    right = (found.suggested == data.train.true.numpy())[found.suspect]
    assert found.suspect.sum() > 50 and right.mean() > 0.8


def test_a_run_that_knows_keeps_the_last_word(data):
    right = (data.train.labels == data.train.true).numpy()
    table = judged(data, np.where(right, 0.95, 0.05))
    found = heard(table, data, Taken(rule=False))
    assert auroc(data, found) > 0.99
    assert (found.suggested == data.train.true.numpy()).mean() > 0.98  # the run's suggestions


def test_a_linear_model_of_all_samples_has_a_say_where_checked_ones_are_few(data):
    """Random noise, a run that knows nothing, ten checked samples: the many noisy ones know."""
    true = data.train.true
    flipped = torch.rand(len(true), generator=stream(1, "noise")) < 0.2
    noisy = pool(data.train.inputs, torch.where(flipped, 1 - true, true), true)
    few = pool(data.clean.inputs[:10], data.clean.labels[:10], None)
    given = Data(**{**data.__dict__, "train": noisy, "clean": few})
    table = judged(given, np.full(400, 0.5))
    found = auroc(given, heard(table, given, Guesses()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(views, "MOST_NUMBERS", 10)
        without = auroc(given, heard(table, given, Guesses()))
    assert found > 0.93 and found > without


class Guesses(nn.Module):
    """Knows nothing."""

    def forward(self, x):
        return torch.zeros(len(x), 2)


def test_the_rate_of_wrong_labels_is_counted_for_a_run_that_trusts_them_all(data):
    """Every label has the same high quality: without the count, hardly one would be suspect."""
    true = data.train.true
    flipped = torch.rand(len(true), generator=stream(1, "noise")) < 0.3
    noisy = pool(data.train.inputs, torch.where(flipped, 1 - true, true), true)
    given = Data(**{**data.__dict__, "train": noisy})
    draw = np.random.default_rng(0)
    table = judged(given, 0.999 + 0.0009 * draw.random(400))
    found = heard(table, given, Guesses())
    assert found.suspect.sum() == pytest.approx(int(flipped.sum()), rel=0.3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opinion, "_counted", lambda *_: 0.0)
        assert heard(table, given, Guesses()).suspect.sum() < 0.7 * found.suspect.sum()


@pytest.mark.parametrize("informative", [1, 40])
def test_the_strength_of_the_linear_model_is_that_which_held_out_samples_bear_out(informative):
    """A faint signal in forty numbers wants a weak model, a clear one in one number a strong."""
    draw = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = draw.normal(size=(60, 40))
    x[:, :informative] += (2 * y[:, None] - 1) * (3 if informative == 1 else 0.1)
    seen = views.View(x[:20], x, True, np.empty(0), np.empty(0))
    found = []
    for strengths in [opinion.STRENGTHS, *((s,) for s in opinion.STRENGTHS)]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(opinion, "STRENGTHS", strengths)
            found.append(opinion._of_checked(seen, y[:20], y))
    losses = [-np.log(np.maximum(f.held_out[np.arange(60), y], opinion.SURE)).mean() for f in found]
    chosen, alone = losses[0], losses[1:]
    assert chosen == min(alone) < max(alone) - 0.05
    np.testing.assert_array_equal(found[0].believed, found[1 + np.argmin(alone)].believed)


def test_opinions_are_judged_on_labels_that_did_not_choose_their_exponents():
    """The mean over folds, each by the exponents of the others, written out."""
    draw = np.random.default_rng(0)
    y = draw.integers(3, size=37)
    pair = [draw.dirichlet(np.ones(3), size=37) for _ in range(2)]
    fold, expected = np.arange(37) % opinion.FOLDS, 0.0
    for k in range(opinion.FOLDS):
        chosen = _exponents([p[fold != k] for p in pair], y[fold != k])
        for row in np.flatnonzero(fold == k):
            q = np.prod([p[row] ** e for p, e in zip(pair, chosen, strict=True)], axis=0)
            expected -= np.log(q[y[row]] / q.sum()) / 37
    assert opinion._loss(pair, y) == pytest.approx(expected)


def test_linear_models_are_heard_only_where_they_help():
    """Three opinions: one that knows, one that guesses, one that knows where the first does not."""
    y = np.arange(100) % 2
    knows = np.where(np.eye(2)[y] > 0, 0.99, 0.01)
    guesses = np.full((100, 2), 0.5)
    half = np.where(np.arange(100)[:, None] < 50, knows, guesses)
    other = np.where(np.arange(100)[:, None] < 50, guesses, knows)
    assert not opinion._worth_hearing([knows, guesses], y)
    assert not opinion._worth_hearing([knows, knows], y)
    assert opinion._worth_hearing([guesses, knows], y)
    assert opinion._worth_hearing([half, other], y)


def test_a_run_that_knows_less_than_the_labels_does_not_overrule_them(data):
    """Three in ten of its predictions are wrong, one in ten labels; all of its suspects were."""
    true = data.train.true
    draw = torch.rand(len(true), generator=stream(2, "labels"))
    noisy = pool(data.train.inputs, torch.where(draw < 0.1, 1 - true, true), true)
    given = Data(**{**data.__dict__, "train": noisy})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(opinion, "_worth_hearing", lambda *_: False)
        found = heard(judged(given, np.full(400, 0.5)), given, Unsure())
    right = (found.suggested == true.numpy()).mean()
    assert right >= (noisy.labels == true).float().mean().item() - 0.01


class Unsure(nn.Module):
    """Right in seven of ten samples, and says so."""

    def forward(self, x):
        side = torch.where(x[:, 2] > 0.524, -x[:, 0], x[:, 0]).sign()
        return torch.stack([-side, side], dim=1) * 0.42


def test_opinions_of_unequal_confidence_count_by_their_shares():
    """A sure opinion must not drown another that counts as much."""
    draw = np.random.default_rng(0)
    wrong = draw.random(2000) < 0.3
    signs = np.where(wrong, -1.0, 1.0)
    odds = [signs + draw.normal(size=2000), 20 * draw.normal(size=2000)]
    mixed = pooled(odds, [0.8, 0.2])
    assert roc_auc_score(wrong, -mixed.quality) > 0.87


def pooled(odds, exponents, rate=0.0):
    """What opinions of these log-odds come to if a share of labels is counted as wrong."""
    n = len(odds[0])
    opinions = [
        Opinion(
            held_out=np.zeros((1, 2)),
            believed=np.ones((n, 2)),
            right=1 / (1 + np.exp(-np.clip(o, -9, 9))),
        )
        for o in odds
    ]
    table = judged(Data(**_nothing(np.zeros(n, dtype=bool))), np.full(n, 0.5))
    return opinion._mixed(table, opinions, np.array(exponents), rate)


@pytest.mark.parametrize("spread", [2, 1, 0.5, 0.1, 0])
def test_what_linear_models_count_is_found_though_the_run_trusts_all_labels(spread):
    draw = np.random.default_rng(0)
    wrong = np.arange(1000) < 200
    others = [np.where(wrong, -3, 3) + draw.normal(size=1000) for _ in range(2)]
    run = 6 + spread * draw.normal(size=1000)
    suspect = pooled([run, *others], [1, 1, 1], rate=0.2).quality < 0.5
    assert 160 <= suspect.sum() <= 240 and wrong[suspect].mean() > 0.8


@pytest.mark.parametrize("odds", [[2.0, 2.0], [0.0, 0.0], [-1.0, 3.0], [5.0, 5.1]])
def test_an_opinion_alone_is_kept_as_it_is(odds):
    found = pooled([np.array(odds)], [0.7]).quality
    np.testing.assert_allclose(np.log(found / (1 - found)), odds, atol=1e-9)


def test_an_opinion_that_knows_nothing_takes_no_label_across():
    draw = np.random.default_rng(0)
    knows = 2 + 2 * draw.normal(size=500)
    found = pooled([knows, np.zeros(500)], [0.3, 0.7]).quality
    assert ((found < 0.5) == (knows < 0)).all()


def test_opinions_that_are_equally_sure_are_ranked_by_their_mean():
    draw = np.random.default_rng(0)
    odds = 2 + draw.normal(size=500)
    pair = [odds, draw.permutation(odds)]
    found = pooled(pair, [0.3, 0.7]).quality
    assert (found.argsort() == (0.3 * pair[0] + 0.7 * pair[1]).argsort()).all()


def _nothing(wrong):
    labels = torch.from_numpy(wrong.astype(np.int64))
    inputs = torch.zeros(len(wrong), 1)
    return {
        "train": pool(inputs, labels, labels * 0), "clean": pool(inputs[:2], labels[:2], None),
        "validation": None, "test": None, "classes": ("a", "b"), "mean": torch.tensor(0.0),
        "std": torch.tensor(1.0), "noise_rate": None, "noise_hash": "",
    }  # fmt: skip


def of_classes(believed, observed):
    """A table of these labels, each with a right quality of 0.01, and one opinion of them."""
    n = len(observed)
    data = Data(**{**_nothing(observed > 0), "classes": tuple(map(str, range(believed.shape[1])))})
    table = replace(judged(data, np.full(n, 0.5)), observed=observed, suggested=observed)
    right = np.full(n, 0.01)
    return table, Opinion(held_out=np.zeros((1, 2)), believed=believed, right=right)


def test_the_confidence_of_a_suggestion_is_its_share_among_the_other_classes():
    draw = np.random.default_rng(0)
    believed = draw.dirichlet(np.ones(4), size=50)
    observed = draw.integers(4, size=50)
    table, said = of_classes(believed, observed)
    exponents = np.array([1.0, 0.5])
    found = opinion._mixed(table, [said, said], exponents, 0.0)
    m = np.maximum(believed, opinion.SURE) ** exponents.sum()
    m[np.arange(50), observed] = 0
    expected = wrong_probability(said.right) * m.max(axis=1) / m.sum(axis=1)
    np.testing.assert_allclose(found.confidence, expected)
    assert (found.suggested == m.argmax(axis=1)).all()


def test_confidence_does_not_fall_with_the_number_of_classes():
    """One of nine other classes stands out, in each of three opinions that count much."""
    believed = np.array([[0.60, 0.32, *[0.01] * 8]])
    table, said = of_classes(believed, np.array([0]))
    found = opinion._mixed(table, [said] * 3, np.array([3.0, 3.0, 3.0]), 0.0)
    assert found.suggested.tolist() == [1] and found.confidence[0] > 0.99


def test_exponents_follow_the_opinion_that_is_right_and_do_not_jump():
    draw = np.random.default_rng(0)
    y = draw.integers(2, size=60)
    sure = np.where(np.eye(2)[y] > 0, 0.9, 0.1)
    guess = np.full((60, 2), 0.5)
    a, b = _exponents([sure, guess], y)
    swapped = _exponents([guess, sure], y)
    assert a > 1.5 and tuple(swapped) == pytest.approx((b, a))
    both = _exponents([sure, sure], y)
    assert both[0] == pytest.approx(both[1])  # equally good opinions count alike


class Diverged(nn.Module):
    def forward(self, x):
        return torch.full((len(x), 2), torch.nan)


def test_a_network_that_diverged_changes_nothing(data):
    table = judged(data, np.full(400, 0.9))
    assert heard(table, data, Diverged()) is table


def test_too_few_checked_samples_change_nothing(data):
    table = judged(data, np.full(400, 0.9))
    few = Data(**{**data.__dict__, "clean": pool(*(t[:3] for t in (
        data.clean.inputs, torch.tensor([0, 0, 1]), torch.tensor([0, 0, 1]))))})  # fmt: skip
    assert heard(table, few, Taken(rule=True)) is table

"""The estimator with several yes-or-no labels a sample."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import sparse
from sklearn.base import clone
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.model_selection import cross_val_predict, cross_val_score
from torch import nn

from l2b import L2BClassifier
from l2b.estimation import selection
from l2b.estimation.comparison import WITHOUT, Comparison
from l2b.estimation.meaning import are_several, as_answers
from l2b.estimation.selection import Contest, candidates, suited
from l2b.estimation.task import Given, held_out
from l2b.estimation.trusted import checked_labels, stand_ins
from l2b.methods.clean_only import CleanOnly
from l2b.methods.elr import Elr
from l2b.methods.l2b_tags import L2BTags
from l2b.models import Mlp
from l2b.notices import Notice
from l2b.yes_no import YesNo


class Problem:
    """Three questions about points; a quarter of the answers are wrong, a fifth was checked."""

    def __init__(self, samples: int = 300) -> None:
        draw = np.random.default_rng(0)
        self.x = draw.normal(size=(samples, 6)).astype(np.float32)
        self.true = (self.x[:, :3] > [0, -0.5, 0.5]).astype(np.int64)
        self.wrong = draw.random(self.true.shape) < 0.25
        self.clean = np.arange(samples) % 5 == 0
        self.wrong[self.clean] = False
        self.y = np.where(self.wrong, 1 - self.true, self.true)


@pytest.fixture(scope="module")
def problem():
    return Problem()


def quick(**settings):
    return L2BClassifier(**{"method": "l2b_tags", "epochs": 15, "random_state": 0, **settings})


def test_it_learns_and_judges_every_answer(problem):
    model = quick().fit(problem.x, problem.y, clean=problem.clean)
    p, said = model.predict_proba(problem.x), model.predict(problem.x)
    assert p.shape == said.shape == problem.y.shape and said.dtype == np.int64
    np.testing.assert_array_equal(said, p > 0.5)
    assert (said == problem.true).mean() > 0.93 > (problem.y == problem.true).mean()
    assert model.score(problem.x, problem.true) == (said == problem.true).all(axis=1).mean()
    quality, noisy = model.label_quality_, ~problem.clean
    assert roc_auc_score(~problem.wrong[noisy].ravel(), quality[noisy].ravel()) > 0.93
    assert (quality[problem.clean] == 1).all() and (model.alpha_[problem.clean] == 1).all()
    assert not model.is_suspect_[problem.clean].any() and (model.beta_[problem.clean] == 0).all()
    suspects = model.is_suspect_
    assert (suspects == problem.wrong)[noisy].mean() > 0.85
    assert (model.suggested_labels_[suspects] == 1 - problem.y[suspects]).all()
    assert model.alpha_[problem.wrong].mean() < model.alpha_[~problem.wrong & noisy[:, None]].mean()
    np.testing.assert_allclose((model.alpha_ + model.beta_), 1, atol=1e-5)
    assert model.classes_.tolist() == [[0, 1]] * 3
    assert model.tag_names_.tolist() == ["0", "1", "2"]


def test_automatic_choice_judges_answers(problem, monkeypatch, capsys):
    names = [WITHOUT, "l2b", "fine_tune", "elr", "mixup"]
    monkeypatch.setattr(selection, "candidates", lambda: {n: candidates()[n] for n in names})
    model = quick(method="auto", epochs=8, verbose=1)
    model.fit(problem.x, problem.y, clean=problem.clean)
    found = model.comparison_
    assert set(found.accuracy) == {WITHOUT, "l2b_tags", "fine_tune", "elr", "mixup"}
    assert len(found.worth) == 180 and found.of.bincount().tolist() == [3] * 60
    assert "180 answers of 60 checked samples" in " ".join(capsys.readouterr().out.split())
    said = model.predict(problem.x)
    assert (said == problem.true).mean() > 0.94
    assert type(model.method_) is type(suited(candidates(), tagged())[found.chosen])
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict_proba(problem.x), model.predict_proba(problem.x))


def tagged(y_clean=None):
    y_clean = torch.tensor([[0, 1]] * 4) if y_clean is None else y_clean
    return Given(
        x=torch.zeros(8, 2), y=torch.zeros(8, 2).long(), index=torch.arange(8),
        x_clean=torch.zeros(len(y_clean), 2), y_clean=y_clean,
        classes=("no", "yes"), tags=("a", "b"),
    )  # fmt: skip


def test_the_form_of_l2b_for_several_labels_stands_where_l2b_does():
    methods = suited(candidates(), tagged())
    assert list(methods)[:2] == [WITHOUT, "l2b_tags"] and isinstance(methods["l2b_tags"], L2BTags)
    assert len(methods) == len(candidates())


def test_only_known_answers_are_judged():
    contest = Contest(tagged(torch.tensor([[0, -1], [1, 1], [-1, 0], [-1, 1]])), None, seed=0)
    contest.judged = [torch.tensor([1, 3]), torch.tensor([0, 2])]
    p = torch.arange(16.0).reshape(4, 2, 2)  # of samples 1, 3, 0, 2: [classes, tags] each
    contest.p = {"l2b_tags": [p[:2], p[2:]]}
    found, labels = contest.held_out
    assert labels.tolist() == [1, 1, 1, 0, 0] and contest.samples.tolist() == [0, 0, 1, 2, 3]
    # Sample 1: both; sample 3: the second tag; sample 0: the first; sample 2: the second.
    assert found["l2b_tags"].tolist() == [[0, 2], [1, 3], [5, 7], [8, 10], [13, 15]]


def test_answers_of_one_sample_are_one_draw():
    right = torch.tensor([True] * 30)
    figures = {"worth": torch.ones(30), "temperatures": {}, "seconds": 1, "folds": 3}
    correct = {"l2b_tags": right, WITHOUT: ~right}
    alone = Comparison(correct=correct, members={"l2b_tags": 1}, **figures)
    together = Comparison(
        correct=correct, members={"l2b_tags": 1}, **figures, of=torch.arange(30) // 10
    )
    assert alone.gain == pytest.approx((1, 30**-0.5)) and alone.noisy_labels_help
    assert together.gain == pytest.approx((1, 3**-0.5)) and not together.noisy_labels_help
    assert "on 30 answers of 3 checked samples" in together.summary()
    assert "on 30 checked samples" in alone.summary()


# --- what was checked, and what nobody knows -------------------------------------------------


def test_single_answers_can_be_checked(problem):
    """An answer that was checked teaches as such, the others of its sample stay noisy."""
    mask = np.zeros(problem.y.shape, dtype=bool)
    for tag in range(3):
        mask[60 * tag : 60 * (tag + 1), tag] = True
    y = np.where(mask, problem.true, problem.y)
    model = quick().fit(problem.x, y, clean=mask)
    assert model.clean_indices_.tolist() == list(range(180))
    assert (model.label_quality_[mask] == 1).all() and (model.label_quality_[~mask] < 1).all()
    assert (model.predict(problem.x) == problem.true).mean() > 0.93
    rows = np.repeat(problem.clean[:, None], 3, axis=1)  # whole rows, answer by answer
    whole, marked = (
        quick(epochs=3).fit(problem.x, problem.y, clean=c) for c in (problem.clean, rows)
    )
    np.testing.assert_array_equal(whole.label_quality_, marked.label_quality_)


def test_what_is_checked_is_taken_out_of_training(problem, monkeypatch):
    seen = []

    def spied(given, *rest):
        seen.append(given)
        return learn(given, *rest)

    from l2b import estimator

    learn = estimator.learn
    monkeypatch.setattr(estimator, "learn", spied)
    y, mask = problem.y.astype(float), np.zeros(problem.y.shape, dtype=bool)
    y[5] = [np.nan, 1, np.nan]
    y[6] = np.nan
    mask[5], mask[7, 1] = True, True
    with pytest.warns(Notice, match="No checked answer is '0: no', '0: yes', '1: no', '2: no'"):
        quick(epochs=1).fit(problem.x, y, clean=mask)
    (given,) = seen
    assert 5 not in given.index and 6 not in given.index and 7 in given.index
    row = given.y[given.index.tolist().index(7)]
    assert row.tolist() == [problem.y[7, 0], -1, problem.y[7, 2]]
    assert given.y_clean.tolist() == [[-1, 1, -1], [-1, problem.y[7, 1], -1]]


def test_unknown_answers_are_neither_learned_nor_judged(problem):
    y = problem.y.astype(float)
    y[81:200, 1] = np.nan
    y[201] = np.nan
    model = quick(epochs=20).fit(problem.x, y, clean=problem.clean)
    unknown = np.isnan(y)
    assert np.isnan(model.label_quality_[unknown]).all() and np.isnan(model.alpha_[unknown]).all()
    assert not np.isnan(model.label_quality_[~unknown]).any()
    assert (model.suggested_labels_[unknown] == -1).all() and not model.is_suspect_[unknown].any()
    assert (model.predict(problem.x) == problem.true)[unknown].mean() > 0.85
    for other in (np.where(unknown, -1, y), np.where(unknown, None, y)):
        same = quick(epochs=20).fit(problem.x, other, clean=problem.clean)
        np.testing.assert_array_equal(same.label_quality_, model.label_quality_)


def test_separate_checked_samples_may_be_known_in_part(problem):
    noisy, checked = ~problem.clean, problem.true[problem.clean].astype(float)
    checked[::2, 0] = np.nan
    model = quick().fit(problem.x[noisy], problem.y[noisy], problem.x[problem.clean], checked)
    assert model.label_quality_.shape == (240, 3) and len(model.clean_indices_) == 0
    assert (model.predict(problem.x) == problem.true).mean() > 0.92


@pytest.mark.parametrize("settings", [{"method": "auto"}, {"validation": 0.3, "method": "auto"}])
def test_checked_samples_of_which_nothing_is_known_say_nothing(problem, settings):
    """A fold or a validation set of such samples judges by nothing at all."""
    y_clean = np.full((30, 3), -1)
    y_clean[:12] = problem.true[:12]
    settings |= {"epochs": 1, "time_budget": 1.0}
    found, without = (
        quick(**settings).fit(problem.x[30:], problem.y[30:], problem.x[:n], y_clean[:n])
        for n in (30, 12)
    )
    assert len(found.comparison_.of.unique()) <= 12
    assert len(without.comparison_.of.unique()) <= 12
    y_clean[1:], settings["validation"] = -1, 0.0
    with pytest.warns(Notice, match="No checked answer is"):
        one = quick(**settings).fit(problem.x, problem.y, problem.x[:30], y_clean)
    assert one.comparison_ is None


def test_who_never_learned_a_label_has_no_vote_on_it(problem):
    """Without a checked answer of a label the checked samples alone do not teach it."""
    mask = np.zeros(problem.y.shape, dtype=bool)
    mask[:120, 0] = True
    y = np.where(mask, problem.true, problem.y)
    with pytest.warns(Notice, match="No checked answer is '1: no', '1: yes', '2: no', '2: yes'"):
        model = quick(method="auto", epochs=8, time_budget=0.01).fit(problem.x, y, clean=mask)
    found = model.comparison_
    assert WITHOUT in found.accuracy and list(found.members) == ["l2b_tags"]
    assert (model.predict(problem.x) == problem.true)[:, 1:].mean() > 0.8
    known, unknown = torch.tensor([[0, 1], [1, 0]]), torch.tensor([[0, -1], [1, -1]])
    noisy = replace(tagged(known), y=unknown)
    assert not selection.learns_all(Elr(), noisy) and selection.learns_all(L2BTags(), noisy)
    assert selection.learns_all(CleanOnly(), noisy)
    assert not selection.learns_all(CleanOnly(), tagged(unknown))
    assert selection.learns_all(Elr(), replace(tagged(unknown), y=known))


@pytest.mark.parametrize("method", list(suited(candidates(), tagged())))
def test_every_candidate_takes_answers_that_nobody_knows(problem, method):
    clean = problem.clean
    y, y_clean = problem.y[~clean], problem.true[clean]
    y[::3, 0], y_clean[::2, 1] = -1, -1
    model = quick(method=method).fit(problem.x[~clean], y, problem.x[clean], y_clean)
    assert (model.predict(problem.x) == problem.true).mean() > 0.85
    assert np.isnan(model.label_quality_).sum() == 80


def test_without_checked_answers_confirmed_ones_stand_in(problem):
    model = quick(method="auto").fit(problem.x, problem.y)
    assert model.comparison_ is None
    assert (model.predict(problem.x) == problem.true).mean() > 0.88
    mask = stand_ins(problem.x, problem.y, seed=0)
    assert (abs(mask.mean(axis=0) - 0.2) < 0.01).all() and problem.wrong[mask].mean() < 0.05
    assert (stand_ins(problem.x, problem.y[:, 1], seed=0) == mask[:, 1]).all()  # each by itself
    unknown = problem.y.copy()
    unknown[:100, 0] = -1
    assert not stand_ins(problem.x, unknown, seed=0)[:100, 0].any()


def kept_aside(problem):
    """Rows of the checked samples that choose an epoch."""
    checked = np.flatnonzero(problem.clean)
    seed = int(np.random.RandomState(0).randint(2**31 - 1))  # as random_state=0 draws it
    return checked[held_out(torch.from_numpy(problem.y[checked]), 0.25, seed).numpy()]


def test_an_epoch_is_chosen_by_samples_kept_aside(problem):
    model = quick(validation=0.25).fit(problem.x, problem.y, clean=problem.clean)
    scores = [row["validation_accuracy"] for row in model.history_]
    assert scores[model.chosen_epoch_] == max(scores) and len(set(scores)) > 3
    p = model.predict(problem.x[kept_aside(problem)])
    assert (p == problem.true[kept_aside(problem)]).mean() == pytest.approx(max(scores))
    assert (model.predict(problem.x) == problem.true).mean() > 0.9


# --- what goes in ----------------------------------------------------------------------------


def test_data_frames_name_their_tags(problem):
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame(problem.y, columns=["mass", "nodule", "effusion"])
    model = quick(epochs=2).fit(problem.x, frame, clean=problem.clean)
    assert model.tag_names_.tolist() == ["mass", "nodule", "effusion"]
    nullable = frame.astype("boolean")
    nullable.iloc[100, 1] = pd.NA
    found = quick(epochs=2).fit(problem.x, nullable, clean=problem.clean)
    assert np.argwhere(np.isnan(found.label_quality_)).tolist() == [[100, 1]]
    mask = frame.astype("boolean") & False
    for tag in range(3):
        mask.iloc[: 40 + 10 * tag, tag] = True
    marked = quick(epochs=2).fit(problem.x, frame, clean=mask)
    assert ((marked.label_quality_ == 1).sum(axis=0) == [40, 50, 60]).all()
    with pytest.raises(ValueError, match=r"clean must have the columns of y in their order"):
        quick().fit(problem.x, frame, clean=mask.iloc[:, ::-1])
    other = frame.iloc[:60, ::-1]
    with pytest.raises(ValueError, match=r"columns of y in their order, mass, .* got effusion"):
        quick().fit(problem.x, frame, problem.x[:60], other)


@pytest.mark.parametrize(
    "dressed",
    [np.ndarray.tolist, sparse.csr_matrix, sparse.csr_array, torch.tensor, lambda y: y == 1],
    ids=["lists", "matrix", "sparse array", "tensor", "booleans"],
)
def test_any_kind_of_answers(problem, dressed):
    plain = quick(epochs=1).fit(problem.x, problem.y, clean=problem.clean)
    model = quick(epochs=1).fit(problem.x, dressed(problem.y), clean=problem.clean)
    np.testing.assert_array_equal(model.predict_proba(problem.x), plain.predict_proba(problem.x))


def test_what_a_masked_array_hides_is_unknown(problem):
    hidden = np.zeros(problem.y.shape, dtype=bool)
    hidden[100:120, 1] = True
    model = quick(epochs=1)
    model.fit(problem.x, np.ma.array(problem.y, mask=hidden), clean=problem.clean)
    checked = hidden & ~problem.clean[:, None]
    np.testing.assert_array_equal(np.isnan(model.label_quality_), hidden)
    assert checked.any()


def test_sparse_inputs_and_images(problem):
    rows = sparse.csr_matrix(np.where(problem.x > 0.5, problem.x, 0))
    model = quick(epochs=4).fit(rows, problem.y, clean=problem.clean)
    assert model.predict_proba(rows).shape == (300, 3)
    images = np.repeat(problem.x[:, :4], 16, axis=1).reshape(300, 1, 8, 8)
    model = quick(
        epochs=2, model=lambda shape, tags: nn.Sequential(nn.Flatten(), nn.LazyLinear(tags))
    )
    assert model.fit(images, problem.y, clean=problem.clean).predict(images).shape == (300, 3)
    assert isinstance(model.module_, YesNo)


def test_scikit_learn_scores_it(problem):
    model = quick(epochs=5)
    chance = {"roc_auc": 0.55, "f1_macro": 0.55, "accuracy": 0.2}  # of eight sets of answers 1/8
    for scoring, least in chance.items():
        found = cross_val_score(
            clone(model), problem.x, problem.y, cv=2, scoring=scoring,
            params={"clean": problem.clean}, error_score="raise",
        )  # fmt: skip
        assert (found > least).all(), scoring
    two = cross_val_score(
        model, problem.x, problem.y[:, :2], cv=2, scoring="roc_auc",
        params={"clean": problem.clean}, error_score="raise",
    )  # fmt: skip
    assert (two > 0.6).all()
    for width in (2, 3):
        p = cross_val_predict(
            model, problem.x, problem.y[:, :width], cv=2, method="predict_proba",
            params={"clean": problem.clean},
        )  # fmt: skip
        assert roc_auc_score(problem.true[:, :width], p) > 0.6
    fitted = model.fit(problem.x, problem.y, clean=problem.clean)
    assert f1_score(problem.true, fitted.predict(problem.x), average="macro") > 0.7


def test_one_column_is_one_label(problem):
    assert not are_several(problem.y[:, :1]) and not are_several([[1], [0, 1]])
    assert are_several(problem.y) and are_several(problem.y.tolist())
    with pytest.warns(match="column-vector y was passed"):
        model = quick(method="l2b", epochs=1).fit(problem.x, problem.y[:, :1], clean=problem.clean)
    assert model.tag_names_ is None and model.predict(problem.x).ndim == 1


# --- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([[0, 2], [1, 1]], r"got '2' in row 0, column 1"),
        ([["yes", "no"], ["no", "no"]], r"got 'yes' in row 0, column 0"),
        ([[0, 0.5], [1, 1]], r"got '0\.5' in row 0, column 1"),
        ([[0, None], [object, 1]], r"in row 1, column 0"),
        ([0, 1], r"\[n_samples, n_tags\], as y does, got the shape \(2,\)"),
    ],
)
def test_what_is_no_answer_is_refused(y, message):
    with pytest.raises(ValueError, match=message):
        as_answers(y, "y")


ALL = np.ones((300, 3), bool)
REFUSED = {
    "class_weight is of one label a sample": ({"class_weight": "balanced"}, {}),
    "co_teaching needs one label per sample": ({"method": "co_teaching"}, {}),
    "co_teaching needs one label per sample, and": (
        {"method": "co_teaching", "validation": 0.3},
        {},
    ),
    r"got \(1, 2\) for one sample": ({"model": nn.Linear(6, 2)}, {}),
    "y_clean must hold several labels a sample": ({}, {"columns": 0}),
    "y_clean must hold the 3 labels a sample that y holds, got 2": ({}, {"columns": slice(2)}),
    "y_clean holds no known answer": ({}, {"columns": slice(3), "times": 0}),
    "clean marks no known answer as checked": ({}, {"clean": ~ALL}),
    r"\[n_samples, n_tags\], or hold positions, got the shape \(300, 2\)": (
        {},
        {"clean": ALL[:, :2]},
    ),
    "clean must hold different positions": ({}, {"clean": [0, 300]}),
    "clean marks every answer as checked": ({}, {"clean": ALL}),
    r"got the shape \(300, 3\) for 3 labels a sample with": ({}, {"clean": np.where(ALL, None, 0)}),
}


@pytest.mark.parametrize("message", REFUSED)
def test_clear_errors(problem, message):
    settings, arguments = REFUSED[message]
    if "columns" in arguments:
        y_clean = (problem.y[:9] + 1) * arguments.get("times", 1) - 1
        arguments = {"X_clean": problem.x[:9], "y_clean": y_clean[:, arguments["columns"]]}
    with pytest.raises(ValueError, match=message):
        quick(epochs=1, **settings).fit(
            problem.x, problem.y, **arguments or {"clean": problem.clean}
        )


def test_nothing_known_is_nothing_to_learn(problem):
    y = problem.y.copy()
    y[0], y[:, 1] = -1, np.where(np.arange(300) == 9, 1, -1)
    with (
        pytest.raises(ValueError, match="clean marks no known answer as checked"),
        pytest.warns(Notice, match="Column '1' of y is yes wherever it is known"),
    ):
        quick().fit(problem.x, y, clean=[0])
    y[:, 1] = -1
    with pytest.raises(ValueError, match="Column '1' of y has no known answer"):
        quick().fit(problem.x, y, clean=problem.clean)
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        quick().fit(problem.x, problem.y[:20], clean=problem.clean)


def test_answers_that_are_all_the_same_are_told(problem):
    y = problem.y.copy()
    y[:, 2] = 0
    with pytest.warns(Notice) as told:
        model = quick(epochs=8).fit(problem.x, y, clean=problem.clean)
    texts = [str(warning.message) for warning in told]
    assert any("Column '2' of y is no wherever it is known" in text for text in texts)
    assert any("No checked answer is '2: yes'" in text for text in texts)
    assert (model.predict(problem.x)[:, 2] == 0).mean() > 0.97


def test_masks_of_what_was_checked_by_hand():
    y = np.array([[0, 1], [-1, 1], [1, -1]])
    rows = checked_labels([2, 0], y)
    assert rows.tolist() == [[True, True], [False, False], [True, False]]
    answers = checked_labels(np.array([[False, True], [True, False], [False, False]]), y)
    assert answers.tolist() == [[False, True], [False, False], [False, False]]
    assert checked_labels([1], y[:, 0] + 1).tolist() == [False, True, False]


def test_a_model_of_l2b_is_taken(problem):
    model = quick(model=Mlp(hidden=(8,)), epochs=2).fit(problem.x, problem.y, clean=problem.clean)
    assert model.predict(problem.x).shape == (300, 3)

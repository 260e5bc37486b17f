"""The scikit-learn estimator: its contract, every kind of input, and what it learns."""

import math
import pickle
from collections import Counter
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.datasets import load_digits
from sklearn.exceptions import NotFittedError
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks
from torch import nn

from l2b import L2BClassifier, estimator
from l2b.catalog import name_of
from l2b.estimation import committee, judged, selection
from l2b.estimation.committee import Committee, elected, temperature, tempered
from l2b.estimation.comparison import WITHOUT, Comparison
from l2b.estimation.defaults import chosen_model
from l2b.estimation.distil import Distilled
from l2b.estimation.learn import CPU, Learned, Plan, learn, logits, raw_logits
from l2b.estimation.rows import SparseRows
from l2b.estimation.scaling import fitted_scale
from l2b.estimation.selection import Contest, _affordable, candidates, vote
from l2b.estimation.task import Given
from l2b.estimation.trusted import stand_in
from l2b.methods.elr import Elr
from l2b.methods.l2b import L2B
from l2b.models import Mlp
from l2b.models.preact_resnet import PreactResnet
from l2b.notices import Notice
from l2b.quality import knowing_epochs
from l2b.train import Training, fit
from l2b.types import Batch

NAMES = np.array(["ape", "bee", "cat"])


@parametrize_with_checks([L2BClassifier(epochs=20)])  # as few as it takes, for they are many
def test_scikit_learn_agrees(estimator, check):
    check(estimator)


@pytest.mark.slow
@parametrize_with_checks([L2BClassifier()])
def test_scikit_learn_agrees_with_the_defaults(estimator, check):
    check(estimator)


class Problem:
    """Three overlapping blobs, a third of the labels wrong, some of them checked."""

    def __init__(self, samples=240, features=6):
        draw = np.random.default_rng(0)
        centres = 3 * draw.normal(size=(3, features))
        self.true = draw.integers(0, 3, samples)
        self.x = centres[self.true] + draw.normal(size=(samples, features))
        self.wrong = draw.random(samples) < 0.35
        self.wrong[:30] = False  # the first thirty are checked
        shift = draw.integers(1, 3, samples)
        self.y = np.where(self.wrong, (self.true + shift) % 3, self.true)
        self.clean = np.arange(30)

    def separate(self):
        """X, y, X_clean, y_clean."""
        return self.x[30:], self.y[30:], self.x[:30], self.y[:30]


@pytest.fixture(scope="module")
def problem():
    return Problem()


def quick(**settings):
    usual = {"method": "gold_posterior", "epochs": 12, "batch_size": 32, "random_state": 0}
    return L2BClassifier(**{**usual, **settings})


# --- what it learns --------------------------------------------------------------------------


def test_it_finds_and_corrects_wrong_labels(problem):
    model = quick(epochs=25).fit(problem.x, problem.y, clean=problem.clean)
    assert model.score(problem.x, problem.true) > 0.93
    quality = model.label_quality_
    assert quality.shape == problem.y.shape and quality.min() >= 0 and quality.max() <= 1
    assert roc_auc_score(~problem.wrong, quality) > 0.95
    suspects = model.is_suspect_
    assert (problem.wrong == suspects).mean() > 0.9
    assert (model.suggested_labels_[suspects] == problem.true[suspects]).mean() > 0.9
    assert (quality[problem.clean] == 1).all() and not suspects[problem.clean].any()
    assert model.alpha_[problem.wrong].mean() < model.alpha_[~problem.wrong].mean()
    assert len(model.history_) == 25


def test_separate_and_indexed_clean_sets_are_the_same(problem):
    x, y, x_clean, y_clean = problem.separate()
    apart = quick().fit(x, y, x_clean, y_clean)
    mask = np.isin(np.arange(len(problem.y)), problem.clean)
    for clean in (problem.clean, problem.clean[::-1].tolist(), mask):
        inside = quick().fit(problem.x, problem.y, clean=clean)
        np.testing.assert_array_equal(inside.clean_indices_, problem.clean)
        assert inside.label_quality_.shape == (240,)
    assert apart.label_quality_.shape == (210,)
    assert abs(apart.score(problem.x, problem.true) - inside.score(problem.x, problem.true)) < 0.05


def test_both_ways_of_giving_clean_samples_add_up(problem):
    x, y, x_clean, y_clean = problem.separate()
    both = quick(method="clean_only").fit(x, y, x_clean, y_clean, clean=[0, 1])
    assert both.label_quality_.shape == y.shape
    assert both.label_quality_[:2].tolist() == [1, 1]


def test_without_checked_samples_confirmed_ones_stand_in(problem):
    model = quick(epochs=25).fit(problem.x, problem.y)
    assert 0.15 < len(model.clean_indices_) / len(problem.y) < 0.25
    assert problem.wrong[model.clean_indices_].mean() < 0.1
    assert model.score(problem.x, problem.true) > 0.9
    assert roc_auc_score(~problem.wrong, model.label_quality_) > 0.9


def test_equal_seeds_give_equal_models(problem):
    first, same, other = (
        quick(random_state=s)
        .fit(problem.x, problem.y, clean=problem.clean)
        .predict_proba(problem.x)
        for s in (0, 0, 1)
    )
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)
    generator = np.random.RandomState(0)
    quick(random_state=generator).fit(problem.x, problem.y)


# --- what goes in ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [NAMES, NAMES.astype(object), np.array([-5, 0, 70]), np.array([0.0, 1.0, 2.0])],
    ids=["strings", "objects", "integers", "floats"],
)
def test_any_kind_of_label(problem, labels):
    model = quick().fit(problem.x, labels[problem.y], clean=problem.clean)
    assert set(model.classes_) == set(labels)
    assert model.predict(problem.x).dtype == model.suggested_labels_.dtype == model.classes_.dtype
    assert (model.predict(problem.x) == labels[problem.true]).mean() > 0.8


@pytest.mark.parametrize("dtype", [object, "Int64"])
def test_whole_numbers_in_other_clothes(problem, dtype):
    pd = pytest.importorskip("pandas")
    x, y, x_clean, y_clean = problem.separate()
    dressed = pd.Series(y, dtype=dtype)
    assert (quick().fit(x, dressed, x_clean, y_clean).classes_ == [0, 1, 2]).all()
    dressed[7] = pd.NA
    with pytest.raises(ValueError, match=r"y has no label in row 7 \(<NA>\): leave|contains NaN"):
        quick().fit(x, dressed, x_clean, y_clean)


def test_lists_of_labels_are_looked_at_before_numpy_makes_texts_of_them(problem):
    x, y, x_clean, y_clean = problem.separate()
    names = NAMES[y].tolist()
    for odd, message in (("nan", "no label in row 3"), (1, "of one kind, got strings and others")):
        mixed = [*names[:3], float("nan") if odd == "nan" else odd, *names[4:]]
        with pytest.raises(ValueError, match=message):
            quick().fit(x, mixed, x_clean, NAMES[y_clean])
    found = quick(epochs=1).fit(x, names, x_clean, NAMES[y_clean].tolist())
    assert found.classes_.tolist() == sorted(NAMES.tolist())


def test_booleans(problem):
    model = quick().fit(problem.x, problem.y == 1, clean=problem.clean)
    assert model.predict(problem.x).dtype == bool
    assert model.predict_proba(problem.x).shape == (240, 2)


@pytest.mark.parametrize("kind", ["array", "Series"])
def test_nullable_booleans_are_plain_ones(kind, problem):
    """Among scikit-learn's conversions, these alone would become 0.0 and 1.0."""
    pd = pytest.importorskip("pandas")
    x, y, x_clean, y_clean = problem.separate()
    dressed = getattr(pd, kind)(y == 1, dtype="boolean")
    model = quick(epochs=1).fit(x, dressed, x_clean, y_clean == 1)
    assert model.classes_.dtype == model.predict(x).dtype == bool
    dressed[7] = pd.NA
    with pytest.raises(ValueError, match=r"y has no label in row 7 \(<NA>\): leave"):
        quick().fit(x, dressed, x_clean, y_clean == 1)


def test_a_class_that_only_the_checked_samples_know(problem):
    x, y, x_clean, y_clean = problem.separate()
    model = quick().fit(x[y < 2], y[y < 2], x_clean, y_clean)
    assert model.classes_.tolist() == [0, 1, 2]
    assert (model.predict(x)[y == 2] == 2).mean() > 0.3


@pytest.mark.parametrize("density", [0.1, 0.8])
def test_sparse_and_dense_give_the_same(density):
    draw = np.random.default_rng(0)
    x = sparse.random(120, 40, density=density, random_state=0, format="csr")
    y = draw.integers(0, 2, 120)
    found = [
        quick().fit(kind(x), y, clean=np.arange(20)).predict_proba(kind(x))
        for kind in (sparse.csr_matrix, sparse.csc_matrix, sparse.csr_array, lambda a: a.toarray())
    ]
    for other in found[1:]:
        np.testing.assert_allclose(found[0], other, atol=1e-5)


def test_sparse_rows_are_made_dense_a_batch_at_a_time():
    draw = np.random.default_rng(0)
    entries = (np.ones(100_000), (np.arange(100_000) % 5000, draw.integers(0, 200_000, 100_000)))
    x = sparse.csr_matrix(entries, shape=(5000, 200_000))  # 4 GB when dense
    y = draw.integers(0, 2, 5000)
    model = quick(epochs=1, model=Mlp(hidden=(2,)), method="cross_entropy", batch_size=16)
    model.fit(x[:64], y[:64], clean=np.arange(8)).predict(x[:8])
    rows = fitted_scale(x)(x)
    assert isinstance(rows, SparseRows) and rows.shape == x.shape
    assert rows[torch.tensor([3, 1])].shape == (2, 200_000)


def test_too_much_to_make_dense_is_refused():
    with pytest.raises(ValueError, match=r"500,000 features, got 600,000"):
        quick().fit(sparse.csr_matrix((40, 600_000)), np.arange(40) % 2, clean=np.arange(4))


def test_tensors_images_and_frames(problem):
    pandas = pytest.importorskip("pandas")
    x, y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
    tensors = quick().fit(x, y, clean=torch.from_numpy(problem.clean))
    frame = pandas.DataFrame(problem.x, columns=[f"feature {i}" for i in range(6)])
    framed = quick().fit(frame, pandas.Series(problem.y), clean=problem.clean)
    np.testing.assert_array_equal(tensors.predict(x), framed.predict(frame))
    assert framed.feature_names_in_[0] == "feature 0"


def test_images_get_a_convolutional_network():
    images = np.random.default_rng(0).integers(0, 256, (60, 3, 8, 8), dtype=np.uint8)
    y = (images.mean(axis=(1, 2, 3)) > 127).astype(int)
    model = quick(epochs=2).fit(images, y, clean=np.arange(12))
    assert any(isinstance(part, nn.Conv2d) for part in model.module_.modules())
    assert model.predict_proba(images).shape == (60, 2)


def test_scaling_follows_the_data_not_its_storage():
    draw = np.random.default_rng(0)
    table = 1e6 + draw.normal(size=(50, 3)) * [1, 10, 0]
    scaled = fitted_scale(table)(table)
    np.testing.assert_allclose(scaled.mean(0), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(0, correction=0), [1, 1, 0], atol=1e-3)
    words = TfidfVectorizer().fit_transform(["a tale of two cities", "two cats", "of mice and men"])
    scale = fitted_scale(sparse.hstack([words, sparse.csr_matrix((3, 40))]).tocsr())
    assert scale.std.shape == (1,) and not scale.mean.any()
    counts = sparse.random(50, 20, density=0.1, random_state=0, format="csr") * 9
    assert fitted_scale(counts).std.shape == (20,)


# --- models and methods ----------------------------------------------------------------------


def network(shape, classes):
    return nn.Sequential(nn.Linear(shape[0], 8), nn.Tanh(), nn.Linear(8, classes))


@pytest.mark.parametrize(
    "model", [network, network((6,), 3), Mlp(hidden=(8,))], ids=["function", "module", "l2b model"]
)
def test_any_model(problem, model):
    fitted = quick(model=model).fit(problem.x, problem.y, clean=problem.clean)
    assert fitted.score(problem.x, problem.true) > 0.6
    again = clone(fitted).fit(problem.x, problem.y, clean=problem.clean)
    np.testing.assert_array_equal(fitted.predict(problem.x), again.predict(problem.x))


def test_a_given_module_is_not_touched(problem):
    module = network((6,), 3)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    quick(model=module).fit(problem.x, problem.y, clean=problem.clean)
    for name, value in module.state_dict().items():
        assert torch.equal(before[name], value)


@pytest.mark.parametrize("method", ["cross_entropy", "fine_tune", "gold_correction", L2B()])
def test_any_method(problem, method):
    fitted = quick(method=method, learning_rate=0.05)
    fitted.fit(problem.x, problem.y, clean=problem.clean)
    assert fitted.score(problem.x, problem.true) > 0.7
    assert fitted.comparison_ is None and fitted.noisy_labels_help_ is None


def test_an_epoch_is_chosen_on_checked_samples(problem):
    model = quick(validation=0.3).fit(problem.x, problem.y, clean=problem.clean)
    best = max(row["validation_accuracy"] for row in model.history_)
    assert model.history_[model.chosen_epoch_]["validation_accuracy"] == best
    assert model.chosen_epoch_ == next(
        row["epoch"]
        for row in sorted(
            model.history_, key=lambda r: (-r["validation_accuracy"], r["validation_loss"])
        )
    )


def test_the_model_is_that_of_the_chosen_epoch(problem, monkeypatch):
    seen = []

    def watched(data, *arguments, **named):
        seen.append(data.validation)
        return fit(data, *arguments, **named)

    monkeypatch.setattr("l2b.estimation.learn.fit", watched)
    model = quick(validation=0.3, epochs=8, learning_rate=0.5).fit(
        problem.x, problem.y, clean=problem.clean
    )
    assert model.chosen_epoch_ < len(model.history_) - 1
    (aside,) = seen
    z = model.module_(aside.inputs)
    then, last = model.history_[model.chosen_epoch_], model.history_[-1]
    loss = torch.nn.functional.cross_entropy(z, aside.labels).item()
    assert loss == pytest.approx(then["validation_loss"], rel=1e-5)
    assert loss != pytest.approx(last["validation_loss"], rel=1e-3)
    right = (z.argmax(dim=1) == aside.labels).float().mean().item()
    assert right == pytest.approx(then["validation_accuracy"])


def test_epochs_are_judged_by_samples_that_were_not_trained_on(problem, monkeypatch):
    asked = []

    def spied(accuracy, samples):
        asked.append((len(accuracy), samples))
        return knowing_epochs(accuracy, samples)

    monkeypatch.setattr(judged, "knowing_epochs", spied)
    aside = sum(int(0.3 * count) for count in np.bincount(problem.y[problem.clean]))
    for method, validation, expected in (
        ("l2rw", 0.0, [(3, 30)]),
        ("l2b", 0.0, []),  # its clean term leaves no judge
        ("l2b", 0.3, [(3, aside)]),
    ):
        asked.clear()
        model = quick(method=method, epochs=3, validation=validation)
        model.fit(problem.x, problem.y, clean=problem.clean)
        assert asked == expected


def test_labels_are_judged_by_what_the_knowing_epochs_recorded(monkeypatch):
    """Four rows, three epochs, of which the first knows nothing: every attribute by hand."""
    ledger = SimpleNamespace(
        alpha=torch.tensor([[9.0, 9, 9, 9], [1, 0, 2, 1], [1, 0, 1, 1]]),
        beta=torch.tensor([[0.0, 0, 0, 0], [0, 3, 0, 0], [0, 3, 3, 0]]),
        pseudo=torch.tensor([[2, 2, 2, 2], [0, 2, 1, 2], [0, 2, 2, 2]]),
        loss=-torch.tensor([[0.1] * 4, [0.8, 0.1, 0.4, 0.9], [0.8, 0.1, 0.1, 0.9]]).log(),
    )
    learned = Learned(
        module=nn.Linear(2, 3), device=CPU, epoch=2, known=[0.2, 0.9, 0.9], judges=100,
        ledger=ledger, history=[],
    )  # fmt: skip
    monkeypatch.setattr(estimator, "learn", lambda *_: learned)
    x, y = np.eye(4)[:, :2], np.array([0, 1, 1, 2])
    found = quick().fit(x, y, np.ones((3, 2)), np.array([0, 1, 2]))
    np.testing.assert_allclose(found.label_quality_, [0.9, 0.05, 0.375, 0.95], atol=1e-6)
    assert found.suggested_labels_.tolist() == [0, 2, 1, 2]
    assert found.suggestion_confidence_.tolist() == [1, 1, 0.5, 1]
    # The third is doubtful, yet no other label has more votes.
    assert found.is_suspect_.tolist() == [False, True, False, False]
    np.testing.assert_allclose(found.alpha_, [11 / 3, 3, 4, 11 / 3], atol=1e-6)
    assert found.beta_.tolist() == [0, 2, 1, 0]


def test_training_follows_the_parameters(problem, monkeypatch):
    plans = []

    def watched(samples, method, plan, seed):
        plans.append(plan)
        return learn(samples, method, plan, seed)

    monkeypatch.setattr(estimator, "learn", watched)
    settings = {"batch_size": 7, "epochs": 2, "learning_rate": 0.03, "validation": 0.2}
    quick(**settings, n_jobs=1).fit(problem.x, problem.y, clean=problem.clean)
    (plan,) = plans
    training = plan.training
    assert (training.batch, training.clean_batch) == (7, 7)
    assert (training.epochs, training.optimiser.lr) == (2, 0.03)
    assert (training.threads, training.device, plan.validation) == (1, "cpu", 0.2)


def test_class_weights_shift_the_balance(problem):
    plain = quick().fit(problem.x, problem.y, clean=problem.clean)
    heavy = quick(class_weight={0: 50, 1: 1, 2: 1}).fit(problem.x, problem.y, clean=problem.clean)
    p, heavier = (model.predict_proba(problem.x)[:, 0].mean() for model in (plain, heavy))
    assert heavier > p
    # One of ten samples of the first class is left: drawn like the others, it is said more often.
    rest = np.flatnonzero((problem.y != 0) | (np.arange(len(problem.y)) % 10 == 0))
    checked = rest[:30]
    said = [
        quick(class_weight=weight, method="cross_entropy", epochs=4)
        .fit(problem.x[rest], problem.y[rest], problem.x[checked], problem.true[checked])
        .predict_proba(problem.x)[:, 0]
        .mean()
        for weight in (None, "balanced")
    ]
    assert said[1] > said[0] + 0.1


# --- automatic choice ------------------------------------------------------------------------


def test_auto_compares_on_checked_samples_and_says_so(problem, capsys):
    model = quick(method="auto", epochs=4, verbose=1)
    model.fit(problem.x, problem.y, clean=problem.clean)
    found = model.comparison_
    assert set(found.accuracy) == set(candidates()) and WITHOUT in found.accuracy
    assert sum(found.members.values()) == pytest.approx(1)
    assert found.temperatures.keys() == found.members.keys()
    assert found.chosen == max(found.members, key=found.members.get)
    assert type(model.method_) is type(candidates()[found.chosen])
    said = " ".join(capsys.readouterr().out.split())
    assert "The noisy labels" in said and f"Chosen: {found.chosen}" in said


@pytest.mark.parametrize("validation", [0.0, 0.3])
def test_auto_trains_once_what_no_checked_sample_changes(problem, monkeypatch, validation):
    trained = []

    def counted(samples, method, plan, seed):
        trained.append((name_of(method), len(samples.y_clean)))
        return learn(samples, method, plan, seed)

    monkeypatch.setattr(selection, "learn", counted)
    monkeypatch.setattr(selection, "elected", lambda *_: {"elr": 0.5, WITHOUT: 0.5})
    model = quick(method="auto", epochs=2, validation=validation)
    model.fit(problem.x, problem.y, clean=problem.clean)
    times = Counter(name for name, _ in trained)
    assert model.comparison_.folds == 3 and times[WITHOUT] == 4
    # Checked samples that choose an epoch are part of what the method learned from.
    once = 1 if validation == 0 else 4
    assert times["elr"] == once and times["mixup"] == min(once, 3)
    # Each round keeps a third of the checked samples from whom it judges by them; the final
    # training of each member knows all.
    known = len(problem.clean)
    assert sorted(count for name, count in trained if name == WITHOUT) == [
        *[2 * known // 3] * 3,
        known,
    ]
    assert ("elr", known) in trained
    assert isinstance(model.method_, Elr) and isinstance(model.module_, Committee)
    assert len(pickle.dumps(model.comparison_)) < 20_000  # figures, not networks


def test_a_round_begins_only_if_it_and_the_final_training_fit(problem, monkeypatch):
    clock, cost = [0.0], 10.0

    def taking(samples, method, plan, seed):
        clock[0] += cost
        return learn(samples, method, plan, seed)

    monkeypatch.setattr(selection, "learn", taking)
    monkeypatch.setattr(selection.time, "perf_counter", lambda: clock[0])
    names = [WITHOUT, "elr", "fine_tune"]
    methods = {name: candidates()[name] for name in names}
    monkeypatch.setattr(selection, "candidates", lambda: methods)
    monkeypatch.setattr(selection, "ENOUGH", 0)
    # The first round takes 30 s, another one 20 since elr need not learn again, and so at most
    # does the final training; the student's takes 10.
    for budget, folds in ((79, 1), (81, 2), (99, 2), (101, 3)):
        model, began = quick(method="auto", epochs=1, time_budget=budget), clock[0]
        model.fit(problem.x, problem.y, clean=problem.clean)
        assert model.comparison_.folds == folds and clock[0] - began <= budget
        assert set(model.comparison_.accuracy) == set(names)


@pytest.mark.parametrize(("budget", "folds"), [(49, 1), (55, 2), (65, 3)])
def test_where_few_samples_are_judged_the_foremost_go_on(problem, monkeypatch, budget, folds):
    clock = [0.0]

    def taking(samples, method, plan, seed):
        clock[0] += 5.0
        return learn(samples, method, plan, seed)

    names = [WITHOUT, "l2b", "fine_tune", "elr", "pooled"]
    monkeypatch.setattr(selection, "learn", taking)
    monkeypatch.setattr(selection.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(selection, "candidates", lambda: {n: candidates()[n] for n in names})
    model = quick(method="auto", epochs=1, time_budget=budget)
    model.fit(problem.x, problem.y, clean=problem.clean)
    found = model.comparison_
    # A round of all takes 25 s, and 20 the next time, for elr need not learn again; that of the
    # first two and elr takes 10.
    assert found.folds == folds and clock[0] <= budget
    assert len(found.worth) == 10 * folds
    if folds > 1:
        assert set(found.accuracy) >= {WITHOUT, "l2b", "elr"} and found.left_out
        assert set(found.accuracy).isdisjoint(found.left_out)
        assert set(found.members) <= set(found.accuracy)


@pytest.mark.parametrize(
    ("budget", "distil", "trained", "taught"),
    # A round of both methods takes 20 s, another training 10.
    [(101, False, 2, 1), (45, False, 1, 1), (19, False, 1, 0), (19, True, 1, 1)],
)
def test_final_trainings_leave_time_for_the_student(
    problem, monkeypatch, budget, distil, trained, taught
):
    clock, methods = [0.0], []

    def taking(samples, method, plan, seed):
        clock[0] += 10.0
        methods.append(method)
        return learn(samples, method, plan, seed)

    names = [WITHOUT, "fine_tune"]
    monkeypatch.setattr(selection, "learn", taking)
    monkeypatch.setattr(selection.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(selection, "candidates", lambda: {n: candidates()[n] for n in names})
    monkeypatch.setattr(selection, "elected", lambda *_: dict.fromkeys(names, 0.5))
    model = quick(method="auto", epochs=1, time_budget=budget, distil=distil)
    model.fit(problem.x, problem.y, clean=problem.clean)
    students = [method for method in methods if isinstance(method, Distilled)]
    finals = len(methods) - 2 * model.comparison_.folds - len(students)
    assert (finals, len(students)) == (trained, taught)


def test_a_student_works_with_every_option(problem, monkeypatch):
    monkeypatch.setattr(selection, "elected", lambda *_: {"elr": 0.6, WITHOUT: 0.4})
    x = sparse.csr_matrix(np.where(problem.x > 2, problem.x, 0))
    settings = {"class_weight": "balanced", "validation": 0.2, "distil": True, "epochs": 3}
    model = quick(method="auto", **settings).fit(x, problem.y, clean=problem.clean)
    assert isinstance(model.module_, nn.Sequential)
    assert model.chosen_epoch_ in range(3) and "validation_accuracy" in model.history_[0]
    assert model.predict_proba(x).shape == (240, 3)
    again = pickle.loads(pickle.dumps(model))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))


def test_auto_keeps_to_its_time(problem):
    model = quick(method="auto", epochs=2, time_budget=1e-6)
    model.fit(problem.x, problem.y, clean=problem.clean)
    found = model.comparison_
    assert found.folds == 1
    assert set(found.accuracy) == {WITHOUT, "l2b"}
    assert set(found.left_out) == set(candidates()) - set(found.accuracy)
    assert "No time for fine_tune" in found.summary()


def test_a_committee_trains_anew_only_whom_time_allows():
    members, cost = ["a", "b", "c"], {"a": 5.0, "b": 2.0, "c": 1.0}
    assert _affordable(members, cost, 8.0) == members
    assert _affordable(members, cost, 7.5) == ["a", "b"]
    assert _affordable(members, cost, -1.0) == ["a"]


def test_the_networks_of_the_comparison_vote_too(problem, monkeypatch):
    monkeypatch.setattr(selection, "elected", lambda *_: {"elr": 0.6, WITHOUT: 0.4})
    model = quick(method="auto", epochs=2).fit(problem.x, problem.y, clean=problem.clean)
    # ELR learned once; the checked samples alone in three rounds, and on all of them.
    student, committee = model.module_.members
    assert model.module_.weights == [0.5, 0.5] and model.module_.temperatures == [1.0, 1.0]
    assert committee.weights == pytest.approx([0.6, 0.1, 0.1, 0.1, 0.1])
    at = model.comparison_.temperatures
    assert committee.temperatures == [at["elr"]] + 4 * [at[WITHOUT]]
    assert len({student, *committee.members}) == 6
    hurried = quick(method="auto", epochs=2, time_budget=1e-6)
    monkeypatch.setattr(selection, "elected", lambda *_: {WITHOUT: 0.6, "elr": 0.4})
    monkeypatch.setattr(selection, "FEWEST", 6)
    hurried.fit(problem.x, problem.y, clean=problem.clean)
    assert hurried.module_.weights == pytest.approx([0.3, 0.3, 0.4])  # no time for a student


def test_one_network_learns_from_all_that_vote(problem, monkeypatch):
    taught = []

    def watched(samples, method, plan, seed):
        if isinstance(method, Distilled):
            taught.append((samples, method.targets))
        return learn(samples, method, plan, seed)

    some = {name: candidates()[name] for name in (WITHOUT, "l2b", "elr")}
    monkeypatch.setattr(selection, "candidates", lambda: some)
    monkeypatch.setattr(selection, "learn", watched)
    monkeypatch.setattr(selection, "elected", lambda *_: {"elr": 0.6, WITHOUT: 0.4})
    usual = {"method": "auto", "epochs": 8, "batch_size": 16}
    voted = quick(**usual).fit(problem.x, problem.y, clean=problem.clean)
    alone = quick(**usual, distil=True).fit(problem.x, problem.y, clean=problem.clean)
    student, committee = voted.module_.members
    assert not isinstance(alone.module_, Committee)
    torch.testing.assert_close(alone.module_.state_dict(), student.state_dict())
    given, targets = taught[0]
    assert len(given.y_clean) == len(problem.clean)
    expected = torch.softmax(committee(given.x), dim=1).float()
    torch.testing.assert_close(targets, expected)
    with torch.no_grad():
        found = torch.softmax(student(given.x), dim=1)
    assert (found.argmax(dim=1) == targets.argmax(dim=1)).float().mean() > 0.95
    p = (found.double() + torch.softmax(committee(given.x), dim=1)) / 2
    torch.testing.assert_close(torch.softmax(voted.module_(given.x), dim=1), p)
    # The audit listens to the foremost member either way.
    np.testing.assert_array_equal(alone.label_quality_, voted.label_quality_)
    # What is told of the training is told of the network that is kept.
    assert alone.history_ != voted.history_ and len(alone.history_) == 8


def test_a_single_network_teaches_nobody(problem, monkeypatch):
    monkeypatch.setattr(selection, "elected", lambda *_: {"elr": 1.0})
    monkeypatch.setattr(selection, "taught", None)
    for distil in (False, True):
        model = quick(method="auto", epochs=2, distil=distil)
        model.fit(problem.x, problem.y, clean=problem.clean)
        assert isinstance(model.module_, nn.Sequential) and model.chosen_epoch_ == 1


@pytest.mark.parametrize("clean_weight", [0.0, 0.2, 3.0])
def test_the_student_learns_clean_samples_at_their_weight(clean_weight):
    """One step, against the loss written out."""
    draw = torch.Generator().manual_seed(0)
    x, q = torch.randn(6, 4, generator=draw), torch.full((6, 3), 1 / 3)
    x_clean, y_clean = torch.randn(2, 4, generator=draw), torch.tensor([0, 2])
    module, descended = nn.Linear(4, 3), []
    network = SimpleNamespace(
        logits=module, descend=descended.append, overlap=lambda z, _: z.new_zeros(())
    )
    labels = torch.zeros(6, dtype=torch.int64)
    task = SimpleNamespace(
        data=SimpleNamespace(train=SimpleNamespace(labels=labels)), network=lambda _: network
    )
    learner = Distilled(targets=q, clean_weight=clean_weight).build(task)
    learner.blends = SimpleNamespace(draw=lambda *_: Unblended())
    learner.step(
        Batch(index=torch.arange(6), inputs=x, labels=labels),
        Batch(index=torch.arange(2), inputs=x_clean, labels=y_clean),
    )
    cross_entropy = torch.nn.functional.cross_entropy
    expected = cross_entropy(module(x), q) + clean_weight * cross_entropy(module(x_clean), y_clean)
    torch.testing.assert_close(descended[0], expected)


class Unblended:
    """A blend of every sample with nothing."""

    def inputs(self, x):
        return x

    def __call__(self, q):
        return q


def test_auto_tells_when_noisy_labels_do_not_help():
    draw = np.random.default_rng(0)
    true = np.arange(300) % 2
    x = np.stack([true + 0.2 * draw.normal(size=300), draw.normal(size=300)], axis=1)
    useless = draw.integers(0, 2, 300)
    model = quick(method="auto", learning_rate=0.05)
    model.fit(x[:150], useless[:150], x[150:], true[150:])
    assert model.noisy_labels_help_ is False
    assert model.score(x[150:], true[150:]) > 0.9


def test_a_committee_is_the_mean_of_its_members_probabilities():
    members = [network((6,), 3) for _ in range(2)]
    x = torch.randn(5, 6)
    found = torch.softmax(Committee(members, [0.25, 0.75])(x), dim=1)
    first, second = (torch.softmax(member(x), dim=1).double() for member in members)
    torch.testing.assert_close(found, 0.25 * first + 0.75 * second)


@given(st.integers(0, 2**32 - 1), st.floats(0.2, 5.0))
def test_members_vote_at_their_temperatures(seed, t):
    draw = torch.Generator().manual_seed(seed)
    z = torch.randn(2, 7, 3, generator=draw, dtype=torch.double)
    both = Committee([Returns(z[0]), Returns(z[1])], [0.3, 0.7], [t, 1 / t])
    expected = 0.3 * torch.softmax(z[0] / t, dim=1) + 0.7 * torch.softmax(z[1] * t, dim=1)
    torch.testing.assert_close(torch.softmax(both(torch.zeros(7, 1)), dim=1), expected)
    torch.testing.assert_close(tempered(torch.softmax(z[0], dim=1), t), torch.softmax(z[0] / t, 1))


class Returns(nn.Module):
    def __init__(self, z):
        super().__init__()
        self.z = z

    def forward(self, inputs):
        return self.z


@pytest.mark.parametrize("true", [0.4, 1.0, 3.0])
def test_many_labels_tell_at_which_temperature_they_were_drawn(true):
    draw = torch.Generator().manual_seed(0)
    z = 2 * torch.randn(4000, 4, generator=draw)
    labels = torch.multinomial(torch.softmax(z / true, dim=1), 1, generator=draw).flatten()
    assert temperature(torch.softmax(z, dim=1), labels) == pytest.approx(true, rel=0.1)
    # One label is no evidence, whatever it is.
    assert 0.7 < temperature(torch.softmax(z[:1], dim=1), labels[:1]) < 1.5


@given(st.integers(0, 2**32 - 1))
def test_a_temperature_is_the_likeliest_under_its_prior(seed):
    draw = torch.Generator().manual_seed(seed)
    z = 2 * torch.randn(20, 3, generator=draw, dtype=torch.double)
    labels = torch.randint(3, (20,), generator=draw)
    worth = torch.rand(20, generator=draw, dtype=torch.double)
    worth = worth / worth.mean()

    def loss(t):
        nll = torch.nn.functional.cross_entropy(z / t, labels, reduction="none")
        return (worth * nll).sum() + 2 * math.log(t) ** 2

    found = temperature(torch.softmax(z, dim=1), labels, worth)
    best = min(loss(math.exp(k / 100)) for k in range(-230, 231))
    assert 0.1 <= found <= 10 and loss(found) < best + 0.02


def test_an_unsure_member_that_is_right_outvotes_a_sure_one_that_errs():
    labels = torch.arange(60) % 3
    true = torch.eye(3)[labels]
    unsure = 0.42 * true + 0.29 * (1 - true)  # has learned labels of which most are wrong
    errs = true.clone()
    errs[:12] = true[:12].roll(1, dims=1)
    sure = 0.7 * errs + 0.15 * (1 - errs)
    p = {"unsure": unsure, "sure": sure}
    assert next(iter(elected(p, labels))) == "sure"
    members, temperatures = vote(p, labels, None)
    assert next(iter(members)) == "unsure" and members["unsure"] > 0.9
    assert temperatures["unsure"] < 0.3


def test_an_election_takes_members_that_make_up_for_each_other():
    labels = torch.tensor([0, 1, 0, 1])
    sure, unsure = torch.tensor([0.9, 0.1]), torch.tensor([0.45, 0.55])
    left = torch.stack([sure, sure.flip(0), unsure, unsure.flip(0)])
    right = torch.stack([unsure, unsure.flip(0), sure, sure.flip(0)])
    wrong = 1 - torch.eye(2)[labels]
    assert elected({"a": left, "b": right, "c": wrong}, labels) == pytest.approx(
        {"a": 0.5, "b": 0.5}
    )
    assert elected({"a": left, "c": wrong}, labels) == {"a": 1.0}
    assert elected({"c": wrong}, labels) == {"c": 1.0}


@given(st.integers(0, 2**32 - 1))
def test_an_election_finds_the_likeliest_mixture(seed):
    draw = torch.Generator().manual_seed(seed)
    p = {n: torch.softmax(2 * torch.randn(30, 3, generator=draw), dim=1) for n in "abc"}
    labels = torch.randint(3, (30,), generator=draw)
    rows = torch.arange(30)

    def likelihood(weights):
        mixed = sum(w * p[n][rows, labels].double() for n, w in weights.items())
        return mixed.log().sum()

    found = elected(p, labels)
    assert list(found.values()) == sorted(found.values(), reverse=True)
    assert sum(found.values()) == pytest.approx(1) and min(found.values()) >= 0.05
    with pytest.MonkeyPatch.context() as whole:
        whole.setattr(committee, "LEAST", 0.0)  # leave nobody out
        everyone = elected(p, labels)
    grid = [(i / 20, j / 20, (20 - i - j) / 20) for i in range(21) for j in range(21 - i)]
    best = max(likelihood(dict(zip("abc", w, strict=True))) for w in grid)
    assert set(everyone) == set("abc") and likelihood(everyone) > best - 1e-3


@given(st.integers(0, 2**32 - 1))
def test_an_election_counts_labels_as_often_as_they_are_worth(seed):
    draw = torch.Generator().manual_seed(seed)
    p = {n: torch.softmax(2 * torch.randn(12, 3, generator=draw), dim=1) for n in "ab"}
    labels = torch.randint(3, (12,), generator=draw)
    times = torch.randint(1, 4, (12,), generator=draw)
    rows = torch.arange(12).repeat_interleave(times)
    repeated = elected({n: q[rows] for n, q in p.items()}, labels[rows])
    assert elected(p, labels, times / times.float().mean()) == pytest.approx(repeated)


def test_auto_elects_under_the_class_weights(problem, monkeypatch):
    seen, fitted = [], []

    def watched(p, labels, worth):
        seen.append((labels, worth))
        return {WITHOUT: 1.0}

    def fit(p, labels, worth):
        fitted.append(worth)
        return 1.0

    monkeypatch.setattr(selection, "elected", watched)
    monkeypatch.setattr(selection, "temperature", fit)
    usual = {"method": "auto", "epochs": 1, "time_budget": 1e-6}
    plain = quick(**usual).fit(problem.x, problem.y, clean=problem.clean)
    heavy = quick(**usual, class_weight={0: 50, 1: 1, 2: 1})
    heavy.fit(problem.x, problem.y, clean=problem.clean)
    (_, alike), (labels, worth) = seen
    assert (alike == 1).all() and (plain.comparison_.worth == 1).all()
    assert worth[labels == 0].min() > 5 * worth[labels != 0].max()
    assert torch.equal(heavy.comparison_.worth, worth)
    assert torch.equal(fitted[0], alike) and torch.equal(fitted[-1], worth)


def test_judged_samples_count_as_their_classes_do():
    y, y_clean = torch.tensor([0] * 70 + [1] * 20), torch.tensor([0] * 8 + [1] * 2)
    samples = Given(
        x=torch.zeros(90, 2), y=y, index=torch.arange(90), x_clean=torch.zeros(10, 2),
        y_clean=y_clean, classes=("a", "b"),
    )  # fmt: skip

    def worth(weights):
        plan = Plan(
            model=Mlp(), training=Training(), validation=0.0, progress=False, class_weights=weights
        )
        return Contest(samples, plan, seed=0).worth(y_clean)

    assert torch.equal(worth("none"), torch.ones(10))
    torch.testing.assert_close(worth("balanced"), torch.tensor([0.625] * 8 + [2.5] * 2))
    torch.testing.assert_close(worth((1.0, 4.0)), torch.tensor([0.625] * 8 + [2.5] * 2))
    torch.testing.assert_close(worth((0.0, 3.0)), torch.tensor([0.0] * 8 + [5.0] * 2))
    assert torch.equal(worth((0.0, 0.0)), torch.ones(10))


def test_comparison_by_hand():
    right = torch.tensor([True] * 60 + [False] * 40)
    worse = torch.tensor([True] * 40 + [False] * 60)
    at = {"l2b": 1.0, WITHOUT: 1.0}
    alike = {"worth": torch.ones(100), "temperatures": at, "seconds": 1, "folds": 5}
    helped = Comparison(correct={"l2b": right, WITHOUT: worse}, members={"l2b": 1}, **alike)
    assert helped.noisy_labels_help and "help: +20.0%" in helped.summary()
    not_helped = Comparison(correct={"l2b": worse, WITHOUT: right}, members={WITHOUT: 1}, **alike)
    assert not not_helped.noisy_labels_help and "do not help" in not_helped.summary()
    # The last twenty count for half of everything: one is right there, the other elsewhere.
    counting = alike | {"worth": torch.tensor([0.625] * 80 + [2.5] * 20)}
    rare = torch.tensor([False] * 80 + [True] * 20)
    weighed = Comparison(correct={"l2b": rare, WITHOUT: ~rare}, members={"l2b": 1}, **counting)
    assert weighed.accuracy == pytest.approx({"l2b": 0.5, WITHOUT: 0.5})
    assert weighed.gain[0] == pytest.approx(0) and not weighed.noisy_labels_help
    assert "Class-weighted accuracy" in weighed.summary()
    assert "Class-weighted" not in helped.summary()
    # A few samples that agree by chance prove nothing.
    for count in range(1, 7):
        right = torch.ones(count, dtype=torch.bool)
        few = Comparison(
            correct={"l2b": right, WITHOUT: ~right}, members={"l2b": 1},
            **alike | {"worth": torch.ones(count)},
        )  # fmt: skip
        assert few.gain == pytest.approx((1, count**-0.5))
        assert few.noisy_labels_help == (count > 4)


def test_auto_without_checked_samples_takes_the_default(problem, capsys):
    model = quick(method="auto", verbose=1).fit(problem.x, problem.y)
    assert model.comparison_ is None
    assert "needs 2 checked samples" in capsys.readouterr().out


# --- with the rest of scikit-learn -----------------------------------------------------------


def test_pipelines_searches_clones_and_pickles(problem):
    pipe = make_pipeline(StandardScaler(), quick(epochs=3))
    pipe.fit(problem.x, problem.y, l2bclassifier__clean=problem.clean)
    search = GridSearchCV(pipe, {"l2bclassifier__learning_rate": [0.01, 0.1]}, cv=2)
    search.fit(problem.x, problem.y)
    assert set(search.best_params_) == {"l2bclassifier__learning_rate"}
    fitted = pipe[-1]
    back = pickle.loads(pickle.dumps(pipe))
    np.testing.assert_array_equal(pipe.predict(problem.x), back.predict(problem.x))
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params() and not hasattr(fresh, "module_")


@pytest.mark.parametrize("kind", [np.asarray, torch.from_numpy, np.ndarray.tolist])
def test_a_search_cuts_a_mask_of_checked_images_with_the_images(kind, monkeypatch):
    """Every fold learns from the checked images that are in it, with their own labels."""
    seen = []

    def watched(given, method, plan, seed):
        seen.append(given)
        return learn(given, method, plan, seed)

    monkeypatch.setattr(estimator, "learn", watched)
    y = np.arange(48) % 2
    # Each image is of one value, its number, so that it can be told after scaling, too.
    x = np.arange(48.0).reshape(-1, 1, 1, 1) * np.ones((1, 1, 4, 4))
    checked = (np.arange(48) % 3 == 0) | (np.arange(48) > 40)
    model = quick(epochs=1, model=lambda shape, classes: nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(shape), classes)))  # fmt: skip
    folds = KFold(3)
    search = GridSearchCV(model, {"learning_rate": [0.1]}, cv=folds, refit=False)
    search.fit(x, y, clean=kind(checked))
    assert len(seen) == 3
    for part, (rows, _) in zip(seen, folds.split(x), strict=True):
        scale = np.polyfit(rows[part.index.numpy()], part.x[:, 0, 0, 0].numpy(), 1)
        numbers = (part.x_clean[:, 0, 0, 0].numpy() - scale[1]) / scale[0]
        np.testing.assert_allclose(numbers, rows[checked[rows]], atol=1e-3)
        assert part.y_clean.tolist() == y[rows[checked[rows]]].tolist()
        assert rows[part.index.numpy()].tolist() == rows[~checked[rows]].tolist()


@pytest.mark.parametrize(
    ("jobs", "threads"), [(None, None), (3, 3), (-1, 8), (-2, 7), (-8, 1), (-20, 1)]
)
def test_negative_jobs_count_from_the_number_of_cores(jobs, threads, monkeypatch):
    monkeypatch.setattr(estimator.os, "cpu_count", lambda: 8)
    assert estimator._threads(jobs) == threads


def test_threads_are_given_back(problem):
    before = torch.get_num_threads()
    quick(n_jobs=2, epochs=1).fit(problem.x, problem.y, clean=problem.clean)
    assert torch.get_num_threads() == before


def test_training_takes_as_many_threads_as_it_is_given(problem):
    seen = set()

    def factory(shape, classes):
        seen.add(torch.get_num_threads())
        return nn.Linear(shape[0], classes)

    quick(n_jobs=2, epochs=1, model=factory).fit(problem.x, problem.y, clean=problem.clean)
    assert seen == {2}


# --- refusals --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"epochs": 0}, "Parameter epochs of L2BClassifier must be"),
        ({"epochs": 2.5}, "Parameter epochs of L2BClassifier must be"),
        ({"epochs": True}, "Parameter epochs of L2BClassifier must be"),
        ({"batch_size": 0}, "batch_size of L2BClassifier must be an integer of at least 1, got 0"),
        ({"learning_rate": -1}, "learning_rate of L2BClassifier must be a positive number, got -1"),
        ({"validation": 1}, r"validation of L2BClassifier must be a number in \[0, 1\), got 1"),
        ({"time_budget": 0}, "time_budget of L2BClassifier must be a positive number of seconds"),
        ({"device": "gpu"}, "device of L2BClassifier must be 'cpu' or 'auto', got 'gpu'"),
        ({"method": "l2bb"}, "No method is called 'l2bb'; did you mean 'l2b'"),
        ({"method": 3}, "Parameter method of L2BClassifier must be"),
        ({"class_weight": "even"}, "class_weight must be None, 'balanced' or a dict .*'even'"),
        ({"class_weight": {7: 2}}, "class_weight names 7, which no label is: they are 0, 1, 2"),
        ({"class_weight": {0: -1}}, r"a finite weight of at least 0, .* got -1\.0, 1\.0, 1\.0"),
        ({"class_weight": {0: 0, 1: 0, 2: 0}}, "class_weight must give .* and not all of them 0"),
        ({"class_weight": {0: "much"}}, "class_weight must hold numbers, got 'much' for 0"),
        ({"n_jobs": 0}, "Parameter n_jobs of L2BClassifier must be"),
        ({"model": network((6,), 4)}, r"3 logits, one for each class or label.*got \(1, 4\)"),
        ({"model": lambda *_: 3}, "must return a torch.nn.Module, got int"),
        ({"model": "conv"}, "No model is called 'conv'; did you mean 'conv_net'"),
        ({"model": "conv_net"}, "ConvNet needs images .* use mlp"),
    ],
)
def test_wrong_parameters_are_named(problem, settings, message):
    with pytest.raises((ValueError, TypeError), match=message):
        quick(**settings).fit(problem.x, problem.y, clean=problem.clean)


def test_models_go_by_name(problem):
    assert chosen_model("preact_resnet", mostly_zero=False) == PreactResnet()
    model = quick(model="mlp", epochs=1).fit(problem.x, problem.y, clean=problem.clean)
    assert clone(model).model == "mlp"


def test_a_model_that_is_none(problem):
    with pytest.raises(TypeError, match=r"model must be None, a torch\.nn\.Module, a function"):
        quick(model=3).fit(problem.x, problem.y)


def test_wrong_input_is_refused(problem):
    x, y, x_clean, y_clean = problem.separate()
    with pytest.raises(ValueError, match="X_clean and y_clean must be given together, got only X"):
        quick().fit(x, y, x_clean)
    with pytest.raises(ValueError, match="expecting 6 features"):
        quick().fit(x, y, x_clean[:, :4], y_clean)
    with pytest.raises(ValueError, match="labels of one kind"):
        quick().fit(x, NAMES[y], x_clean, y_clean)
    with pytest.raises(ValueError, match="only one class"):
        quick().fit(x, np.zeros(len(x)))
    with pytest.raises(ValueError, match="every row of X as checked"):
        quick().fit(x, y, clean=np.arange(len(y)))
    flags = np.arange(len(y)) % 2
    with pytest.raises(ValueError, match=r"booleans .*: call \.astype\(bool\) on it\.$"):
        quick().fit(x, y, clean=flags)
    with pytest.raises(ValueError, match=r"marks none of these 210 .* shuffle its folds"):
        quick().fit(x, y, clean=flags > 1)
    for clean in ([0, 0], [-1], [len(y)], [0.5], [], [[1, 2]], [True, False]):
        with pytest.raises(ValueError, match=r"clean must hold different positions in \[0, 210\)"):
            quick().fit(x, y, clean=clean)
    with pytest.raises(NotFittedError):
        quick().predict(x)


# --- real data -------------------------------------------------------------------------------


def test_defaults_do_well_on_digits():
    x, true = load_digits(return_X_y=True)
    x, x_test, true, y_test = train_test_split(x, true, test_size=500, random_state=0)
    draw = np.random.default_rng(0)
    y = np.where(draw.random(len(true)) < 0.4, draw.integers(0, 10, len(true)), true)
    y[:60] = true[:60]
    model = L2BClassifier(method="gold_posterior", random_state=0, epochs=25).fit(
        x, y, clean=np.arange(60)
    )
    assert model.score(x_test, y_test) > 0.9
    assert roc_auc_score(y == true, model.label_quality_) > 0.97


def test_a_rare_class_does_not_make_the_stand_ins_arbitrary():
    draw = np.random.default_rng(0)
    x = draw.normal(size=(600, 5))
    true = (x[:, 0] > 0).astype(int)
    y = np.where(draw.random(600) < 0.3, 1 - true, true)
    y[[100, 200]] = 2
    rows = stand_in(x, y, seed=0)
    assert (y[rows] != true[rows]).mean() < 0.03
    assert (y[rows] == 2).sum() == 1
    assert len(stand_in(x, np.where(np.arange(600) < 2, 1, 0), seed=0)) == 121


@pytest.mark.parametrize("seed", range(3))
def test_stand_ins_of_many_samples_hold_every_class(seed):
    x = np.random.default_rng(0).normal(size=(20_000, 2))
    y = (x[:, 0] > 0).astype(int)
    y[[7, 9]] = 2
    rows = stand_in(x, y, seed)
    assert (y[rows] == 2).sum() == 1 and len(rows) < 1010


def test_one_checked_sample_is_too_few_to_compare_by(problem, capsys):
    with pytest.warns(Notice, match="No checked sample is labelled"):
        model = quick(method="auto", verbose=1).fit(problem.x, problem.y, clean=[0])
    assert 'method="auto" needs 2 checked samples or more' in capsys.readouterr().out
    assert name_of(model.method_) == "gold_posterior"
    assert model.comparison_ is None


def test_classes_that_nobody_checked_are_named(problem):
    names = np.array(["ant", "bee", "cat"])[problem.y]
    without = [row for row in problem.clean if names[row] != "bee"]
    with pytest.warns(Notice, match=r"'bee': .* may never be predicted; .* says nothing of it"):
        quick().fit(problem.x, names, clean=without)
    with pytest.warns(Notice, match=r"No checked sample is labelled 'ant', 'cat'"):
        quick().fit(problem.x, names, problem.x[:2], np.array(["bee", "bee"]))


def test_checked_labels_must_be_written_like_the_others(problem):
    names = np.array(["ant", "bee", "cat"])[problem.y]
    with pytest.raises(ValueError, match=r"No label of y_clean is in y, .*'ant', 'bee'.*'ANT'"):
        quick().fit(problem.x, names, problem.x[:60], np.char.upper(names[:60]))


def test_a_fit_that_fails_leaves_the_former_one(problem):
    model = quick().fit(problem.x, NAMES[problem.y], clean=problem.clean)
    before = model.predict(problem.x)
    for bad in ({"clean": [-1]}, {"X_clean": problem.x}):
        with pytest.raises(ValueError):
            model.fit(problem.x[:, :4], np.array(["x", "y", "z"])[problem.y], **bad)
        np.testing.assert_array_equal(model.predict(problem.x), before)
    model.set_params(learning_rate=1e30)
    with pytest.raises(FloatingPointError, match=r"lower learning_rate, which is 1e\+30\.$"):
        model.fit(problem.x, problem.y, clean=problem.clean)
    np.testing.assert_array_equal(model.predict(problem.x), before)


def test_checked_samples_too_few_to_keep_aside_are_told(problem):
    rows = [int(np.flatnonzero(problem.y[:30] == c)[0]) for c in range(3)]
    with pytest.warns(Notice, match=r"a share of 0\.5 could be kept aside"):
        quick(validation=0.5, epochs=2).fit(problem.x, problem.y, clean=rows)


def test_images_of_another_size_are_refused():
    x, y = np.random.default_rng(0).normal(size=(40, 3, 8, 8)), np.arange(40) % 2
    model = quick(epochs=1).fit(x, y, clean=range(10))
    with pytest.raises(ValueError, match=r"X must hold samples of shape \(3, 8, 8\)"):
        model.predict(x[:, :, :4, :4])
    with pytest.raises(ValueError, match=r"X_clean must hold samples of shape \(3, 8, 8\)"):
        model.fit(x, y, x[:, :, :4, :4], y)


def test_a_network_asked_on_another_device_comes_back_whatever_happens():
    module, asked = Travels(), torch.device("cpu:0")
    given = torch.ones(3, 2)
    assert logits(module, given, asked).shape == (3, 2)
    assert module.been == [asked, CPU]
    with pytest.raises(RuntimeError):
        logits(module, torch.ones(3, 5), asked)
    assert module.been == [asked, CPU] * 2
    assert raw_logits(module, fitted_scale(given.numpy()), given.numpy(), asked).shape == (3, 2)
    assert module.been == [asked, CPU] * 3


class Travels(torch.nn.Linear):
    """Tells where it was sent."""

    def __init__(self):
        super().__init__(2, 2)
        self.been = []

    def to(self, device):
        self.been.append(device)
        return super().to(device)

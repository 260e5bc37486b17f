"""Classes that count for more: how they are drawn, and how models are judged by them."""

import json
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss
from torch import nn

from l2b.augment import Identity
from l2b.best_epoch import BestEpoch
from l2b.class_weights import drawn_again, sample_weights
from l2b.cli import main
from l2b.data import prepare
from l2b.datasets import Source, Split
from l2b.datasets.digits import Digits
from l2b.estimation.chosen import Chosen
from l2b.evaluate import evaluate, measure
from l2b.experiment import Run, step_size_advice
from l2b.feed import Feed
from l2b.ledger import Ledger, StepRecord
from l2b.loop import chosen_epoch
from l2b.methods import Task
from l2b.methods.cross_entropy import CrossEntropy
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.notices import Notice
from l2b.report import suspects
from l2b.streams import stream
from l2b.train import Outcome

LABELS = st.lists(st.integers(0, 5), min_size=1, max_size=80).map(torch.tensor)
WEIGHT = st.one_of(st.just(0.0), st.floats(0.01, 100))


def tailed(weights="balanced", seed=0):
    """Digits of which the first are twenty times as many as the last."""
    return prepare(
        Digits().load(), Symmetric(rate=0.4), clean=40, validation=0.2, seed=seed, imbalance=20,
        class_weights=weights,
    )  # fmt: skip


def counted(pool, batches):
    """How often each class was drawn, [classes]."""
    drawn = torch.cat([batch.index for batch in batches])
    return torch.bincount(pool.labels[drawn], minlength=10)


@given(LABELS, st.lists(WEIGHT, min_size=6, max_size=6))
def test_sample_weights_by_definition(labels, weights):
    assert torch.equal(sample_weights("none", labels), torch.ones(len(labels)).double())
    alike = sample_weights("balanced", labels)
    totals = torch.zeros(6).double().index_add(0, labels, alike)
    there = totals[totals > 0]
    torch.testing.assert_close(there, torch.full_like(there, len(labels) / len(there)))
    found = sample_weights(tuple(weights), labels)
    wanted = torch.tensor(weights).double()[labels]
    assert found.mean().item() == pytest.approx(1)
    if wanted.any():
        torch.testing.assert_close(found * wanted.mean(), wanted)
    else:
        assert (found == 1).all()


@given(st.lists(WEIGHT, min_size=1, max_size=60).filter(any), st.integers(0, 999))
def test_samples_come_as_often_as_their_weights_say(weights, seed):
    weights, size = torch.tensor(weights).double(), len(weights)
    order = torch.randperm(size, generator=stream(seed, "order"))
    drawn = drawn_again(order, weights, stream(seed, "draw"))
    assert torch.equal(drawn, drawn_again(order, weights, stream(seed, "draw")))
    counts, expected = torch.bincount(drawn, minlength=size), size * weights / weights.sum()
    assert counts.sum() == size
    assert ((counts - expected).abs() < 1 + 1e-6).all()
    assert (counts[weights == 0] == 0).all()
    alike = drawn_again(order, torch.full((size,), 0.1), stream(seed, "draw"))
    assert torch.equal(alike.sort().values, torch.arange(size))


def test_which_samples_are_rounded_up_is_chance():
    weights = torch.tensor([1.5, 0.5] * 50)
    seen = torch.zeros(100)
    for seed in range(400):
        order = torch.randperm(100, generator=stream(seed, "order"))
        seen += torch.bincount(drawn_again(order, weights, stream(seed, "draw")), minlength=100)
    torch.testing.assert_close(seen / 400, weights, atol=0.12, rtol=0)


def test_balanced_batches_show_all_classes_alike():
    data = tailed()
    feed = Feed(data=data, batch=32, clean_batch=16, augment=Identity(), seed=0)
    pairs = [pair for epoch in range(6) for pair in feed.epoch(epoch)]
    sizes = torch.bincount(data.train.labels), torch.bincount(data.clean.labels)
    assert all(size.max() > 3 * size.min() for size in sizes)
    for pool, drawn in ((data.train, [b for b, _ in pairs]), (data.clean, [c for _, c in pairs])):
        counts = counted(pool, drawn).double()
        assert (counts / counts.mean() - 1).abs().max() < 0.15
    for batch, clean in pairs[:3]:
        assert torch.equal(batch.labels, data.train.labels[batch.index])
        assert torch.equal(clean.labels, data.clean.labels[clean.index])
    assert [b.index.tolist() for b, _ in feed.epoch(1)] != [b.index.tolist() for b, _ in pairs[:5]]
    again = [b.index for b, _ in feed.epoch(2, first=1)]
    whole = [b.index for b, _ in feed.epoch(2)]
    assert all(torch.equal(a, b) for a, b in zip(again, whole[1:], strict=True))


def test_weights_by_class_are_obeyed():
    weights = (0.0, 3.0, *[1.0] * 8)
    data = tailed(weights)
    feed = Feed(data=data, batch=16, clean_batch=8, augment=Identity(), seed=1)
    drawn = [batch for epoch in range(20) for batch, _ in feed.epoch(epoch)]
    counts, sizes = counted(data.train, drawn), torch.bincount(data.train.labels)
    expected = sizes * torch.tensor(weights)
    assert counts[0] == 0
    torch.testing.assert_close(counts / counts.sum(), expected / expected.sum(), atol=0.02, rtol=0)


@given(st.integers(0, 99), st.one_of(st.just("balanced"), st.just((4.0, 0.0, 1.0, 2.0))))
def test_models_are_judged_by_the_same_weights(seed, weights):
    generator = torch.Generator().manual_seed(seed)
    y = torch.multinomial(torch.tensor([0.6, 0.2, 0.1, 0.1]), 50, True, generator=generator)
    y[:4] = torch.arange(4)
    z = torch.randn(50, 4, generator=generator)
    source = Source(
        train=Split(z, y), test=Split(z, y), classes=("a", "b", "c", "d"), mean=torch.zeros(()),
        std=torch.ones(()),
    )  # fmt: skip
    settings = {"clean": 4, "validation": 0, "seed": 0}
    plain = prepare(source, Symmetric(rate=0.2), **settings)
    data = prepare(source, Symmetric(rate=0.2), **settings, class_weights=weights)
    found, usual = (evaluate(lambda x: x, d.test, d) for d in (data, plain))
    worth = sample_weights(weights, y).numpy()
    truth, said, p = y.numpy(), z.argmax(dim=1).numpy(), torch.softmax(z.double(), dim=1).numpy()
    if weights == "balanced":
        assert found[measure(data)] == pytest.approx(balanced_accuracy_score(truth, said))
    expected = accuracy_score(truth, said, sample_weight=worth)
    assert found[measure(data)] == pytest.approx(expected)
    assert found["loss"] == pytest.approx(
        log_loss(truth, p, sample_weight=worth, labels=np.arange(4)), rel=1e-5
    )
    assert usual["loss"] == pytest.approx(log_loss(truth, p, labels=np.arange(4)), rel=1e-5)
    assert found["accuracy"] == usual["accuracy"]
    assert measure(plain) == "accuracy"


class Fixed(nn.Module):
    """Says one class of every sample, whatever it is."""

    def __init__(self, said):
        super().__init__()
        self.said = nn.Parameter(torch.tensor(float(said)))

    def forward(self, x):
        return 9 * torch.eye(10)[int(self.said)].expand(len(x), -1)


def of_one_class_or_two(data):
    """Two predictors: the largest class, which is more accurate; and two others, all right."""
    rare = data.clean.labels.bincount(minlength=10).argsort()[:2].tolist()

    def two(x):
        known = (x.unsqueeze(1) == data.standardise(data.clean.inputs)).flatten(2).all(dim=2)
        right = data.clean.labels[known.int().argmax(dim=1)]
        wrong = (right + 1) % 10
        said = torch.where((right == rare[0]) | (right == rare[1]), right, wrong)
        return 9 * torch.eye(10)[said]

    return (lambda x: 9 * torch.eye(10)[0].expand(len(x), -1)), two


@pytest.mark.parametrize("weights", ["none", "balanced"])
def test_epochs_are_chosen_by_what_counts(weights):
    rows = [
        {"epoch": 0, "validation_accuracy": 0.9, "validation_balanced_accuracy": 0.3},
        {"epoch": 1, "validation_accuracy": 0.5, "validation_balanced_accuracy": 0.6},
    ]
    rows = [row | {"validation_loss": 1.0} for row in rows]
    data, alike = tailed(weights), weights == "balanced"
    assert chosen_epoch(rows, measure(data)) == alike
    of_one, of_two = of_one_class_or_two(data)
    best, module = BestEpoch(), Fixed(1)
    best.judge(of_one, module, data)
    with torch.no_grad():
        module.said.fill_(2)
    best.judge(of_two, module, data)
    best.bring_back(module)
    assert module.said.item() == 1 + alike
    # The same where an estimator keeps the best epoch.
    kept = Chosen(method=CrossEntropy(), validation=data.clean)
    learner = kept.build(Task(data=data, epochs=2, network=lambda _: Holder(Fixed(1))))
    for number, predict in enumerate((of_one, of_two)):
        learner.predict = predict
        with torch.no_grad():
            learner.network.module.said.fill_(1 + number)
        learner.judge()
    learner.network.module.load_state_dict(learner.best_state)
    assert learner.network.module.said.item() == 1 + alike


class Holder(NamedTuple):
    """As much of a network as choosing an epoch needs."""

    module: nn.Module


def test_clean_sets_look_wrong_by_what_counts():
    weighed = replace(Run(imbalance=20, class_weight="balanced"), method=CrossEntropy())
    data = weighed.prepare()
    wrong = replace(data.clean, labels=(data.clean.labels + 1) % 10)
    with pytest.warns(Notice, match=r"of its labels in balanced accuracy \(guessing gets 10\.0%"):
        weighed.execute(progress=False, data=replace(data, clean=wrong))


def test_the_ledger_keeps_what_an_epoch_saw_first():
    size = 50_000
    draw = torch.Generator().manual_seed(0)
    index = torch.randint(size // 2, (size,), generator=draw)
    visit = torch.arange(size).float() / size
    first = torch.full((size,), torch.inf).scatter_reduce(0, index, visit, "amin")
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for _ in range(5):
            ledger = Ledger(1, size)
            record = StepRecord(index=index, alpha=visit, beta=visit, loss=visit,
                                pseudo=(8 * visit).long())  # fmt: skip
            half = size // 2
            parts = [
                StepRecord(**{n: v[rows] for n, v in vars(record).items()})
                for rows in (slice(half), slice(half, None))
            ]
            ledger.write(0, parts)
            seen = first.isfinite()
            assert torch.equal(ledger.alpha[0][seen], first[seen].half())
            assert torch.equal(ledger.pseudo[0][seen].long(), (8 * first[seen]).long())
            assert ledger.loss[0][~seen].isnan().all() and (ledger.pseudo[0][~seen] == -1).all()
    finally:
        torch.set_num_threads(threads)


def test_suggestions_come_from_epochs_that_saw_the_sample():
    ledger = Ledger(4, 3)
    ledger.alpha[:], ledger.loss[:] = 0.5, 1.0
    ledger.pseudo[:] = torch.tensor([[5, -1, 2], [5, -1, 2], [-1, 7, 2], [5, -1, 3]])
    outcome = Outcome(learner=None, ledger=ledger, history=[], chosen_epoch=None)
    found = suspects(outcome, 3)
    said = dict(zip(found.rows.tolist(), found.suggested.tolist(), strict=True))
    assert (said[0], said[1]) == (5, 7) and said[2] in (2, 3)


def test_rare_classes_are_learned_on_the_command_line(tmp_path, capsys):
    words = [
        "run", "--data", "digits", "--imbalance", "30", "--clean", "40", "--model", "mlp",
        "--epochs", "10", "--batch", "32", "--rate", "0.2", "--method", "cross_entropy",
    ]  # fmt: skip
    found = []
    for weight in ("none", "balanced"):
        out = tmp_path / weight
        assert main([*words, "--class_weight", weight, "--out", str(out)]) == 0
        found.append(json.loads((out / "result.json").read_text()))
    usual, balanced = found
    assert usual["noise_hash"] == balanced["noise_hash"]
    assert balanced["last_balanced_accuracy"] > usual["last_balanced_accuracy"] + 0.02
    assert (usual["judged_by"], balanced["judged_by"]) == ("accuracy", "balanced_accuracy")
    said = [line for line in capsys.readouterr().out.splitlines() if "last epoch" in line]
    plain, alike = (100 * balanced[f"last_{name}"] for name in ("accuracy", "balanced_accuracy"))
    assert said[1].split() == [
        "last", "epoch", f"{alike:.2f}%", "(balanced", "over", "classes;", "plain", "accuracy",
        f"{plain:.2f}%)",
    ]  # fmt: skip


@pytest.mark.parametrize("method", ["l2b", "co_teaching", "elr", "cleanlab_prune", "mlc"])
def test_methods_take_samples_that_come_more_than_once(method, tmp_path):
    words = ["run", "--data", "digits", "--imbalance", "20", "--clean", "60", "--model", "mlp",
             "--epochs", "4", "--class_weight", "balanced", "--method", method]  # fmt: skip
    assert main([*words, "--out", str(tmp_path / "run")]) == 0
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["last_balanced_accuracy"] > 0.3


def test_masks_have_no_class_to_draw_by():
    masks = Split(torch.rand(6, 1, 4, 4), torch.randint(0, 2, (6, 4, 4)))
    source = Source(
        train=masks, test=masks, classes=("background", "organ"), mean=torch.zeros(()),
        std=torch.ones(()),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"class_weight needs one label .* has a mask for each"):
        prepare(source, NoNoise(), clean=2, validation=0, seed=0, class_weights="balanced")


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1.0,) * 9, "each of the 10 classes a finite weight"),
        ((1.0,) * 9 + (-1.0,), "a finite weight of at least 0"),
        ((0.0,) * 10, "not all of them 0"),
        ((float("inf"),) * 10, "a finite weight"),
    ],
)
def test_weights_that_mean_nothing_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        tailed(weights)


def test_pools_without_any_weight_are_refused():
    data = tailed((1.0, *[0.0] * 9))
    others = (data.clean.labels > 0).nonzero().flatten()
    clean = replace(data.clean, **{n: getattr(data.clean, n)[others] for n in ("inputs", "labels")})
    with pytest.raises(ValueError, match="none of the clean samples any weight"):
        Feed(data=replace(data, clean=clean), batch=8, clean_batch=8, augment=Identity(), seed=0)
    huge = sample_weights((1e308, 1e308), torch.tensor([0, 1, 1]))
    assert torch.equal(huge, torch.ones(3).double())


def test_step_sizes_are_of_samples_as_they_come():
    with pytest.raises(ValueError, match="not for class_weight balanced"):
        step_size_advice(Run(class_weight="balanced"))


def test_other_words_are_refused(capsys):
    assert main(["run", "--class_weight", "even"]) == 2
    assert "class_weight" in capsys.readouterr().err

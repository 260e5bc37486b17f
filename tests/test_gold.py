"""Gold loss correction and the posterior: the formulas by hand, and noise that follows a rule."""

from dataclasses import replace
from types import SimpleNamespace

import pytest
import torch

from l2b.experiment import Run
from l2b.methods import gold_correction
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.gold_correction import GoldCorrection, corrected_loss, transition_matrix
from l2b.methods.gold_posterior import GoldPosterior
from l2b.models import Mlp
from l2b.noise.pair_flip import PairFlip
from l2b.pseudo import Temporal
from l2b.targets import VOID
from l2b.train import Training
from l2b.types import Cases


def test_the_corrected_loss_by_hand():
    z = torch.tensor([[0.3, -1.0, 0.2], [2.0, 0.0, -0.5]], dtype=torch.float64)
    observed = torch.tensor([2, 0])
    matrix = torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5], [0.1, 0.1, 0.8]]).double()
    p = torch.softmax(z, dim=1)
    expected = [-sum(p[i, y] * matrix[y, observed[i]] for y in range(3)).log() for i in range(2)]
    found = corrected_loss(z, observed, matrix)
    torch.testing.assert_close(found, torch.stack(expected), atol=2e-4, rtol=0)


def test_the_transition_matrix_by_hand():
    p = torch.tensor([[0.8, 0.1, 0.1], [0.6, 0.3, 0.1], [0.2, 0.2, 0.6]])
    clean = SimpleNamespace(labels=torch.tensor([0, 0, 2]), cases=None)
    task = SimpleNamespace(data=SimpleNamespace(clean=clean, classes="abc", tags=()))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(gold_correction, "predict_pool", lambda predict, *_: predict(None))
        learner = SimpleNamespace(predict=lambda _: p.log())
        found = transition_matrix(learner, task)
    expected = torch.tensor([[0.7, 0.2, 0.1], [0, 1, 0], [0.2, 0.2, 0.6]])  # nothing clean of b
    torch.testing.assert_close(found, expected)


def test_what_slabs_are_filled_up_with_tells_nothing_of_labels():
    """Two slabs of two slices, of a volume of three: the last slice is void by filling."""
    z = torch.randn(2, 3, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    z[1, 0, 1] = 20.0  # sure of the background that was filled in
    labels = torch.randint(0, 3, (2, 2, 4, 4), generator=torch.Generator().manual_seed(1))
    labels[1, 1] = VOID
    cases = Cases(
        of=torch.zeros(2, dtype=torch.int64), names=("v",), spacing=torch.ones(1, 3),
        patient=torch.zeros(1, dtype=torch.int64), lengths=torch.tensor([3]),
    )  # fmt: skip
    slices, their = z.movedim(2, 1).flatten(0, 1)[:3], labels.flatten(0, 1)[:3]
    found = []
    for clean, said in (
        (SimpleNamespace(labels=labels, cases=cases), z),
        (SimpleNamespace(labels=their, cases=None), slices),
    ):
        task = SimpleNamespace(data=SimpleNamespace(clean=clean, classes="abc", tags=()))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(gold_correction, "predict_pool", lambda *_, said=said: said)
            found.append(transition_matrix(SimpleNamespace(predict=None), task))
    torch.testing.assert_close(*found)


def test_no_noise_means_no_correction():
    z, observed = torch.randn(6, 4), torch.randint(0, 4, (6,))
    plain = torch.nn.functional.cross_entropy(z, observed, reduction="none")
    torch.testing.assert_close(corrected_loss(z, observed, torch.eye(4)), plain, atol=1e-2, rtol=0)


@pytest.fixture(scope="module")
def run():
    training = Training(epochs=16, batch=64)
    return Run(noise=PairFlip(rate=0.4), training=training, model=Mlp(hidden=(32,)))


@pytest.fixture(scope="module")
def data(run):
    return run.prepare()


@pytest.mark.parametrize(
    "method", [GoldCorrection(), GoldPosterior(), GoldPosterior(pseudo=Temporal())]
)
def test_the_rule_is_found_and_undone(method, run, data):
    plain = replace(run, method=CrossEntropy()).execute(progress=False, data=data)
    found = replace(run, method=method).execute(progress=False, data=data)
    assert found.record["last_accuracy"] > plain.record["last_accuracy"] + 0.1
    matrix = found.outcome.learner.matrix.cpu()
    torch.testing.assert_close(matrix.sum(dim=1), torch.ones(10))
    flipped = matrix.diagonal() + matrix[torch.arange(10), (torch.arange(10) + 1) % 10]
    assert flipped.mean() > 0.6  # the true one: 0.6 on the diagonal, 0.4 beside it
    assert matrix.diagonal().mean() < 0.85


def test_the_ledger_says_how_far_each_label_is_believed(run, data):
    ledger = replace(run, method=GoldPosterior()).execute(progress=False, data=data).outcome.ledger
    alpha, beta = ledger.alpha[-4:].float().nanmean(dim=0), ledger.beta[-4:].float().nanmean(dim=0)
    torch.testing.assert_close(alpha + beta, torch.ones_like(alpha), atol=1e-2, rtol=0)
    wrong = data.train.labels != data.train.true
    assert alpha[wrong].mean() < 0.3 < 0.8 < alpha[~wrong].mean()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: GoldCorrection(noisy_share=0), "needs 0 < noisy_share < 1, got 0"),
        (lambda: GoldCorrection(clean_weight=-1), "needs clean_weight >= 0, got -1"),
        (lambda: GoldPosterior(noisy_share=0.6, clean_share=0.4), "sum below 1, got 0.6 and 0.4"),
        (lambda: GoldPosterior(clean_weight=-1), "needs clean_weight >= 0, got -1"),
    ],
)
def test_shares_that_leave_a_part_out_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()

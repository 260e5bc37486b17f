"""A batch in pieces equals the whole batch: weights, parameters, ledger, draws, statistics."""

import contextlib
from dataclasses import dataclass, replace

import pytest
import torch

from conftest import weighing
from l2b.amortise import Amortisation
from l2b.augment import CropFlip
from l2b.catalog import find, names
from l2b.cli import main
from l2b.engines import DoubleBackward, FiniteDifference, LastLayer
from l2b.experiment import Run
from l2b.functional import forward
from l2b.ledger import EpochLog
from l2b.lookahead import OptimiserStep
from l2b.losses import cross_entropy
from l2b.methods import Method
from l2b.methods.bootstrap import Bootstrap
from l2b.methods.l2b import L2B
from l2b.models.base import Model
from l2b.models.mlp import Mlp
from l2b.normalise import PerClass, PerRegion, Softmax
from l2b.optimise import Optimiser
from l2b.overlap import Dice
from l2b.pieces import logits_in_pieces, split
from l2b.pseudo import MovingAverage, SelfLabels, Temporal, Views
from l2b.train import Training, fit
from test_processes import Fields, Wide, masks

TRAINING = Training(epochs=4, batch=100, clean_batch=40, clip=0.5, optimiser=Optimiser(lr=0.05),
                    device="cpu", threads=1)  # fmt: skip
WHOLE_ONLY = {"mlc", "mw_net"}
SINGLE = {"elr"}  # keep tables in float32
VARIANTS = {
    "finite_difference": L2B(engine=FiniteDifference(), pseudo=SelfLabels(), warmup=0),
    "double_backward": L2B(engine=DoubleBackward(), lookahead=OptimiserStep(), warmup=0),
    "last_layer": weighing(engine=LastLayer(), pseudo=Temporal(), normalise=Softmax()),
    "per_class": L2B(warmup=1, normalise=PerClass(balanced=True), clean_weight=0.5),
    "amortised": weighing(amortise=Amortisation(gradient_every=2, weights_every=2)),
    "soft_bootstrap": Bootstrap(pseudo=MovingAverage()),
}


@pytest.fixture(scope="module")
def data():
    found = Run(seed=1).prepare()
    rows = torch.arange(400)
    train = replace(found.train, inputs=found.train.inputs[rows], labels=found.train.labels[rows],
                    index=found.train.index[rows], true=found.train.true[rows])  # fmt: skip
    return doubled(replace(found, train=train))


def doubled(data):
    return replace(data, mean=data.mean.double().reshape(-1), std=data.std.double().reshape(-1))


def learned(method, data, model, training, pieces):
    """Parameters and what every step recorded, in pieces."""
    added, records = EpochLog.add, []

    def noting(self, record, norms):
        records.append(record)
        added(self, record, norms)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(EpochLog, "add", noting)
        training = replace(training, accumulate=pieces)
        outcome = fit(data, model, method, training, seed=1, progress=False)
    return outcome, records


def compare(method, data, model, training=TRAINING, counts=(2, 3), limit=1e-10):
    whole, expected = learned(method, data, model, training, 1)
    for count in counts:
        found, records = learned(method, data, model, training, count)
        parameters = found.learner.network.module.state_dict()
        for name, value in whole.learner.network.module.state_dict().items():
            off = (parameters[name] - value).abs().max() / value.abs().max()
            assert off < limit, f"{count} pieces: {name} is off by {off:.1e}"
        for record, same in zip(records, expected, strict=True):
            for name in ("alpha", "beta", "loss"):
                pair = getattr(record, name), getattr(same, name)
                close = torch.allclose(*pair, rtol=10 * limit, atol=limit)
                assert close, f"{count} pieces: {name}"
        for name, entries in whole.ledger.state_dict().items():  # float16
            torch.testing.assert_close(
                found.ledger.state_dict()[name], entries, rtol=2e-3, atol=1e-4, equal_nan=True
            )


@pytest.mark.parametrize("name", names(Method))
def test_every_method_takes_batches_in_pieces_or_says_that_it_cannot(name, data):
    method = find(Method, name)()
    if name in WHOLE_ONLY:
        with pytest.raises(ValueError, match=r"Learner needs every batch as a whole: set training"):
            learned(method, data, Mlp(), TRAINING, 2)
        return
    counts = (2, 3) if name in ("l2b", "l2rw", "cross_entropy", "pooled") else (3,)
    if name in SINGLE:
        single = replace(data, mean=data.mean.float(), std=data.std.float())
        compare(method, single, Mlp(hidden=(24,)), counts=counts, limit=1e-4)
    else:
        compare(method, data, Wide(model=Mlp(hidden=(24,))), counts=counts)


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_way_of_weighing_takes_batches_in_pieces(name, data):
    training = replace(TRAINING, augment=CropFlip(padding=1)) if name == "last_layer" else TRAINING
    # A difference is divided by its small step, and so is its rounding.
    limit = 1e-6 if name == "finite_difference" else 1e-10
    compare(VARIANTS[name], data, Wide(model=Mlp(hidden=(24,))), training, (3,), limit)


@pytest.mark.parametrize("pseudo", [MovingAverage(soft=False), Views()])
def test_masks_in_pieces(pseudo):
    training = replace(TRAINING, batch=5, clean_batch=4, overlap=Dice(), extra_clean_step=True)
    method = weighing(normalise=PerRegion(), pseudo=pseudo)
    compare(method, doubled(masks()), Wide(model=Fields()), training, counts=(3,))


@dataclass(frozen=True, kw_only=True)
class Watched(Model):
    """A model that notes how many samples pass through it at a time, and whether for training."""

    seen: list

    def build(self, shape, classes):
        module = Mlp(hidden=(8,)).build(shape, classes)
        module.register_forward_pre_hook(
            lambda m, inputs: self.seen.append((len(inputs[0]), m.training))
        )
        return module


def test_no_more_than_a_piece_passes_through_the_network_at_a_time(data):
    data, seen = replace(data, mean=data.mean.float(), std=data.std.float()), []
    for method in (weighing(clean_weight=1.0), weighing(start="clean")):
        training = replace(TRAINING, accumulate=7, epochs=2)
        fit(data, Watched(seen=seen), method, training, seed=0, progress=False)
    assert {size for size, training in seen if training} == {5, 6, 14, 15}
    assert max(size for size, _ in seen) <= 2048 / 7 + 1


def test_a_pass_in_pieces_is_that_of_the_pieces(problem):
    """Gradients, running statistics and draws of every kind of model, BatchNorm and dropout too."""
    model, start = problem.model, torch.get_rng_state()
    state = {name: value.clone() for name, value in model.state_dict().items()}
    weights = torch.linspace(0.1, 1, 7, dtype=torch.float64)
    found = []
    for by_hand in (True, False):
        model.load_state_dict(state)
        model.zero_grad()
        torch.set_rng_state(start)
        if by_hand:
            z = torch.cat([forward(model, piece) for piece in split(problem.inputs, 3)])
        else:
            z = logits_in_pieces(model, problem.inputs, 3, contextlib.nullcontext)
        after = torch.get_rng_state()
        losses = cross_entropy(z, problem.observed).flatten(1).mean(dim=1) \
            if z.ndim > 2 else cross_entropy(z, problem.observed)  # fmt: skip
        (weights * losses).sum().backward()
        assert torch.equal(torch.get_rng_state(), after)
        buffers = {name: b.clone() for name, b in model.named_buffers()}
        gradients = {n: p.grad for n, p in model.named_parameters()}
        found.append((z.detach(), after, buffers, gradients))
    (z, after, buffers, gradients), (z_too, after_too, buffers_too, gradients_too) = found
    assert torch.allclose(z, z_too, 1e-12, 1e-12)
    assert torch.equal(after, after_too)
    assert all(torch.equal(buffers[name], buffers_too[name]) for name in buffers)
    for name, gradient in gradients.items():
        if gradient is None:
            assert gradients_too[name] is None
        else:
            assert torch.allclose(gradient, gradients_too[name], 1e-10, 1e-12), name
    with torch.no_grad():
        model.eval()
        whole = forward(model, problem.inputs)
        parts = logits_in_pieces(model, problem.inputs, 3, contextlib.nullcontext)
        assert torch.allclose(parts, whole, 1e-12, 1e-12)


def test_a_model_that_writes_into_its_inputs_writes_once_on_the_way_back_too():
    class Scaling(torch.nn.Linear):
        def forward(self, x):
            return super().forward(x.sub_(0.5).div_(0.25))

    model, inputs = Scaling(3, 2).double(), torch.rand(7, 3, dtype=torch.double)
    before = inputs.clone()
    z = logits_in_pieces(model, inputs, 3, contextlib.nullcontext)
    z.square().sum().backward()
    expected = torch.nn.functional.linear((before - 0.5) / 0.25, model.weight, model.bias)
    (gradient,) = torch.autograd.grad(expected.square().sum(), model.weight)
    torch.testing.assert_close(z, expected)
    torch.testing.assert_close(model.weight.grad, gradient)
    assert torch.equal(inputs, before)


def test_inputs_of_every_kind_are_cut_alike():
    x = torch.arange(14).view(7, 2)
    sizes = [3, 2, 2]
    assert [len(part) for part in split(x, 3)] == sizes
    assert [len(part["b"]) for part in split({"a": x, "b": x[:, 0]}, 3)] == sizes
    assert [len(part[1]) for part in split((x, x[:, 0]), 3)] == sizes
    assert torch.equal(torch.cat([part["a"] for part in split({"a": x}, 3)]), x)
    assert [len(part) for part in split(x[:2], 3)] == [1, 1]


def test_pieces_without_meaning_are_refused(data, tmp_path, capsys):
    with pytest.raises(ValueError, match="accumulate must be at least 1, got 0"):
        Training(accumulate=0)
    with pytest.raises(ValueError, match="accumulate must be at most 100, the samples of a batch"):
        fit(data, Mlp(), L2B(), replace(TRAINING, accumulate=101), seed=0, progress=False)
    words = ["run", "--method", "mw_net", "--accumulate", "2", "--model", "mlp", "--quiet"]
    assert main([*words, "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "MwNetLearner needs every batch as a whole" in said


def test_pieces_serve_mixed_precision(data):
    data = replace(data, mean=data.mean.float(), std=data.std.float())
    training = replace(TRAINING, precision="bfloat16", epochs=3, accumulate=3)
    outcome = fit(data, Mlp(), L2B(), training, seed=0, progress=False)
    assert outcome.history[-1]["train_loss"] < outcome.history[0]["train_loss"]
    assert all(p.dtype == torch.float32 for p in outcome.learner.network.module.parameters())

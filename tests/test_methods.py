"""Rival methods against their definitions: losses by hand, hypergradients by double backward."""

import math
from contextlib import nullcontext
from dataclasses import replace
from fractions import Fraction
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from conftest import Problem
from l2b.bilevel import bilevel_pass
from l2b.catalog import default, find, names
from l2b.engines import Forward, LastLayer
from l2b.estimation.distil import Distilled
from l2b.experiment import Run
from l2b.ledger import StepRecord
from l2b.loop import Loop
from l2b.losses import cross_entropy
from l2b.methods import Method
from l2b.methods.as_published import AsPublished
from l2b.methods.base import NoisyOnly, anew, first_part
from l2b.methods.cleanlab_prune import CleanlabPrune, _folds
from l2b.methods.co_teaching import CoTeaching, smallest
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.elr import Elr, early_learning
from l2b.methods.generalised_cross_entropy import GeneralisedCrossEntropy
from l2b.methods.l2b import L2B
from l2b.methods.label_smoothing import LabelSmoothing
from l2b.methods.mixup import Blends, Mixup
from l2b.methods.mlc import Corrector, Mlc, MlcLearner, recorded_inputs
from l2b.methods.mw_net import MwNet, MwNetLearner, WeightNet
from l2b.models.mlp import Mlp
from l2b.noise.symmetric import Symmetric
from l2b.notices import Notice
from l2b.optimise import Steps
from l2b.pseudo import SelfLabels
from l2b.scores import candidate_score
from l2b.train import Training
from l2b.types import Batch
from oracles import same_draws

SEED, LR = 3, 0.3
BILEVEL = ["mlp", "conv_batchnorm", "conv_dropout", "group_norm", "half_used", "attention"]
SHORT = Run(training=Training(epochs=4, batch=256, clean_batch=40), model=Mlp(hidden=(16,)))


@pytest.fixture(scope="module")
def data():
    return SHORT.prepare()


def execute(method, data, **training):
    settings = replace(SHORT.training, **training)
    return replace(SHORT, method=method, training=settings).execute(progress=False, data=data)


# --- hypergradients --------------------------------------------------------------------------


def batches(problem):
    noisy = Batch(index=torch.arange(7), inputs=problem.inputs, labels=problem.observed)
    clean = Batch(index=torch.arange(9), inputs=problem.clean_inputs, labels=problem.clean_labels)
    return noisy, clean


def unrolled_gradient(problem, loss, outer):
    """dF(θ − λ∇loss(z(θ; Θ)))/dΘ by autograd through the step, λ of the head a tenth.

    ``loss(z, features)`` builds the graph of Θ = ``outer``.
    """
    model = problem.model
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}

    def apply(values, inputs):
        buffers = {k: b.clone() for k, b in model.named_buffers()}
        with same_draws(SEED), sdpa_kernel(SDPBackend.MATH):
            return functional_call(model, {**values, **buffers}, (inputs,))

    with recorded_inputs(LastLayer().head(model)[1]) as seen:
        z = apply(params, problem.inputs)
    inner = loss(z, seen[0])
    grads = torch.autograd.grad(
        inner, list(params.values()), create_graph=True, materialize_grads=True
    )
    ahead = {k: p - rate(k) * g for (k, p), g in zip(params.items(), grads, strict=True)}
    clean = cross_entropy(apply(ahead, problem.clean_inputs), problem.clean_labels).mean()
    return torch.autograd.grad(clean, list(outer.parameters()))


def rate(name):
    return LR / 10 if name.startswith("head") else LR


def optimiser(model):
    groups = [
        {"params": [p for n, p in model.named_parameters() if rate(n) == r], "lr": r}
        for r in (LR, LR / 10)
    ]
    return torch.optim.SGD([g for g in groups if g["params"]], lr=LR, momentum=0.9)


def assert_same_gradients(outer, loss, expected):
    loss.backward()
    scale = max(float(g.abs().max()) for g in expected)
    assert scale > 1e-8
    for parameter, gradient in zip(outer.parameters(), expected, strict=True):
        error = (parameter.grad - gradient).abs().max() / scale
        assert error < 1e-9


@pytest.mark.parametrize("name", BILEVEL)
def test_mw_net_takes_the_gradient_of_the_unrolled_step(name):
    problem = Problem(name)
    torch.manual_seed(1)
    weigher = WeightNet(8).double()

    def loss(z, _):
        losses = cross_entropy(z, problem.observed)
        return (weigher(losses.detach()) * losses).mean()

    expected = unrolled_gradient(problem, loss, weigher)
    noisy, clean = batches(problem)
    learner = object.__new__(MwNetLearner)
    learner.weigher = weigher
    with same_draws(SEED):
        z, dz = bilevel_pass(
            problem.model, noisy, clean, loss=lambda z: loss(z, None), engine=Forward(),
            optimiser=optimiser(problem.model),
        )  # fmt: skip
    scores = candidate_score(z.detach(), dz, problem.observed)
    found = learner.outer_loss(cross_entropy(z.detach(), problem.observed), scores)
    assert_same_gradients(weigher, found, expected)


@pytest.mark.parametrize("name", BILEVEL)
def test_mlc_takes_the_gradient_of_the_unrolled_step(name):
    problem = Problem(name)
    torch.manual_seed(2)
    _, head = LastLayer().head(problem.model)
    corrector = Corrector(head.in_features, 5, 6, trust=1.0).double()

    def loss(z, features):
        return cross_entropy(z, corrector(features, problem.observed)).mean()

    expected = unrolled_gradient(problem, loss, corrector)
    noisy, clean = batches(problem)
    learner = object.__new__(MlcLearner)
    learner.corrector = corrector
    with same_draws(SEED), recorded_inputs(head) as seen:
        _, dz = bilevel_pass(
            problem.model, noisy, clean, loss=lambda z: loss(z, seen[-1]), engine=Forward(),
            optimiser=optimiser(problem.model),
        )  # fmt: skip
    assert_same_gradients(corrector, learner.outer_loss(seen[0], problem.observed, dz), expected)


@pytest.mark.parametrize("engine", [Forward(), LastLayer()])
@pytest.mark.parametrize("kind", [MwNetLearner, MlcLearner])
def test_the_model_learns_what_the_second_network_says_after_its_own_step(kind, engine):
    problem, said = Problem("mlp"), []
    torch.manual_seed(2)
    head = LastLayer().head(problem.model)[1]
    outer = WeightNet(8) if kind is MwNetLearner else Corrector(head.in_features, 5, 6, trust=1.0)
    outer.double()
    before = [p.clone() for p in outer.parameters()]

    def teach(loss):
        gradients = torch.autograd.grad(loss, list(outer.parameters()))
        assert all(map(torch.equal, before, outer.parameters()))
        with torch.no_grad():
            for parameter, gradient in zip(outer.parameters(), gradients, strict=True):
                parameter -= 10 * gradient

    learner = object.__new__(kind)
    learner.method, learner.warming, learner.head = SimpleNamespace(engine=engine), False, head
    learner.weigher = learner.corrector = outer
    learner.taught = SimpleNamespace(descend=teach)
    learner.network = SimpleNamespace(
        module=problem.model, optimiser=optimiser(problem.model), autocast=nullcontext,
        descend=lambda loss: said.append(loss.detach()),
    )  # fmt: skip
    noisy, clean = batches(problem)
    learner.step(noisy, clean)

    def loss():
        with torch.no_grad(), recorded_inputs(head) as seen:
            z = problem.model(problem.inputs)
            losses = cross_entropy(z, problem.observed)
            if kind is MwNetLearner:
                return (outer(losses) * losses).mean()
            return cross_entropy(z, outer(seen[0], problem.observed)).mean()

    torch.testing.assert_close(said, [loss()])
    with torch.no_grad():
        for parameter, value in zip(outer.parameters(), before, strict=True):
            parameter.copy_(value)
    assert abs(float(loss() - said[0])) > 1e-6


class Deaf(torch.nn.Linear):
    """Returns what it is given, whatever its parameters are."""

    def forward(self, x):
        return x[:, :3] * 1.0


def test_a_bilevel_pass_of_a_model_that_nothing_moves_says_so():
    x, y = torch.randn(4, 5), torch.tensor([0, 1, 2, 0])
    batch = Batch(index=torch.arange(4), inputs=x, labels=y)
    with pytest.raises(ValueError, match="The logits do not depend on 'weight'"):
        bilevel_pass(
            Deaf(5, 3), batch, batch, loss=lambda z: cross_entropy(z, y).mean(), engine=Forward()
        )


@pytest.mark.parametrize("name", names(Method))
def test_runs_end_with_the_network_that_a_method_names(name, monkeypatch):
    """What says whether runs that are compared had equal initial values."""
    maker = Loop._network_maker

    def told(loop, model):
        make = maker(loop, model)

        def network(called):
            made = make(called)
            made.module.called = called
            return made

        return network

    monkeypatch.setattr(Loop, "_network_maker", told)
    run = Run(method=default(Method, name), training=Training(epochs=3), model=Mlp(hidden=(8,)))
    network = run.execute(progress=False).outcome.learner.network
    assert network.module.called == run.method.judged_network


def test_the_bilevel_pass_is_the_training_pass():
    problem = Problem("conv_dropout", dtype=torch.float32)
    same = Problem("conv_dropout", dtype=torch.float32)
    noisy, clean = batches(problem)
    with same_draws(SEED):
        z, dz = bilevel_pass(
            problem.model, noisy, clean, loss=lambda z: z.square().mean(), engine=Forward()
        )
        after = torch.rand(3)
    with same_draws(SEED):
        expected = same.model(problem.inputs)
        assert torch.equal(torch.rand(3), after)
    torch.testing.assert_close(z, expected)
    assert z.requires_grad and not dz.requires_grad
    for (key, ours), theirs in zip(
        problem.model.named_buffers(), same.model.buffers(), strict=True
    ):
        torch.testing.assert_close(ours, theirs, msg=key)
    assert all(p.grad is None for p in problem.model.parameters())


def test_weighing_networks_learn_to_weigh_wrong_labels_less(data):
    result = execute(MwNet(lr=0.01), data, epochs=15, batch=64)
    ledger = result.outcome.ledger
    wrong = data.train.labels != data.train.true
    alpha = ledger.alpha[-1].float()
    assert alpha[wrong].nanmean() < 0.7 * alpha[~wrong].nanmean()


def test_correcting_networks_learn_to_correct(data):
    training = replace(SHORT.training, epochs=40, batch=64)
    run = replace(SHORT, method=Mlc(warmup=5), training=training, model=Mlp(hidden=(64,)))
    result = run.execute(progress=False, data=data)
    pseudo, alpha = result.outcome.ledger.pseudo[-1], result.outcome.ledger.alpha[-1].float()
    wrong = (data.train.labels != data.train.true) & (pseudo >= 0)
    corrected = (pseudo[wrong] == data.train.true[wrong]).float().mean()
    assert corrected > 0.5
    assert alpha[wrong].mean() < 0.7 * alpha[~wrong].nanmean()


def test_mlc_needs_features_before_a_linear_layer(data):
    class Odd(Mlp):
        def build(self, shape, classes):
            return nn.Sequential(nn.Conv2d(1, classes, 8), nn.Flatten())

    class HeadFirst(Mlp):
        def build(self, shape, classes):
            head, body = nn.Linear(8, classes), nn.Linear(64, 8)
            module = nn.Sequential(nn.Flatten(), body, head)
            module._modules = {"head": head, **module._modules}  # which runs last all the same
            del module._modules["2"]
            module.forward = lambda x: head(body(x.flatten(1)))
            return module

    for model, last in ((Odd(), "Conv2d"), (HeadFirst(), r"Linear\(in_features=64")):
        message = rf"linear layer of 10 outputs.*this one ends in {last}"
        with pytest.raises(ValueError, match=message):
            replace(SHORT, method=Mlc(), model=model).execute(progress=False, data=data)


# --- losses by hand --------------------------------------------------------------------------


class Fixed:
    """A network of one linear layer that remembers what it was to descend."""

    def __init__(self):
        self.module = nn.Linear(3, 4)
        self.losses = []

    def logits(self, inputs):
        return self.module(inputs)

    def descend(self, loss):
        self.losses.append(loss)

    def begin_epoch(self, epoch):
        pass

    def overlap(self, z, labels, weights=None):
        return 0.0


class Given:
    """A task over a small batch of its own."""

    def __init__(self, samples=6):
        draw = torch.Generator().manual_seed(0)
        labels = torch.randint(4, (samples,), generator=draw)
        inputs = torch.randn(samples, 3, generator=draw)
        self.batch = Batch(index=torch.arange(samples), inputs=inputs, labels=labels)
        self.epochs = 10
        self.data = self
        self.train = self
        self.labels = labels
        self.classes = tuple("abcd")
        self.networks = {}

    def network(self, name):
        torch.manual_seed(len(self.networks))
        return self.networks.setdefault(name, Fixed())


def stepped(method):
    task = Given()
    learner = method.build(task)
    learner.begin_epoch(0)
    torch.manual_seed(5)
    record = learner.step(task.batch, task.batch)
    assert isinstance(record, StepRecord)
    return task, learner, record, task.networks["main"].losses[-1]


def p_of(task, inputs=None):
    z = task.networks["main"].module(task.batch.inputs if inputs is None else inputs)
    return torch.softmax(z, dim=1)


def test_label_smoothing_by_hand():
    task, _, record, loss = stepped(LabelSmoothing(share=0.2))
    log_p, y = p_of(task).log(), task.batch.labels
    expected = -(0.8 * log_p[range(6), y] + 0.05 * log_p.sum(dim=1)).mean()
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(record.loss, -log_p[range(6), y].detach())


def test_generalised_cross_entropy_by_hand():
    task, _, _, loss = stepped(GeneralisedCrossEntropy(q=0.7, warmup=0))
    own = p_of(task)[range(6), task.batch.labels]
    torch.testing.assert_close(loss, ((1 - own**0.7) / 0.7).mean())
    _, _, _, near = stepped(GeneralisedCrossEntropy(q=1e-6, warmup=0))
    torch.testing.assert_close(near, -own.log().mean(), rtol=1e-4, atol=0)
    _, _, _, far = stepped(GeneralisedCrossEntropy(q=1, warmup=0))
    torch.testing.assert_close(far, (1 - own).mean())
    _, _, _, warm = stepped(GeneralisedCrossEntropy())
    torch.testing.assert_close(warm, -own.log().mean())


def test_mixup_by_hand():
    task, _, record, loss = stepped(Mixup(concentration=0.5))
    torch.manual_seed(5)
    share = torch.distributions.Beta(0.5, 0.5).sample().item()
    share = max(share, 1 - share)
    partner = torch.randperm(6)
    x, y = task.batch.inputs, task.batch.labels
    log_p = p_of(task, share * x + (1 - share) * x[partner]).log()
    own, other = log_p[range(6), y], log_p[range(6), y[partner]]
    torch.testing.assert_close(loss, -(share * own + (1 - share) * other).mean())
    torch.testing.assert_close(record.loss, -own.detach())
    with pytest.raises(TypeError, match=r"one tensor of floats, got torch\.int64"):
        Blends(1.0).draw(6, y.device).inputs(y)


class Probed(Fixed):
    """A remembering network that can be differentiated along a direction."""

    pieces, optimiser, autocast = 1, None, staticmethod(nullcontext)

    def probe(self, inputs, beside):
        return beside(inputs)


def test_blends_are_learned_under_the_weights_of_their_parts_by_hand():
    task = Given()
    task.data = SimpleNamespace(train=range(6), masks=False, tags=())
    task.networks = {"main": Probed()}
    method = L2B(mixup=0.5, warmup=0, clean_weight=0.0, engine=LastLayer(), pseudo=SelfLabels())
    learner = method.build(task)
    learner.begin_epoch(0)
    clean = replace(task.batch, labels=task.labels.roll(1))
    torch.manual_seed(5)
    record = learner.step(task.batch, clean)
    torch.manual_seed(5)
    share = torch.distributions.Beta(0.5, 0.5).sample().item()
    share = max(share, 1 - share)
    partner = torch.randperm(6)
    x, y = task.batch.inputs, task.batch.labels
    alpha, beta = record.alpha / 6, record.beta / 6  # records are relative to the mean weight
    assert alpha.max() > 0 and beta.max() > 0
    log_p = p_of(task, share * x + (1 - share) * x[partner]).log()
    expected = 0.0
    for i, j in enumerate(partner.tolist()):
        for k, part in ((i, share), (j, 1 - share)):
            towards = alpha[k] * log_p[i, y[k]] + beta[k] * log_p[i, record.pseudo[k]]
            expected -= part * towards
    torch.testing.assert_close(task.networks["main"].losses[-1], expected)
    # A blend is no larger step than its parts: all weights of the batch still sum to one.
    torch.testing.assert_close((alpha + beta).sum(), torch.tensor(1.0))


def test_a_student_by_hand():
    q = torch.softmax(torch.randn(9, 4), dim=1)
    task = Given()
    task.batch = replace(task.batch, index=torch.tensor([8, 0, 3, 7, 2, 5]))
    learner = Distilled(targets=q, clean_weight=0.5, concentration=2.0).build(task)
    torch.manual_seed(5)
    record = learner.step(task.batch, task.batch)
    torch.manual_seed(5)
    share = torch.distributions.Beta(2.0, 2.0).sample().item()
    share = max(share, 1 - share)
    partner = torch.randperm(6)
    x, y, q = task.batch.inputs, task.batch.labels, q[task.batch.index]
    log_p = p_of(task, share * x + (1 - share) * x[partner]).log()
    towards = -(log_p * (share * q + (1 - share) * q[partner])).sum(dim=1).mean()
    on_clean = -p_of(task).log()[range(6), y].mean()
    loss = task.networks["main"].losses[-1]
    torch.testing.assert_close(loss, towards + 0.5 * on_clean)
    # What is recorded is what the teachers say.
    torch.testing.assert_close(record.alpha, q[range(6), y])
    assert torch.equal(record.pseudo, q.argmax(dim=1))


def test_elr_by_hand():
    task, learner, _, loss = stepped(Elr(strength=3, memory=0.7))
    p = p_of(task)
    target = 0.3 * p.detach()
    own = p[range(6), task.batch.labels]
    expected = (-own.log() + 3 * torch.log(1 - (p * target).sum(dim=1))).mean()
    torch.testing.assert_close(loss, expected)
    learner.step(task.batch, task.batch)
    torch.testing.assert_close(learner.average, 0.7 * target + 0.3 * p.detach())
    assert (early_learning(p, target) < 0).all()


def test_co_teaching_exchanges_small_losses():
    method = CoTeaching(forget=0.5, ramp=1)
    task, _, record, loss = stepped(method)
    x, y = task.batch.inputs, task.batch.labels
    ours, theirs = (
        cross_entropy(task.networks[name].module(x), y).detach() for name in ("main", "peer")
    )
    assert not torch.equal(ours, theirs)
    easy = theirs.argsort()[:3]
    torch.testing.assert_close(loss.detach(), ours[easy].mean())
    torch.testing.assert_close(
        task.networks["peer"].losses[-1].detach(), theirs[ours.argsort()[:3]].mean()
    )
    assert record.alpha.sum() == 6
    assert set(record.alpha.nonzero().squeeze(1).tolist()) == set(easy.tolist())
    assert smallest(torch.tensor([3.0, 1.0, 2.0, 1.0]), 3).tolist() == [1, 3, 2]


def test_co_teaching_forgets_more_and_more():
    kept = [CoTeaching(forget=0.4, ramp=4).kept(epoch) for epoch in range(6)]
    assert kept == pytest.approx([0.9, 0.8, 0.7, 0.6, 0.6, 0.6])


def test_co_teaching_leaves_wrong_labels_out(data):
    result = execute(CoTeaching(forget=0.4, ramp=5), data, epochs=15, batch=64)
    wrong = data.train.labels != data.train.true
    alpha = result.outcome.ledger.alpha[-1].float()
    assert alpha[wrong].nanmean() < 0.5 * alpha[~wrong].nanmean()


# --- pruning ---------------------------------------------------------------------------------


def test_folds_are_even_in_every_class():
    labels = torch.tensor([0] * 7 + [1] * 5 + [2] * 8)
    member = _folds(labels, 4)
    sizes = torch.bincount(member, minlength=4)
    assert sizes.tolist() == [5, 5, 5, 5]
    for k in range(3):
        counts = torch.bincount(member[labels == k], minlength=4)
        assert counts.max() - counts.min() <= 1


def test_pruning_leaves_out_mostly_wrong_labels(data):
    result = execute(CleanlabPrune(folds=3), data, epochs=20, batch=64)
    learner = result.outcome.learner
    wrong = data.train.labels != data.train.true
    pruned = ~learner.kept
    assert 0.6 * wrong.sum() < pruned.sum() < 1.4 * wrong.sum()
    assert wrong[pruned].float().mean() > 0.8
    last = result.outcome.ledger.alpha[-1].float()
    assert (last[pruned].nan_to_num(0) == 0).all()
    assert last[~pruned].nanmean() > 1
    plain = execute(CrossEntropy(), data, epochs=20, batch=64)
    assert result.record["last_accuracy"] > plain.record["last_accuracy"]


def test_no_network_judges_labels_that_it_has_seen(data):
    result = execute(CleanlabPrune(folds=3, noisy_share=0.75), data)
    learner = result.outcome.learner
    rows = torch.arange(30)
    batch = Batch(
        index=rows, inputs=data.standardise(data.train.inputs[rows]), labels=data.train.labels[:30]
    )
    for k, network in enumerate(learner.fold):
        weights = []
        network.descend = lambda loss, seen=weights: seen.append(loss)
        learner.network = learner.fold[0]
        learner._cross_validating_step(batch)
        losses = cross_entropy(network.logits(batch.inputs), batch.labels)
        torch.testing.assert_close(weights[0], losses[learner.member[rows] != k].mean())


# --- names and settings ----------------------------------------------------------------------


def test_as_published_is_l2b_with_the_published_choices(data):
    named = execute(AsPublished(), data)
    spelled = execute(L2B(pseudo=SelfLabels(), warmup=1, clean_weight=0.0), data)
    assert named.outcome.history == spelled.outcome.history
    assert named.record["method"] == "as_published"


STEERED = {
    "as_published", "bootstrap", "cleanlab_prune", "co_teaching", "cross_entropy", "elr",
    "generalised_cross_entropy", "l2rw", "label_smoothing", "mixup", "mlc", "mw_net",
}  # fmt: skip


@pytest.mark.parametrize("name", names(Method))
def test_methods_say_whether_they_train_on_clean_samples(name):
    assert find(Method, name)().fits_clean == (name not in STEERED)


ALONE = [name for name in names(Method) if issubclass(find(Method, name), NoisyOnly)]


def test_methods_that_learn_from_noisy_labels_alone_are_known():
    assert {"cross_entropy", "elr", "mixup", "co_teaching"} <= set(ALONE)
    assert not {"l2rw", "mw_net", "mlc", "l2b", "clean_only"} & set(ALONE)


@pytest.mark.parametrize("name", ALONE)
def test_no_clean_sample_changes_what_they_learn(name, data):
    other = replace(data.clean, labels=data.clean.labels.flip(0), inputs=-data.clean.inputs)
    losses = [
        [row["train_loss"] for row in execute(default(Method, name), d, epochs=2).outcome.history]
        for d in (data, replace(data, clean=other))
    ]
    assert losses[0] == losses[1]


def test_options_that_train_on_clean_samples_say_so():
    assert L2B(clean_weight=0.5).fits_clean and not L2B(clean_weight=0.0).fits_clean
    assert L2B(start="clean", clean_weight=0.0).fits_clean
    assert not L2B(start="clean", warmup=0, clean_weight=0.0).fits_clean
    assert CleanlabPrune(clean_weight=1).fits_clean


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: MwNet(lr=0), r"needs hidden >= 1, lr > 0.*got 100, 0"),
        (lambda: Mlc(hidden=0), r"needs hidden >= 1.*got 0"),
        (lambda: CoTeaching(forget=1), r"0 <= forget < 1.*got 1 and 10"),
        (lambda: Elr(memory=1), r"0 <= memory < 1, got 3.0 and 1"),
        (lambda: Mixup(concentration=0), r"needs finite concentration > 0, got 0"),
        (lambda: Mixup(concentration=math.inf), r"needs finite concentration > 0, got inf"),
        (lambda: GeneralisedCrossEntropy(q=0), r"needs 0 < q <= 1, got 0"),
        (lambda: L2B(mixup=-1), r"needs finite mixup >= 0, got -1"),
        (lambda: L2B(mixup=math.nan), r"needs finite mixup >= 0, got nan"),
        (lambda: LabelSmoothing(share=1), r"needs 0 <= share < 1, got 1"),
        (lambda: CleanlabPrune(folds=1), r"folds >= 2.*got 0.4, 1"),
    ],
)
def test_settings_without_meaning_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_missing_cleanlab_is_named(data, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "cleanlab.filter", None)
    with pytest.raises(ImportError, match=r"needs cleanlab.*l2b\[audit\]"):
        execute(CleanlabPrune(), data)


def test_noise_free_samples_are_kept():
    run = replace(SHORT, noise=Symmetric(rate=0.0), method=CleanlabPrune(folds=3))
    training = replace(SHORT.training, epochs=20, batch=64)
    kept = replace(run, training=training).execute(progress=False).outcome.learner.kept
    assert kept.float().mean() > 0.9


@pytest.mark.parametrize("name", ["fine_tune", "gold_correction", "cleanlab_prune"])
def test_the_second_part_has_an_epoch(name):
    method = default(Method, name)
    for epochs in range(2, 30):
        turn = first_part(method, 0.99, epochs)
        assert 1 <= turn < epochs
        assert first_part(method, 0.5, epochs) == max(1, round(0.5 * epochs))
    assert 1 <= first_part(method, 0.99, 9, parts=3) <= 7
    with pytest.warns(Notice, match=f"{name} has 2 parts, and 1 epochs are too few"):
        assert first_part(method, 0.5, 1) == 1


# --- what is said about settings -------------------------------------------------------------


@pytest.mark.parametrize("name", ["fine_tune", "gold_correction", "gold_posterior", "l2b"])
def test_clean_samples_that_are_trained_on_judge_nothing(name, data):
    training = replace(SHORT.training, epochs=3, extra_clean_step=True)
    run = replace(SHORT, method=default(Method, name), training=training)
    with pytest.warns(Notice, match=f"{name} asks the clean samples w?h.* trains on them"):
        run.execute(progress=False, data=data)


@pytest.mark.parametrize(
    "name", ["as_published", "generalised_cross_entropy", "l2b", "l2rw", "mlc", "mw_net"]
)
def test_a_run_that_is_all_warm_up_is_told(name, data):
    method = replace(default(Method, name), warmup=3)
    run = replace(SHORT, method=method, training=replace(SHORT.training, epochs=3))
    with pytest.warns(Notice, match=r"warmup takes 3 epochs and the run has 3: all of it is plain"):
        run.execute(progress=False, data=data)


def test_one_bad_pass_spoils_no_average_of_elr():
    task = Given()
    learner = Elr().build(task)
    z = torch.randn(6, learner.average.shape[1])
    learner.network = SimpleNamespace(logits=lambda _: z, descend=lambda _: None)
    learner.step(task.batch, task.batch)
    before, sound = learner.average.clone(), z
    z = torch.cat([torch.full_like(z[:1], torch.nan), sound[1:]])
    learner.step(task.batch, task.batch)
    assert torch.equal(learner.average[task.batch.index[0]], before[task.batch.index[0]])
    assert not torch.equal(learner.average, before)
    z = sound
    assert learner.step(task.batch, task.batch).loss.isfinite().all()
    assert learner.average.isfinite().all()


@given(st.integers(1, 400), st.data())
def test_a_part_has_the_whole_schedule(epochs, draw):
    first = draw.draw(st.integers(0, epochs - 1))
    end = draw.draw(st.integers(first + 1, epochs))
    found = [anew(epoch, first, end, epochs) for epoch in range(first, end)]
    assert found[0] == 0 and found == sorted(found) and found[-1] < epochs
    assert found == [int(Fraction(k, end - first) * epochs) for k in range(end - first)]


def test_steps_fall_in_the_epoch_of_their_share():
    steps = Steps(at=(0.28, 0.07, 0.55))
    factors = [steps(epoch, 100) for epoch in (6, 7, 27, 28, 54, 55)]
    assert factors == pytest.approx([1, 0.1, 0.1, 0.01, 0.01, 0.001])

"""Contract of every engine: (z, ż) as the unrolled definition has them."""

import copy

import pytest
import torch
from torch import nn
from torch.autograd import forward_ad
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.optim import SGD, Adam
from torch.utils.checkpoint import checkpoint

import l2b
from conftest import Problem, Tied
from l2b.catalog import find, names
from l2b.engines import Engine, FiniteDifference, Forward, LastLayer
from l2b.lookahead import OptimiserStep, Paper
from l2b.normalise import PositiveShare
from l2b.pseudo import MovingAverage
from l2b.weighing import look_ahead_gradient
from oracles import momentum_step, plain_step, same_draws, unrolled_scores

EXACT = [name for name in names(Engine) if name not in ("finite_difference", "last_layer")]
SEED = 3


def hard(z):
    return z.argmax(dim=1)


def relative(found, expected):
    return ((found - expected).norm() / expected.norm().clamp_min(1e-12)).item()


def weighed(problem, engine, **options):
    with same_draws(SEED):
        return l2b.weigh(problem.model, *problem.batches(), engine=engine, **options)


def unrolled(problem, step, pseudo=hard, model=None):
    model = model or problem.model
    with sdpa_kernel(SDPBackend.MATH):  # fused attention has no second derivative
        scores = unrolled_scores(model, *problem.batches(), pseudo, step, SEED)
    return torch.stack(scores)


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("soft", [False, True], ids=["hard", "soft"])
def test_exact_engines_equal_the_unrolled_definition(problem, name, soft):
    if soft:
        problem.observed = torch.softmax(
            torch.randn(*problem.observed.shape, 5, dtype=torch.float64).movedim(-1, 1), dim=1
        )
    found = weighed(problem, find(Engine, name)())
    assert relative(found.scores, unrolled(problem, plain_step(1.0))) < 1e-9


@pytest.mark.parametrize("name", EXACT)
def test_step_sizes_count_per_parameter_group(name):
    problem = Problem("conv_batchnorm")
    model = problem.model
    groups = [
        {"params": [*model.conv.parameters(), *model.norm.parameters()], "lr": 0.3},
        {"params": model.head.parameters(), "lr": 0.01},
    ]
    optimiser = SGD(groups, lr=1.0)
    rates = {n: 0.01 if n.startswith("head") else 0.3 for n, _ in model.named_parameters()}
    expected = unrolled(problem, lambda p, g: {k: p[k] - rates[k] * g[k] for k in p})
    found = weighed(problem, find(Engine, name)(), optimiser=optimiser)
    assert relative(found.scores, expected) < 1e-9


@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("steps_before", [0, 3])
def test_optimiser_look_ahead_equals_the_unrolled_optimiser(name, nesterov, steps_before):
    problem = Problem("conv_batchnorm")
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 0.02, "nesterov": nesterov}
    optimiser = SGD(problem.model.parameters(), **options)
    for _ in range(steps_before):
        optimiser.zero_grad()
        nn.functional.cross_entropy(problem.model(problem.inputs), problem.observed).backward()
        optimiser.step()
    expected = unrolled(problem, momentum_step(problem.model, optimiser))
    found = weighed(problem, find(Engine, name)(), lookahead=OptimiserStep(), optimiser=optimiser)
    assert relative(found.scores, expected) < 1e-9
    paper = weighed(problem, find(Engine, name)(), lookahead=Paper(), optimiser=optimiser)
    assert relative(paper.scores, expected) > 1e-3  # the two points do differ


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_look_ahead_equals_higher(momentum):
    higher = pytest.importorskip("higher")
    problem = Problem("mlp")
    model = problem.model
    optimiser = SGD(model.parameters(), lr=0.1, momentum=momentum, weight_decay=0.02)
    nn.functional.cross_entropy(model(problem.inputs), problem.observed).backward()
    optimiser.step()
    with higher.innerloop_ctx(model, optimiser) as (unrolled_model, unrolled_optimiser):
        z = unrolled_model(problem.inputs)
        losses = nn.functional.cross_entropy(z, problem.observed, reduction="none")
        epsilon = torch.zeros_like(losses, requires_grad=True)
        unrolled_optimiser.step((epsilon * losses).sum())
        clean = nn.functional.cross_entropy(
            unrolled_model(problem.clean_inputs), problem.clean_labels
        )
        (gradient,) = torch.autograd.grad(clean, epsilon)
    found = weighed(problem, Forward(), lookahead=OptimiserStep(), optimiser=optimiser)
    assert relative(found.scores[0], -gradient) < 1e-9


def test_look_ahead_refuses_what_it_cannot_follow():
    problem = Problem("mlp")
    adam = Adam(problem.model.parameters())
    with pytest.raises(ValueError, match=r"knows the step of torch\.optim\.SGD only, got Adam"):
        weighed(problem, Forward(), lookahead=OptimiserStep(), optimiser=adam)
    with pytest.raises(ValueError, match="needs the optimiser whose step"):
        weighed(problem, Forward(), lookahead=OptimiserStep())
    part = SGD(problem.model[1].parameters(), lr=0.1)
    with pytest.raises(ValueError, match=r"does not hold the parameter '3\.weight'"):
        weighed(problem, Forward(), optimiser=part)
    assert weighed(problem, Forward(), optimiser=adam).alpha.shape == (7,)


@pytest.mark.parametrize(
    ("dtype", "bound"), [(torch.float64, 1e-5), (torch.float32, 0.02)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "conv_dropout", "pixels", "tied"])
def test_finite_difference_is_close(name, dtype, bound):
    exact = weighed(Problem(name), Forward()).scores
    found = weighed(Problem(name, dtype=dtype), FiniteDifference()).scores
    assert relative(found.double(), exact) < bound


class HalfInside(nn.Module):
    """Computes in bfloat16 and returns float32, as a model prepared for mixed precision."""

    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        with torch.autocast("cpu", torch.bfloat16):
            found = self.body(x)
        return (found["logits"] if isinstance(found, dict) else found).float()


@pytest.mark.parametrize("name", ["mlp", "attention_evaluation", "with_logits"])
@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
def test_finite_difference_steps_by_the_precision_inside(name, pick):
    exact = weighed(Problem(name), Forward()).scores
    problem = Problem(name, dtype=torch.float32)
    problem.model = HalfInside(problem.model)
    found = pick(problem.model, *problem.batches(), engine=FiniteDifference())
    scores = (found if pick is l2b.weigh else found[1]).scores.double()
    assert torch.cosine_similarity(scores.flatten(), exact.flatten(), dim=0) > 0.97
    assert not any(part._forward_hooks for part in problem.model.modules())


def test_finite_difference_of_nothing_is_nothing():
    probe = FiniteDifference()(
        lambda p, x: x * p["w"], {"w": torch.ones(1)}, torch.ones(2, 3), {"w": torch.zeros(1)}
    )
    assert torch.equal(probe.dz, torch.zeros(2, 3))


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "conv_dropout", "pixels", "attention"])
def test_last_layer_is_exact_for_that_layer(name):
    problem = Problem(name)
    _, head = LastLayer().head(problem.model)
    alone = copy.deepcopy(problem.model)
    kept = {id(p) for p in head.parameters()}
    for original, copied in zip(problem.model.parameters(), alone.parameters(), strict=True):
        copied.requires_grad_(id(original) in kept)
    expected = unrolled(problem, plain_step(1.0), model=alone)
    assert relative(weighed(problem, LastLayer()).scores, expected) < 1e-9


class HeadFirst(nn.Module):
    """Registers its final layer before the others."""

    def __init__(self, width):
        super().__init__()
        self.head, self.body = nn.Linear(width, 5), nn.Linear(36, width)

    def forward(self, x):
        return self.head(torch.relu(self.body(x.flatten(1))))


def test_a_layer_that_cannot_be_the_last_is_refused():
    problem = Problem("mlp")
    problem.model = HeadFirst(8).double()
    message = r"took the layer of 'body\.(weight|bias)' .* has 8 outputs where the model has 5"
    for call in (l2b.weigh, l2b.weighed_pass):
        with pytest.raises(ValueError, match=message):
            call(problem.model, *problem.batches(), engine=LastLayer())
        call(problem.model, *problem.batches(), engine=LastLayer(layer="head"))


def test_last_layer_by_name_and_its_refusals():
    problem = Problem("mlp")
    assert LastLayer(layer="1").scope(problem.model) == {"1.weight", "1.bias"}
    with pytest.raises(ValueError, match=r"found no '9'.*it has '1', '3'"):
        LastLayer(layer="9").scope(problem.model)
    with pytest.raises(ValueError, match="found no a linear"):
        LastLayer().scope(nn.Sequential(nn.ReLU()))
    tied = Tied()
    with pytest.raises(ValueError, match=r"shares its weights with 'first\.weight'"):
        LastLayer(layer="second").scope(tied)
    with pytest.raises(ValueError, match=r"shares its weights with 'second\.weight'"):
        LastLayer(layer="first").scope(tied)


@pytest.mark.parametrize("name", names(Engine))
def test_extra_passes_leave_no_trace(problem, name):
    model = problem.model
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, 0.5)
    before, random_state = copy.deepcopy(model), torch.get_rng_state()
    l2b.weigh(model, *problem.batches(), engine=find(Engine, name)())
    assert torch.equal(random_state, torch.get_rng_state())
    for (key, old), new in zip(
        before.state_dict().items(), model.state_dict().values(), strict=True
    ):
        assert torch.equal(old, new), key
    for parameter in model.parameters():
        assert torch.equal(parameter.grad, torch.full_like(parameter, 0.5))
    assert model.training == before.training


def test_no_gradient_history_escapes(problem):
    for name in names(Engine):
        found = l2b.weigh(problem.model, *problem.batches(), engine=find(Engine, name)())
        assert not found.alpha.requires_grad
        assert not found.scores.requires_grad


def test_weights_are_for_the_masks_that_training_will_draw():
    problem = Problem("conv_dropout")
    torch.manual_seed(SEED)
    found = l2b.weigh(problem.model, *problem.batches())
    z = problem.model(problem.inputs)
    assert torch.equal(found.pseudo, z.argmax(dim=1))


def test_a_model_without_trainable_parameters_is_refused():
    problem = Problem("mlp")
    problem.model.requires_grad_(False)
    with pytest.raises(ValueError, match="has no trainable parameter"):
        weighed(problem, Forward())


def test_a_model_without_logits_is_refused():
    class Lost(nn.Linear):
        def forward(self, x):
            return {"scores": super().forward(x)}

    with pytest.raises(TypeError, match="must return logits"):
        l2b.weigh(Lost(4, 2), torch.ones(3, 4), torch.ones(3).long(), torch.ones(2, 4),
                  torch.ones(2).long())  # fmt: skip


def running(model):
    return {k: v.clone() for k, v in model.state_dict().items()}


@pytest.mark.parametrize("name", names(Engine))
def test_the_weighed_pass_is_weigh_and_the_training_pass_in_one(problem, name):
    engine = find(Engine, name)()
    ordinary = copy.deepcopy(problem.model)
    torch.manual_seed(SEED)
    expected = l2b.weigh(ordinary, *problem.batches(), engine=engine)
    z = ordinary(problem.inputs)
    z = z["logits"] if isinstance(z, dict) else z
    drawn = torch.rand(3)
    loss = l2b.bootstrapped_loss(z, problem.observed, expected)
    loss.backward()

    torch.manual_seed(SEED)
    found_z, found = l2b.weighed_pass(problem.model, *problem.batches(), engine=engine)
    assert torch.equal(torch.rand(3), drawn)  # as much drawn as in an ordinary pass
    l2b.bootstrapped_loss(found_z, problem.observed, found).backward()
    tolerance = 1e-5 if name == "finite_difference" else 1e-9
    torch.testing.assert_close(found_z, z, rtol=1e-12, atol=1e-12)
    assert relative(found.scores, expected.scores) < tolerance
    assert not found.scores.requires_grad
    for key, value in running(ordinary).items():
        torch.testing.assert_close(running(problem.model)[key], value, rtol=1e-12, atol=1e-12)
    for p, q in zip(problem.model.parameters(), ordinary.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None)
        if p.grad is not None:
            torch.testing.assert_close(p.grad, q.grad, rtol=1e-5, atol=1e-7)


class Viewing(nn.Module):
    """Views its activations by shape, which channels-last memory does not allow."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.3)
        self.head = nn.Linear(144, 5)

    def forward(self, x):
        h = self.drop(torch.relu(self.norm(self.conv(x))))
        return self.head(h.view(len(h), -1))


def test_models_that_refuse_channels_last_are_served_as_they_are():
    torch.manual_seed(0)
    viewing, problem = Viewing().double(), Problem("conv_dropout")
    flat = copy.deepcopy(problem.model)
    flat.load_state_dict(viewing.state_dict())
    for _ in range(2):  # the second time nothing is tried in vain
        torch.manual_seed(SEED)
        expected_z, expected = l2b.weighed_pass(flat, *problem.batches())
        torch.manual_seed(SEED)
        z, found = l2b.weighed_pass(viewing, *problem.batches())
        torch.testing.assert_close(z, expected_z, rtol=1e-12, atol=1e-12)
        assert relative(found.scores, expected.scores) < 1e-12
        torch.testing.assert_close(viewing.norm.running_mean, flat.norm.running_mean)


def test_compiled_modules_are_followed_where_compiled_code_has_no_derivative():
    def without_dual_numbers(graph, _inputs):
        def run(*values):
            assert forward_ad._current_level < 0, "compiled kernels know no dual numbers"
            return graph(*values)

        return run

    problem = Problem("conv_batchnorm")
    expected = weighed(problem, Forward())
    problem.model = torch.compile(problem.model, backend=without_dual_numbers)
    problem.model(problem.inputs)  # so there is compiled code to fall into
    found = weighed(problem, Forward())
    assert relative(found.scores, expected.scores) < 1e-9


class Twice(nn.Module):
    """One layer, registered under two names and used twice."""

    def __init__(self):
        super().__init__()
        self.one = nn.Linear(5, 5)
        self.other, self.norm = self.one, nn.BatchNorm1d(5)
        self.again, self.head = self.norm, nn.Linear(5, 3)

    def forward(self, x):
        x = torch.tanh(self.norm(self.one(x)))
        return self.head(torch.tanh(self.again(self.other(x))))


class Once(nn.Module):
    """The same without second names."""

    def __init__(self):
        super().__init__()
        self.one, self.norm, self.head = nn.Linear(5, 5), nn.BatchNorm1d(5), nn.Linear(5, 3)

    def forward(self, x):
        x = torch.tanh(self.norm(self.one(x)))
        return self.head(torch.tanh(self.norm(self.one(x))))


@pytest.mark.parametrize("engine", ["forward", "finite_difference", "double_backward"])
def test_a_layer_with_two_names_is_left_as_it_was(engine):
    torch.manual_seed(0)
    model, same = Twice().double(), Once().double()
    same.load_state_dict({k: v for k, v in model.state_dict().items() if k in same.state_dict()})
    x, clean = torch.randn(2, 8, 5, dtype=torch.double)
    y, labels = torch.randint(3, (2, 8))
    before = {name: (p, p.clone()) for name, p in model.named_parameters()}
    used = getattr(l2b.engines, engine)
    found = l2b.weigh(model, x, y, clean, labels, engine=used).scores
    beside = l2b.weighed_pass(model, x, y, clean, labels, engine=used)[1].scores
    torch.testing.assert_close(found, l2b.weigh(same, x, y, clean, labels, engine=used).scores)
    torch.testing.assert_close(found, beside)
    after = dict(model.named_parameters())
    for name, (parameter, value) in before.items():
        assert after[name] is parameter and parameter.requires_grad
        assert torch.equal(parameter, value)
    assert model.other is model.one and model.one.weight is after["one.weight"]


@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
def test_an_embedding_that_shortens_its_rows_keeps_them(pick):
    torch.manual_seed(0)
    net = nn.Sequential(nn.Embedding(9, 4, max_norm=0.5), nn.Flatten(), nn.Linear(12, 3)).double()
    short = copy.deepcopy(net)
    with torch.no_grad():  # as its own passes leave it
        short[0](torch.arange(9))
    words, labels = torch.arange(18).view(6, 3) % 9, torch.arange(6) % 3
    before = net[0].weight.detach().clone()
    batch = words, labels, words[:3], labels[:3]
    found = l2b.weigh(net, *batch)
    torch.testing.assert_close(net[0].weight.detach(), before, rtol=0, atol=0)
    assert (before.norm(dim=1) > 0.5).any()
    torch.testing.assert_close(found.alpha, l2b.weigh(short, *batch).alpha)
    if pick is l2b.weighed_pass:
        z, weights = pick(net, *batch)
        torch.testing.assert_close(weights.alpha, found.alpha)
        torch.testing.assert_close(z, short(words))


@pytest.mark.parametrize("kind", ["bag", "norm of a whole weight"])
def test_what_has_no_forward_mode_names_another_engine(kind):
    if kind == "bag":
        model, (x, clean) = nn.Sequential(nn.EmbeddingBag(10, 3)), torch.randint(10, (2, 8, 4))
    else:
        model = nn.utils.parametrizations.weight_norm(nn.Linear(4, 3), dim=None)
        x, clean = torch.randn(2, 8, 4)
    y, labels = torch.randint(3, (2, 8))
    for call in (l2b.weigh, l2b.weighed_pass):
        with pytest.raises(NotImplementedError, match=r"l2b\.engines\.finite_difference"):
            call(model, x, y, clean, labels)
    found = l2b.weigh(model, x, y, clean, labels, engine=l2b.engines.finite_difference)
    assert found.alpha.isfinite().all()


class Saves(nn.Module):
    """Keeps no activations of its last layer."""

    def __init__(self, *, reentrant):
        super().__init__()
        torch.manual_seed(0)
        self.trunk, self.head, self.reentrant = nn.Linear(4, 6), nn.Linear(6, 3), reentrant

    def forward(self, x):
        return checkpoint(self.head, torch.relu(self.trunk(x)), use_reentrant=self.reentrant)


@pytest.mark.parametrize("name", ["forward", "finite_difference", "double_backward"])
@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
def test_checkpoints_of_the_kind_without_gradients_are_told(name, pick):
    x, y = torch.randn(5, 4), torch.tensor([0, 1, 2, 0, 1])
    engine = find(Engine, name)()
    with pytest.raises(NotImplementedError, match=r"call it with use_reentrant=False"):
        pick(Saves(reentrant=True), x, y, x, y, engine=engine)
    pick(Saves(reentrant=False), x, y, x, y, engine=engine)


class Apart(nn.Module):
    """Its logits depend on its parameters in two ways, on the bias in one that has no gradient."""

    def __init__(self, how):
        super().__init__()
        torch.manual_seed(0)
        self.map, self.bias = nn.Linear(4, 3).double(), nn.Parameter(torch.ones(3).double())
        self.how = how

    def forward(self, x):
        z = self.map(x)
        if self.how == "detached":
            return z + (z * self.bias).square().detach()
        with torch.no_grad():
            other = (z * self.bias).square()
        return z + other


@pytest.mark.parametrize("how", ["detached", "no_grad"])
def test_what_has_no_gradient_has_the_say_that_the_docstrings_tell(how):
    """`forward` at `weigh` follows no_grad, finite differences both, all else neither."""
    torch.manual_seed(1)
    x, y = torch.randn(5, 4).double(), torch.tensor([0, 1, 2, 0, 1])
    model = Apart(how)

    def scores(pick, name):
        found = pick(model, x, y, x, y, engine=find(Engine, name)())
        return (found if pick is l2b.weigh else found[1]).scores

    without = scores(l2b.weigh, "double_backward")
    for pick in (l2b.weigh, l2b.weighed_pass):
        for name in ("forward", "last_layer", "finite_difference", "double_backward"):
            if name == "last_layer":  # all of this model but its bias, which nothing moves
                with pytest.MonkeyPatch.context() as patch:
                    patch.setattr(LastLayer, "head", lambda _, m: ("map", m.map))
                    found = scores(pick, name)
            else:
                found = scores(pick, name)
            follows = name == "finite_difference" or (
                how == "no_grad" and pick is l2b.weigh and name in ("forward", "last_layer")
            )
            assert (relative(found, without) > 0.01) == follows, (pick, name)
    direction = look_ahead_gradient(
        model, x, y, engine=Forward(), lookahead=Paper(), optimiser=None
    )
    assert not direction["bias"].any() and direction["map.weight"].any()


def test_one_logit_a_sample_is_refused():
    model, x, y = nn.Sequential(nn.Linear(4, 1), nn.Flatten(0)), torch.randn(6, 4), torch.zeros(6)
    with pytest.raises(ValueError, match="two classes take two outputs"):
        l2b.weigh(model, x, y.long(), x, y.long())


class Scaling(nn.Module):
    """Scales its inputs, in place or not, and may hold what tangents beside do not see."""

    def __init__(self, problem, *, inplace, opaque=False):
        super().__init__()
        self.body, self.inplace, self.opaque = problem.model, inplace, opaque

    def forward(self, x):
        x = x.sub_(0.5).div_(0.25) if self.inplace else (x - 0.5) / 0.25
        z = self.body(x)
        return Same.apply(z) if self.opaque else z


class Same(torch.autograd.Function):
    """The identity, which sends tangents into a second pass."""

    generate_vmap_rule = True

    @staticmethod
    def forward(z):
        return z.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, *gradients):
        return gradients[0]

    @staticmethod
    def jvp(ctx, *tangents):
        return tangents[0].clone()


@pytest.mark.parametrize("opaque", [False, True], ids=["plain", "opaque"])
@pytest.mark.parametrize("kind", [None, tuple, list, dict], ids=["tensor", "tuple", "list", "dict"])
@pytest.mark.parametrize("name", names(Engine))
def test_models_that_write_into_their_inputs_write_once(name, kind, opaque):
    problem, engine = Problem("conv_dropout"), find(Engine, name)()
    model = Scaling(problem, inplace=True, opaque=opaque)
    plain = Scaling(Problem("conv_dropout"), inplace=False)

    def run(module, pick):
        x, y, clean_x, clean_y = problem.batches()
        if kind is not None:
            x, clean_x = ({"x": v} if kind is dict else kind([v]) for v in (x, clean_x))
        with same_draws(SEED):
            return pick(module, x, y, clean_x, clean_y, engine=engine)

    before = [x.clone() for x in problem.batches()]
    z, found = run(model, l2b.weighed_pass)
    expected_z, expected = run(plain, l2b.weighed_pass)
    assert torch.equal(z, expected_z)
    assert relative(found.scores, expected.scores) < 1e-12
    scores = run(model, l2b.weigh).scores
    assert relative(scores, run(plain, l2b.weigh).scores) < 1e-12
    assert all(torch.equal(x, y) for x, y in zip(problem.batches(), before, strict=True))
    l2b.bootstrapped_loss(z, problem.observed, found).backward()
    l2b.bootstrapped_loss(expected_z, problem.observed, expected).backward()
    for p, q in zip(model.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(p.grad, q.grad, rtol=1e-9, atol=1e-12)


class Words(nn.Module):
    """Classifies words; the output layer may share the table of the embedding."""

    def __init__(self, tied=False, kind=nn.Embedding, **settings):
        super().__init__()
        self.table, self.mix = kind(10, 8, **settings), nn.Linear(8, 8)
        self.head = nn.Linear(8, 10, bias=False)
        if tied:
            self.head.weight = self.table.weight

    def forward(self, words):
        h = self.table(words)
        return self.head(torch.tanh(self.mix(h if h.ndim == 2 else h.mean(1))))


def of_words(**settings):
    problem = Problem("mlp")
    torch.manual_seed(0)
    problem.model = Words(**settings).double()
    problem.inputs, problem.clean_inputs = torch.randint(10, (7, 9)), torch.randint(10, (9, 9))
    problem.inputs[:, 3:], problem.clean_inputs[:, 5:] = 2, 2
    return problem


@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
@pytest.mark.parametrize("name", [name for name in names(Engine) if name != "last_layer"])
def test_padding_of_a_tied_embedding_stands_still(name, pick):
    problem = of_words(tied=True, padding_idx=2)
    found = pick(problem.model, *problem.batches(), engine=find(Engine, name)())
    scores = (found if pick is l2b.weigh else found[1]).scores
    bound = 1e-5 if name == "finite_difference" else 1e-9
    assert relative(scores, unrolled(problem, plain_step(1.0))) < bound
    assert not any(part._forward_hooks for part in problem.model.modules())


@pytest.mark.parametrize("kind", [nn.Embedding, nn.EmbeddingBag])
def test_an_embedding_that_divides_by_counts_is_refused(kind):
    problem = of_words(kind=kind, scale_grad_by_freq=True)
    for pick in (l2b.weigh, l2b.weighed_pass):
        with pytest.raises(ValueError, match="scale_grad_by_freq=False, got True in 'table'"):
            pick(problem.model, *problem.batches(), engine=FiniteDifference())
    assert weighed(problem, LastLayer()).scores.isfinite().all()
    problem.model.table.requires_grad_(False)
    assert weighed(problem, FiniteDifference()).scores.isfinite().all()


@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
@pytest.mark.parametrize("name", names(Engine))
def test_an_embedding_with_sparse_gradients_is_weighed_as_a_dense_one(name, pick):
    found = []
    for sparse in (True, False):
        problem = of_words(sparse=sparse)
        given = pick(problem.model, *problem.batches(), engine=find(Engine, name)())
        found.append((given if pick is l2b.weigh else given[1]).scores)
    assert relative(*found) < 1e-12


class Waves(nn.Module):
    """Complex parameters, of which the logits see real numbers."""

    def __init__(self):
        super().__init__()
        self.waves = nn.Parameter(0.3 * torch.randn(36, 8, dtype=torch.complex128))
        self.head = nn.Linear(8, 5).double()

    def forward(self, x):
        h = x.flatten(1).to(self.waves.dtype) @ self.waves
        return self.head(h.real.tanh() * h.imag + h.abs())


def by_central_differences(problem, step):
    """The definition (Eq. 15): how one weight of ±step changes the clean loss after a real step."""
    inputs, observed, clean_inputs, clean_labels = problem.batches()
    scores = torch.zeros(len(observed), dtype=torch.float64)
    for i in range(len(observed)):
        reached = []
        for weight in (step, -step):
            moved = copy.deepcopy(problem.model)
            loss = nn.functional.cross_entropy(moved(inputs), observed, reduction="none")[i]
            (weight * loss).backward()
            SGD(moved.parameters(), lr=1.0).step()
            reached.append(nn.functional.cross_entropy(moved(clean_inputs), clean_labels))
        scores[i] = -(reached[0] - reached[1]).item() / (2 * step)
    return scores


@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
@pytest.mark.parametrize("name", [name for name in names(Engine) if name != "last_layer"])
def test_complex_parameters_are_weighed_by_the_definition(name, pick):
    problem = Problem("mlp")
    torch.manual_seed(0)
    problem.model = Waves()
    found = pick(problem.model, *problem.batches(), engine=find(Engine, name)())
    scores = (found if pick is l2b.weigh else found[1]).scores[0]
    assert relative(scores, by_central_differences(problem, 1e-4)) < 1e-5


@pytest.mark.parametrize("length", [None, 0.01])
def test_finite_difference_steps_as_far_whatever_the_layout(length):
    """A checkpoint keeps no layout, and a run goes on from it to the bit."""
    for seed in range(12):
        v = torch.randn(8, 3, 3, 3, generator=torch.Generator().manual_seed(seed))
        layouts = v, v.contiguous(memory_format=torch.channels_last)
        engine = FiniteDifference(length=length)
        first, second = (engine._step({"w": found}, {v.dtype}) for found in layouts)
        assert first == second


class Idle(nn.Module):
    """Logits that no trainable parameter has a part in."""

    def __init__(self):
        super().__init__()
        self.body = nn.Linear(4, 2).requires_grad_(False)
        self.idle = nn.Linear(4, 2)

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize("name", names(Engine))
@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
def test_parameters_without_a_part_in_the_logits_are_named(name, pick):
    x, y = torch.randn(6, 4), torch.zeros(6).long()
    with pytest.raises(ValueError, match=r"do not depend on 'idle.*LastLayer\(layer=…\)"):
        pick(Idle(), x, y, x, y, engine=find(Engine, name)())


@pytest.mark.parametrize("pick", [l2b.weigh, l2b.weighed_pass])
@pytest.mark.parametrize(
    ("choice", "said"),
    [
        ({"engine": "forward"}, "`engine` must be an object such as l2b.engines.forward"),
        ({"engine": Forward}, "`engine` must be an object"),
        ({"normalise": PositiveShare}, "`normalise` must be an object"),
        ({"pseudo": MovingAverage()}, r"call \.build\(model, samples\) once"),
    ],
    ids=["word", "class", "normaliser", "pseudo"],
)
def test_choices_of_another_kind_are_refused_first(pick, choice, said):
    problem = Problem("mlp")
    before = running(problem.model)
    with pytest.raises(TypeError, match=said):
        pick(problem.model, *problem.batches(), **choice)
    assert all(torch.equal(v, before[k]) for k, v in problem.model.state_dict().items())


@pytest.mark.parametrize("where", ["observed", "clean_labels"])
@pytest.mark.parametrize(
    "wrong", [[1.0, 1.0], [1.5, -0.5], [0.2, 0.2], [float("nan"), 1.0]], ids=str
)
def test_floats_that_are_no_probabilities_are_refused(where, wrong):
    model, x = nn.Linear(4, 2), torch.randn(6, 4)
    right = torch.full((6, 2), 0.5)
    labels = {"observed": right, "clean_labels": right.half()}
    labels[where] = torch.cat([right[1:], torch.tensor([wrong])])
    with pytest.raises(ValueError, match=f"`{where}` of floats must be probabilities"):
        l2b.weigh(model, x, labels["observed"], x, labels["clean_labels"])
    labels[where] = right
    assert l2b.weigh(model, x, labels["observed"], x, right).alpha.isfinite().all()

"""The adviser against constants known exactly: closed forms and full Hessians."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian

from l2b.advise import StepAdvice, advise_step_size
from l2b.theory.spectrum import lanczos


def pair(n: int, features: int, classes: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(n, features, generator=draw, dtype=torch.float64)
    return x, torch.randint(classes, (n,), generator=draw)


def linear(features: int, classes: int, seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Linear(features, classes, dtype=torch.float64)


def mlp(seed: int = 0) -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, 3)).double()


def mean_loss(model: nn.Module, clean: tuple[Tensor, Tensor], flat: Tensor) -> Tensor:
    named = dict(model.named_parameters())
    parts = flat.split([p.numel() for p in named.values()])
    values = {k: v.view_as(named[k]) for k, v in zip(named, parts, strict=True)}
    return nn.functional.cross_entropy(functional_call(model, values, (clean[0],)), clean[1])


def exact_smoothness(model: nn.Module, clean: tuple[Tensor, Tensor]) -> float:
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    matrix = hessian(lambda at: mean_loss(model, clean, at))(flat)
    return float(torch.linalg.eigvalsh(matrix).abs().max())


def exact_bound(model: nn.Module, data: tuple[Tensor, Tensor]) -> float:
    norms = []
    pseudo = model(data[0]).argmax(dim=1)
    for labels in (data[1], pseudo):
        for x, y in zip(data[0], labels, strict=True):
            loss = nn.functional.cross_entropy(model(x[None]), y[None])
            grads = torch.autograd.grad(loss, list(model.parameters()))
            norms.append(math.sqrt(sum(float(g.square().sum()) for g in grads)))
    return max(norms)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("make", [lambda s: linear(5, 3, s), mlp], ids=["logistic", "mlp"])
def test_agrees_with_the_full_hessian_and_a_plain_loop(make, seed):
    model, data, clean = make(seed), pair(23, 5, 3, seed), pair(17, 5, 3, seed + 9)
    advice = advise_step_size(model, data, clean, chunk=6)
    assert advice.smoothness == pytest.approx(exact_smoothness(model, clean), rel=5e-3)
    assert advice.gradient_bound == pytest.approx(exact_bound(model, data), rel=1e-9)


def test_logistic_regression_in_closed_form():
    """At zero weights the Hessian is (diag p − ppᵀ) ⊗ XᵀX/M with p uniform."""
    model = nn.Linear(6, 2, bias=False, dtype=torch.float64)
    nn.init.zeros_(model.weight)
    data, clean = pair(30, 6, 2), pair(40, 6, 2, 1)
    advice = advise_step_size(model, data, clean)
    moment = clean[0].T @ clean[0] / len(clean[0])
    smoothness = float(torch.linalg.eigvalsh(moment)[-1]) / 2
    assert advice.smoothness == pytest.approx(smoothness, rel=5e-3)
    assert advice.gradient_bound == pytest.approx(float(data[0].norm(dim=1).max()) * 0.5**0.5)


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_an_explicit_quadratic(sign):
    """A least-squares Hessian, of either sign: the largest absolute eigenvalue counts."""
    draw = torch.Generator().manual_seed(3)
    x = torch.randn(200, 60, generator=draw, dtype=torch.float64)
    matrix = sign * x.T @ x / 200
    found = lanczos(lambda v: matrix @ v, torch.ones(60, dtype=torch.float64), 60)
    exact = float(torch.linalg.eigvalsh(matrix).abs().max())
    assert found.largest == pytest.approx(exact, rel=1e-2)
    assert found.residual <= 1e-3 * exact


def test_bounds_follow_from_the_constants():
    model, data, clean = mlp(), pair(12, 5, 3), pair(10, 5, 3, 4)
    advice = advise_step_size(model, data, clean, step=0.5, batch=8, eta=0.3)
    room = 1 / (0.3 * advice.gradient_bound**2 * advice.smoothness)
    assert advice.corrected == pytest.approx(math.sqrt(room / 8))
    assert advice.published == pytest.approx(math.sqrt(2 * room))
    assert advice.published / advice.corrected == pytest.approx(math.sqrt(2 * 8))
    assert advice.corrected_for_sum == pytest.approx(advice.corrected / math.sqrt(10))
    assert advice.times_guarantee == pytest.approx(0.5 / advice.corrected)
    assert "times the guarantee" in str(advice) or "within the guarantee" in str(advice)


@pytest.mark.parametrize(
    ("normalised", "said"),
    [
        (0.03, "as l2b has: 3.33 times the bound for the next step: the clean loss may rise"),
        (0.4, "as l2b has: within the bound for the next step (0.25 of it), no later one"),
        (0.0, "as l2b has: beyond any bound: the clean loss may rise"),
    ],
)
def test_what_holds_for_raw_weights_is_not_said_of_normalised_ones(normalised, said):
    advice = advise_step_size(mlp(), pair(12, 5, 3), pair(10, 5, 3, 4), step=0.1)
    lines = str(replace(advice, corrected=0.2, normalised=normalised)).splitlines()
    assert "lambda = 0.1, raw weights: within the guarantee (0.5 of it)" in lines
    assert any(line.endswith(said) for line in lines)


def test_steps_within_the_advice_do_not_raise_the_clean_loss():
    model, data, clean = mlp(), pair(16, 5, 3), pair(20, 5, 3, 4)
    flat = torch.cat([p.detach().flatten() for p in model.parameters()])
    for _ in range(20):
        advice = advise_step_size(model, data, clean)
        slope = torch.func.grad(lambda at: mean_loss(model, clean, at))(flat)
        move = torch.zeros_like(flat)
        for labels in (data[1], model(data[0]).argmax(dim=1)):
            for i in range(16):
                one = (data[0][i : i + 1], labels[i : i + 1])
                gradient = torch.func.grad(lambda at, one=one: mean_loss(model, one, at))(flat)
                move -= advice.corrected**2 * (slope @ gradient) * gradient
        before, flat = mean_loss(model, clean, flat), flat + move
        assert mean_loss(model, clean, flat) <= before
        nn.utils.vector_to_parameters(flat, model.parameters())


def test_normalised_advice_holds_for_the_next_step():
    model, data, clean = linear(5, 3), pair(16, 5, 3), pair(20, 5, 3, 4)
    advice = advise_step_size(model, data, clean)
    from l2b.losses import bootstrapped_loss
    from l2b.weighing import weigh

    weights = weigh(model, data[0], data[1], *clean)
    before = nn.functional.cross_entropy(model(clean[0]), clean[1])
    loss = bootstrapped_loss(model(data[0]), data[1], weights)
    grads = torch.autograd.grad(loss, list(model.parameters()))
    with torch.no_grad():
        for p, g in zip(model.parameters(), grads, strict=True):
            p -= advice.normalised * g
    assert nn.functional.cross_entropy(model(clean[0]), clean[1]) < before


class Stubborn(nn.Module):
    """Looks at a value, which vmap refuses; the adviser goes one sample at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) if float(x.detach().sum()) < 1e9 else self.body(-x)


def test_a_model_that_vmap_refuses_gives_the_same_advice():
    data, clean = pair(9, 5, 3), pair(8, 5, 3, 2)
    assert advise_step_size(Stubborn(), data, clean).gradient_bound == pytest.approx(
        advise_step_size(mlp(), data, clean).gradient_bound, rel=1e-12
    )


def test_the_model_is_left_as_it_was():
    model = nn.Sequential(nn.Linear(5, 7), nn.BatchNorm1d(7), nn.Dropout(0.5), nn.Linear(7, 3))
    model = model.double().train()
    model[2].eval()
    before = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.get_rng_state()
    first = advise_step_size(model, pair(9, 5, 3), pair(8, 5, 3, 2))
    assert model.training and model[1].training and not model[2].training
    assert all(torch.equal(v, before[k]) for k, v in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(random, torch.get_rng_state())
    assert first == advise_step_size(model, pair(9, 5, 3), pair(8, 5, 3, 2))


def test_float32_and_soft_labels():
    model = mlp().float()
    x, y = pair(9, 5, 3)
    soft = nn.functional.one_hot(y, 3).float() * 0.9 + 0.1 / 3
    advice = advise_step_size(model, (x.float(), soft), (x.float(), y))
    assert isinstance(advice, StepAdvice)
    assert math.isfinite(advice.corrected)


def test_given_pseudo_labels_count():
    data, clean = pair(9, 5, 3), pair(8, 5, 3, 2)
    own = advise_step_size(mlp(), data, clean, pseudo=data[1]).gradient_bound
    assert own <= advise_step_size(mlp(), data, clean, pseudo=(data[1] + 1) % 3).gradient_bound


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d, c: ((d[0][:0], d[1][:0]), c), "at least 1"),
        (lambda d, c: (d, (c[0][:0], c[1][:0])), "at least 1"),
        (lambda d, c: ((d[0], d[1][:-1]), c), "one length"),
        (lambda d, c: ((d[0] * torch.nan, d[1]), c), "finite"),
        (lambda d, c: (d, (c[0] * torch.inf, c[1])), "finite"),
        (lambda d, c: (d, (c[0], c[1] + 7)), r"\[0, 3\)"),
        (lambda d, c: ((d[0], d[1] + 7), c), r"\[0, 3\)"),
    ],
)
def test_refuses_what_it_cannot_measure(change, message):
    data, clean = change(pair(9, 5, 3), pair(8, 5, 3, 2))
    with pytest.raises(ValueError, match=message):
        advise_step_size(mlp(), data, clean)


def test_refuses_labels_out_of_range_in_any_chunk():
    x, y = pair(9, 5, 3)
    y[-1] = 5
    with pytest.raises(ValueError, match=r"\[0, 3\)"):
        advise_step_size(mlp(), pair(8, 5, 3, 2), (x, y), chunk=4)


@pytest.mark.parametrize("name", ["step", "batch", "eta", "chunk", "iterations"])
def test_refuses_sizes_that_are_not_positive(name):
    with pytest.raises(ValueError, match=name):
        advise_step_size(mlp(), pair(9, 5, 3), pair(8, 5, 3, 2), **{name: 0})


def test_refuses_a_model_without_trainable_parameters():
    model = mlp().requires_grad_(False)
    with pytest.raises(ValueError, match="no trainable parameter"):
        advise_step_size(model, pair(9, 5, 3), pair(8, 5, 3, 2))


def test_refuses_a_model_that_is_not_finite():
    model = mlp()
    with torch.no_grad():
        model[0].weight[0, 0] = torch.nan
    with pytest.raises(ValueError, match="not finite"):
        advise_step_size(model, pair(9, 5, 3), pair(8, 5, 3, 2))


def test_refuses_pixels():
    model = nn.Conv2d(1, 3, 1).double()
    x = torch.zeros(4, 1, 2, 2, dtype=torch.float64)
    y = torch.zeros(4, 2, 2, dtype=torch.int64)
    with pytest.raises(ValueError, match="counts pixels"):
        advise_step_size(model, (x, y), (x, y))

"""Invariants of losses, scores, normalisers and weights, as properties."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import l2b
import oracles
from conftest import Problem
from l2b.losses import cross_entropy, mixed_target_loss, weighed_targets
from l2b.metrics import effective_sample_size, weight_telemetry
from l2b.normalise import (
    Fixed,
    Normaliser,
    ObservedOnly,
    PerSample,
    PositiveShare,
    PseudoOnly,
    Sigmoid,
    Softmax,
    Standardised,
)
from l2b.scores import bootstrap_scores, candidate_score
from l2b.targets import labels, probabilities
from l2b.types import Weights
from l2b.weighing import check_labels

SCORES = st.lists(
    st.one_of(
        st.floats(1e-30, 1e6), st.floats(-1e6, -1e-30), st.floats(1e-30, 1e-25), st.just(0.0)
    ),
    min_size=2,
    max_size=24,
).filter(lambda x: len(x) % 2 == 0)


def table(values):
    return torch.tensor(values, dtype=torch.float64).view(2, -1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def targets(*shape, seed=0):
    return torch.softmax(drawn(*shape, seed=seed), dim=1)


@pytest.mark.parametrize("then", [PerSample(), PerSample(temperature=1.0), Fixed(), Softmax()])
@given(values=SCORES)
def test_what_is_shut_out_has_no_weight(then, values):
    scores = table(values)
    for shut, normalise in ((1, ObservedOnly(then=then)), (0, PseudoOnly(then=then))):
        weights = normalise(scores)
        assert (weights[shut] == 0).all()
        assert weights.isfinite().all()
        if isinstance(then, PerSample):
            assert weights.sum().item() == pytest.approx(1)


@given(SCORES)
def test_positive_share_is_equation_9(values):
    scores = table(values)
    alpha, beta = PositiveShare()(scores)
    expected = oracles.eq9(*scores)
    torch.testing.assert_close(alpha, expected[0], rtol=1e-9, atol=1e-15)
    torch.testing.assert_close(beta, expected[1], rtol=1e-9, atol=1e-15)


@given(SCORES, st.floats(1e-12, 1e12))
def test_positive_share_ignores_scale(values, scale):
    scores = table(values)
    torch.testing.assert_close(
        PositiveShare()(scores * scale), PositiveShare()(scores), rtol=1e-9, atol=1e-12
    )


@pytest.mark.parametrize(
    "normalise",
    [
        PositiveShare(),
        Sigmoid(),
        Softmax(),
        Softmax(temperature=0.1),
        ObservedOnly(),
        ObservedOnly(then=Sigmoid()),
        PseudoOnly(),
        PseudoOnly(then=Softmax()),
        PerSample(),
        PerSample(temperature=0.5),
        Standardised(),
        Standardised(then=Sigmoid()),
        ObservedOnly(then=Standardised()),
        ObservedOnly(then=PerSample(temperature=1.0)),
        Fixed(alpha=0.7, beta=0.3),
    ],
    ids=repr,
)
@given(values=SCORES, seed=st.integers(0, 99))
def test_every_normaliser_gives_weights(normalise: Normaliser, values, seed):
    scores = table(values)
    weights = normalise(scores)
    assert weights.shape == scores.shape
    assert bool((weights >= 0).all())
    total = weights.sum().item()
    assert math.isclose(total, 1, rel_tol=1e-9) or total == 0
    order = torch.randperm(scores.shape[1], generator=torch.Generator().manual_seed(seed))
    torch.testing.assert_close(normalise(scores[:, order]), weights[:, order], rtol=1e-9, atol=0)


def test_float32_sums_survive_extreme_scores():
    for size in (1e-38, 1e-30, 1.0, 1e30):
        weights = PositiveShare()(torch.tensor([[size, 3 * size], [-size, 0.0]]))
        torch.testing.assert_close(weights, torch.tensor([[0.25, 0.75], [0.0, 0.0]]))


def test_nothing_positive_changes_nothing():
    scores = -drawn(2, 5).abs()
    assert PositiveShare()(scores).sum() == 0
    assert ObservedOnly()(torch.stack([scores[0], -scores[1]])).sum() == 0


def test_ablations_shut_out_one_candidate():
    scores = drawn(2, 6).abs()
    assert ObservedOnly()(scores)[1].sum() == 0
    torch.testing.assert_close(ObservedOnly()(scores)[0], scores[0] / scores[0].sum())
    assert PseudoOnly()(scores)[0].sum() == 0
    torch.testing.assert_close(PseudoOnly()(scores)[1], scores[1] / scores[1].sum())
    assert ObservedOnly(then=Sigmoid())(scores)[1].sum() == 0
    torch.testing.assert_close(PerSample()(scores).sum(dim=0), torch.full((6,), 1 / 6).double())
    torch.testing.assert_close(PerSample()(-scores), torch.full((2, 6), 1 / 12).double())


def test_softmax_and_sigmoid_by_hand():
    scores = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    e = torch.exp(scores / 2)
    torch.testing.assert_close(Softmax(temperature=2)(scores), e / e.sum())
    s = 1 / (1 + torch.exp(-scores))
    torch.testing.assert_close(Sigmoid()(scores), s / s.sum())


@given(SCORES, st.floats(1e-30, 1e30))
def test_scores_in_their_own_units_have_no_scale(values, scale):
    scores = table(values)
    for normalise in (Standardised(), Standardised(then=Sigmoid()), PerSample(temperature=0.5)):
        torch.testing.assert_close(normalise(scores * scale), normalise(scores), rtol=1e-6, atol=0)


def test_scores_in_their_own_units_by_hand():
    scores = torch.tensor([[3.0, -3.0], [3.0, 3.0]], dtype=torch.float64)  # root mean square 3
    e = torch.exp(scores / 3)
    torch.testing.assert_close(Standardised()(scores), e / e.sum())
    e = torch.exp(scores / 3 / 0.5)
    torch.testing.assert_close(PerSample(temperature=0.5)(scores), e / e.sum(dim=0) / 2)


@given(SCORES)
def test_what_is_shut_out_does_not_change_the_units_of_the_rest(values):
    scores = table(values)
    for alone, shut in ((0, ObservedOnly), (1, PseudoOnly)):
        for then in (Standardised(), Standardised(then=Sigmoid())):
            weights = shut(then=then)(scores)
            torch.testing.assert_close(weights[alone], then(scores[alone : alone + 1])[0])
    mixed = torch.cat([scores, torch.full_like(scores[:1], -torch.inf)])
    softly = PerSample(temperature=0.5)
    torch.testing.assert_close(softly(mixed)[:2], softly(scores))


def test_normalisers_refuse_what_has_no_meaning():
    with pytest.raises(ValueError, match=r"temperature > 0, got 0"):
        Softmax(temperature=0)
    with pytest.raises(ValueError, match=r"alpha >= 0 and beta >= 0, got -1"):
        Fixed(alpha=-1, beta=2)
    with pytest.raises(ValueError, match=r"temperature >= 0, got -1"):
        PerSample(temperature=-1)


@given(st.integers(1, 8), st.integers(2, 6), st.integers(0, 999))
def test_unit_sum_weights_equal_the_mixed_target(n, classes, seed):
    """α + β = 1 ⇔ mixed target, in loss and gradient (Eqs. 11–14); otherwise they differ."""
    z = drawn(n, classes, seed=seed).requires_grad_()
    observed, pseudo = targets(n, classes, seed=seed + 1), targets(n, classes, seed=seed + 2)
    beta = torch.rand(n, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))

    def two_weights(total):
        weights = Weights(alpha=total - beta, beta=beta, pseudo=pseudo, scores=beta)
        return l2b.bootstrapped_loss(z, observed, weights)

    mixed = mixed_target_loss(z, observed, pseudo, beta).sum()
    torch.testing.assert_close(two_weights(1), mixed, rtol=1e-12, atol=1e-12)
    (left,), (right,) = torch.autograd.grad(two_weights(1), z), torch.autograd.grad(mixed, z)
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    assert not torch.isclose(two_weights(1.5), mixed)


@given(st.integers(1, 8), st.integers(2, 6), st.booleans(), st.integers(0, 999))
def test_the_objective_is_the_cross_entropy_of_weighed_targets(n, classes, soft, seed):
    """Σ_i α_i f_i + β_i g_i (Eq. 3) is that towards α_i y_i + β_i ŷ_i, whatever they sum to."""
    z = drawn(n, classes, seed=seed)
    observed, pseudo = targets(n, classes, seed=seed + 1), targets(n, classes, seed=seed + 2)
    if not soft:
        observed, pseudo = observed.argmax(dim=1), pseudo.argmax(dim=1)
    draw = torch.Generator().manual_seed(seed)
    alpha, beta = torch.rand(2, n, dtype=torch.float64, generator=draw)
    weights = Weights(alpha=alpha, beta=beta, pseudo=pseudo, scores=beta)
    merged = weighed_targets(classes, observed, weights)
    torch.testing.assert_close(merged.sum(dim=1), alpha + beta)
    found = cross_entropy(z, merged).sum()
    torch.testing.assert_close(found, l2b.bootstrapped_loss(z, observed, weights))


def test_equal_labels_get_equal_weights():
    problem = Problem("conv_batchnorm")
    z = problem.model(problem.inputs)
    observed = problem.observed.clone()
    observed[::2] = z.argmax(dim=1)[::2]
    found = l2b.weigh(problem.model, problem.inputs, observed, *problem.batches()[2:])
    same = observed == found.pseudo
    assert same.sum() >= 4
    assert torch.equal(found.alpha[same], found.beta[same])
    assert torch.equal(found.scores[0][same], found.scores[1][same])


def test_scores_add_up_over_splits_of_the_clean_batch():
    problem = Problem("mlp")
    x, y, cx, cy = problem.batches()
    whole = l2b.weigh(problem.model, x, y, cx, cy).scores
    parts = [l2b.weigh(problem.model, x, y, cx[s], cy[s]).scores * len(cy[s]) / len(cy)
             for s in (slice(0, 4), slice(4, 9))]  # fmt: skip
    torch.testing.assert_close(sum(parts), whole, rtol=1e-10, atol=1e-12)


def test_scores_do_not_depend_on_how_the_noisy_batch_is_split():
    problem = Problem("group_norm")
    x, y, cx, cy = problem.batches()
    whole = l2b.weigh(problem.model, x, y, cx, cy).scores
    parts = [l2b.weigh(problem.model, x[s], y[s], cx, cy).scores for s in
             (slice(0, 3), slice(3, 7))]  # fmt: skip
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm"])
def test_duplicating_or_permuting_the_clean_batch_changes_nothing(name):
    problem = Problem(name)
    x, y, cx, cy = problem.batches()
    found = l2b.weigh(problem.model, x, y, cx, cy).scores
    twice = l2b.weigh(problem.model, x, y, torch.cat([cx, cx]), torch.cat([cy, cy])).scores
    order = torch.randperm(9, generator=torch.Generator().manual_seed(1))
    moved = l2b.weigh(problem.model, x, y, cx[order], cy[order]).scores
    torch.testing.assert_close(twice, found, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(moved, found, rtol=1e-9, atol=1e-12)


def test_a_step_on_a_positive_score_lowers_the_clean_loss():
    problem = Problem("mlp")
    x, y, cx, cy = problem.batches()
    found = l2b.weigh(problem.model, x, y, cx, cy)
    before = cross_entropy(problem.model(cx), cy).mean().item()
    loss = l2b.bootstrapped_loss(problem.model(x), y, found)
    grads = torch.autograd.grad(loss, list(problem.model.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(problem.model.parameters(), grads, strict=True):
            parameter -= 1e-4 * gradient
    predicted = -1e-4 * (found.scores.clamp_min(0).square().sum()
                         / found.scores.clamp_min(0).sum()).item()  # fmt: skip
    change = cross_entropy(problem.model(cx), cy).mean().item() - before
    assert change < 0
    assert math.isclose(change, predicted, rel_tol=0.05)


@pytest.mark.parametrize("pixels", [(), (3, 2)], ids=["samples", "pixels"])
def test_cross_entropy_takes_indices_and_probabilities(pixels):
    z = drawn(4, 5, *pixels)
    y = torch.randint(5, (4, *pixels), generator=torch.Generator().manual_seed(2))
    expected = oracles.cross_entropy(z, y)
    torch.testing.assert_close(cross_entropy(z, y), expected)
    one_hot = probabilities(y, 5).double()
    torch.testing.assert_close(cross_entropy(z, one_hot), expected)
    soft = targets(4, 5, *pixels, seed=9)
    torch.testing.assert_close(cross_entropy(z, soft), oracles.cross_entropy(z, soft))
    assert torch.equal(labels(one_hot), y)
    assert torch.equal(labels(y), y)
    torch.testing.assert_close(probabilities(soft, 5), soft)


def test_the_objective_takes_what_models_return():
    z, y = drawn(4, 3), torch.arange(4) % 3
    weights = Weights(
        alpha=torch.full((4,), 0.2), beta=torch.full((4,), 0.05), pseudo=(y + 1) % 3, scores=z,
    )  # fmt: skip
    expected = l2b.bootstrapped_loss(z, y, weights)
    for output in ({"logits": z, "loss": None}, SimpleNamespace(logits=z)):
        assert torch.equal(l2b.bootstrapped_loss(output, y, weights), expected)
    with pytest.raises(TypeError, match=r"logits as a tensor .* got list"):
        l2b.bootstrapped_loss([z], y, weights)


@pytest.mark.parametrize("pixels", [(), (2, 2)])
def test_no_label_is_ignored(pixels):
    """The −100 of torch is a class out of range here, on the devices too that cannot be asked."""
    z = torch.randn(3, 4, *pixels)
    target = torch.zeros(3, *pixels, dtype=torch.int64)
    target[1] = -100
    with pytest.raises(IndexError, match="-100 is out of bounds"):
        cross_entropy(z, target)
    with pytest.raises(ValueError, match=r"must lie in \[0, 4\) .* got -100: .* not even -100"):
        check_labels(z, target, "observed")


def test_scores_take_any_candidate():
    z, dz = drawn(4, 5), drawn(4, 5, seed=1)
    y = torch.tensor([0, 1, 2, 3])
    own = torch.softmax(z, dim=1)
    torch.testing.assert_close(candidate_score(z, dz, own), torch.zeros(4).double())
    one_hot = nn.functional.one_hot(y, 5).double()
    both = bootstrap_scores(z, dz, y, one_hot)
    torch.testing.assert_close(both[0], both[1])
    half = bootstrap_scores(z.bfloat16(), dz.bfloat16(), y, y)
    assert half.dtype == torch.float32


def test_weigh_refuses_labels_that_do_not_fit():
    problem = Problem("mlp")
    x, y, cx, cy = problem.batches()

    def weighed(observed=y, clean=cy):
        return l2b.weigh(problem.model, x, observed, cx, clean)

    with pytest.raises(ValueError, match=r"`observed` must lie in \[0, 5\).*got 7"):
        weighed(observed=torch.full_like(y, 7))
    with pytest.raises(ValueError, match=r"`clean_labels` must lie in \[0, 5\).*got -1"):
        weighed(clean=torch.full_like(cy, -1))
    with pytest.raises(TypeError, match=r"`observed` must hold class indices as int64.*int32"):
        weighed(observed=y.int())
    with pytest.raises(ValueError, match=r"`observed` must have the shape \(7,\).*got \(6,\)"):
        weighed(observed=y[:6])
    with pytest.raises(ValueError, match=r"must have the shape \(7, 5\)"):
        weighed(observed=torch.rand(7, 4))
    with pytest.raises(ValueError, match="`clean_labels` must not be empty"):
        l2b.weigh(problem.model, x, y, cx[:0], cy[:0])


def test_effective_sample_size():
    assert effective_sample_size(torch.ones(8)) == 8
    assert effective_sample_size(torch.tensor([0.0, 3.0, 0.0])) == 1
    assert effective_sample_size(torch.zeros(3)) == 0


def test_telemetry_by_hand():
    found = weight_telemetry(
        [torch.tensor([2.0, 0.0]), torch.tensor([0.0, 0.0])],
        [torch.tensor([1.0, 1.0]), torch.tensor([0.0, 0.0])],
        torch.tensor([0, 1, 1, 0]),
        observed=torch.tensor([0, 0, 1, 1]),
        true=torch.tensor([1, 0, 1, 1]),
    )
    assert found["alpha_share"] == found["beta_share"] == 0.5
    assert found["silent_batches"] == 0.5
    assert found["weight_on_wrong"] == 1
    assert found["pseudo_accuracy"] == 0.25
    assert math.isclose(found["effective_samples"], (16 / 10 / 2 + 0) / 2, rel_tol=1e-6)

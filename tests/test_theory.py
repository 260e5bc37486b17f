"""The theory command: it holds on the code as it is, and fails on code broken on purpose."""

import json
import math

import pytest
import torch

from l2b import losses, scores, theory
from l2b.engines import DoubleBackward, FiniteDifference, Forward, LastLayer
from l2b.normalise import PositiveShare, Softmax
from l2b.theory import claims, definition, descent, examples, problems, update, weights
from l2b.theory.equivalence import equivalence
from l2b.theory.gradients import gradients
from l2b.types import Probe
from oracles import eq9, plain_step, unrolled_scores

FIGURES = ("equivalence", "gradients", "counterexample", "descent", "gaps")


@pytest.fixture(autouse=True)
def double_precision():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


def test_the_run_holds_and_writes_its_record_and_figures(tmp_path):
    lines = []
    assert theory.run(tmp_path / "new", seed=0, say=lines.append, effort=theory.QUICK)
    assert [line[:4] for line in lines[:4]] == ["PASS"] * 4
    record = json.loads((tmp_path / "new" / "theory.json").read_text())
    assert record["holds"]
    assert [claim["name"] for claim in record["claims"]] == [
        "equivalence", "gradients", "convergence", "gaps",
    ]  # fmt: skip
    assert all(check["holds"] for claim in record["claims"] for check in claim["checks"])
    written = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert written == sorted(["theory.json", *(f"theory-{name}.png" for name in FIGURES)])
    for name in FIGURES:
        png = (tmp_path / "new" / f"theory-{name}.png").read_bytes()
        assert png[:4] == b"\x89PNG"
        assert len(png) < 150_000


def holds(name, seed=0):
    """One claim, as `run` judges it: an exception is a failure."""
    from l2b.theory.verdict import _claim

    return _claim(name, theory.QUICK, seed).holds


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", ["equivalence", "gradients", "convergence"])
def test_the_claims_do_not_hang_on_a_seed(name, seed):
    assert holds(name, seed)


def scaled(engine, factor):
    original = engine.__call__

    def broken(self, *args, **kwargs):
        probe = original(self, *args, **kwargs)
        return Probe(probe.z, factor * probe.dz)

    return broken


@pytest.mark.parametrize("factor", [-1.0, 1 + 1e-6, 1 + 1e-3], ids=["sign", "1e-6", "1e-3"])
@pytest.mark.parametrize("engine", [Forward, DoubleBackward, LastLayer], ids=lambda e: e.__name__)
def test_a_broken_exact_engine_fails(monkeypatch, engine, factor):
    monkeypatch.setattr(engine, "__call__", scaled(engine, factor))
    assert not holds("gradients")


def test_a_broken_finite_difference_fails(monkeypatch):
    monkeypatch.setattr(FiniteDifference, "__call__", scaled(FiniteDifference, 1.01))
    assert not holds("gradients")


def test_an_engine_that_raises_fails_the_whole_run_with_its_message(monkeypatch):
    torch.set_default_dtype(torch.float32)

    def broken(self, apply, params, inputs, direction):
        raise RuntimeError("no such rule")

    monkeypatch.setattr(Forward, "__call__", broken)
    lines = []
    assert not theory.run(None, say=lines.append, effort=theory.QUICK)
    assert any(line.startswith("FAIL") and "no such rule" in line for line in lines)
    assert torch.get_default_dtype() == torch.float32


def test_a_broken_engine_fails_the_whole_run_and_names_the_check(monkeypatch):
    monkeypatch.setattr(Forward, "__call__", scaled(Forward, 1.001))
    lines = []
    assert not theory.run(None, say=lines.append, effort=theory.QUICK)
    assert any("forward against the definition" in line and "BROKEN" in line for line in lines)


BROKEN_SHARES = {
    "no clamp": lambda self, s: s / s.sum(),
    "absolute": lambda self, s: s.abs() / s.abs().sum(),
    "softmax": lambda self, s: torch.softmax(s.flatten(), 0).view_as(s),
    "per sample": lambda self, s: s.clamp_min(0) / s.clamp_min(0).sum(0).clamp_min(1e-30),
    "twice": lambda self, s: 2 * s.clamp_min(0) / s.clamp_min(0).sum().clamp_min(1e-30),
    "NaN where none is positive": lambda self, s: s.clamp_min(0) / s.clamp_min(0).sum(),
    "off by 1e-9": lambda self, s: s.clamp_min(0) / (s.clamp_min(0).sum() + 1e-9),
}


@pytest.mark.parametrize("name", BROKEN_SHARES)
def test_a_broken_eq9_fails(monkeypatch, name):
    monkeypatch.setattr(PositiveShare, "__call__", BROKEN_SHARES[name])
    assert not holds("gradients")


def test_a_broken_normaliser_fails_the_whole_run(monkeypatch):
    monkeypatch.setattr(PositiveShare, "__call__", BROKEN_SHARES["no clamp"])
    assert not theory.run(None, say=lambda line: None, effort=theory.QUICK)


def test_another_broken_normaliser_fails(monkeypatch):
    monkeypatch.setattr(Softmax, "__call__", lambda self, s: s.exp())
    assert not holds("gradients")


def test_a_broken_score_fails(monkeypatch):
    original = scores.candidate_score
    monkeypatch.setattr(scores, "candidate_score", lambda z, dz, y: original(z, dz, y) + 1e-3)
    assert not holds("gradients")
    assert not holds("convergence")


def test_a_broken_objective_fails(monkeypatch):
    original = losses.mixed_target_loss

    def broken(z, observed, pseudo, beta):
        return original(z, observed, pseudo, beta + 1e-9)

    monkeypatch.setattr(losses, "mixed_target_loss", broken)
    assert not holds("equivalence")


def test_the_definition_agrees_with_the_unrolled_oracle(generator):
    setting = definition.random_setting(generator, torch.float64)
    alpha, beta = unrolled_scores(
        setting.model, setting.x, setting.targets[0], setting.clean_x, setting.clean_y,
        setting.targets[1], plain_step(setting.lr),
    )  # fmt: skip
    found = definition.extrapolated_differences(setting)
    torch.testing.assert_close(found, torch.stack([alpha, beta]), rtol=1e-9, atol=1e-13)


def test_the_literal_eq9_agrees_with_the_oracle(generator):
    for _ in range(50):
        drawn = weights.random_scores(generator)
        expected = torch.stack(eq9(drawn[0], drawn[1]))
        torch.testing.assert_close(weights.literal_eq9(drawn), expected)


@pytest.mark.parametrize("n", [1, 2, 8, 64])
def test_the_corrected_bound_is_tight_and_the_published_one_fails(n):
    for problem in (examples.saturated_logistic(), examples.one_weight_least_squares()):
        corrected, published = update.corrected_bound(problem, n), update.published_bound(problem)
        assert published == pytest.approx(2 * n * corrected)
        c = torch.tensor([0.999 * corrected, 1.001 * corrected, 0.999 * published])
        below, above, allowed = examples.change_after_copies(problem, 0, n, c).tolist()
        assert below < 0 < above < allowed


def test_the_counterexample_by_hand():
    """G(θ) = θ²/2, one sample with f = g = θ²/2: Δθ = −2nc·θ·θ·… = −2ncθ at θ = 1."""
    problem, n = examples.one_weight_least_squares(), 4
    c = update.published_bound(problem) / 4  # half of the published λ
    change = examples.change_after_copies(problem, 0, n, torch.tensor([c]))
    assert float(change) == pytest.approx(((1 - 2 * n * c) ** 2 - 1) / 2)
    assert float(change) > 0


def test_moves_are_the_update_of_eq_28(generator):
    problem = problems.logistic_regression(generator)
    theta, classes = problem.start, problem.classes
    gradient = problems.clean_gradient(problem, theta)
    rows = problems.candidate_gradients(problem, theta)
    table = update.moves(problem, theta)
    for i, y, pseudo in ((0, 0, 1), (3, 1, 1), (9, 1, 0)):
        a, b = rows[i, y], rows[i, pseudo]
        expected = -((gradient @ a) * a + (gradient @ b) * b)
        torch.testing.assert_close(table[(i * classes + y) * classes + pseudo], expected)
    agreeing = table[update.agreeing(problem)]
    torch.testing.assert_close(agreeing[1], -2 * (gradient @ rows[0, 1]) * rows[0, 1])


@pytest.mark.parametrize("make", [problems.logistic_regression, problems.least_squares_head])
def test_closed_constants_bound_every_point(make, generator):
    problem = make(generator)
    effort = theory.FULL
    curvatures, norms = [], []
    for theta in descent.points_of(problem, effort, generator):
        curvatures.append(problems.curvature(problem, theta))
        norms.append(float(problems.candidate_gradients(problem, theta).norm(dim=-1).max()))
    assert max(curvatures) <= problem.smoothness * (1 + 1e-9)
    assert max(norms) <= problem.bound * (1 + 1e-9)
    at_zero = problems.curvature(problem, torch.zeros_like(problem.start))
    assert at_zero == pytest.approx(problem.smoothness)


def test_a_bound_that_is_too_large_is_caught(monkeypatch):
    """Were the published bound taken for the corrected one, the claim would not hold."""
    from l2b.theory import convergence as claim

    monkeypatch.setattr(
        claim, "corrected_bound", lambda problem, n: update.published_bound(problem)
    )
    monkeypatch.setattr(
        descent, "corrected_bound", lambda problem, n: update.published_bound(problem)
    )
    assert not holds("convergence")


def test_a_check_on_nan_does_not_hold():
    assert not claims.at_most("a", math.nan, 1).holds
    assert not claims.at_least("a", math.nan, 1).holds
    assert math.isnan(claims.largest([1.0, math.nan]))
    assert math.isnan(claims.largest([]))
    empty = claims.Claim(name="a", equations="b", summary="c", checks=())
    assert not empty.holds


def test_what_json_cannot_hold_becomes_null():
    numbers = {"a": [math.inf, 1.0], "b": math.nan}
    claim = claims.Claim(
        name="a", equations="b", summary="c", checks=(claims.never("x", 0),), numbers=numbers
    )
    assert claim.as_record()["numbers"] == {"a": [None, 1.0], "b": None}


def test_the_same_seed_gives_the_same_numbers(generator):
    state = generator.get_state()
    for claim in (equivalence, gradients):
        first = claim(theory.QUICK, generator.set_state(state)).as_record()
        assert first == claim(theory.QUICK, generator.set_state(state)).as_record()


@pytest.mark.slow
def test_the_full_run_holds(tmp_path):
    assert theory.run(tmp_path, seed=0)

"""Any sizes, classes and values: a valid result, or an error that the documentation names."""

import math

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import l2b
from l2b import engines, normalise
from l2b.cli import main

DOCUMENTED = (ValueError, TypeError)
SIZES = st.sampled_from([0, 1, 2, 3, 7, 13, 16, 31])
CLASSES = st.sampled_from([1, 2, 3, 10, 97, 1000])
SCALES = st.sampled_from([0.0, 1e-38, 1e-20, 1.0, 1e6, 1e18, 1e38])
ENGINES = st.sampled_from([engines.forward, engines.last_layer, engines.finite_difference])
NORMALISERS = st.sampled_from(
    [
        normalise.PositiveShare(),
        normalise.Sigmoid(),
        normalise.Softmax(temperature=10),
        normalise.ObservedOnly(),
        normalise.PseudoOnly(),
        normalise.PerSample(),
        normalise.Fixed(),
    ]
)


def drawn_labels(draw, size, classes):
    """Balanced, constant, or all but one the same."""
    kind = draw.integers(0, 3)
    if kind == 0:
        return draw.integers(0, classes, size)
    labels = np.full(size, draw.integers(0, classes))
    if kind == 1 and size:
        labels[0] = draw.integers(0, classes)
    return labels


@settings(max_examples=150)
@given(
    n=SIZES, m=SIZES, classes=CLASSES, scale=SCALES, engine=ENGINES, normaliser=NORMALISERS,
    seed=st.integers(0, 99),
)  # fmt: skip
def test_weigh(n, m, classes, scale, engine, normaliser, seed):
    draw = np.random.default_rng(seed)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, classes))
    inputs = scale * torch.from_numpy(draw.normal(size=(n, 3))).float()
    clean = scale * torch.from_numpy(draw.normal(size=(m, 3))).float()
    observed, labels = (torch.from_numpy(drawn_labels(draw, k, classes)) for k in (n, m))
    before = [p.clone() for p in model.parameters()]
    try:
        w = l2b.weigh(model, inputs, observed, clean, labels, engine=engine, normalise=normaliser)
    except ValueError as error:
        assert not n or not m, error  # only what is empty is refused
        assert "must not be empty" in str(error)
        return
    assert n and m
    assert w.alpha.shape == w.beta.shape == (n,)
    assert ((w.pseudo >= 0) & (w.pseudo < classes)).all()
    if not bool(w.scores.isfinite().all()):
        assert scale >= 1e18  # overflow in the model itself, which is for the guards to notice
        return
    assert (w.alpha >= 0).all() and (w.beta >= 0).all()
    total = (w.alpha + w.beta).sum().item()
    assert math.isclose(total, 1, rel_tol=1e-4) or total == 0
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


@pytest.mark.filterwarnings("ignore:No checked sample is labelled")
@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    n=st.sampled_from([0, 1, 2, 5, 23, 60]), features=st.sampled_from([1, 3]),
    classes=st.sampled_from([1, 2, 7]), scale=st.sampled_from([0.0, 1e-30, 1.0, 1e30]),
    checked=st.sampled_from([0, 1, 5, 60]), seed=st.integers(0, 9),
)  # fmt: skip
def test_the_estimator(n, features, classes, scale, checked, seed):
    draw = np.random.default_rng(seed)
    x, y = scale * draw.normal(size=(n, features)), drawn_labels(draw, n, classes)
    model = l2b.L2BClassifier(method="l2b", epochs=1, batch_size=16, random_state=0)
    try:
        model.fit(x, y, clean=np.arange(checked))
    except DOCUMENTED as error:
        assert str(error)
        return
    found = model.predict_proba(x)
    assert found.shape == (n, len(np.unique(y)))
    assert np.isfinite(found).all()
    assert np.allclose(found.sum(axis=1), 1, atol=1e-5)
    assert np.isfinite(model.label_quality_).all()


@settings(max_examples=12, suppress_health_check=[HealthCheck.too_slow])
@given(
    n=st.sampled_from([2, 3, 17, 40]), classes=st.sampled_from([1, 2, 5]),
    scale=st.sampled_from([0.0, 1e-30, 1.0, 1e36]), batch=st.sampled_from([0, 1, 7, 64]),
    clean=st.sampled_from([0, 2, 5, 40]), validation=st.sampled_from([-0.1, 0.0, 0.5, 1.0]),
    seed=st.integers(0, 9),
)  # fmt: skip
def test_the_command_line(tmp_path_factory, n, classes, scale, batch, clean, validation, seed):
    folder = tmp_path_factory.mktemp("fuzz")
    draw = np.random.default_rng(seed)
    y = drawn_labels(draw, n, classes)
    x = (scale * draw.normal(size=(n, 2))).astype(np.float32)
    np.savez(folder / "mine.npz", x_train=x, y_train=y, clean_index=np.arange(max(1, n // 2)))
    words = {
        "data": "arrays", "path": folder / "mine.npz", "noise": "none", "model": "mlp",
        "batch": batch, "clean": clean, "validation": validation, "epochs": 1,
        "out": folder / "run",
    }  # fmt: skip
    status = main(["run", "--quiet", *[f"--{key}={value}" for key, value in words.items()]])
    assert status in (0, 2)
    assert (folder / "run" / "result.json").exists() == (status == 0)

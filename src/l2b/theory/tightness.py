"""The published bound broken by example, and the corrected one met exactly."""

from typing import Any

import torch

from l2b.theory.claims import Check, at_least, at_most, largest
from l2b.theory.examples import (
    WRONG_ONCE,
    WRONG_TWICE,
    change_after_copies,
    change_curves,
    critical_ratio,
    crossings,
    one_weight_least_squares,
    rises_when_normalised,
    saturated_logistic,
)
from l2b.theory.problems import clean_loss
from l2b.theory.update import corrected_bound, published_bound

SIZES = (1, 2, 8, 64)
"""Batch sizes at which the bounds are located."""

LENGTHS = [0.1, 0.03, 0.01, 0.003]
"""Fixed step sizes that Eq. 9's weights are tried with."""


def examples_record(n: int) -> tuple[dict[str, Any], list[Check]]:
    """Locate both bounds on the examples.

    Args:
        n: batch size of the counterexample.

    Returns:
        The numbers, and what must hold of them.
    """
    curves = change_curves(saturated_logistic(), WRONG_TWICE, [1, 4, 16])
    record = {
        "sizes": list(SIZES),
        "critical": critical_ratios(),
        "curves": curves,
        "crossings": crossings(curves),
        "counterexample": counterexample(n),
        "own_label_share": own_label_share(),
        "normalised_rises": rises_when_normalised(LENGTHS),
    }
    return record, examples_checks(record)


def critical_ratios() -> dict[str, list[float]]:
    """From which multiple of the corrected bound n copies raise G, for each of `SIZES`."""
    logistic, squares = saturated_logistic(), one_weight_least_squares()
    return {
        "logistic": [critical_ratio(logistic, WRONG_TWICE, n) for n in SIZES],
        "least_squares": [critical_ratio(squares, WRONG_TWICE, n) for n in SIZES],
        "logistic, own prediction": [critical_ratio(logistic, WRONG_ONCE, n) for n in SIZES],
    }


def counterexample(n: int) -> dict[str, float]:
    """G before and after a step on n copies at half the published bound on λ²."""
    problem = saturated_logistic()
    published, clean = published_bound(problem), len(problem.clean_labels)
    half = torch.tensor([published / 2])
    before = float(clean_loss(problem, problem.start))
    return {
        "n": n,
        "eta": 1.0,
        "M": clean,
        "L": problem.smoothness,
        "sigma": problem.bound,
        "lambda_squared": published / 2 / clean,
        "published_lambda_squared": published / clean,
        "corrected_lambda_squared": corrected_bound(problem, n) / clean,
        "before": before,
        "after": before + float(change_after_copies(problem, WRONG_TWICE, n, half)),
    }


def examples_checks(record: dict[str, Any]) -> list[Check]:
    """Limits for what was located."""
    critical, found = record["critical"], record["counterexample"]
    tight = critical["logistic"] + critical["least_squares"]
    own = largest(abs(ratio - 2) for ratio in critical["logistic, own prediction"])
    rise, share = found["after"] - found["before"], record["own_label_share"]
    rising = "n copies: G rises from this multiple of the corrected bound on"
    return [
        at_least(rising, min(tight), 1),
        at_most(rising, largest(tight), 1.001),
        at_least(f"rise of G at half the published bound, {found['n']} copies", rise, 1e-6),
        at_most("hard own predictions: distance of that multiple from 2", own, 1e-3),
        at_most("hard own predictions: squared gradients over sigma squared", share, 1 + 1e-12),
        at_least(
            "Eq. 9, fixed step sizes that raise G near a minimum",
            record["normalised_rises"],
            len(LENGTHS),
        ),
    ]


def own_label_share(samples: int = 20_000, seed: int = 0) -> float:
    """Largest (‖p − e_y‖² + ‖p − e_ŷ‖²)/2 over random p, with ŷ = argmax p and any y."""
    generator = torch.Generator().manual_seed(seed)
    scale = torch.rand(samples, 1, generator=generator) * 12
    p = torch.softmax(scale * torch.randn(samples, 5, generator=generator), dim=1)
    unit = torch.eye(5)
    towards_own = (p - unit[p.argmax(dim=1)]).square().sum(dim=1)
    towards_any = (p.unsqueeze(1) - unit).square().sum(dim=2).amax(dim=1)
    return float((towards_own + towards_any).max() / 2)

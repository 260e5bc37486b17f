"""Claim 2: one (z, ż) yields the meta-gradient, and Eq. 9 makes weights of it (Eqs. 9, 15–24)."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, optim

from l2b import catalog
from l2b.engines import Engine
from l2b.engines.finite_difference import FiniteDifference
from l2b.theory.claims import Check, Claim, at_least, at_most, largest
from l2b.theory.definition import (
    Given,
    Setting,
    central_differences,
    extrapolated_differences,
    random_setting,
)
from l2b.theory.effort import Effort
from l2b.theory.weights import built, normaliser_checks
from l2b.weighing import weigh

STEPS = [10.0 ** (power / 2) for power in range(-18, 4)]
LENGTHS = [10.0 ** (power / 2) for power in range(-24, 3)]
PRECISIONS = {"float64": torch.float64, "float32": torch.float32}
APPROXIMATE = {"finite_difference": 1e-5}
"""Engines with an error of their own, and what it may be in float64; others are exact."""


def gradients(effort: Effort, generator: torch.Generator) -> Claim:
    """Hold every engine against central differences of the definition.

    Args:
        effort: how many random score batches the normalisers see.
        generator: source of all draws.

    Returns:
        The claim; its numbers hold error against step length in both precisions.
    """
    state = generator.get_state()
    settings = {}
    for name, dtype in PRECISIONS.items():
        generator.set_state(state)
        settings[name] = random_setting(generator, dtype)
    errors = {name: engine_errors(name, settings) for name in catalog.names(Engine)}
    against_steps = definition_curves(settings)
    against_lengths = length_curves(settings)
    weights = normaliser_checks(effort, generator)
    checks = (*engine_checks(errors), *slope_checks(against_steps, against_lengths), *weights)
    exact = largest(e["float64"] for name, e in errors.items() if name not in APPROXIMATE)
    summary = (
        f"{len(errors)} engines against the definition: exact ones to {exact:.1e} in float64, "
        f"finite_difference to {errors['finite_difference']['float64']:.1e} "
        f"({errors['finite_difference']['float32']:.1e} in float32); {len(weights)} properties "
        f"of the normalisers, {sum(not check.holds for check in weights)} broken"
    )
    numbers = {"engines": errors, "definition": against_steps, "lengths": against_lengths}
    return Claim(
        name="gradients", equations="Eqs. 9, 15-24", summary=summary, checks=checks, numbers=numbers
    )


def scores_of(setting: Setting, engine: Engine) -> Tensor:
    """Raw scores [2, n] as a user gets them, with λ from the optimiser and η = 1."""
    found = weigh(
        setting.model,
        setting.x,
        setting.targets[0],
        setting.clean_x,
        setting.clean_y,
        engine=engine,
        pseudo=Given(setting.targets[1]),
        optimiser=optim.SGD(setting.model.parameters(), lr=setting.lr),
    )
    return found.scores


def engine_errors(name: str, settings: dict[str, Setting]) -> dict[str, float]:
    """Relative error of one engine, on its own scope, in both precisions."""
    engine = built(Engine, name)
    exact = settings["float64"]
    reference = extrapolated_differences(exact, engine.scope(exact.model))
    return {
        precision: relative_error(scores_of(setting, engine), reference)
        for precision, setting in settings.items()
    }


def definition_curves(settings: dict[str, Setting]) -> dict[str, Any]:
    """Central differences of the definition against the forward engine, by step of a weight."""
    engine = built(Engine, "forward")
    found = {
        precision: [
            relative_error(central_differences(setting, h), scores_of(setting, engine))
            for h in STEPS
        ]
        for precision, setting in settings.items()
    }
    return {"steps": STEPS, **found}


def length_curves(settings: dict[str, Setting]) -> dict[str, Any]:
    """The finite-difference engine against the definition, by the length of its step."""
    reference = extrapolated_differences(settings["float64"])
    found = {
        precision: [
            relative_error(scores_of(setting, FiniteDifference(length=length)), reference)
            for length in LENGTHS
        ]
        for precision, setting in settings.items()
    }
    return {"lengths": LENGTHS, **found}


def engine_checks(errors: dict[str, dict[str, float]]) -> list[Check]:
    """Limits for every engine in both precisions."""
    checks = []
    for name, error in errors.items():
        double, single = APPROXIMATE.get(name, 1e-9), 5e-2 if name in APPROXIMATE else 1e-4
        checks.append(at_most(f"{name} against the definition, float64", error["float64"], double))
        checks.append(at_most(f"{name} against the definition, float32", error["float32"], single))
    return checks


def slope_checks(by_step: dict[str, Any], by_length: dict[str, Any]) -> list[Check]:
    """Errors must fall as theory says: squared for central, straight for forward differences."""
    central = falling_slope(by_step["steps"], by_step["float64"])
    forward = falling_slope(by_length["lengths"], by_length["float64"])
    return [
        at_most("central differences, order of the error minus 2", abs(central - 2), 0.2),
        at_most("finite_difference, order of the error minus 1", abs(forward - 1), 0.2),
        at_most("central differences, smallest error", min(by_step["float64"]), 1e-8),
        at_least("central differences in float32, smallest error", min(by_step["float32"]), 1e-9),
    ]


def falling_slope(steps: list[float], errors: list[float]) -> float:
    """Median slope of log error against log step where truncation rules: 1e-2 to 1e-5."""
    inside = [
        (math.log(h), math.log(e)) for h, e in zip(steps, errors, strict=True) if 1e-6 < e < 1e-2
    ]
    slopes = sorted((e1 - e0) / (h1 - h0) for (h0, e0), (h1, e1) in pairwise(inside))
    return slopes[len(slopes) // 2] if slopes else math.nan


def relative_error(found: Tensor, reference: Tensor) -> float:
    """‖found − reference‖ / ‖reference‖, taken in float64."""
    reference = reference.double()
    return float((found.double() - reference).norm() / reference.norm())

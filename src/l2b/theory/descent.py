"""Descent measured: which step sizes keep G from rising, whatever the batch."""

import math
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from l2b.theory.definition import Given
from l2b.theory.effort import Effort
from l2b.theory.problems import (
    Problem,
    candidate_gradients,
    clean_gradient,
    clean_loss,
    curvature,
    point_near,
    unflattened,
)
from l2b.theory.update import (
    RISE,
    changes,
    corrected_bound,
    largest_change,
    moves,
    published_bound,
    random_batches,
    worst_batch,
)
from l2b.weighing import weigh

SAFE = 0.999
"""Share of a bound at which descent is tested."""

RANGE = (0.25, 256.0)
"""Multiples of the corrected bound that a sweep covers."""


def points_of(problem: Problem, effort: Effort, generator: torch.Generator) -> list[Tensor]:
    """The start, and random points where L and σ hold and G is no larger than at the start."""
    top = clean_loss(problem, problem.start)
    drawn = [point_near(problem, generator) for _ in range(4 * effort.points)]
    inside = [theta for theta in drawn if clean_loss(problem, theta) <= top]
    return [problem.start, *inside[: effort.points - 1]]


def sweep(
    problem: Problem, points: list[Tensor], n: int, effort: Effort, generator: torch.Generator
) -> dict[str, Any]:
    """Share of batches that raise G, by c = ηλ²M over the corrected bound.

    Returns:
        Shares for random batches, for n copies with ŷ = y, and for the worst batch found,
        at every ratio; and the smallest ratio at which any batch raised G.
    """
    ratios = torch.logspace(
        math.log2(RANGE[0]), math.log2(RANGE[1]), effort.ratios, base=2
    ).tolist()
    rows = []
    for ratio in ratios:
        c = ratio * corrected_bound(problem, n)
        found = [
            largest_change(problem, theta, c, n, _batches(problem, n, effort, generator))
            for theta in points
        ]
        rows.append([_share(column) for column in zip(*found, strict=True)])
    random, copied, worst = (list(column) for column in zip(*rows, strict=True))
    risen = [ratio for ratio, share in zip(ratios, worst, strict=True) if share > 0]
    return {
        "ratios": ratios,
        "random": random,
        "copies": copied,
        "worst": worst,
        "first_rise": risen[0] if risen else math.inf,
    }


def rises_below(
    problem: Problem, points: list[Tensor], n: int, effort: Effort, generator: torch.Generator
) -> tuple[int, int]:
    """Rises of G just below the corrected bound, and the number of batches tried."""
    c = SAFE * corrected_bound(problem, n)
    found = [
        torch.cat(largest_change(problem, theta, c, n, _batches(problem, n, effort, generator)))
        for theta in points
    ]
    tried = torch.cat(found)
    return int((tried > 0).sum() + tried.isnan().sum()), tried.numel()


def rises_when_clamped(problem: Problem, points: list[Tensor], n: int) -> int:
    """Rises with negative weights clamped to 0, just below the same bound."""
    c, rises = SAFE * corrected_bound(problem, n), 0
    for theta in points:
        gradients = candidate_gradients(problem, theta).flatten(0, 1)
        scores = (gradients @ clean_gradient(problem, theta)).clamp_min(0)
        steps = -c * 2 * n * scores.unsqueeze(1) * gradients  # n copies with ŷ = y
        rises += int((changes(problem, theta, steps) > 0).sum())
    return rises


def rises_below_own_bound(
    problem: Problem, points: list[Tensor], n: int, effort: Effort, generator: torch.Generator
) -> int:
    """Rises below 2/(L·λ_max(A)), the bound that knows the 2n gradients of its batch."""
    rises = 0
    for theta in points:
        gradients = candidate_gradients(problem, theta)
        slope = clean_gradient(problem, theta)
        picks = torch.randint(problem.classes, (2, effort.batches, n), generator=generator)
        samples = torch.randint(len(gradients), (effort.batches, n), generator=generator)
        a = torch.cat([gradients[samples, picks[0]], gradients[samples, picks[1]]], dim=1)
        largest = torch.linalg.matrix_norm(a, ord=2).square()
        c = SAFE * 2 / (problem.smoothness * largest)
        steps = -c.unsqueeze(1) * torch.einsum("bkd,bk->bd", a, a @ slope)
        rises += int((changes(problem, theta, steps) > 0).sum())
    return rises


def adversarial_run(
    problem: Problem, c: float, n: int, effort: Effort, generator: torch.Generator
) -> list[Tensor]:
    """Parameters along a run in which every other batch is the worst that can be found.

    The batches between are random, so that the run gets somewhere.
    """
    path = [problem.start]
    for step in range(effort.trajectory):
        table = moves(problem, path[-1])
        batch = random_batches(len(table), n, 1, generator)[0]
        if step % 2 == 0:
            batch = worst_batch(problem, path[-1], table, c, n)
        path.append(path[-1] + c * table[batch].sum(dim=0))
    return path


def losses_along(problem: Problem, path: list[Tensor]) -> list[float]:
    """G at every point of a run."""
    return [float(clean_loss(problem, theta)) for theta in path]


def rises_along(values: list[float]) -> int:
    """How often G went up by more than rounding."""
    return sum(not after <= before * (1 + RISE) for before, after in pairwise(values))


def constants_used(problem: Problem, path: list[Tensor]) -> float:
    """Largest curvature and gradient norm met along a run, over L and σ; at most 1 if they hold."""
    curvatures = [curvature(problem, theta) / problem.smoothness for theta in path]
    norms = [candidate_gradients(problem, theta).norm(dim=-1).max() for theta in path]
    return max(*curvatures, *(float(norm) / problem.bound for norm in norms))


def library_error(problem: Problem) -> float:
    """Relative error of `l2b.weigh`'s raw scores against ∇Gᵀ∇f and ∇Gᵀ∇g, all choices."""
    problem.module.load_state_dict(unflattened(problem, problem.start))
    count = len(problem.inputs)
    exact = candidate_gradients(problem, problem.start) @ clean_gradient(problem, problem.start)
    errors = []
    for y in range(problem.classes):
        label = torch.full((count,), y)
        pseudo = (label + 1) % problem.classes
        found = weigh(
            problem.module,
            problem.inputs,
            label,
            problem.clean_inputs,
            problem.clean_labels,
            pseudo=Given(pseudo),
        ).scores
        wanted = torch.stack([exact[:, y], exact[:, int(pseudo[0])]])
        errors.append(float((found - wanted).norm() / wanted.norm()))
    return max(errors)


def published_run(
    problem: Problem, n: int, effort: Effort, generator: torch.Generator
) -> dict[str, list[float]]:
    """Two adversarial runs: at 0.9 of the published bound, and at 0.9 of the corrected one."""
    bounds = {"published": published_bound(problem), "corrected": corrected_bound(problem, n)}
    return {
        name: losses_along(problem, adversarial_run(problem, 0.9 * c, n, effort, generator))
        for name, c in bounds.items()
    }


def _batches(problem: Problem, n: int, effort: Effort, generator: torch.Generator) -> Tensor:
    choices = len(problem.inputs) * problem.classes**2
    return random_batches(choices, n, effort.batches, generator)


def _share(changes_found: tuple[Tensor, ...]) -> float:
    joined = torch.cat(changes_found)
    return float(((joined > 0) | joined.isnan()).double().mean())

"""When G stands still for every batch (Eqs. 36–41), and what the published proof assumes."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from l2b.theory.problems import (
    Problem,
    candidate_gradients,
    clean_gradient,
    logistic_regression,
)
from l2b.theory.update import changes, corrected_bound, moves


class Stall(NamedTuple):
    """A place where nothing moves: length of ∇G, and of the longest move of any batch."""

    slope: float
    longest_move: float


def at_a_minimum(generator: torch.Generator) -> Stall:
    """∇G = 0: every clean input carries both labels, so θ = 0 minimises G; noise is arbitrary."""
    problem = logistic_regression(generator)
    problem = replace(
        problem,
        clean_inputs=problem.clean_inputs.repeat(2, 1),
        clean_labels=torch.arange(2).repeat_interleave(len(problem.clean_inputs)),
    )
    return _stall(problem, torch.zeros_like(problem.start))


def without_clean_samples(generator: torch.Generator) -> Stall:
    """∇G ≠ 0 and yet no batch moves: noisy inputs use features that no clean input uses.

    So "G stands still for all batches ⇔ ∇G = 0" needs batches that may hold clean samples.
    """
    problem = logistic_regression(generator)
    noisy, clean = problem.inputs.clone(), problem.clean_inputs.clone()
    noisy[:, 0], clean[:, 1:] = 0, 0
    return _stall(replace(problem, inputs=noisy, clean_inputs=clean), problem.start)


def with_clean_samples(problem: Problem, points: list[Tensor]) -> tuple[float, float]:
    """One clean sample as the whole batch (the union of Eq. 36 allows it), at every point.

    Returns:
        The smallest lead of max_k ∇Gᵀ∇f_k over ‖∇G‖², which Eq. 36 says is not negative,
        relative to ‖∇G‖²; and the largest change of G after the best such batch, which
        Eq. 41 says is negative.
    """
    bound = max(problem.bound, _clean_bound(problem, points))
    union = replace(problem, inputs=problem.clean_inputs, bound=bound)
    samples = torch.arange(len(problem.clean_labels))
    choices = (samples * problem.classes + problem.clean_labels) * problem.classes
    choices = choices + problem.clean_labels
    leads, drops = [], []
    for theta in points:
        slope = clean_gradient(union, theta)
        own = candidate_gradients(union, theta)[samples, problem.clean_labels]
        leads.append(float((own @ slope).max() / slope.square().sum() - 1))
        steps = 0.999 * corrected_bound(union, 1) * moves(union, theta)[choices]
        drops.append(float(changes(union, theta, steps).min()))
    return min(leads), max(drops)


def unsquared_step(problem: Problem) -> tuple[float, float, float]:
    """Eq. 40 as printed, on one clean sample at half the corrected bound.

    The printed step replaces Σ(∇Gᵀ∇f)² + (∇Gᵀ∇g)² by ∇Gᵀ∇f_k, without the square, under a
    negative factor; that needs the sum to be the larger one. It fails for small gradients.

    Returns:
        Eq. 39, Eq. 40 as printed, and Eq. 40 with the square; 39 must not exceed the last,
        and does exceed the printed one.
    """
    slope = clean_gradient(problem, problem.start)
    union = replace(problem, inputs=problem.clean_inputs)
    own = candidate_gradients(union, problem.start)
    samples = torch.arange(len(problem.clean_labels))
    products = own[samples, problem.clean_labels] @ slope
    k = int(torch.where(products > 0, products, torch.inf).argmin())
    c = corrected_bound(problem, 1) / 2
    factor = problem.smoothness * c**2 * problem.bound**2 / 2 - c
    product = float(products[k])
    return factor * 2 * product**2, factor * product, factor * product**2


def _stall(problem: Problem, theta: Tensor) -> Stall:
    slope = clean_gradient(problem, theta)
    return Stall(float(slope.norm()), float(moves(problem, theta).norm(dim=1).max()))


def _clean_bound(problem: Problem, points: list[Tensor]) -> float:
    union = replace(problem, inputs=problem.clean_inputs)
    return max(float(candidate_gradients(union, theta).norm(dim=-1).max()) for theta in points)

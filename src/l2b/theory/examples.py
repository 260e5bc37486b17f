"""Two problems made to break the published bound, and to show that the corrected one is tight."""

from itertools import pairwise

import torch
from torch import Tensor, nn

from l2b import losses, normalise
from l2b.theory.problems import Problem, candidate_gradients, clean_gradient, squared_error
from l2b.theory.update import changes, corrected_bound, moves

WRONG_TWICE = 0
"""Observed and pseudo-label agree on class 0, which the model does not believe."""

WRONG_ONCE = 1
"""Observed label 0, pseudo-label 1: the model's own, believed, prediction."""


def saturated_logistic(offset: float = 1e-2, evidence: float = 25.0) -> Problem:
    """Cross-entropy in one feature, L and σ known over all θ and both nearly reached.

    The clean set says "x = 1 is either class", so G has its minimum at 0 and its largest
    curvature, ½, around it. The noisy input is so long that the model, a hair's breadth
    from that minimum, is certain of it, and wrong: its gradient is σ to within e⁻²⁵.

    Args:
        offset: difference of the two logits at x = 1.
        evidence: difference of the two logits at the noisy input.
    """
    stretch = evidence / offset
    return Problem(
        name="logistic regression, one feature",
        known="L = 1/2 and sigma = sqrt(2) |x|, for all parameters",
        module=nn.Linear(1, 2, bias=False),
        loss=losses.cross_entropy,
        inputs=torch.tensor([[stretch]]),
        clean_inputs=torch.ones(2, 1),
        clean_labels=torch.tensor([0, 1]),
        classes=2,
        start=torch.tensor([-offset / 2, offset / 2]),
        smoothness=0.5,
        bound=2**0.5 * stretch,
    )


def one_weight_least_squares() -> Problem:
    """G(θ) = θ²/2 and f(θ) = θ²/2: the whole argument in one number.

    L = 1; from θ = 1 on, wherever descent leads, |f′| ≤ 1 = σ. A step on n copies with
    ŷ = y is θ ← θ(1 − 2nc), which grows once c exceeds 1/n.
    """
    return Problem(
        name="least squares, one weight",
        known="L = 1 exactly; sigma = 1 on the interval visited",
        module=nn.Linear(1, 1, bias=False),
        loss=lambda outputs, targets: squared_error(outputs, 0 * targets),
        inputs=torch.ones(1, 1),
        clean_inputs=torch.ones(1, 1),
        clean_labels=torch.zeros(1, dtype=torch.int64),
        classes=1,
        start=torch.ones(1),
        smoothness=1.0,
        bound=1.0,
    )


def change_after_copies(problem: Problem, choice: int, n: int, c: Tensor) -> Tensor:
    """Change of G after a step on n copies of one choice, for each c = ηλ²M, [len(c)]."""
    move = moves(problem, problem.start)[choice]
    return changes(problem, problem.start, c.unsqueeze(1) * n * move)


def critical_ratio(problem: Problem, choice: int, n: int) -> float:
    """The c from which n copies of a choice raise G, over the corrected bound; by bisection."""
    low, high = 0.01, 8.0
    for _ in range(60):
        middle = (low + high) / 2
        c = torch.tensor([middle * corrected_bound(problem, n)])
        low, high = (low, middle) if _rises(problem, choice, n, c) else (middle, high)
    return high


def change_curves(problem: Problem, choice: int, sizes: list[int]) -> dict[str, list[float]]:
    """Change of G by c·Lσ², which the published bound wants below 2, for each batch size."""
    scaled = torch.linspace(0.0, 2.0, 401)
    curves = {
        str(n): change_after_copies(
            problem, choice, n, scaled / (problem.smoothness * problem.bound**2)
        ).tolist()
        for n in sizes
    }
    return {"scaled": scaled.tolist(), **curves}


def crossings(curves: dict[str, list[float]]) -> dict[str, float]:
    """Where each curve first rises above zero; NaN if it never does."""
    scaled = curves["scaled"]
    found = {}
    for name, values in curves.items():
        if name != "scaled":
            steps = zip(pairwise(values), scaled[1:], strict=True)
            found[name] = next((x for (_, after), x in steps if after > 0), float("nan"))
    return found


def rises_when_normalised(lengths: list[float], n: int = 8) -> int:
    """Fixed step sizes λ at which Eq. 9's weights raise G near its minimum, of those given.

    Normalised weights do not shrink with ∇G, so the step keeps the length λ‖∇f‖ however
    close the minimum is: whatever λ, there is a place from which it overshoots.
    """
    share, rises = normalise.PositiveShare(), 0
    for length in lengths:
        problem = saturated_logistic(offset=length / 8, evidence=length / 8)
        gradients = candidate_gradients(problem, problem.start)[0, 0].expand(2 * n, -1)
        scores = (gradients @ clean_gradient(problem, problem.start)).view(2, n)
        weights = share(scores).flatten()
        step = -length * (weights @ gradients).unsqueeze(0)
        rises += bool(changes(problem, problem.start, step) > 0)
    return rises


def _rises(problem: Problem, choice: int, n: int, c: Tensor) -> bool:
    return bool(change_after_copies(problem, choice, n, c) > 0)

"""The theorem's own update, its bounds, and a search for the batch that hurts most.

The update is raw: weights as Eqs. 19 and 24 give them, the whole clean set, nothing clamped,
nothing normalised (Eqs. 27–28). With a_k the 2n gradients of a batch and A = Σ a_k a_kᵀ, it
is Δθ = −ηλ²M · A∇G, so only the product c = ηλ²M matters; it is what ``c`` stands for here.
"""

import torch
from torch import Tensor
from torch.func import vmap

from l2b.theory.problems import Problem, candidate_gradients, clean_gradient, clean_loss

RISE = 16 * torch.finfo(torch.float64).eps
"""A clean loss that is larger by less than this share of itself has not risen: rounding."""


def published_bound(problem: Problem) -> float:
    """The c = ηλ²M below which the published proof promises descent: 2/(Lσ²) (Eq. 34)."""
    return 2 / (problem.smoothness * problem.bound**2)


def corrected_bound(problem: Problem, n: int) -> float:
    """The c = ηλ²M below which descent is proved for batches of n: 1/(nLσ²)."""
    return 1 / (n * problem.smoothness * problem.bound**2)


def moves(problem: Problem, theta: Tensor) -> Tensor:
    """What each choice of (input, observed, pseudo) adds to Δθ/c.

    Returns:
        −((∇Gᵀ∇f)∇f + (∇Gᵀ∇g)∇g), [N·classes·classes, d]; entry (i, y, ŷ) at
        (i·classes + y)·classes + ŷ.
    """
    gradients = candidate_gradients(problem, theta)
    single = -(gradients @ clean_gradient(problem, theta)).unsqueeze(-1) * gradients
    return (single.unsqueeze(2) + single.unsqueeze(1)).flatten(0, 2)


def changes(problem: Problem, theta: Tensor, steps: Tensor) -> Tensor:
    """G(θ + step) − G(θ) for every step [B, d], with rises within rounding set to 0."""
    before = clean_loss(problem, theta)
    after = vmap(lambda step: clean_loss(problem, theta + step))(steps)
    change = after - before
    return torch.where(change.abs() <= RISE * before.abs().clamp_min(1e-3), 0.0, change)


def random_batches(choices: int, n: int, count: int, generator: torch.Generator) -> Tensor:
    """Batches of n choices each, drawn with replacement, [count, n]."""
    return torch.randint(choices, (count, n), generator=generator)


def copies(choices: int, n: int) -> Tensor:
    """Every choice n times over, [choices, n]: what an adversary would try first."""
    return torch.arange(choices).unsqueeze(1).expand(choices, n)


def agreeing(problem: Problem) -> Tensor:
    """Indices of the choices with ŷ = y, [N·classes]."""
    samples = torch.arange(len(problem.inputs) * problem.classes)
    return samples * problem.classes + samples % problem.classes


def worst_batch(problem: Problem, theta: Tensor, table: Tensor, c: float, n: int) -> Tensor:
    """Search for the batch after which G is largest: copies first, then single exchanges.

    Args:
        problem: what is trained.
        theta: where.
        table: what `moves` returned there.
        c: ηλ²M.
        n: batch size.

    Returns:
        Indices into ``table``, [n].
    """
    everyone = copies(len(table), n)
    best = everyone[changes(problem, theta, c * n * table).argmax()].clone()
    for place in range(n):
        others = table[best].sum(dim=0) - table[best[place]]
        best[place] = changes(problem, theta, c * (others + table)).argmax()
    return best


def largest_change(
    problem: Problem, theta: Tensor, c: float, n: int, batches: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Change of G after random batches, after copies with ŷ = y, and after the worst found.

    Args:
        problem: what is trained.
        theta: where.
        c: ηλ²M.
        n: batch size.
        batches: the random batches, [B, n].

    Returns:
        Changes [B], [N·classes] and [1], in units of clean loss.
    """
    table = moves(problem, theta)
    random = changes(problem, theta, c * table[batches].sum(dim=1))
    copied = changes(problem, theta, c * n * table[agreeing(problem)])
    worst = worst_batch(problem, theta, table, c, n)
    return random, copied, changes(problem, theta, c * table[worst].sum(dim=0, keepdim=True))

"""Claim 1: with α + β = 1 two weights are one mixed target (L2B, Eqs. 11–14)."""

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from l2b import losses
from l2b.theory.claims import Claim, at_most, largest
from l2b.theory.effort import Effort
from l2b.types import Weights

EPSILON = torch.finfo(torch.float64).eps
ROUNDING = 64 * EPSILON
"""Largest relative difference that counts as rounding: sums of up to 160 terms."""


class Case(NamedTuple):
    """One random batch: a small network, its inputs, and two targets per sample."""

    net: nn.Module
    x: Tensor
    observed: Tensor
    pseudo: Tensor


class Sides(NamedTuple):
    """A loss, and its gradient by logits and by parameters."""

    loss: Tensor
    by_logits: Tensor
    by_params: Tensor


def equivalence(effort: Effort, generator: torch.Generator) -> Claim:
    """Compare both objectives over random cases, at α + β = 1 and away from it.

    Args:
        effort: how many cases.
        generator: source of all draws.

    Returns:
        The claim; its numbers hold the departure of the two as α + β leaves 1.
    """
    at_one, apart = [], []
    for _ in range(effort.cases):
        case = random_case(generator)
        alpha = torch.rand(len(case.x), generator=generator)
        at_one.append(difference_at_one(case, alpha))
        apart.append(difference_apart(case, 2 * alpha, generator))
    worst = [largest(column) for column in zip(*at_one, strict=True)]
    laws = [largest(column) for column in zip(*apart, strict=True)]
    checks = (
        at_most("alpha+beta=1, loss, relative difference", worst[0], ROUNDING),
        at_most("alpha+beta=1, gradient by logits, relative difference", worst[1], ROUNDING),
        at_most("alpha+beta=1, gradient by parameters, relative difference", worst[2], ROUNDING),
        at_most("any sum s: loss minus mixed loss is (s-1) f, relative error", laws[0], ROUNDING),
        at_most("any sum s: loss is s times the mixed loss at beta/s", laws[1], ROUNDING),
    )
    summary = (
        f"{effort.cases} random cases, largest relative difference {worst[0]:.1e} in loss, "
        f"{max(worst[1:]):.1e} in gradient; away from 1 they differ by (alpha+beta-1) times "
        f"the loss towards the observed label, to {laws[0]:.1e}"
    )
    numbers = {"departure": departure(plain_case(generator))}
    return Claim(
        name="equivalence", equations="Eqs. 11-14", summary=summary, checks=checks, numbers=numbers
    )


def plain_case(generator: torch.Generator) -> Case:
    """A batch of 16 samples and 5 classes with hard labels, for the picture."""
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 5))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.5 * torch.randn(parameter.shape, generator=generator))
    x = torch.randn(16, 5, generator=generator)
    observed = torch.randint(5, (16,), generator=generator)
    pseudo = net(x).argmax(dim=1)
    return Case(net, x, one_hot(observed, 5).to(x.dtype), one_hot(pseudo, 5).to(x.dtype))


def random_case(generator: torch.Generator) -> Case:
    """A batch of up to 16 samples and 10 classes; half of the cases have soft targets."""
    n = int(torch.randint(1, 17, (), generator=generator))
    classes = int(torch.randint(2, 11, (), generator=generator))
    net = nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, classes))
    scale = 10 ** (3 * torch.rand((), generator=generator) - 1.5)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(scale * torch.randn(parameter.shape, generator=generator))
    x = torch.randn(n, 5, generator=generator)
    if torch.rand((), generator=generator) < 0.5:
        picks = torch.randint(classes, (2, n), generator=generator)
        observed, pseudo = one_hot(picks, classes).to(x.dtype)
    else:
        draws = torch.rand(2, n, classes, generator=generator).pow(4) + 1e-6
        observed, pseudo = draws / draws.sum(dim=-1, keepdim=True)
    return Case(net, x, observed, pseudo)


def difference_at_one(case: Case, alpha: Tensor) -> tuple[float, float, float]:
    """Relative differences of loss and gradients with β = 1 − α (Eq. 14)."""
    two = two_weights(case, alpha, 1 - alpha)
    mixed = one_target(case, 1 - alpha)
    yardstick = two_weights(case, torch.ones_like(alpha), torch.ones_like(alpha))
    return (
        _relative(two.loss - mixed.loss, mixed.loss),
        _relative(two.by_logits - mixed.by_logits, torch.ones(())),
        _relative(two.by_params - mixed.by_params, yardstick.by_params),
    )


def difference_apart(case: Case, alpha: Tensor, generator: torch.Generator) -> tuple[float, float]:
    """How far the two laws for any sum s = α + β are from holding.

    The laws: Σ αf + βg − L(mixed at β) = Σ (s − 1) f, and αf + βg = s·L(mixed at β/s).
    """
    beta = 2 * torch.rand(alpha.shape, generator=generator) + 1e-3
    s = alpha + beta
    z = case.net(case.x).detach()
    f = losses.cross_entropy(z, case.observed)
    two = two_weights(case, alpha, beta).loss
    mixed = losses.mixed_target_loss(z, case.observed, case.pseudo, beta)
    scaled = s * losses.mixed_target_loss(z, case.observed, case.pseudo, beta / s)
    g = losses.cross_entropy(z, case.pseudo)
    scale = ((1 + s) * (f + g)).sum()
    return (
        _relative(two - mixed.sum() - ((s - 1) * f).sum(), scale),
        _relative(two - scaled.sum(), scale),
    )


def departure(case: Case) -> dict[str, Any]:
    """Loss and gradient of both objectives as α + β moves away from 1, at β = 0.4."""
    beta = torch.full((len(case.x),), 0.4)
    fixed = one_target(case, beta)
    sums = torch.linspace(0.4, 2.0, 33).tolist()
    losses_two = [float(two_weights(case, s - beta, beta).loss / len(beta)) for s in sums]
    excess = [10.0**power for power in torch.linspace(-17, 0, 52).tolist()]
    apart = [two_weights(case, (1 - beta) + e, beta) for e in excess]
    towards = two_weights(case, torch.ones_like(beta), torch.zeros_like(beta))
    return {
        "sums": sums,
        "two_weights": losses_two,
        "mixed": float(fixed.loss / len(beta)),
        "excess": excess,
        "loss_gap": [float((side.loss - fixed.loss).abs() / fixed.loss) for side in apart],
        "loss_law": float(towards.loss / fixed.loss),
        "gradient_gap": [
            float((side.by_params - fixed.by_params).norm() / fixed.by_params.norm())
            for side in apart
        ],
        "gradient_law": float(towards.by_params.norm() / fixed.by_params.norm()),
    }


def two_weights(case: Case, alpha: Tensor, beta: Tensor) -> Sides:
    """Σ α f + β g (Eq. 3) and its gradients."""
    z = case.net(case.x)
    weights = Weights(alpha=alpha, beta=beta, pseudo=case.pseudo, scores=torch.stack([alpha, beta]))
    return _sides(case.net, z, losses.bootstrapped_loss(z, case.observed, weights))


def one_target(case: Case, beta: Tensor) -> Sides:
    """Cross-entropy towards (1 − β) y + β ŷ (Eq. 2), summed, and its gradients."""
    z = case.net(case.x)
    return _sides(case.net, z, losses.mixed_target_loss(z, case.observed, case.pseudo, beta).sum())


def _sides(net: nn.Module, z: Tensor, loss: Tensor) -> Sides:
    by_logits, *by_params = torch.autograd.grad(loss, [z, *net.parameters()])
    return Sides(loss.detach(), by_logits, torch.cat([g.flatten() for g in by_params]))


def _relative(difference: Tensor, scale: Tensor) -> float:
    tiny = torch.finfo(difference.dtype).tiny
    return float(difference.norm() / scale.norm().clamp_min(tiny))

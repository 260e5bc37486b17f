"""Problems on which L (smoothness of the clean loss) and σ (bound of the gradients) are known."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, hessian, vmap
from torch.nn.functional import one_hot

from l2b import losses

Loss = Callable[[Tensor, Tensor], Tensor]
"""Outputs [n, classes] and targets as probabilities [n, classes] to losses [n]."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Noisy inputs, a clean set, a model, and the constants of the theorem.

    Attributes:
        name: in plain words.
        known: how L and σ are known.
        module: the model.
        loss: f, g and f^v alike.
        inputs: noisy inputs, [N, features]; any class may be observed or pseudo.
        clean_inputs: clean inputs, [M, features].
        clean_labels: their classes, [M].
        classes: number of classes.
        start: parameters to start from, flat, [d].
        smoothness: L, clean loss per squared unit of parameter space.
        bound: σ, largest gradient norm of a training loss.
        radius: L and σ hold within this distance of ``start``; infinite where proved.
    """

    name: str
    known: str
    module: nn.Module
    loss: Loss
    inputs: Tensor
    clean_inputs: Tensor
    clean_labels: Tensor
    classes: int
    start: Tensor
    smoothness: float
    bound: float
    radius: float = float("inf")


def squared_error(outputs: Tensor, targets: Tensor) -> Tensor:
    """½‖outputs − target‖² of every sample, [n]."""
    return (outputs - targets).square().sum(dim=1) / 2


def logistic_regression(generator: torch.Generator) -> Problem:
    """Two classes, linear, cross-entropy: both constants in closed form, over all θ.

    The Hessian of G is (1/M)Σ(diag p − ppᵀ)⊗xxᵀ, at most ½λ_max(XᵀX/M), reached at θ = 0.
    A gradient is (p − e_y)xᵀ, at most √2‖x‖, approached as p saturates.
    """
    inputs, clean_inputs, clean_labels = _data(generator, classes=2)
    return Problem(
        name="logistic regression",
        known="L and sigma in closed form, for all parameters",
        module=nn.Linear(3, 2, bias=False),
        loss=losses.cross_entropy,
        inputs=inputs,
        clean_inputs=clean_inputs,
        clean_labels=clean_labels,
        classes=2,
        start=torch.randn(6, generator=generator),
        smoothness=_second_moment(clean_inputs) / 2,
        bound=float(2**0.5 * inputs.norm(dim=1).max()),
    )


def least_squares_head(generator: torch.Generator) -> Problem:
    """A linear head under squared error: L exact, σ exact over all that descent can reach.

    G is quadratic with L = λ_max(S), S = XᵀX/M. While G does not rise, θ stays in the
    ellipsoid G ≤ G(start), in which ‖(W − W*)x‖ ≤ √(2(G − G*)·xᵀS⁻¹x).
    """
    inputs, clean_inputs, clean_labels = _data(generator, classes=3)
    start = torch.randn(9, generator=generator)
    moment = clean_inputs.T @ clean_inputs / len(clean_inputs)
    best = torch.linalg.lstsq(clean_inputs, one_hot(clean_labels, 3).to(inputs.dtype)).solution.T
    unfinished = Problem(
        name="least-squares head",
        known="L exact; sigma in closed form, on the set where G is below its start",
        module=nn.Linear(3, 3, bias=False),
        loss=squared_error,
        inputs=inputs,
        clean_inputs=clean_inputs,
        clean_labels=clean_labels,
        classes=3,
        start=start,
        smoothness=_second_moment(clean_inputs),
        bound=0.0,
    )
    excess = clean_loss(unfinished, start) - clean_loss(unfinished, best.flatten())
    spread = (2 * excess * (inputs @ torch.linalg.inv(moment) * inputs).sum(dim=1)).sqrt()
    residual = (inputs @ best.T).unsqueeze(1) - torch.eye(3)
    gradients = inputs.norm(dim=1) * (spread + residual.norm(dim=2).amax(dim=1))
    return replace(unfinished, bound=float(gradients.max()))


def smooth_network(generator: torch.Generator, samples: int) -> Problem:
    """A tanh network: L and σ are the largest values found in a ball, with a margin of 1.25.

    Args:
        generator: source of data and points.
        samples: points of the ball at which both are measured.
    """
    inputs, clean_inputs, clean_labels = _data(generator, classes=3)
    module = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 3))
    size = sum(parameter.numel() for parameter in module.parameters())
    start = torch.randn(size, generator=generator)
    radius = 1.0
    unfinished = Problem(
        name="small tanh network",
        known="L and sigma searched over the region visited, margin 1.25",
        module=module,
        loss=losses.cross_entropy,
        inputs=inputs,
        clean_inputs=clean_inputs,
        clean_labels=clean_labels,
        classes=3,
        start=start,
        smoothness=0.0,
        bound=0.0,
        radius=radius,
    )
    ball = torch.stack([point_near(unfinished, generator) for _ in range(samples)])
    curvatures = [curvature(unfinished, theta) for theta in ball]
    gradients = vmap(lambda theta: candidate_gradients(unfinished, theta))(ball)
    return replace(
        unfinished,
        smoothness=1.25 * max(curvatures),
        bound=1.25 * float(gradients.norm(dim=-1).max()),
    )


def point_near(problem: Problem, generator: torch.Generator) -> Tensor:
    """A random point where L and σ hold; within distance 3 of the start if they hold anywhere."""
    direction = torch.randn(problem.start.shape, generator=generator)
    reach = min(problem.radius, 3.0) * float(torch.rand((), generator=generator))
    return problem.start + reach * direction / direction.norm()


def outputs(problem: Problem, theta: Tensor, inputs: Tensor) -> Tensor:
    """The model with flat parameters [d] on inputs [n, features]: [n, classes]."""
    return functional_call(problem.module, unflattened(problem, theta), (inputs,))


def unflattened(problem: Problem, theta: Tensor) -> dict[str, Tensor]:
    """Flat parameters [d] by name and shape."""
    named = dict(problem.module.named_parameters())
    parts = theta.split([value.numel() for value in named.values()])
    return {name: part.view_as(named[name]) for name, part in zip(named, parts, strict=True)}


def clean_loss(problem: Problem, theta: Tensor) -> Tensor:
    """G(θ), the mean loss of the whole clean set (Eq. 26), a scalar."""
    targets = one_hot(problem.clean_labels, problem.classes).to(theta.dtype)
    return problem.loss(outputs(problem, theta, problem.clean_inputs), targets).mean()


def clean_gradient(problem: Problem, theta: Tensor) -> Tensor:
    """∇G(θ), [d]."""
    return grad(lambda at: clean_loss(problem, at))(theta)


def candidate_gradients(problem: Problem, theta: Tensor) -> Tensor:
    """Gradient of every noisy input's loss towards every class, [N, classes, d]."""

    def one(at: Tensor, x: Tensor, target: Tensor) -> Tensor:
        return problem.loss(outputs(problem, at, x.unsqueeze(0)), target.unsqueeze(0)).squeeze(0)

    over_classes = vmap(grad(one), in_dims=(None, None, 0))
    targets = torch.eye(problem.classes, dtype=theta.dtype)
    return vmap(over_classes, in_dims=(None, 0, None))(theta, problem.inputs, targets)


def curvature(problem: Problem, theta: Tensor) -> float:
    """Largest absolute eigenvalue of the Hessian of G, from the full matrix."""
    matrix = hessian(lambda at: clean_loss(problem, at))(theta)
    return float(torch.linalg.eigvalsh(matrix).abs().max())


def _data(generator: torch.Generator, classes: int) -> tuple[Tensor, Tensor, Tensor]:
    inputs = torch.randn(10, 3, generator=generator)
    clean_inputs = torch.randn(12, 3, generator=generator)
    return inputs, clean_inputs, torch.randint(classes, (12,), generator=generator)


def _second_moment(inputs: Tensor) -> float:
    return float(torch.linalg.eigvalsh(inputs.T @ inputs / len(inputs))[-1])

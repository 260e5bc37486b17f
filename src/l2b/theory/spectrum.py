"""Smoothness and gradient norms of a model, without ever building a Hessian."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.func import grad, vmap

from l2b.functional import Functional, differentiable_kernels
from l2b.losses import cross_entropy
from l2b.types import Params

TOLERANCE = 1e-3
"""Lanczos stops once its residual is this share of the eigenvalue."""


class Extreme(NamedTuple):
    """An extreme eigenvalue.

    Attributes:
        largest: largest absolute eigenvalue found; never above the true one.
        residual: some eigenvalue lies within this distance of it.
    """

    largest: float
    residual: float


@contextmanager
def evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every submodule's own mode restored on leaving."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def mean_gradient(net: Functional, clean: tuple[Tensor, Tensor], chunk: int) -> Params:
    """∇G, the gradient of the mean clean loss (Eq. 26), by name."""
    total = {name: torch.zeros_like(value) for name, value in net.params.items()}
    with torch.enable_grad():
        for x, y in zip(clean[0].split(chunk), clean[1].split(chunk), strict=True):
            leaves = _leaves(net.params)
            loss = cross_entropy(net.apply(leaves, x), y).sum() / len(clean[0])
            parts = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
            for name, part in zip(leaves, parts, strict=True):
                total[name] += part
    return total


def smoothness(
    net: Functional,
    clean: tuple[Tensor, Tensor],
    direction: Params,
    *,
    chunk: int,
    iterations: int,
    seed: int,
) -> Extreme:
    """L: largest absolute eigenvalue of the Hessian of the mean clean loss (Eq. 29).

    Args:
        net: the model taken apart.
        clean: inputs and labels of the whole clean set.
        direction: ∇G, whose shape, device and precision the vectors take.
        chunk: clean samples differentiated at a time.
        iterations: most Lanczos steps.
        seed: of the first vector.

    Returns:
        The eigenvalue and its residual.
    """
    like = _flat(direction)
    generator = torch.Generator().manual_seed(seed)
    start = torch.randn(like.numel(), generator=generator, dtype=torch.float64).to(like)
    return lanczos(lambda v: _hessian_product(net, clean, v, chunk), start, iterations)


def lanczos(multiply: Callable[[Tensor], Tensor], start: Tensor, iterations: int) -> Extreme:
    """Largest absolute eigenvalue of a symmetric matrix, by its products with vectors.

    Lanczos with full reorthogonalisation: it needs far fewer products than power iteration
    where eigenvalues crowd together, at the price of one stored vector a step.

    Args:
        multiply: the matrix times a vector [d].
        start: first vector, [d], of any length but 0.
        iterations: most products.

    Returns:
        The eigenvalue and its residual; NaN if a product is not finite.
    """
    basis = [start / start.norm()]
    diagonal: list[float] = []
    beside: list[float] = []
    found = Extreme(0.0, float("inf"))
    for _ in range(min(iterations, start.numel())):
        product = multiply(basis[-1])
        diagonal.append(float(product @ basis[-1]))
        for _ in range(2):  # once leaves rounding behind
            for vector in basis:
                product = product - (vector @ product) * vector
        beside.append(float(product.norm()))
        if not torch.isfinite(product).all():
            return Extreme(float("nan"), float("nan"))
        found = _ritz(diagonal, beside)
        if found.residual <= TOLERANCE * found.largest or beside[-1] == 0:
            break
        basis.append(product / beside[-1])
    return found


def gradient_norms(
    net: Functional, data: tuple[Tensor, Tensor], direction: Params, chunk: int
) -> tuple[Tensor, Tensor]:
    """Gradient of every sample's loss: its norm, and its product with a direction.

    Args:
        net: the model taken apart.
        data: inputs [N, …] and targets.
        direction: ∇G, for the scores ∇Gᵀ∇f of Eqs. 19 and 24.
        chunk: samples differentiated at a time.

    Returns:
        Norms [N] and products [N].
    """

    def loss(params: Params, x: Tensor, y: Tensor) -> Tensor:
        return cross_entropy(net.apply(params, x.unsqueeze(0)), y.unsqueeze(0)).squeeze(0)

    def measured(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        return _norm_and_product(grad(loss)(net.params, x, y), direction)

    try:
        with differentiable_kernels():
            return vmap(measured, chunk_size=chunk)(*data)
    except RuntimeError:  # no batching rule for some layer: one sample at a time
        return _one_by_one(net, data, direction)


def _one_by_one(
    net: Functional, data: tuple[Tensor, Tensor], direction: Params
) -> tuple[Tensor, Tensor]:
    rows = []
    with torch.enable_grad():
        for x, y in zip(data[0].split(1), data[1].split(1), strict=True):
            leaves = _leaves(net.params)
            loss = cross_entropy(net.apply(leaves, x), y).sum()
            parts = torch.autograd.grad(loss, list(leaves.values()), materialize_grads=True)
            rows.append(_norm_and_product(dict(zip(leaves, parts, strict=True)), direction))
    norms, products = zip(*rows, strict=True)
    return torch.stack(norms), torch.stack(products)


def _norm_and_product(gradient: Params, direction: Params) -> tuple[Tensor, Tensor]:
    squares = torch.stack([part.square().sum() for part in gradient.values()])
    products = torch.stack([(part * direction[name]).sum() for name, part in gradient.items()])
    return squares.sum().sqrt(), products.sum()


def _hessian_product(
    net: Functional, clean: tuple[Tensor, Tensor], vector: Tensor, chunk: int
) -> Tensor:
    total = torch.zeros_like(vector)
    with torch.enable_grad(), differentiable_kernels():
        for x, y in zip(clean[0].split(chunk), clean[1].split(chunk), strict=True):
            leaves = _leaves(net.params)
            values = list(leaves.values())
            loss = cross_entropy(net.apply(leaves, x), y).sum() / len(clean[0])
            slope = torch.autograd.grad(loss, values, create_graph=True, materialize_grads=True)
            along = _flat(dict(zip(leaves, slope, strict=True))) @ vector
            if along.requires_grad:  # a loss linear in the parameters has no second derivative
                parts = torch.autograd.grad(along, values, materialize_grads=True)
                total += torch.cat([part.flatten() for part in parts])
    return total


def _ritz(diagonal: list[float], beside: list[float]) -> Extreme:
    matrix = torch.diag(torch.tensor(diagonal, dtype=torch.float64))
    off = torch.tensor(beside[:-1], dtype=torch.float64)
    matrix = matrix + torch.diag(off, 1) + torch.diag(off, -1)
    values, vectors = torch.linalg.eigh(matrix)
    place = values.abs().argmax()
    return Extreme(float(values[place].abs()), float(beside[-1] * vectors[-1, place].abs()))


def _leaves(params: Params) -> Params:
    return {name: value.detach().requires_grad_() for name, value in params.items()}


def _flat(params: Params) -> Tensor:
    return torch.cat([value.flatten() for value in params.values()])

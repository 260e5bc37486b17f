"""The training pass and its derivative along the clean gradient one step ahead.

Methods that learn *how* to weigh or to relabel have parameters Θ of their own: the model steps
to θ̂(Θ) = θ − λ∇_θ L(θ; Θ), and Θ should lower the clean loss F there. By the chain rule

    dF/dΘ = −λ ∇F(θ̂)ᵀ ∂²L/∂θ∂Θ = −∂/∂Θ [derivative of L along λ∇F(θ̂)],

and the derivative of any loss of the logits along a direction v is a function of z and ż = Jv.
So the one pair (z, ż) gives the whole hypergradient, without a second-order graph.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn, optim

from l2b.engines import Engine
from l2b.functional import (
    Functional,
    full_precision,
    functional,
    reverse_mode,
    untouched_random_state,
)
from l2b.layout import best_layout
from l2b.lookahead import Ahead, Paper
from l2b.types import Batch, Inputs, Probe
from l2b.weighing import clean_direction

PAPER = Paper()


def bilevel_pass(
    module: nn.Module,
    batch: Batch,
    clean: Batch,
    *,
    loss: Callable[[Tensor], Tensor],
    engine: Engine,
    optimiser: optim.Optimizer | None = None,
) -> Probe:
    """Run the ordinary training pass, with ż along λ∇F(θ̂) beside it.

    θ̂ is where one plain gradient step of each parameter's learning rate on ``loss`` leads.
    All passes draw the same random numbers; running statistics move once, as in training.

    Args:
        module: the model.
        batch: the noisy batch.
        clean: the clean batch, whose mean cross-entropy is F.
        loss: logits of the noisy batch to the scalar that the step descends.
        engine: how logits are differentiated.
        optimiser: gives the learning rates λ; without one, λ = 1.

    Returns:
        Logits of the noisy batch with their autograd history, [n, classes, *pixels], and their
        derivative without, in logits per unit of F.

    Raises:
        ValueError: if the logits depend on no parameter that is to move.
        NotImplementedError: if the engine has no derivative of an operation in the model.
    """
    device = clean.labels.device
    net = functional(module, engine.scope(module))
    ahead = PAPER(module, net.params, optimiser)
    inputs = best_layout(module, batch.inputs)
    with untouched_random_state(device):
        reached = virtual_step(net, ahead, inputs, loss)
    with untouched_random_state(device):
        direction = clean_direction(net, reached, clean.inputs, clean.labels)
    return engine.beside(module, inputs, direction)


def virtual_step(
    net: Functional, ahead: Ahead, inputs: Inputs, loss: Callable[[Tensor], Tensor]
) -> Ahead:
    """θ̂ = θ − λ∇loss(z(θ)), with the same step sizes λ; what the loss does not know stays.

    Args:
        net: the model taken apart.
        ahead: where to start, and the step size of each parameter.
        inputs: the noisy batch.
        loss: logits to a scalar.
    """
    with torch.enable_grad(), reverse_mode():
        leaves = {name: value.detach().requires_grad_() for name, value in ahead.params.items()}
        value = loss(full_precision(net.apply(leaves, inputs)))
        if not value.requires_grad:
            return ahead  # nothing moves; whether anything could, the clean gradient tells
        gradient = torch.autograd.grad(value, list(leaves.values()), materialize_grads=True)
    params = {
        name: ahead.params[name] - ahead.rates[name] * g
        for name, g in zip(leaves, gradient, strict=True)
    }
    return Ahead(params, ahead.rates)

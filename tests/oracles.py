"""The paper transcribed: slow, literal, never optimised. Fast code answers to these."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call


def cross_entropy(z: Tensor, target: Tensor) -> Tensor:
    """−Σ_l y_l log p_l, with an explicit softmax."""
    log_p = z - torch.logsumexp(z, dim=1, keepdim=True)
    if not target.is_floating_point():
        one_hot = torch.zeros_like(z).scatter(1, target.unsqueeze(1), 1.0)
        target = one_hot
    return -(target * log_p).sum(dim=1)


@contextmanager
def same_draws(seed: int) -> Iterator[None]:
    """Every pass inside starts from the same random state."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield


def unrolled_scores(
    model: nn.Module,
    inputs: Tensor,
    observed: Tensor,
    clean_inputs: Tensor,
    clean_labels: Tensor,
    pseudo: Tensor | Callable[[Tensor], Tensor],
    virtual_step: Callable[[dict, dict], dict],
    seed: int = 0,
) -> tuple[Tensor, Tensor]:
    """Eqs. 15 and 20 by the definition: build θ̂(α, β) with a graph, differentiate twice.

    ``virtual_step(params, gradients)`` returns θ̂; the clean loss is the mean over the clean
    batch (η = 1).
    """
    params = {k: p for k, p in model.named_parameters() if p.requires_grad}

    def apply(values: dict, batch: Tensor) -> Tensor:
        buffers = {k: b.clone() for k, b in model.named_buffers()}
        with same_draws(seed):
            output = functional_call(model, {**values, **buffers}, (batch,))
        return output["logits"] if isinstance(output, dict) else output

    z = apply(params, inputs)
    predicted = pseudo(z.detach()) if callable(pseudo) else pseudo
    f, g = cross_entropy(z, observed), cross_entropy(z, predicted)
    alpha = torch.zeros_like(f, requires_grad=True)
    beta = torch.zeros_like(g, requires_grad=True)
    total = (alpha * f + beta * g).sum()
    grads = torch.autograd.grad(
        total, list(params.values()), create_graph=True, materialize_grads=True
    )
    ahead = virtual_step(params, dict(zip(params, grads, strict=True)))
    clean_loss = cross_entropy(apply(ahead, clean_inputs), clean_labels).mean()
    d_alpha, d_beta = torch.autograd.grad(clean_loss, (alpha, beta), materialize_grads=True)
    return -d_alpha, -d_beta


def plain_step(lr: float) -> Callable[[dict, dict], dict]:
    """θ − λ∇: the virtual step of the paper."""
    return lambda params, grads: {k: params[k] - lr * grads[k] for k in params}


def momentum_step(model: nn.Module, optimiser: torch.optim.SGD) -> Callable[[dict, dict], dict]:
    """One step of SGD as its documentation states it, differentiable in the gradients."""
    named, group = dict(model.named_parameters()), optimiser.param_groups[0]

    def step(params: dict, grads: dict) -> dict:
        ahead = {}
        for k, value in params.items():
            g = grads[k] + group["weight_decay"] * value
            buffer = optimiser.state.get(named[k], {}).get("momentum_buffer")
            b = g if buffer is None else group["momentum"] * buffer + g
            g = g + group["momentum"] * b if group["nesterov"] else b
            ahead[k] = value - group["lr"] * g
        return ahead

    return step


def eq9(alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Eq. 9, written with loops."""
    a = [max(x, 0.0) for x in alpha.flatten().tolist()]
    b = [max(x, 0.0) for x in beta.flatten().tolist()]
    total = sum(a) + sum(b)
    divisor = total if total > 0 else 1.0
    return (
        torch.tensor([x / divisor for x in a], dtype=alpha.dtype).view_as(alpha),
        torch.tensor([x / divisor for x in b], dtype=beta.dtype).view_as(beta),
    )


def copied(model: nn.Module) -> nn.Module:
    """A deep copy, to compare states before and after."""
    return copy.deepcopy(model)

"""Eqs. 15 and 20 as they are written: move one weight, take the step, look at the clean loss."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from l2b.functional import Functional, functional
from l2b.losses import cross_entropy
from l2b.pseudo import Source
from l2b.types import Inputs, Params


class Given(Source):
    """Pseudo-labels that were decided beforehand."""

    def __init__(self, labels: Tensor) -> None:
        """Keep the labels.

        Args:
            labels: class indices, [n].
        """
        self.labels = labels

    def __call__(self, z: Tensor, inputs: Inputs, index: Tensor | None) -> Tensor:
        """The labels, whatever the logits."""
        del z, inputs, index
        return self.labels


class Setting(NamedTuple):
    """One model, one noisy batch with two candidate labels a sample, one clean batch.

    ``targets`` is [2, n]: observed labels, then pseudo-labels. ``lr`` is λ.
    """

    model: nn.Module
    x: Tensor
    targets: Tensor
    clean_x: Tensor
    clean_y: Tensor
    lr: float


def random_setting(generator: torch.Generator, dtype: torch.dtype) -> Setting:
    """A smooth network with batch normalisation in training mode; 6 noisy, 5 clean samples.

    Everything is drawn in float32, so that the same numbers serve every precision.
    """
    model = nn.Sequential(nn.Linear(6, 10), nn.BatchNorm1d(10), nn.Tanh(), nn.Linear(10, 4))
    with torch.no_grad():
        for parameter in model.parameters():
            drawn = torch.randn(parameter.shape, generator=generator, dtype=torch.float32)
            parameter.copy_(0.5 * drawn)
    return Setting(
        model=model.to(dtype),
        x=torch.randn(6, 6, generator=generator, dtype=torch.float32).to(dtype),
        targets=torch.randint(4, (2, 6), generator=generator),
        clean_x=torch.randn(5, 6, generator=generator, dtype=torch.float32).to(dtype),
        clean_y=torch.randint(4, (5,), generator=generator),
        lr=0.1,
    )


def central_differences(
    setting: Setting, step: float, only: frozenset[str] | None = None
) -> Tensor:
    """−∂G(θ̂(α, β))/∂(each weight) at α = β = 0, by central differences (Eqs. 15 and 20).

    θ̂ is built by an ordinary gradient of the weighted loss with a single weight of ±step;
    nothing is differentiated twice, and no formula of Eqs. 16–24 is used.

    Args:
        setting: model and batches; η = 1 and G is the mean clean loss.
        step: how far a weight is moved either way.
        only: names of the parameters that θ̂ may move; all if None.

    Returns:
        Scores [2, n], with an error of the second order in ``step``.
    """
    net = functional(setting.model, only)
    scores = torch.zeros(setting.targets.shape, dtype=setting.x.dtype)
    for candidate in range(scores.shape[0]):
        for i in range(scores.shape[1]):
            weights = torch.zeros_like(scores)
            weights[candidate, i] = step
            up = clean_loss(net, setting, virtual_step(net, setting, weights))
            down = clean_loss(net, setting, virtual_step(net, setting, -weights))
            scores[candidate, i] = -(up - down) / (2 * step)
    return scores


def extrapolated_differences(setting: Setting, only: frozenset[str] | None = None) -> Tensor:
    """Central differences at three steps, combined to the sixth order (Richardson)."""
    coarse, middle, fine = (central_differences(setting, h, only) for h in (0.04, 0.02, 0.01))
    first, second = (4 * middle - coarse) / 3, (4 * fine - middle) / 3
    return (16 * second - first) / 15


def virtual_step(net: Functional, setting: Setting, weights: Tensor) -> Params:
    """θ̂ = θ − λ∇Σ(α_k f_k + β_k g_k) (the step inside Eqs. 15–18)."""
    leaves = {name: value.clone().requires_grad_() for name, value in net.params.items()}
    z = net.apply(leaves, setting.x)
    f, g = cross_entropy(z, setting.targets[0]), cross_entropy(z, setting.targets[1])
    total = (weights[0] * f + weights[1] * g).sum()
    gradient = torch.autograd.grad(total, list(leaves.values()))
    return {
        name: (leaf - setting.lr * slope).detach()
        for (name, leaf), slope in zip(leaves.items(), gradient, strict=True)
    }


def clean_loss(net: Functional, setting: Setting, params: Params) -> Tensor:
    """Mean cross-entropy of the clean batch, G (Eq. 26), a scalar."""
    with torch.no_grad():
        return cross_entropy(net.apply(params, setting.clean_x), setting.clean_y).mean()

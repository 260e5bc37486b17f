"""θ̂: where the clean gradient is taken, and how far each parameter would move.

The paper takes ∇f^v at θ_t (Eq. 19). The authors' code unrolls the real optimiser with zero
weights, which still decays the parameters and follows the momentum. Both are offered.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import NamedTuple

from torch import nn, optim

from l2b.types import Params


class Ahead(NamedTuple):
    """The look-ahead point.

    Attributes:
        params: parameters at which the clean gradient is taken, by name.
        rates: −∂θ̂/∂(gradient) of each parameter: its step size λ times what the optimiser
            makes of a fresh gradient.
    """

    params: Params
    rates: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class LookAhead(ABC):
    """A choice of look-ahead point."""

    @abstractmethod
    def __call__(
        self, module: nn.Module, params: Params, optimiser: optim.Optimizer | None
    ) -> Ahead:
        """Where the optimiser would go with zero weights.

        Args:
            module: the model, to match parameters with the optimiser's.
            params: its trainable parameters, detached, by name.
            optimiser: what will take the step, or None if unknown.
        """


@dataclass(frozen=True, kw_only=True)
class Paper(LookAhead):
    """∇f^v at θ_t itself (Eqs. 17–19), for any optimiser.

    With an optimiser, λ is the learning rate of each parameter's group; without, it is 1.
    """

    def __call__(
        self, module: nn.Module, params: Params, optimiser: optim.Optimizer | None
    ) -> Ahead:
        """θ_t, and λ of each parameter group."""
        if optimiser is None:
            return Ahead(params, dict.fromkeys(params, 1.0))
        groups = _groups(module, params, optimiser)
        return Ahead(params, {name: float(group["lr"]) for name, group in groups.items()})


@dataclass(frozen=True, kw_only=True)
class OptimiserStep(LookAhead):
    """∇f^v at the point that the optimiser reaches with zero weights, as the authors' code.

    Exact for `torch.optim.SGD` with momentum, dampening, Nesterov, weight decay and
    parameter groups. Adaptive optimisers divide by a running square of the very gradient
    that the weights scale, so their step is not linear in the weights; they are refused.
    """

    def __call__(
        self, module: nn.Module, params: Params, optimiser: optim.Optimizer | None
    ) -> Ahead:
        """θ_t − λ(weight decay · θ_t + momentum · buffer), and the step per gradient.

        Raises:
            ValueError: without an optimiser, or with one other than SGD.
        """
        if optimiser is None:
            raise ValueError(
                "OptimiserStep needs the optimiser whose step it looks ahead to: pass "
                "optimiser=…, or use Paper(), which needs none."
            )
        optimiser = getattr(optimiser, "optimizer", optimiser)  # accelerate wraps it
        if not isinstance(optimiser, optim.SGD):
            raise ValueError(
                f"OptimiserStep knows the step of torch.optim.SGD only, got "
                f"{type(optimiser).__name__}: its step is not linear in the weights. Use "
                "Paper(), which takes the clean gradient at the current parameters and "
                "works with any optimiser."
            )
        ahead, rates = {}, {}
        named = dict(module.named_parameters())
        for name, group in _groups(module, params, optimiser).items():
            buffer = optimiser.state.get(named[name], {}).get("momentum_buffer")
            ahead[name], rates[name] = _sgd_step(params[name], buffer, group)
        return Ahead(ahead, rates)


def _sgd_step(value, buffer, group):  # noqa: ANN001, ANN202 — one formula, torch.optim.SGD's own
    lr, momentum = float(group["lr"]), group["momentum"]
    step = value * group["weight_decay"]
    passed = 1.0  # how much of a fresh gradient reaches the step
    if momentum:
        passed = 1.0 if buffer is None else 1.0 - group["dampening"]
        moved = step if buffer is None else momentum * buffer + passed * step
        if group["nesterov"]:
            step, passed = step + momentum * moved, 1.0 + momentum * passed
        else:
            step = moved
    sign = -1.0 if group["maximize"] else 1.0
    return value - lr * step, sign * lr * passed


def _groups(module: nn.Module, params: Params, optimiser: optim.Optimizer) -> dict[str, dict]:
    by_identity = {
        id(parameter): group for group in optimiser.param_groups for parameter in group["params"]
    }
    named = dict(module.named_parameters())
    missing = [name for name in params if id(named[name]) not in by_identity]
    if missing:
        raise ValueError(
            f"The optimiser does not hold the parameter {missing[0]!r} of the model"
            f"{f' (nor {len(missing) - 1} others)' if len(missing) > 1 else ''}: its step size "
            "is unknown. Build the optimiser from model.parameters(), or freeze what it "
            "leaves out with requires_grad_(False)."
        )
    return {name: by_identity[id(named[name])] for name in params}

"""Forward-mode automatic differentiation: exact, one pass, no second-order graph."""

from dataclasses import dataclass

import torch
from torch import nn
from torch.autograd import forward_ad

from l2b.engines.base import Engine
from l2b.functional import forward_mode
from l2b.tangents import with_tangents
from l2b.types import Apply, Inputs, Params, Probe


@dataclass(frozen=True, kw_only=True)
class Forward(Engine):
    """Exact ż by forward-mode automatic differentiation; no second-order graph.

    Called on a pure function, it follows parts that the model runs under `torch.no_grad`,
    which reverse mode does not; `beside` leaves them out, as the definition has it.
    """

    def __call__(self, apply: Apply, params: Params, inputs: Inputs, direction: Params) -> Probe:
        """One pass of dual numbers through the model."""
        with torch.no_grad(), forward_mode():
            duals = {
                name: forward_ad.make_dual(value, direction[name]) for name, value in params.items()
            }
            z, dz = forward_ad.unpack_dual(apply(duals, inputs))
            return Probe(z, torch.zeros_like(z) if dz is None else dz)

    def beside(self, module: nn.Module, inputs: Inputs, direction: Params) -> Probe:
        """Tangents propagated next to the training pass itself: one primal for both."""
        return with_tangents(module, inputs, direction)

"""The unrolled step differentiated twice: exact, dear, the reference for the others."""

from dataclasses import dataclass

import torch

from l2b.engines.base import Engine
from l2b.functional import differentiable_kernels, reverse_mode
from l2b.types import Apply, Inputs, Params, Probe


@dataclass(frozen=True, kw_only=True)
class DoubleBackward(Engine):
    """Exact ż by reverse mode twice, as the published code; about ten forward passes."""

    def __call__(self, apply: Apply, params: Params, inputs: Inputs, direction: Params) -> Probe:
        """Unroll one step on weighted logits, then differentiate by the weights.

        With u the weight of every logit, the virtual step is θ̂(u) = θ + ∇Σ u·z, and
        ∂⟨v, θ̂⟩/∂u at u = 0 is the derivative of z along v. Of complex parameters, ⟨·, ·⟩ is the
        real part: the sum over their real and imaginary parts.
        """
        with torch.enable_grad(), differentiable_kernels(), reverse_mode():
            leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
            z = apply(leaves, inputs)
            u = torch.zeros_like(z, requires_grad=True)
            step = torch.autograd.grad(
                z, list(leaves.values()), u, create_graph=True, materialize_grads=True
            )
            parts = [
                (s.conj() * direction[n]).sum().real for n, s in zip(leaves, step, strict=True)
            ]
            (dz,) = torch.autograd.grad(torch.stack(parts).sum(), u, materialize_grads=True)
        return Probe(z.detach(), dz)

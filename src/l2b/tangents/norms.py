"""Tangent rules of normalisation layers and of functions of one element or one axis."""

from collections.abc import Callable

import torch
from torch import Tensor

from l2b.tangents.rules import Call, Rule, total

aten = torch.ops.aten


def batch_norm(call: Call) -> Tensor | None:
    """γ·J ẋ + γ̇·x̂ + β̇ = aẋ + bx + c per channel, from the primal's own statistics.

    With r = 1/σ: a = γr, b = r(γ̇ − a⟨x̂, ẋ⟩), c = β̇ − a⟨ẋ⟩ − bμ, averages over a channel;
    in evaluation mode both averages are left out.
    """
    x, weight, _, mean, var, training = call.args[:6]
    dx, dweight, dbias = call.dots[:3]
    if training:
        mean, rstd = call.out[1], call.out[2]
    else:
        rstd = torch.rsqrt(var + call.args[7])
    a = rstd if weight is None else weight * rstd
    b = torch.zeros_like(mean) if dweight is None else dweight
    c = torch.zeros_like(mean) if dbias is None else dbias
    if dx is not None and training:
        # The backward kernel has both sums over a channel in one pass: Σx̂ẋ and Σẋ.
        _, along, total_dx = aten.native_batch_norm_backward(
            dx, x, weight, None, None, mean, rstd, True, call.args[7], [False, True, True]
        )
        count = x.numel() // x.shape[1]
        b = b - a * along / count
        c = c - a * total_dx / count
    b = b * rstd
    c = c - b * mean
    per_channel = (-1, *[1] * (x.ndim - 2))
    if dx is not None and not training and dweight is None and dbias is None:
        return dx * a.view(per_channel)
    # The kernel that normalises by given statistics is the fastest way to bx + c; beside
    # half-precision images it takes its per-channel numbers in the statistics' own type.
    b, c = b.to(mean.dtype), c.to(mean.dtype)
    none, one = torch.zeros_like(mean), torch.ones_like(mean)
    dy = aten.native_batch_norm(x, b, c, none, one, False, 0.0, 0.0)[0]
    return dy if dx is None else dy.addcmul_(dx, a.to(x.dtype).view(per_channel))


def layer_norm(call: Call) -> Tensor | None:
    """γ·J ẋ + γ̇·x̂ + β̇ over the trailing axes."""
    x, shape, weight = call.args[:3]
    _, mean, rstd = call.out
    dx, _, dweight, dbias = call.dots[:4]
    dy = None
    if dx is not None:
        dy = aten.native_layer_norm_backward(
            dx.contiguous(), x, shape, mean, rstd, None, None, [True, False, False]
        )[0]
        dy = dy if weight is None else dy.mul_(weight)
    if dweight is not None:
        dy = total(dy, (x - mean).mul_(rstd).mul_(dweight))
    return _shifted(dy, dbias, call.out[0])


def group_norm(call: Call) -> Tensor | None:
    """γ·J ẋ + γ̇·x̂ + β̇ over groups of channels."""
    x, weight, _, n, channels, pixels, groups, _ = call.args
    _, mean, rstd = call.out
    dx, dweight, dbias = call.dots[:3]
    per_channel = (channels, *[1] * (x.ndim - 2))
    dy = None
    if dx is not None:
        # The kernel takes both to lie in memory in the same way, and does not look.
        last = x.ndim == 4 and x.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if last else torch.contiguous_format
        given = dx.contiguous(memory_format=layout), x.contiguous(memory_format=layout)
        dy = aten.native_group_norm_backward(
            *given, mean, rstd, None, n, channels, pixels, groups, [True, False, False]
        )[0]
        dy = dy if weight is None else dy.mul_(weight.view(per_channel))
    if dweight is not None:
        spread = x.reshape(n, groups, -1).sub(mean.unsqueeze(-1)).mul_(rstd.unsqueeze(-1))
        dy = total(dy, spread.view(x.shape).mul_(dweight.view(per_channel)))
    return _shifted(dy, None if dbias is None else dbias.view(per_channel), call.out[0])


def rms_norm(call: Call) -> Tensor | None:
    """γ·r(ẋ − x̂⟨x̂, ẋ⟩) + γ̇·x̂ with x̂ = rx, over the trailing axes."""
    x, shape, weight = call.args[:3]
    rstd = call.out[1]
    dx, _, dweight = call.dots[:3]
    spread = x * rstd
    dy = None
    if dx is not None:
        share = (spread * dx).mean(tuple(range(-len(shape), 0)), keepdim=True)
        dy = (dx - spread * share).mul_(rstd)
        dy = dy if weight is None else dy.mul_(weight)
    return dy if dweight is None else total(dy, spread.mul_(dweight))


def weight_norm(call: Call) -> Tensor | None:
    """For w = vg/‖v‖, norms over all axes but one: (v̇g + vġ − w⟨v, v̇⟩/‖v‖)/‖v‖."""
    v, g = call.args[:2]
    kept = call.args[2] if len(call.args) > 2 else 0
    w, norm = call.out
    dv, dg = call.dots[:2]
    norm = norm.view_as(g)
    dw = None if dg is None else v * (dg / norm)
    if dv is None:
        return dw
    axes = [axis for axis in range(v.ndim) if axis != kept % v.ndim]
    share = (v * dv).sum(axes, keepdim=True) / norm.square()
    return total(dv * (g / norm) - w * share, dw)


def _shifted(dy: Tensor | None, dbias: Tensor | None, out: Tensor) -> Tensor | None:
    if dbias is None:
        return dy
    return dbias.expand_as(out) if dy is None else dy.add_(dbias)


def relu(call: Call) -> Tensor | None:
    """ẋ where the output is positive."""
    return aten.threshold_backward(call.dots[0], call.out, 0)


def softmax(call: Call) -> Tensor | None:
    """The Jacobian p ∘ (ẋ − ⟨p, ẋ⟩); rows without a finite entry stand still."""
    p = call.out
    return aten._softmax_backward_data(call.dots[0], p, call.args[1], p.dtype)


def log_softmax(call: Call) -> Tensor | None:
    """ẋ − ⟨p, ẋ⟩."""
    dx, axis = call.dots[0], call.args[1]
    return dx - (call.out.exp() * dx).sum(axis, keepdim=True)


def from_input(kernel: Callable[..., Tensor]) -> Rule:
    """A function of one element whose backward kernel takes (ẋ, x, settings)."""
    return lambda call: kernel(call.dots[0], call.args[0], *call.args[1:], **call.kwargs)


def from_output(kernel: Callable[..., Tensor]) -> Rule:
    """A function of one element whose backward kernel takes (ẋ, y)."""
    return lambda call: kernel(call.dots[0], call.out)

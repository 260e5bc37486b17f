"""Tangent rules of the heavy and the common operations: (x, ẋ, y) → ẏ.

A rule gets a `Call` and returns the tangent of the operation's first result, or None where
that is zero; it may return one of the given tangents itself. Every rule is exact. The
backward kernels of operations with a symmetric Jacobian serve as tangent kernels: one
fused pass each. Everything else is left to dual numbers.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from l2b.tangents.shadows import Unsupported

aten = torch.ops.aten


class Call(NamedTuple):
    """One operation that has run.

    Attributes:
        op: the operation.
        args: its positional arguments.
        dots: the tangent of each argument, None where zero; a list where it is a list.
        kwargs: its keyword arguments.
        out: what it returned.
    """

    op: Any
    args: tuple[Any, ...]
    dots: list[Any]
    kwargs: Mapping[str, Any]
    out: Any


Rule: TypeAlias = Callable[[Call], Tensor | None]


def total(first: Tensor | None, second: Tensor | None) -> Tensor | None:
    """The sum of two tangents, in place of the first, which the caller must own."""
    if first is None or second is None:
        return second if first is None else first
    if first.shape == second.shape and first.dtype == second.dtype:
        return first.add_(second)
    return first + second


def linear(call: Call) -> Tensor | None:
    """An operation linear in its first argument, applied to the tangent."""
    return call.op(call.dots[0], *call.args[1:], **call.kwargs)


def joined(call: Call) -> Tensor | None:
    """An operation linear in the list that is its first argument."""
    pairs = zip(call.args[0], call.dots[0], strict=True)
    filled = [torch.zeros_like(x) if dot is None else dot for x, dot in pairs]
    return call.op(filled, *call.args[1:], **call.kwargs)


def added(call: Call) -> Tensor | None:
    """ẋ ± αẏ, for tensors and numbers."""
    x, y = call.dots[:2]
    if y is not None:
        alpha = call.kwargs.get("alpha", 1)
        sign = -1 if call.op in (aten.sub.Tensor, aten.sub_.Tensor) else 1
        if x is not None:
            return torch.add(x, y, alpha=sign * alpha)
        return y if sign * alpha == 1 else y * (sign * alpha)
    return x


def convolved(call: Call) -> Tensor | None:
    """ẋ∗w + x∗ẇ + ḃ: two convolutions; joining their channels into one measured slower."""
    x, w, _, *settings = call.args
    dx, dw, db = call.dots[:3]
    dy = None if dx is None else call.op(dx, w, None, *settings)
    dy = total(dy, None if dw is None else call.op(x, dw, None, *settings))
    if db is None:
        return dy
    db = db.view(-1, *[1] * (call.out.ndim - 2))
    return db.expand_as(call.out) if dy is None else dy.add_(db)


def product(call: Call) -> Tensor | None:
    """The product rule, for matrices: ẋy + xẏ."""
    x, y = call.args
    dx, dy = call.dots
    if dx is None or dy is None:
        return call.op(x, dy) if dx is None else call.op(dx, y)
    fused = torch.baddbmm if x.ndim == 3 else torch.addmm
    return fused(call.op(dx, y), x, dy)


def affine(call: Call) -> Tensor | None:
    """ċ + ẋy + xẏ, scaled as the primal (torch.addmm)."""
    x, y = call.args[1:3]
    dc, dx, dy = call.dots[:3]
    beta, alpha = call.kwargs.get("beta", 1), call.kwargs.get("alpha", 1)
    out = None if dc is None else dc * beta if beta != 1 else dc
    for left, right in ((dx, y), (x, dy)):
        if left is None or right is None:
            continue
        part = {"alpha": alpha}
        out = alpha * (left @ right) if out is None else torch.addmm(out, left, right, **part)
    return out


def multiplied(call: Call) -> Tensor | None:
    """ẋy + xẏ, element by element."""
    x, y = call.args
    dx, dy = call.dots
    out = None if dx is None else dx * y
    if dy is None:
        return out
    if out is None:
        return x * dy
    if out.shape == call.out.shape:
        return out.addcmul_(x, dy)
    return out + x * dy


def divided(call: Call) -> Tensor | None:
    """ẋ/y − (x/y)ẏ/y, element by element."""
    y = call.args[1]
    dx, dy = call.dots
    out = None if dx is None else dx / y
    return out if dy is None else total(out, -call.out * dy / y)


def embedded(call: Call) -> Tensor | None:
    """Rows of the table's tangent; the row for padding stands still, as it has no gradient."""
    table, words = call.dots[0], call.args[1]
    rows = aten.embedding(table, words)
    padding = call.args[2] if len(call.args) > 2 else call.kwargs.get("padding_idx", -1)
    return rows if padding < 0 else rows.masked_fill_((words == padding).unsqueeze(-1), 0)


def pooled(call: Call) -> Tensor | None:
    """The tangent at the largest element of each window."""
    values, indices = call.out
    axes = values.ndim - 2 if call.op is aten.max_pool3d_with_indices.default else 2
    axes = 3 if call.op is aten.max_pool3d_with_indices.default else axes
    flat = call.dots[0].flatten(-axes)
    return flat.gather(-1, indices.flatten(-axes)).view(indices.shape)


def dropped(call: Call) -> Tensor | None:
    """The primal's own mask."""
    _, mask = call.out
    x, p, train = call.args
    if train is False:
        return call.dots[0]
    return call.dots[0] * mask.to(x.dtype).mul_(0.0 if p == 1 else 1 / (1 - p))


def refuse_hidden_dropout(call: Call) -> None:
    """Refuse fused attention whose dropout mask nobody can see or draw again.

    Raises:
        ValueError: if the kernel drops attention weights.
    """
    if any(isinstance(setting, float) and setting > 0 for setting in call.args[3:]):
        raise ValueError(
            f"{call.op} draws dropout masks inside a fused kernel, so its derivative for the "
            "same masks is out of reach. Set the attention's dropout to 0, or run the model "
            "under torch.nn.attention.sdpa_kernel(SDPBackend.MATH)."
        )


def attended(call: Call) -> Tensor | None:
    """Softmax attention by its formula: P(q̇kᵀ + qk̇ᵀ)-part of v, and Pv̇; no dropout."""
    q, k, v = call.args[:3]
    dq, dk, dv = call.dots[:3]
    if q.shape[:-2] != k.shape[:-2]:
        raise Unsupported("shares keys between groups of queries")
    refuse_hidden_dropout(call)
    mask = call.kwargs.get("attn_mask")
    scale = call.kwargs.get("scale")
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    causal = call.args[4] if len(call.args) > 4 else call.kwargs.get("is_causal", False)
    logits = (q @ k.mT) * scale
    if mask is not None:
        logits = (
            logits.masked_fill(~mask, -torch.inf) if mask.dtype == torch.bool else logits + mask
        )
    if causal:
        ahead = torch.ones(logits.shape[-2:], dtype=torch.bool, device=q.device).triu_(1)
        logits = logits.masked_fill_(ahead, -torch.inf)
    p = aten._safe_softmax(logits, -1)  # 0 where a query may see nothing, as in the pass itself
    moved = None if dv is None else p @ dv
    rate = None if dq is None else dq @ k.mT
    rate = total(rate, None if dk is None else q @ dk.mT)
    if rate is None:
        return moved
    rate = aten._softmax_backward_data(rate.mul_(scale), p, -1, p.dtype)
    return total(rate @ v, moved)

"""Tangents computed beside each operation as it runs, below autograd."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.autograd import forward_ad
from torch.overrides import enable_reentrant_dispatch
from torch.utils._python_dispatch import TorchDispatchMode

from l2b.tangents.rules import Call, refuse_hidden_dropout
from l2b.tangents.shadows import Kernel, Shadows, Unsupported
from l2b.tangents.table import MOTIONLESS, RULES

aten = torch.ops.aten


class Propagation(TorchDispatchMode):
    """Runs every operation as it is, and its tangent rule next to it.

    Below autograd every operation passes here, whatever Python or C++ code it comes from,
    so none is missed; autograd above has not been told of the tangents, so none is recorded.

    Attributes:
        shadows: the tangents so far.
        failure: what could not be propagated, or None; after it, operations only run.
    """

    def __init__(self, shadows: Shadows) -> None:
        """Propagate from the tangents that ``shadows`` already holds."""
        super().__init__()
        self.shadows = shadows
        self.failure: str | None = None

    def __torch_dispatch__(
        self,
        func: OpOverload,
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run one operation; the exact ones below never change what it returns."""
        del types
        kwargs = kwargs or {}
        if self.failure is not None or func.is_view or func in RESHAPED:
            return func(*args, **kwargs)
        try:
            if func._schema.is_mutable and func not in RULES:
                return self._in_place(func, args, kwargs)
            dots, moving = self._tangents(func, args, kwargs)
        except Unsupported as reason:
            self.failure = f"{func}: {reason}"
            return func(*args, **kwargs)
        out = func(*args, **kwargs)
        if moving:
            try:
                self._register(Call(func, args, dots, kwargs, out))
            except Unsupported as reason:
                self.failure = f"{func}: {reason}"
        return out

    def _tangents(
        self, func: OpOverload, args: Sequence[Any], kwargs: Mapping[str, Any]
    ) -> tuple[list[Any], bool]:
        dots: list[Any] = []
        moving = False
        for arg in args:
            dot = None
            if isinstance(arg, Tensor):
                dot = self.shadows.of(arg)
                moving = moving or dot is not None
            elif isinstance(arg, (list, tuple)) and any(isinstance(x, Tensor) for x in arg):
                dot = [self.shadows.of(x) if isinstance(x, Tensor) else None for x in arg]
                moving = moving or any(d is not None for d in dot)
            dots.append(dot)
        for name, arg in kwargs.items():
            if isinstance(arg, Tensor) and self.shadows.of(arg) is not None:
                raise Unsupported(f"a moving tensor as keyword argument {name}")
        return dots, moving and func._opname not in MOTIONLESS and torch.is_grad_enabled()

    def _register(self, call: Call) -> None:
        results = call.out if isinstance(call.out, (tuple, list)) else (call.out,)
        tensors = [y for y in results if isinstance(y, Tensor)]
        # A result in memory that is already tracked is a view: nothing has moved.
        if not tensors or not _is_real(tensors[0]) or self.shadows.tracks(tensors[0]):
            return
        if call.op in THRIFTY and self.shadows.begin_later(tensors[0], *THRIFTY[call.op](call)):
            return
        rule = RULES.get(call.op)
        found = (rule(call),) if rule is not None else dual(call)
        for y, dot in zip(results, found, strict=False):
            if dot is not None and isinstance(y, Tensor) and _is_real(y):
                self.shadows.begin(y, _owned(dot, call.dots, y))

    def _in_place(self, func: OpOverload, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
        """An operation that overwrites its first argument."""
        dots, moving = self._tangents(func, args, kwargs)
        x = args[0] if args else None
        tracked = isinstance(x, Tensor) and self.shadows.tracks(x)
        if not moving and not tracked:
            return func(*args, **kwargs)
        _check_in_place(func, x, tracked)
        self.shadows.settle()
        if func in CHEAP:
            out = func(*args, **kwargs)
            dot = CHEAP[func](Call(func, args, dots, kwargs, out))
            if dot is None or dot is not dots[0]:
                self.shadows.write(out, dot)
            return out
        dot = None
        if moving and torch.Tag.nondeterministic_seeded not in func.tags:
            plain = _functional(func)
            call = Call(plain, args, dots, kwargs, plain(*args, **kwargs))
            rule = RULES.get(plain)
            dot = dual(call)[0] if rule is None else rule(call)
        out = func(*args, **kwargs)
        self.shadows.write(out, dot)
        return out


def dual(call: Call) -> tuple[Tensor | None, ...]:
    """One operation by dual numbers, for want of a rule: exact, but runs it once more.

    Raises:
        Unsupported: if it draws random numbers or has no forward-mode rule either.
    """
    if torch.Tag.nondeterministic_seeded in call.op.tags:
        if "attention" in call.op._opname:
            refuse_hidden_dropout(call)
        raise Unsupported("draws random numbers, and has no rule of its own")
    with ExitStack() as stack:
        # Back above autograd, where dual numbers live; but not through this mode again.
        stack.enter_context(enable_reentrant_dispatch())
        stack.enter_context(torch._C._DisableTorchDispatch())
        stack.enter_context(torch.no_grad())
        stack.enter_context(forward_ad.dual_level())
        args = [_paired(arg, dot) for arg, dot in zip(call.args, call.dots, strict=True)]
        try:
            out = call.op(*args, **call.kwargs)
        except (NotImplementedError, RuntimeError) as error:
            raise Unsupported(str(error)) from error
        results = out if isinstance(out, (tuple, list)) else (out,)
        return tuple(
            forward_ad.unpack_dual(y).tangent if isinstance(y, Tensor) else None for y in results
        )


def _paired(arg: Any, dot: Any) -> Any:
    if isinstance(dot, list):
        return [_paired(x, d) for x, d in zip(arg, dot, strict=True)]
    if isinstance(arg, Tensor):
        arg = arg.detach()
        return arg if dot is None else forward_ad.make_dual(arg, dot)
    return arg


def _owned(dot: Tensor, given: list[Any], y: Tensor) -> Tensor:
    """The tangent in memory of its own, so that an in-place write moves nothing else."""
    address = dot.untyped_storage()._cdata
    flat = [d for item in given for d in (item if isinstance(item, list) else [item])]
    if any(d is not None and d.untyped_storage()._cdata == address for d in flat):
        return torch.empty_like(y).copy_(dot)
    return dot if dot.shape == y.shape else dot.expand_as(y).clone()


def _is_real(y: Tensor) -> bool:
    if y.is_complex():
        raise Unsupported("gives complex numbers, whose conjugates are views of another kind")
    return y.is_floating_point()


def _check_in_place(func: OpOverload, x: Any, tracked: bool) -> None:
    """Refuse what autograd would not follow either."""
    writes = [a for a in func._schema.arguments if a.alias_info and a.alias_info.is_write]
    if not isinstance(x, Tensor) or writes != func._schema.arguments[:1]:
        raise Unsupported("writes into something other than its first argument")
    if not torch.is_grad_enabled() or (tracked and not x.requires_grad):
        raise Unsupported("overwrites moving memory behind autograd's back")


def _functional(func: OpOverload) -> OpOverload:
    packet = getattr(aten, func._opname.removesuffix("_"), None)
    plain = getattr(packet, func._overloadname, None)
    if plain is None or plain._schema.is_mutable:
        raise Unsupported("has no form that leaves its argument alone")
    return plain


def _accumulated(call: Call) -> Tensor | None:
    """The sum x ± αy, in the memory of ẋ."""
    x, y = call.dots[:2]
    if y is None:
        return x
    scale = call.kwargs.get("alpha", 1) * (-1 if call.op is aten.sub_.Tensor else 1)
    return y * scale if x is None else x.add_(y, alpha=scale)


def _rectified(call: Call) -> Tensor | None:
    """ẋ where the output is positive, in the memory of ẋ."""
    x = call.dots[0]
    return aten.threshold_backward.grad_input(x, call.out, 0, grad_input=x)


def _rectified_later(call: Call) -> tuple[list[Tensor], Kernel]:
    """ẋ where the output is positive."""
    out = call.out.detach()

    def kernel(dots: Sequence[Tensor], into: Tensor | None) -> Tensor:
        if into is None:
            return aten.threshold_backward(dots[0], out, 0)
        return aten.threshold_backward.grad_input(dots[0], out, 0, grad_input=into)

    return [call.args[0]], kernel


def _added_later(call: Call) -> tuple[list[Tensor], Kernel]:
    """ẋ + αẏ."""
    alpha = call.kwargs.get("alpha", 1)

    def kernel(dots: Sequence[Tensor], into: Tensor | None) -> Tensor:
        return torch.add(dots[0], dots[-1], alpha=alpha, out=into)

    return list(call.args[:2]) if all(d is not None for d in call.dots) else [], kernel


THRIFTY: dict[Callable[..., Any], Callable[[Call], tuple[list[Tensor], Kernel]]] = {
    aten.relu.default: _rectified_later,
    aten.add.Tensor: _added_later,
}
"""Operations whose input is often done with; their tangents take over its tangent's memory."""

RESHAPED = frozenset(
    getattr(aten, name).default
    for name in ("as_strided_", "t_", "squeeze_", "unsqueeze_", "detach_")
) | {aten.transpose_.default, aten.squeeze_.dim}
"""Operations in place that write no memory."""

CHEAP: dict[Callable[..., Any], Callable[[Call], Tensor | None]] = {
    aten.add_.Tensor: _accumulated,
    aten.sub_.Tensor: _accumulated,
    aten.add_.Scalar: lambda call: call.dots[0],
    aten.copy_.default: lambda call: call.dots[1],
    aten.relu_.default: _rectified,
    aten.zero_.default: lambda call: None,
    aten.fill_.Scalar: lambda call: None,
}
"""Operations in place whose tangent does not need what they overwrite."""

"""z as training sees it, and ż = J v beside it, from one forward pass."""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.autograd import forward_ad
from torch.autograd.function import BackwardCFunction

from l2b.functional import forward, forward_mode
from l2b.tangents.propagation import Propagation
from l2b.tangents.shadows import Shadows, Unsupported
from l2b.types import Inputs, Params, Probe


def with_tangents(module: nn.Module, inputs: Inputs, direction: Params) -> Probe:
    """Run the ordinary training forward, and differentiate it along a direction beside.

    The pass is the one that training needs anyway: autograd records it for all parameters,
    running statistics move once, random numbers are drawn once. Where an operation has
    neither a rule nor dual numbers (or the module holds custom autograd functions), ż comes
    from a second pass with the same statistics and draws; z stays what it is.

    Args:
        module: any module that returns logits (a tensor, or an output with ``logits``).
        inputs: the training batch.
        direction: tangents of parameters by their (first) qualified name; those that are
            missing stand still, and nothing is computed before the first that moves.

    Returns:
        Logits with their autograd history, and their derivative without.

    Raises:
        ValueError: if a tangent does not belong to a trainable parameter of its shape.
        NotImplementedError: if the second pass has no forward-mode rule either.
    """
    parameters = _checked(module, direction)
    before = _Before(module, parameters)
    shadows, failure = Shadows(), None
    try:
        _seed(shadows, parameters, direction)
    except Unsupported as reason:
        failure = str(reason)
    propagation = Propagation(shadows)
    propagation.failure = failure
    # Casts that autocast has kept from another pass would hide their parameters.
    torch.clear_autocast_cache()
    with torch.enable_grad(), propagation:
        z = forward(module, inputs)
    if propagation.failure is None and not _opaque(module, z):
        try:
            dz = shadows.of(z)
            return Probe(z, torch.zeros_like(z, requires_grad=False) if dz is None else dz)
        except Unsupported:
            pass
    del shadows, propagation
    return Probe(z, before.tangents(module, inputs, parameters, direction))


class _Before:
    """What a second pass needs to repeat the first: buffers and random state."""

    def __init__(self, module: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        self.buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}
        self.device = next(iter(parameters.values())).device
        self.on_cpu = torch.get_rng_state()
        self.on_device = (
            torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        )

    def tangents(
        self,
        module: nn.Module,
        inputs: Inputs,
        parameters: Mapping[str, Tensor],
        direction: Params,
    ) -> Tensor:
        """ż by one pass of dual numbers, from the same start."""
        devices = [] if self.on_device is None else [self.device]
        with (
            torch.random.fork_rng(devices=devices),
            torch.no_grad(),
            forward_mode(),
        ):
            torch.set_rng_state(self.on_cpu)
            if self.on_device is not None:
                torch.cuda.set_rng_state(self.on_device, self.device)
            values = {name: value.detach() for name, value in parameters.items()}
            for name, dot in direction.items():
                values[name] = forward_ad.make_dual(values[name], dot)
            z = forward(module, inputs, {**values, **self.buffers})
            value, dz = forward_ad.unpack_dual(z)
            return torch.zeros_like(value) if dz is None else dz


def _checked(module: nn.Module, direction: Params) -> dict[str, Tensor]:
    parameters: dict[str, Tensor] = dict(module.named_parameters())
    for name, dot in direction.items():
        parameter = parameters.get(name)
        if parameter is None or not parameter.requires_grad or parameter.shape != dot.shape:
            has = "no such parameter" if parameter is None else f"{tuple(parameter.shape)}"
            has += ", frozen" if parameter is not None and not parameter.requires_grad else ""
            raise ValueError(
                f"The direction moves {name!r} by a tangent of shape {tuple(dot.shape)}, but "
                f"{type(module).__name__} has {has}. Name trainable parameters as in "
                "module.named_parameters()."
            )
    if not parameters:
        raise ValueError(f"{type(module).__name__} has no parameters to move.")
    return parameters


def _seed(shadows: Shadows, parameters: Mapping[str, Tensor], direction: Params) -> None:
    for name, dot in direction.items():
        parameter = parameters[name]
        if not shadows.tracks(parameter):
            shadows.begin(parameter, dot.detach())
            continue
        view = shadows.behind(parameter)
        if view is None or bool(view.any()):
            raise Unsupported(f"{name} overlaps another parameter in memory")
        shadows.write(parameter, dot)


def _opaque(module: nn.Module, z: Tensor) -> bool:
    """Whether z depends on code whose derivative is not that of its operations.

    A custom autograd function may differentiate as it likes (straight-through estimators),
    compiled and scripted code may run fused operations that nobody sees.
    """
    if any(isinstance(part, torch.jit.ScriptModule) for part in module.modules()):
        return True
    seen, left = set(), [z.grad_fn]
    while left:
        node = left.pop()
        if node is None or node in seen:
            continue
        # A scripted function runs as one node, below which it is given detached inputs.
        if isinstance(node, BackwardCFunction) or "DifferentiableGraph" in node.name():
            return True
        seen.add(node)
        left.extend(parent for parent, _ in node.next_functions)
    return False

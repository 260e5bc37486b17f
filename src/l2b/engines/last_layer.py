"""The clean gradient of the final layer alone: almost free."""

from dataclasses import dataclass

from torch import nn

from l2b.engines.base import Engine
from l2b.engines.forward import Forward
from l2b.tangents import with_tangents
from l2b.types import Apply, Inputs, Params, Probe

HEADS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


@dataclass(frozen=True, kw_only=True)
class LastLayer(Engine):
    """ż from the final linear layer only: no backward through the trunk, almost free.

    Attributes:
        layer: qualified name of the final layer; None takes the last linear (or
            convolutional) layer with trainable parameters in the order of registration.
    """

    layer: str | None = None

    def scope(self, module: nn.Module) -> frozenset[str]:
        """Names of the final layer's parameters.

        Raises:
            ValueError: if there is no such layer, or it shares its weights with another.
        """
        name, head = self.head(module)
        own = {f"{name}.{leaf}" if name else leaf for leaf, _ in head.named_parameters()}
        shared = {id(parameter) for parameter in head.parameters()}
        tied = [
            other
            for other, parameter in module.named_parameters(remove_duplicate=False)
            if id(parameter) in shared and other not in own
        ]
        if tied:
            raise ValueError(
                f"LastLayer cannot use {name!r}: it shares its weights with {tied[0]!r}, so "
                "its clean gradient does not stop at the last layer. Use the forward engine."
            )
        return frozenset(n for n, p in module.named_parameters() if n in own and p.requires_grad)

    def head(self, module: nn.Module) -> tuple[str, nn.Module]:
        """The final layer and its qualified name.

        Raises:
            ValueError: if there is no such layer.
        """
        layers = {
            name: layer
            for name, layer in module.named_modules()
            if isinstance(layer, HEADS) and any(p.requires_grad for p in layer.parameters())
        }
        if self.layer is None and layers:
            return list(layers.items())[-1]
        if self.layer is not None and self.layer in layers:
            return self.layer, layers[self.layer]
        wanted = "a linear or convolutional layer" if self.layer is None else repr(self.layer)
        raise ValueError(
            f"LastLayer found no {wanted} with trainable parameters in "
            f"{type(module).__name__}; it has {', '.join(map(repr, layers)) or 'none'}. Name "
            "the final layer with LastLayer(layer=…) (--engine.layer), or use the forward engine."
        )

    def __call__(self, apply: Apply, params: Params, inputs: Inputs, direction: Params) -> Probe:
        """Dual numbers that start at the final layer, so the trunk runs once, plainly.

        Raises:
            ValueError: if the layer that was taken for the final one has another number of outputs
                than the model.
        """
        return self._checked(Forward()(apply, params, inputs, direction), direction)

    def beside(self, module: nn.Module, inputs: Inputs, direction: Params) -> Probe:
        """Tangents next to the training pass; nothing moves before the final layer.

        Raises:
            ValueError: as for a call.
        """
        return self._checked(with_tangents(module, inputs, direction), direction)

    def _checked(self, probe: Probe, direction: Params) -> Probe:
        """Refuse a layer that cannot be the final one; who names a layer knows."""
        name, tangent = next(iter(direction.items()))
        outputs = probe.z.shape[1:3] if probe.z.ndim == 3 else probe.z.shape[1:2]  # or one a label
        if self.layer is None and len(tangent) not in outputs:
            raise ValueError(
                f"LastLayer took the layer of {name!r} for the final one, which is registered last "
                f"and has {len(tangent)} outputs where the model has {probe.z.shape[1]}: name the "
                "final layer with LastLayer(layer=…) (--engine.layer), or use the forward engine."
            )
        return probe

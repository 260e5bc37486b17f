"""What an engine is: a way to obtain ż."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import nn

from l2b.functional import forward, functional, untouched_random_state
from l2b.types import Apply, Inputs, Params, Probe


@dataclass(frozen=True, kw_only=True)
class Engine(ABC):
    """A way to differentiate logits along a direction of parameter space."""

    def scope(self, module: nn.Module) -> frozenset[str] | None:
        """Names of the parameters that the direction may move; None for all of them.

        The clean gradient is taken over these alone, so a narrow scope also saves the
        backward pass through everything before them.
        """
        del module
        return None

    @abstractmethod
    def __call__(self, apply: Apply, params: Params, inputs: Inputs, direction: Params) -> Probe:
        """Differentiate the logits along a direction.

        Args:
            apply: the model as a pure function.
            params: where to differentiate, by name.
            inputs: the training batch.
            direction: tangent of each parameter, by name and shape as ``params``.

        Returns:
            Logits at ``params`` and their derivative along ``direction``, both without
            autograd history.
        """

    def beside(self, module: nn.Module, inputs: Inputs, direction: Params) -> Probe:
        """Run the ordinary training pass, and differentiate it along a direction beside.

        Running statistics move once and random numbers are drawn once, as in training; the
        derivative is for the very dropout masks that the pass draws.

        Args:
            module: the model itself.
            inputs: the training batch.
            direction: tangents of trainable parameters by name; the others stand still.

        Returns:
            Logits with their autograd history, and their derivative without.
        """
        net = functional(module, frozenset(direction))
        with untouched_random_state(next(iter(direction.values())).device):
            dz = self(net.apply, net.params, inputs, direction).dz
        return Probe(forward(module, inputs), dz)

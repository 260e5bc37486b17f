"""Images in the memory layout that convolutions like best.

On a CPU, channels-last makes a step of a deep conv net about a fifth faster and costs nothing
elsewhere; it changes results by rounding alone. Models that view their activations by shape
refuse it once, and are then left with what they were given. So are models with a strided 1×1
convolution of few channels, whose backward pass in this layout writes where it must not
(oneDNN issue 6035): a crash, or wrong gradients.
"""

import weakref
from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor, nn

from l2b.types import Inputs

T = TypeVar("T")

FEWEST = 16  # channels into a strided 1×1 convolution; wrong were 2 to 7, blocks have up to 16

_REFUSED: "weakref.WeakSet[nn.Module]" = weakref.WeakSet()


def best_layout(module: nn.Module, inputs: Inputs) -> Inputs:
    """Images for convolutions on a CPU as channels-last; anything else as it is."""
    if not isinstance(inputs, Tensor) or inputs.ndim != 4 or inputs.device.type != "cpu":
        return inputs
    convolutions = [part for part in module.modules() if isinstance(part, nn.Conv2d)]
    if module in _REFUSED or not convolutions or any(map(_breaks, convolutions)):
        return inputs
    return inputs.contiguous(memory_format=torch.channels_last)


def _breaks(part: nn.Conv2d) -> bool:
    """Whether its weights' gradient cannot be had channels-last."""
    strided = max(part.stride) > 1 and max(part.kernel_size) == 1
    return strided and part.in_channels // part.groups < FEWEST


def lay_channels_last(module: nn.Module, device: torch.device) -> None:
    """Let convolutions lie in memory as a GPU's tensor cores read them; elsewhere, as they are.

    With their weights, all that they give lies channels-last. A step of PreAct ResNet-18 on an H100
    takes 0.79 to 0.98 of the time for it (docs/speed.md).

    Args:
        module: changed in place; its values stay what they are. Nothing in it may view
            activations by shape (`Model.channels_last`).
        device: where it is.
    """
    if device.type != "cuda":
        return
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            part.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


def in_best_layout(module: nn.Module, inputs: Inputs, run: Callable[[Inputs], T]) -> T:
    """Run a side-effect-free computation in the best layout that the module accepts.

    Args:
        module: what the computation calls.
        inputs: its inputs as given.
        run: the computation; run once more, with the same random draws, if refused.
    """
    best = best_layout(module, inputs)
    random_state = torch.get_rng_state()
    try:
        return run(best)
    except RuntimeError as error:
        if best is inputs or "view" not in str(error):
            raise
    _REFUSED.add(module)
    torch.set_rng_state(random_state)
    return run(inputs)

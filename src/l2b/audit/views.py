"""What linear models see of a sample: its numbers or, of images, what the run made of them."""

from typing import Any, NamedTuple

import numpy as np
import torch
from scipy import sparse
from torch import Tensor, nn

from l2b.data import Data
from l2b.engines import LastLayer
from l2b.functional import forward

PIECE = 1024
MOST_NUMBERS = 2_000_000  # other than 0, of all samples: beyond, a linear model of all takes long
MOST_FEATURES = 20_000_000  # of the network's, which are few and tell much: models end sooner


class View(NamedTuple):
    """Noisy and checked samples, as linear models and the run's network see them.

    Attributes:
        noisy: ready for a linear model, [N, features], sparse or dense.
        checked: likewise, [M, features].
        small: whether a linear model of all of them ends soon.
        believed: the network's probabilities for the noisy samples, [N, classes].
        held_out: its probabilities for the checked ones, [M, classes].
    """

    noisy: Any
    checked: Any
    small: bool
    believed: np.ndarray
    held_out: np.ndarray


def view_of(data: Data, module: nn.Module) -> View:
    """The samples' own numbers; of larger sets of images, the inputs of the network's last layer.

    A linear model of pixels knows little. The run's network has learned what to look at, from
    labels that may be wrong, but not from the checked ones: what a linear model makes of its
    features can be held against these as honestly. Each sample passes through the network once,
    in evaluation mode.

    Args:
        data: noisy and checked samples.
        module: the run's network.
    """
    pools = (data.train.inputs, data.clean.inputs)
    images = data.train.inputs.dim() > 2
    dense = bool(torch.as_tensor(data.mean).any())
    numbers = sum(x.numel() if dense else _not_zero(x) for x in pools)
    head = _head(module) if images and numbers > MOST_NUMBERS else None
    (believed, features), (held_out, checked) = (_passed(module, data, x, head) for x in pools)
    if features is not None and checked is not None:
        small = features.size + checked.size <= MOST_FEATURES
        noisy, checked = _scaled(features, checked)
        return View(noisy, checked, small, believed, held_out)
    noisy, checked = (_numbers(data, x, dense=dense) for x in pools)
    return View(noisy, checked, numbers <= MOST_NUMBERS, believed, held_out)


def _not_zero(inputs: Tensor) -> int:
    return sum(int(x.count_nonzero()) for x in inputs.split(PIECE))


def _numbers(data: Data, inputs: Tensor, *, dense: bool) -> Any:
    """Standardised samples, made in pieces; where most are 0, as a sparse matrix."""
    pieces = [data.standardise(x).flatten(1).numpy() for x in inputs.split(PIECE)]
    if dense:
        return np.concatenate(pieces)  # of which linear models are fitted faster
    return sparse.vstack([sparse.csr_matrix(piece) for piece in pieces]).tocsr()


def _head(module: nn.Module) -> nn.Module | None:
    """The network's last layer, if it has one."""
    try:
        return LastLayer().head(module)[1]
    except ValueError:
        return None


def _passed(
    module: nn.Module, data: Data, inputs: Tensor, head: nn.Module | None
) -> tuple[np.ndarray, np.ndarray | None]:
    """Probabilities, and the inputs of the head if there is one; a piece at a time.

    The network's mode is left as it was.
    """
    seen: list[np.ndarray] = []
    hook = head and head.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].detach().flatten(1).float().numpy())
    )
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            z = torch.cat([forward(module, data.standardise(x)) for x in inputs.split(PIECE)])
    finally:
        module.train(training)
        if hook:
            hook.remove()
    believed = torch.softmax(z.double(), dim=1).numpy()
    return believed, np.concatenate(seen) if head else None


def _scaled(noisy: np.ndarray, checked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both with mean 0 and standard deviation 1 over the noisy samples."""
    mean, spread = noisy.mean(axis=0), noisy.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    return (noisy - mean) / spread, (checked - mean) / spread

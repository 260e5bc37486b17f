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
    """Noisy and checked samples, ready for a linear model.

    Attributes:
        noisy: [N, features], sparse or dense.
        checked: [M, features], likewise.
        small: whether a linear model of all of them ends soon.
    """

    noisy: Any
    checked: Any
    small: bool


def view_of(data: Data, module: nn.Module) -> View:
    """The samples' own numbers; of larger sets of images, the inputs of the network's last layer.

    A linear model of pixels knows little. The run's network has learned what to look at, from
    labels that may be wrong, but not from the checked ones: what a linear model makes of its
    features can be held against these as honestly.

    Args:
        data: noisy and checked samples.
        module: the run's network.
    """
    pools = (data.train.inputs, data.clean.inputs)
    images = data.train.inputs.dim() > 2
    dense = bool(torch.as_tensor(data.mean).any())
    numbers = sum(x.numel() if dense else _not_zero(x) for x in pools)
    if images and numbers > MOST_NUMBERS:
        found = [_features(module, data, x) for x in pools]
        if found[0] is not None and found[1] is not None:
            return _scaled(found[0], found[1])
    noisy, checked = (_numbers(data, x) for x in pools)
    return View(noisy, checked, numbers <= MOST_NUMBERS)


def probabilities(module: nn.Module, data: Data, inputs: Tensor) -> np.ndarray:
    """What the run's network believes, in evaluation mode, [N, classes]."""
    return np.concatenate([
        torch.softmax(z.double(), dim=1).numpy() for z in _forwards(module, data, inputs)
    ])  # fmt: skip


def _not_zero(inputs: Tensor) -> int:
    return sum(int(x.count_nonzero()) for x in inputs.split(PIECE))


def _numbers(data: Data, inputs: Tensor) -> Any:
    """Standardised samples as a sparse matrix, made in pieces."""
    pieces = [data.standardise(x).flatten(1).numpy() for x in inputs.split(PIECE)]
    return sparse.vstack([sparse.csr_matrix(piece) for piece in pieces]).tocsr()


def _features(module: nn.Module, data: Data, inputs: Tensor) -> np.ndarray | None:
    """The last layer's inputs, [N, features]; None if the network has no such layer."""
    try:
        head = LastLayer().head(module)[1]
    except ValueError:
        return None
    seen: list[np.ndarray] = []
    hook = head.register_forward_pre_hook(
        lambda _, given: seen.append(given[0].detach().flatten(1).float().numpy())
    )
    try:
        _forwards(module, data, inputs)
    finally:
        hook.remove()
    return np.concatenate(seen)


def _forwards(module: nn.Module, data: Data, inputs: Tensor) -> list[Tensor]:
    """Logits, a piece at a time, with the network's mode left as it was."""
    training = module.training
    module.eval()
    with torch.no_grad():
        z = [forward(module, data.standardise(x)) for x in inputs.split(PIECE)]
    module.train(training)
    return z


def _scaled(noisy: np.ndarray, checked: np.ndarray) -> View:
    """Features with mean 0 and standard deviation 1 over the noisy samples."""
    mean, spread = noisy.mean(axis=0), noisy.std(axis=0)
    spread = np.where(spread > 0, spread, 1.0)
    small = noisy.size + checked.size <= MOST_FEATURES
    return View((noisy - mean) / spread, (checked - mean) / spread, small)

"""The average prediction over several views of each image."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from l2b.functional import functional as taken_apart
from l2b.functional import untouched_random_state
from l2b.pseudo.base import PseudoLabels, Source
from l2b.types import Inputs


@dataclass(frozen=True, kw_only=True)
class Views(PseudoLabels):
    """The average prediction over five views: as it is, zoomed in, twice zoomed out, mirrored.

    As published for masks. Predictions are
    brought back to the image before they are averaged; where a view shows nothing, outside of
    what it zoomed in on, the others alone count. For two classes the most likely class is the
    averaged probability thresholded at 0.5.

    Attributes:
        zooms: factors of the zoomed views; above 1 zooms in.
        flip: also mirror left and right.
        soft: averaged probabilities (True) or the most likely class (False, as published).
    """

    zooms: tuple[float, ...] = (1.25, 0.8, 0.64)
    flip: bool = True
    soft: bool = False

    def __post_init__(self) -> None:
        """Refuse zooms that have no meaning."""
        if any(not zoom > 0 for zoom in self.zooms):
            raise ValueError(f"Views needs zooms above 0, got {self.zooms}: 1 changes nothing.")

    def build(self, module: nn.Module, samples: int | None = None) -> "ViewAverage":
        """A source that looks through the model itself."""
        del samples
        return ViewAverage(module, self)


class ViewAverage(Source):
    """Predictions of the current model, averaged over views in one batched pass.

    The pass runs in the model's current mode and leaves its running statistics and the random
    state alone.
    """

    def __init__(self, module: nn.Module, settings: Views) -> None:
        """Keep hold of the model."""
        self.module, self.settings = module, settings
        scales = [(zoom, 1.0) for zoom in settings.zooms] + [(1.0, -1.0)] * settings.flip
        # What a place of the view shows of the image, (x, y) ↦ (x · mirror, y) / zoom.
        self.factors = torch.tensor([[mirror / zoom, 1 / zoom] for zoom, mirror in scales])

    def __call__(self, z: Tensor, inputs: Inputs, index: Tensor | None) -> Tensor:
        """The averaged prediction, as class indices or probabilities."""
        del index
        images = check_viewable(inputs)
        total = torch.softmax(z, dim=1)
        if len(self.factors):
            total = self._averaged(total, images)
        return total if self.settings.soft else total.argmax(dim=1)

    def _averaged(self, own: Tensor, images: Tensor) -> Tensor:
        count, n = len(self.factors), len(images)
        factors = self.factors.to(images).repeat_interleave(n, dim=0)
        views = _seen(images.repeat(count, 1, 1, 1), factors)
        net = taken_apart(self.module)
        with torch.no_grad(), untouched_random_state(images.device):
            p = torch.softmax(net.apply(net.params, views).to(own.dtype), dim=1)
        weight = torch.ones_like(p[:, :1])
        if own.ndim == 4:  # masks are brought back to the image, labels need not be
            weight = _seen(weight, 1 / factors.to(p))
            p = _seen(p, 1 / factors.to(p))
        p, weight = (part.view(count, n, *part.shape[1:]).sum(dim=0) for part in (p, weight))
        return (own + p) / (1 + weight)


def check_viewable(inputs: Inputs) -> Tensor:
    """The inputs, if they can be zoomed and mirrored.

    Raises:
        ValueError: if these are no images in two dimensions.
    """
    if not isinstance(inputs, Tensor) or inputs.ndim != 4:
        raise ValueError(
            "Views need images [n, channels, height, width], which can be zoomed and "
            "mirrored: choose moving_average for other inputs."
        )
    return inputs


def _seen(images: Tensor, factors: Tensor) -> Tensor:
    """Images read at (x, y) · factors around their centre; zero outside."""
    matrix = torch.diag_embed(factors)
    theta = torch.cat([matrix, torch.zeros_like(matrix[..., :1])], dim=2)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False)

"""Images lie as convolutions like them, where that is safe."""

import pytest
import torch
from torch import Tensor, nn

from l2b.layout import best_layout, in_best_layout, lay_channels_last
from l2b.models.preact_resnet import PreactResnet
from l2b.weighing import weigh

IMAGES = torch.rand(6, 4, 8, 8)


def lies_channels_last(x: object) -> bool:
    return isinstance(x, Tensor) and x.is_contiguous(memory_format=torch.channels_last)


def test_convolutions_get_channels_last_images() -> None:
    assert lies_channels_last(best_layout(nn.Conv2d(4, 8, 3), IMAGES))


@pytest.mark.parametrize("module", [nn.Linear(4, 2), nn.Sequential(nn.Flatten())])
def test_what_has_none_gets_images_as_they_are(module: nn.Module) -> None:
    assert best_layout(module, IMAGES) is IMAGES


@pytest.mark.parametrize(
    ("module", "safe"),
    [
        (nn.Conv2d(4, 8, 1, stride=2), False),
        (nn.Conv2d(4, 8, 1, stride=(1, 2)), False),
        (nn.Conv2d(32, 32, 1, stride=2, groups=8), False),
        (nn.Conv2d(15, 8, 1, stride=2), False),
        (nn.Conv2d(16, 8, 1, stride=2), True),
        (nn.Conv2d(4, 8, 1), True),
        (nn.Conv2d(4, 8, 3, stride=2), True),
    ],
)
def test_not_where_the_kernel_writes_beyond_its_memory(module: nn.Module, safe: bool) -> None:
    """Issue 6035 of oneDNN: gradients of strided 1×1 convolutions of few channels."""
    assert lies_channels_last(best_layout(nn.Sequential(nn.ReLU(), module), IMAGES)) is safe


def test_a_narrow_residual_network_is_weighed() -> None:
    """It died of a broken heap."""
    module = PreactResnet(width=4).build((3, 32, 32), 10)
    x, y = torch.rand(64, 3, 32, 32), torch.arange(64) % 10
    for _ in range(5):
        weights = weigh(module, x, y, x[:32], y[:32])
    assert torch.isfinite(weights.scores).all()


def test_a_model_that_views_by_shape_is_left_with_what_it_was_given() -> None:
    module = nn.Conv2d(4, 8, 3)

    def flat(inputs: object) -> Tensor:
        assert isinstance(inputs, Tensor)
        return inputs.view(6, -1)

    assert torch.equal(in_best_layout(module, IMAGES, flat), IMAGES.view(6, -1))
    assert best_layout(module, IMAGES) is IMAGES


def test_convolutions_are_laid_channels_last() -> None:
    first, norm = nn.Conv2d(4, 8, 3), nn.BatchNorm2d(8)
    module = nn.Sequential(first, norm, nn.Dropout(), nn.Flatten(), nn.Linear(8 * 36, 2))
    weight, expected = first.weight.clone(), module.eval()(IMAGES)
    lay_channels_last(module.train(), IMAGES)
    assert module.training
    assert int(norm.num_batches_tracked) == 0
    assert lies_channels_last(first.weight)
    assert torch.equal(first.weight, weight)
    assert torch.allclose(module.eval()(IMAGES), expected, atol=1e-6)


class Viewing(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.features, self.head = nn.Conv2d(4, 8, 3), nn.Linear(8 * 36, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x).view(len(x), -1))


def test_what_views_by_shape_is_laid_as_it_was() -> None:
    module = Viewing()
    lay_channels_last(module, IMAGES)
    assert module.features.weight.is_contiguous()
    assert module(IMAGES).shape == (6, 2)


def test_other_failures_come_through() -> None:
    with pytest.raises(RuntimeError, match="expected input"):
        lay_channels_last(nn.Conv2d(5, 8, 3), IMAGES)

"""Images lie as convolutions like them, where that is safe."""

import pytest
import torch
from torch import Tensor, nn

from l2b.experiment import Run
from l2b.layout import best_layout, in_best_layout, lay_channels_last
from l2b.methods.cross_entropy import CrossEntropy
from l2b.models import ConvNet, Mlp, Model
from l2b.models.auto import Auto
from l2b.models.preact_resnet import PreactResnet
from l2b.models.resnet import Resnet
from l2b.train import Training
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


GPU, CPU = torch.device("cuda"), torch.device("cpu")


def test_on_a_gpu_convolutions_lie_channels_last() -> None:
    first, wide = nn.Conv2d(4, 8, 3), nn.Conv3d(4, 8, 3)
    module = nn.Sequential(first, nn.BatchNorm2d(8), nn.Flatten(), nn.Linear(8 * 36, 2))
    module.register_module("apart", nn.ModuleList([wide]))
    weight = first.weight.clone()
    lay_channels_last(module, CPU)
    assert not lies_channels_last(first.weight)
    lay_channels_last(module, GPU)
    assert lies_channels_last(first.weight)
    assert torch.equal(first.weight, weight)


@pytest.mark.parametrize("model", [ConvNet(), PreactResnet(width=16), Resnet(), Auto()])
def test_families_that_take_it_give_the_same_and_weigh_the_same(model: Model) -> None:
    assert model.channels_last
    torch.manual_seed(0)
    module = model.build((3, 32, 32), 10).double().eval()
    x, y = torch.rand(8, 3, 32, 32, dtype=torch.float64), torch.arange(8)
    before = weigh(module, x, y, x, y).scores
    lay_channels_last(module, GPU)
    assert torch.allclose(weigh(module, x, y, x, y).scores, before, rtol=1e-8, atol=1e-12)


@pytest.mark.parametrize(("model", "expected"), [(ConvNet(width=4), 1), (Mlp(hidden=(8,)), 0)])
def test_a_run_lays_the_networks_that_take_it(
    model: Model, expected: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    laid: list[torch.device] = []
    monkeypatch.setattr("l2b.loop.lay_channels_last", lambda module, device: laid.append(device))
    training = Training(epochs=1, batch=256, clean_batch=40, device="cpu")
    Run(model=model, method=CrossEntropy(), training=training).execute(progress=False)
    assert laid == expected * [CPU]

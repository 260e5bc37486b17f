"""One suite over every model family, then what is special about each."""

import dataclasses

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from l2b.catalog import find, names, summary
from l2b.engines import finite_difference, forward, last_layer
from l2b.functional import functional
from l2b.models import ConvNet, MaskModel, Mlp, Model, PreactResnet, Resnet

# Models of masks have a suite of their own.
ALL = [name for name in names(Model) if not issubclass(find(Model, name), MaskModel)]
SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
SMALL = {name: {"width": 4} for name in ("conv_net", "preact_resnet", "resnet")}  # to be quick


def build(name: str, shape=(1, 8, 8), classes=5, seed=0) -> nn.Module:
    torch.manual_seed(seed)
    return find(Model, name)(**SMALL.get(name, {})).build(shape, classes)


def size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def test_the_folder_is_complete():
    assert {"conv_net", "mlp", "preact_resnet"} <= set(ALL)


# --- what holds for every model --------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_it_is_a_frozen_description_with_defaults_and_a_summary(name):
    model = find(Model, name)()
    assert len(summary(Model, name)) > 20
    with pytest.raises(dataclasses.FrozenInstanceError):
        model.anything = 1


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_it_returns_logits(name, shape):
    z = build(name, shape)(torch.randn(2, *shape))
    assert z.shape == (2, 5)
    assert z.isfinite().all()


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_every_parameter_learns(name, shape):
    net = build(name, shape)
    nn.functional.cross_entropy(net(torch.randn(4, *shape)), torch.arange(4)).backward()
    for parameter, value in net.named_parameters():
        assert value.grad is not None and value.grad.abs().sum() > 0, parameter


@pytest.mark.parametrize("name", ALL)
def test_the_global_seed_decides_the_initial_values(name):
    first, again, other = build(name), build(name), build(name, seed=1)
    for a, b in zip(first.parameters(), again.parameters(), strict=True):
        assert torch.equal(a, b)
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), other.parameters(), strict=True)]
    assert not all(same)


@pytest.mark.parametrize("name", ALL)
def test_a_sample_alone_is_as_in_a_batch_when_evaluated(name):
    net = build(name, (3, 32, 32)).eval()
    x = torch.randn(3, 3, 32, 32)
    torch.testing.assert_close(net(x)[:1], net(x[:1]), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("name", ALL)
def test_engines_can_differentiate_it(name):
    net = build(name).double()
    taken = functional(net)
    direction = {key: torch.randn_like(value) for key, value in taken.params.items()}
    x = torch.randn(6, 1, 8, 8, dtype=torch.float64)
    exact = forward(taken.apply, taken.params, x, direction).dz
    near = finite_difference(taken.apply, taken.params, x, direction).dz
    assert (exact - near).norm() < 0.05 * exact.norm()


@pytest.mark.parametrize("name", ALL)
def test_the_last_layer_holds_one_row_per_class(name):
    net = build(name, classes=7)
    _, head = last_layer.head(net)
    assert isinstance(head, nn.Linear)
    assert head.out_features == 7


# --- each model ------------------------------------------------------------------------------


def test_preact_resnet_18_has_the_published_size():
    with torch.device("meta"):
        net = PreactResnet().build((3, 32, 32), 10)
    assert size(net) == 11_172_170
    assert sum(isinstance(layer, nn.Conv2d) for layer in net.modules()) == 1 + 16 + 3


def test_preact_resnet_reduces_to_a_sixteenth_of_a_side():
    net = build("preact_resnet", (3, 32, 32))
    seen = []
    pool = next(layer for layer in net.modules() if isinstance(layer, nn.AdaptiveAvgPool2d))
    pool.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].shape))
    net(torch.randn(2, 3, 32, 32))
    assert seen == [(2, 32, 4, 4)]


@pytest.mark.parametrize("model", [ConvNet(), PreactResnet(), Resnet()], ids=str)
@pytest.mark.parametrize("shape", [(64,), (1, 4, 4), (1, 8, 7), (1, 8, 8, 8)], ids=str)
def test_image_models_refuse_other_shapes(model, shape):
    with pytest.raises(ValueError, match="at least 8 × 8 pixels, got samples of shape"):
        model.build(shape, 10)


@pytest.mark.parametrize("model", [ConvNet, PreactResnet, Resnet])
def test_width_must_be_positive(model):
    with pytest.raises(ValueError, match="width >= 1, got 0"):
        model(width=0)


@pytest.mark.parametrize(("depth", "millions"), [(18, 11.689512), (34, 21.797672), (50, 25.557032)])
def test_resnets_have_the_published_size(depth, millions):
    with torch.device("meta"):
        net = Resnet(depth=depth).build((3, 224, 224), 1000)
    assert size(net) == round(millions * 1e6)


def test_resnet_reads_published_weights_and_fits_its_own_last_layer(tmp_path):
    torch.manual_seed(1)
    trained = Resnet(width=4).build((3, 32, 32), 7)
    stored = {k: v for k, v in trained.state_dict().items() if "tracked" not in k}
    save_file(stored, tmp_path / "w.safetensors")
    same = Resnet(width=4, weights=tmp_path / "w.safetensors").build((3, 32, 32), 7)
    x = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(same.eval()(x), trained.eval()(x))
    torch.manual_seed(2)
    fresh = Resnet(width=4).build((3, 32, 32), 3)
    torch.manual_seed(2)
    other = Resnet(width=4, weights=tmp_path / "w.safetensors").build((3, 32, 32), 3)
    assert torch.equal(other.fc.weight, fresh.fc.weight)
    assert torch.equal(other.layer4[1].conv2.weight, trained.layer4[1].conv2.weight)
    with pytest.raises(ValueError, match=r"does not hold the parameters.*model\.depth"):
        Resnet(width=4, depth=50, weights=tmp_path / "w.safetensors").build((3, 32, 32), 7)
    with pytest.raises(FileNotFoundError, match=r"no file .*absent"):
        Resnet(weights=tmp_path / "absent").build((3, 32, 32), 7)
    (tmp_path / "w.safetensors").write_bytes(b"damaged")
    with pytest.raises(ValueError, match="no safetensors file"):
        Resnet(weights=tmp_path / "w.safetensors").build((3, 32, 32), 7)
    with pytest.raises(ValueError, match="needs depth 18, 34, 50, got 20"):
        Resnet(depth=20)


def test_mlp_layers_follow_the_fields():
    assert size(Mlp(hidden=()).build((4,), 3)) == 4 * 3 + 3
    assert size(Mlp(hidden=(5,)).build((2, 2), 3)) == 4 * 5 + 5 + 5 * 3 + 3
    layers = list(Mlp(hidden=(5, 6), dropout=0.5).build((4,), 3).modules())
    assert sum(isinstance(layer, nn.Dropout) for layer in layers) == 2
    assert not any(isinstance(layer, nn.Dropout) for layer in Mlp().build((4,), 3).modules())


def test_mlp_refuses_what_it_cannot_build():
    with pytest.raises(ValueError, match=r"at least 1 unit, got \(8, 0\)"):
        Mlp(hidden=(8, 0))
    with pytest.raises(ValueError, match=r"0 <= dropout < 1, got 1\.0"):
        Mlp(dropout=1.0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1, 8, 8), ConvNet()),
        ((3, 32, 32), ConvNet()),
        ((3, 4, 4), Mlp()),
        ((5, 32, 32), Mlp()),
        ((30,), Mlp()),
    ],
    ids=str,
)
def test_auto_takes_a_conv_net_for_images_only(shape, expected):
    torch.manual_seed(0)
    found = find(Model, "auto")().build(shape, 3)
    torch.manual_seed(0)
    same = expected.build(shape, 3)
    assert str(found) == str(same)
    for a, b in zip(found.parameters(), same.parameters(), strict=True):
        assert torch.equal(a, b)

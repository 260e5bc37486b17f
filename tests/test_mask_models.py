"""Networks for masks: contract of the family, and engines through them against the oracle."""

import pytest
import torch
from torch import nn

import l2b
from conftest import Problem
from l2b.catalog import find, names
from l2b.engines import double_backward, forward, last_layer
from l2b.losses import bootstrapped_loss
from l2b.models import MaskModel, Mlp, Model
from l2b.models.auto import Auto
from l2b.models.unet import Unet
from l2b.models.unet_plus_plus import UnetPlusPlus
from oracles import plain_step, same_draws, unrolled_scores

ALL = [name for name in names(Model) if issubclass(find(Model, name), MaskModel)]


def build(name, shape=(1, 16, 16), classes=3):
    torch.manual_seed(0)
    return find(Model, name)(width=2).build(shape, classes)


class Masks(Problem):
    """A small problem of masks for a network from MONAI, in float64."""

    def __init__(self, name, pixels=(16, 16)):
        draw = torch.Generator().manual_seed(3)
        self.model = build(name, (1, *pixels)).double()
        self.inputs = torch.randn(3, 1, *pixels, generator=draw).double()
        self.clean_inputs = torch.randn(2, 1, *pixels, generator=draw).double()
        self.observed = torch.randint(3, (3, *pixels), generator=draw)
        self.clean_labels = torch.randint(3, (2, *pixels), generator=draw)


def test_the_family_is_complete():
    assert {"unet", "unet_plus_plus"} == set(ALL)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 32, 48), (2, 21, 18), (1, 16, 32, 16)], ids=str)
def test_it_labels_every_pixel_and_every_parameter_learns(name, shape):
    net = build(name, shape)
    z = net(torch.randn(2, *shape))
    assert z.shape == (2, 3, *shape[1:])
    nn.functional.cross_entropy(z, torch.randint(3, (2, *shape[1:]))).backward()
    for parameter, value in net.named_parameters():
        assert value.grad is not None, parameter


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("engine", [forward, double_backward], ids=["forward", "double_backward"])
@pytest.mark.parametrize("pixels", [(16, 16), (16, 16, 16)], ids=["images", "volumes"])
def test_exact_engines_equal_the_unrolled_definition_per_pixel(name, engine, pixels):
    problem = Masks(name, pixels)
    found = l2b.weigh(problem.model, *problem.batches(), engine=engine)
    expected = torch.stack(
        unrolled_scores(
            problem.model, *problem.batches(), lambda z: z.argmax(dim=1), plain_step(1.0)
        )
    )
    assert found.scores.shape == (2, 3, *pixels)
    assert (found.scores - expected).norm() < 1e-9 * expected.norm()
    assert (found.scores - expected).abs().max() < 1e-9 * expected.abs().max()
    rough = l2b.weigh(problem.model, *problem.batches(), engine=last_layer)
    assert rough.scores.shape == found.scores.shape


@pytest.mark.parametrize("name", ALL)
def test_one_pass_gives_the_weights_of_two(name):
    problem = Masks(name)
    with same_draws(0):
        apart = l2b.weigh(problem.model, *problem.batches())
    z, beside = l2b.weighed_pass(problem.model, *problem.batches())
    torch.testing.assert_close(beside.scores, apart.scores, rtol=1e-8, atol=1e-12)
    bootstrapped_loss(z, problem.observed, beside).backward()
    assert all(p.grad is not None for p in problem.model.parameters())


@pytest.mark.parametrize("name", ALL)
def test_the_last_layer_engine_finds_the_head(name):
    problem = Masks(name)
    _, head = last_layer.head(problem.model)
    assert isinstance(head, nn.Conv2d)
    assert head.out_channels == 3 and head.kernel_size == (1, 1)
    found = l2b.weigh(problem.model, *problem.batches(), engine=last_layer)
    assert found.alpha.shape == (3, 16, 16)
    assert found.alpha.sum() + found.beta.sum() == pytest.approx(1.0)


def test_models_say_when_they_do_not_suit_the_data():
    assert isinstance(Auto().suited(masks=True), Unet)
    assert Auto().suited(masks=False) == Auto()
    with pytest.raises(ValueError, match=r"Mlp predicts one label per sample.*--model unet"):
        Mlp().suited(masks=True)
    with pytest.raises(ValueError, match=r"UnetPlusPlus predicts masks.*--model auto"):
        UnetPlusPlus().suited(masks=False)
    with pytest.raises(ValueError, match=r"at least 16 pixels each way.*samples of shape \(1, 8"):
        Unet().build((1, 8, 16), 2)
    with pytest.raises(ValueError, match=r"at least 16 pixels each way.*of shape \(1, 4, 16"):
        Unet().build((1, 4, 16, 16), 2)
    for model in (Unet, UnetPlusPlus):
        with pytest.raises(ValueError, match="width >= 2, got 1"):
            model(width=1)

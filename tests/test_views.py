"""What linear models see: numbers of small sets, the network's features of larger images."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from l2b.audit import views
from l2b.audit.views import view_of
from l2b.data import Data, Pool
from l2b.functional import forward
from l2b.streams import stream


@pytest.fixture
def images():
    x = torch.rand(60, 1, 8, 8, generator=stream(0, "x"))
    y = torch.arange(60) % 3
    whole = Pool(inputs=x, labels=y, index=torch.arange(60), true=None)
    noisy = replace(whole, inputs=x[:40], labels=y[:40], index=whole.index[:40])
    clean = replace(whole, inputs=x[40:], labels=y[40:], index=whole.index[40:])
    return Data(
        train=noisy, clean=clean, validation=None, test=None, classes=("a", "b", "c"),
        mean=torch.tensor(0.5), std=torch.tensor(0.2), noise_rate=None, noise_hash="",
    )  # fmt: skip


def network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(144, 3),
    )  # fmt: skip


def test_numbers_of_a_small_set_are_the_standardised_inputs(images):
    seen = view_of(images, network())
    assert seen.small
    expected = images.standardise(images.train.inputs).flatten(1).numpy()
    np.testing.assert_array_equal(seen.noisy, expected)
    assert seen.checked.shape == (20, 64)


def test_numbers_that_are_mostly_zero_stay_sparse(images):
    seen = view_of(replace(images, mean=torch.tensor(0.0)), network())
    np.testing.assert_allclose(
        seen.noisy.toarray(), images.train.inputs.flatten(1) / images.std, rtol=1e-6
    )


def test_larger_images_are_seen_by_the_network(images, monkeypatch):
    monkeypatch.setattr(views, "MOST_NUMBERS", 100)
    monkeypatch.setattr(views, "PIECE", 7)
    module = network()
    module.train()
    seen = view_of(images, module)
    assert module.training and seen.small
    assert seen.noisy.shape == (40, 144) and seen.checked.shape == (20, 144)
    body = module[:4].eval()
    with torch.no_grad():
        features = forward(body, images.standardise(images.train.inputs)).numpy()
    spread = np.where(features.std(axis=0) > 0, features.std(axis=0), 1)
    np.testing.assert_allclose(
        seen.noisy, (features - features.mean(axis=0)) / spread, rtol=1e-3, atol=1e-4
    )
    assert not any(module[5]._forward_pre_hooks.values())  # nothing is left on the network


def test_too_many_features_are_not_learned_from_together(images, monkeypatch):
    monkeypatch.setattr(views, "MOST_NUMBERS", 100)
    monkeypatch.setattr(views, "MOST_FEATURES", 100)
    assert not view_of(images, network()).small


class NoLayer(nn.Module):
    def forward(self, x):
        return x.flatten(1)[:, :3]


def test_a_network_without_a_last_layer_is_done_without(images, monkeypatch):
    monkeypatch.setattr(views, "MOST_NUMBERS", 100)
    seen = view_of(images, NoLayer())
    assert seen.noisy.shape == (40, 64) and not seen.small


def test_probabilities_are_those_of_evaluation_mode(images, monkeypatch):
    monkeypatch.setattr(views, "PIECE", 7)
    module = network()
    found = view_of(images, module).held_out
    module.eval()
    with torch.no_grad():
        z = forward(module, images.standardise(images.clean.inputs))
    np.testing.assert_allclose(found, z.double().softmax(dim=1).numpy(), rtol=1e-5)


def test_every_sample_passes_through_the_network_once(images, monkeypatch):
    monkeypatch.setattr(views, "MOST_NUMBERS", 100)
    module, passed = network(), []
    module.register_forward_hook(lambda _, given, __: passed.append(len(given[0])))
    view_of(images, module)
    assert sum(passed) == 60

"""The paper's settings as functions: what they say, and that they survive being written down."""

import pytest

from l2b.catalog import name_of
from l2b.config import dump, load
from l2b.experiment import Run
from l2b.methods.l2b import L2B
from l2b.methods.l2rw import L2RW
from l2b.noise.mask import Mask
from l2b.noise.symmetric import Symmetric
from l2b.normalise import PositiveShare
from l2b.pseudo import Views
from l2b.recipes import (
    cifar10_recipe,
    cifar100_recipe,
    clothing1m_recipe,
    isic_recipe,
    promise12_recipe,
)

NOISE = Symmetric(rate=0.4)
RECIPES = {
    "cifar10": cifar10_recipe(NOISE, seed=3),
    "cifar100": cifar100_recipe(NOISE, seed=3),
    "isic": isic_recipe(NOISE, seed=3),
    "clothing1m": clothing1m_recipe(None, seed=3),
    "promise12": promise12_recipe(Mask(dice=None), seed=3),
}
TABLE = {  # lr, batch, epochs, clip, warm-up, clean samples
    "cifar10": (0.15, 512, 300, 0.25, 10, 1000),
    "cifar100": (0.15, 256, 300, 0.8, 10, 1000),
    "isic": (0.01, 64, 30, 0.8, 1, 640),
    "clothing1m": (0.005, 256, 300, None, 0, 14_313),
    "promise12": (0.005, 5, 100, 0.2, 0, 10),
}


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_are_those_of_the_paper(name):
    run = RECIPES[name]
    training, method = run.training, run.method
    found = (
        training.optimiser.lr, training.batch, training.epochs, training.clip, method.warmup,
        run.clean,
    )  # fmt: skip
    assert found == TABLE[name]
    assert name_of(run.data) == name
    assert name_of(method) == ("l2b" if name == "promise12" else "as_published")
    assert run.seed == 3
    temperature = getattr(method.normalise, "temperature", None)
    assert temperature == (10 if name == "isic" else None)
    assert getattr(run.model, "depth", 18) == (50 if name == "isic" else 18)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_recipes_survive_the_round_trip(name):
    assert load(Run, dump(RECIPES[name])) == RECIPES[name]


def test_the_prostate_recipe_is_the_published_one_for_masks():
    run = RECIPES["promise12"]
    published = L2B(pseudo=Views(), warmup=0, clean_weight=0.0, cross_fit=False)
    assert run.method == published
    assert published.normalise == PositiveShare()
    assert name_of(run.model) == "unet_plus_plus"
    rates = [run.training.schedule(epoch, 100) for epoch in (0, 20, 60)]
    assert rates == [1, 0.5, 0.25]
    assert not run.training.extra_clean_step


def test_recipes_take_other_methods():
    assert cifar10_recipe(NOISE, L2RW(warmup=10)).method == L2RW(warmup=10)
    assert isic_recipe(NOISE, weights=None).model.weights is None

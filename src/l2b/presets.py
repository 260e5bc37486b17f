"""Budgets by name: how long, with what model, on how much of each data set."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import yaml

from l2b.catalog import name_of
from l2b.config import chosen_names, dump, parse, said
from l2b.experiment import Run
from l2b.noise.none import NoNoise
from l2b.recipes import cifar10_recipe, cifar100_recipe, clothing1m_recipe, isic_recipe

Preset = Literal["quick", "cpu", "paper"]
PRESETS: tuple[Preset, ...] = ("quick", "cpu", "paper")
SEEDS: Mapping[Preset, int] = {"quick": 3, "cpu": 5, "paper": 5}
NOISE = {"name": "symmetric", "rate": 0.4}
# What the paper's figures vary: labels of the averaged model as by default, but neither the clean
# term nor the automatic warm-up.
STEERED = {"name": "l2b", "warmup": 1, "clean_weight": 0.0, "cross_fit": False}
MLP, SMALL = ({"name": name} for name in ("mlp", "conv_net"))


def _published(run: Run) -> dict[str, Any]:
    """Settings of one of the paper's experiments, with the labels of the averaged model."""
    tree, own = yaml.safe_load(dump(run)), {"warmup", "normalise"}
    steered = {**STEERED, **{name: tree["method"][name] for name in own}}
    kept = ("data", "model", "training", "clean")
    return {**{name: tree[name] for name in kept}, "method": steered}


# By data set and preset, settings of `l2b run`; what is not said has its usual value. The
# empty name stands for every other data set.
BUDGETS: Mapping[str, Mapping[Preset, dict[str, Any]]] = {
    "digits": {
        "quick": {"model": MLP, "training": {"epochs": 25}},
        "cpu": {"training": {"epochs": 40}},
        "paper": {"training": {"epochs": 100}},
    },
    "fashion_mnist": {
        "quick": {
            "data": {"limit": 3000}, "model": MLP, "clean": 200,
            "training": {"epochs": 10, "batch": 128},
        },
        "cpu": {
            "data": {"limit": 10000}, "model": MLP, "clean": 200,
            "training": {"epochs": 20, "batch": 128},
        },
        "paper": {"model": SMALL, "clean": 1000, "training": {"epochs": 100, "batch": 256}},
    },
    "cifar10": {
        "quick": {
            "data": {"limit": 2000}, "model": SMALL, "clean": 200, "training": {"epochs": 5},
        },
        "cpu": {
            "data": {"limit": 10000}, "model": SMALL, "clean": 1000,
            "training": {"epochs": 20, "batch": 128, "augment": {"name": "crop_flip"}},
        },
        "paper": _published(cifar10_recipe(NoNoise())),
    },
    "cifar100": {
        "quick": {
            "data": {"limit": 2000}, "model": SMALL, "clean": 500, "training": {"epochs": 5},
        },
        "cpu": {
            "data": {"limit": 10000}, "model": SMALL, "clean": 1000,
            "training": {"epochs": 20, "batch": 128, "augment": {"name": "crop_flip"}},
        },
        "paper": _published(cifar100_recipe(NoNoise())),
    },
    "isic": {
        "quick": {"model": SMALL, "clean": 80, "training": {"epochs": 3}},
        "cpu": {"model": SMALL, "clean": 640, "training": {"epochs": 10}},
        "paper": _published(isic_recipe(NoNoise())),
    },
    "clothing1m": {
        "quick": {
            "data": {"per_class": 100, "size": 32}, "noise": {"name": "none"}, "model": SMALL,
            "clean": 200, "training": {"epochs": 5},
        },
        "cpu": {
            "data": {"per_class": 700, "size": 32}, "noise": {"name": "none"}, "model": SMALL,
            "clean": 1000, "training": {"epochs": 20, "batch": 128},
        },
        "paper": {**_published(clothing1m_recipe(None)), "noise": {"name": "none"}},
    },
    "": {
        "quick": {"training": {"epochs": 10}},
        "cpu": {"training": {"epochs": 30}},
        "paper": {"training": {"epochs": 100}},
    },
}  # fmt: skip


def base_run(words: Sequence[str], preset: Preset) -> Run:
    """The run that a figure varies: the preset's settings, over them what the user says.

    Args:
        words: settings of ``l2b run``, such as ``--data digits --epochs 10``.
        preset: the budget.

    Raises:
        ValueError: on wrong settings.
    """
    return parse(Run, words, _settings(words, preset))


def said_settings(words: Sequence[str], preset: Preset) -> set[str]:
    """Dotted names of the settings that the words say; arguments and errors as `base_run`."""
    return said(Run, words, _settings(words, preset))


def _settings(words: Sequence[str], preset: Preset) -> str:
    """What the preset says, as YAML."""
    chosen = chosen_names(Run, words)
    data = chosen.get("data.name", name_of(Run().data))
    budget = {"method": STEERED, "noise": NOISE, **BUDGETS.get(data, BUDGETS[""])[preset]}
    if "method.name" in chosen:
        del budget["method"]  # whoever names one means it with its own defaults
    return yaml.safe_dump(budget, sort_keys=False)

"""Budgets by name: how long, with what model, on how much of each data set."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import yaml

from l2b.catalog import name_of
from l2b.config import parse, said
from l2b.experiment import Run

Preset = Literal["quick", "cpu", "paper"]
PRESETS: tuple[Preset, ...] = ("quick", "cpu", "paper")
SEEDS: Mapping[Preset, int] = {"quick": 3, "cpu": 5, "paper": 5}
NOISE = {"name": "symmetric", "rate": 0.4}
# What the paper's figures vary: labels of the averaged model as by default, but neither the clean
# term nor the automatic warm-up.
STEERED = {"name": "l2b", "warmup": 1, "clean_weight": 0.0, "cross_fit": False}
MLP, SMALL, RESNET = ({"name": name} for name in ("mlp", "conv_net", "preact_resnet"))


def _published(lr: float, batch: int, epochs: int, clip: float | None) -> dict[str, Any]:
    """Training as in the paper's own experiments."""
    return {"epochs": epochs, "batch": batch, "clean_batch": batch, "clip": clip,
            "optimiser": {"lr": lr}}  # fmt: skip


# By data set and preset, settings of `l2b run`; what is not said has its usual value. The
# empty name stands for every other data set.
BUDGETS: Mapping[str, Mapping[Preset, dict[str, Any]]] = {
    "digits": {
        "quick": {"model": MLP, "training": {"epochs": 40}},
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
        "paper": {
            "model": RESNET, "clean": 1000, "method": {**STEERED, "warmup": 10},
            "training": {**_published(0.15, 512, 300, 0.25), "augment": {"name": "crop_flip"}},
        },
    },
    "cifar100": {
        "quick": {
            "data": {"limit": 2000}, "model": SMALL, "clean": 500, "training": {"epochs": 5},
        },
        "cpu": {
            "data": {"limit": 10000}, "model": SMALL, "clean": 1000,
            "training": {"epochs": 20, "batch": 128, "augment": {"name": "crop_flip"}},
        },
        "paper": {
            "model": RESNET, "clean": 1000, "method": {**STEERED, "warmup": 10},
            "training": {**_published(0.15, 256, 300, 0.80), "augment": {"name": "crop_flip"}},
        },
    },
    "isic": {
        "quick": {"model": SMALL, "clean": 80, "training": {"epochs": 3}},
        "cpu": {"model": SMALL, "clean": 640, "training": {"epochs": 10}},
        "paper": {
            "model": RESNET, "clean": 640, "training": _published(0.01, 64, 30, 0.80),
        },
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
    tree = {} if chosen(words, "noise") else {"noise": NOISE}
    data = name_of(parse(Run, words, yaml.safe_dump(tree)).data)
    budget = {"method": STEERED, **BUDGETS.get(data, BUDGETS[""])[preset]}
    for family in ("model", "method"):  # another one may not have the preset's settings
        if chosen(words, family):
            budget.pop(family, None)
    return yaml.safe_dump({**tree, **budget}, sort_keys=False)


def chosen(words: Sequence[str], family: str) -> bool:
    """Whether the words name a member of a family, as in ``--noise pair_flip``."""
    keys = {word.partition("=")[0] for word in words}
    return bool(keys & {f"--{family}", f"--{family}.name"})

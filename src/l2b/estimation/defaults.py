"""A model and a training that suit the size of the data."""

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from l2b.catalog import default
from l2b.functional import forward
from l2b.models import Model
from l2b.models.auto import Auto
from l2b.models.mlp import Mlp
from l2b.optimise import Optimiser
from l2b.train import Training

MOST_FEATURES = 500_000
FIRST_LAYER = 4_000_000  # parameters
STEPS = 800  # that training should take at least, within the limits on epochs


@dataclass(frozen=True, kw_only=True)
class Sized(Model):
    """A perceptron whose width suits the number of features; a conv net for images.

    Attributes:
        mostly_zero: whether features are sparse, such as words: one hidden layer then.
    """

    mostly_zero: bool = False

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """The network for samples of this shape.

        Raises:
            ValueError: if there are more features than a dense first layer can take.
        """
        features = math.prod(shape)
        if len(shape) != 1:
            return Auto().build(shape, classes)
        if features > MOST_FEATURES:
            raise ValueError(
                f"The default model takes at most {MOST_FEATURES:,} features, got {features:,}: "
                "keep the most frequent ones (e.g. TfidfVectorizer(max_features=20_000)) or "
                "pass a model of your own."
            )
        width = max(8, min(256, FIRST_LAYER // features))
        hidden = (min(128, width),) if self.mostly_zero else (width, max(8, width // 2))
        return Mlp(hidden=hidden, dropout=0.0).build(shape, classes)


@dataclass(frozen=True, kw_only=True)
class Given(Model):
    """A network, or a function that makes one, from the user.

    Attributes:
        source: a module, which is copied for every training as it is, or a function of the
            shape of one sample and the number of classes.
    """

    source: nn.Module | Callable[[tuple[int, ...], int], nn.Module]

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """A network of its own for this training.

        Raises:
            TypeError: if the function makes no module.
            ValueError: if the outputs are not one logit per class.
        """
        source = self.source
        module = copy.deepcopy(source) if isinstance(source, nn.Module) else source(shape, classes)
        if not isinstance(module, nn.Module):
            raise TypeError(
                f"model(shape, classes) must return a torch.nn.Module, got {type(module).__name__}."
            )
        _check_outputs(module, shape, classes)
        return module


def chosen_model(model: object, *, mostly_zero: bool) -> Model:
    """What the parameter `model` of the estimator stands for.

    Raises:
        TypeError: if it is nothing that can give a network.
        ValueError: if no model has this name.
    """
    if model is None:
        return Sized(mostly_zero=mostly_zero)
    if isinstance(model, str):
        return default(Model, model)
    if isinstance(model, Model):
        return model
    if isinstance(model, nn.Module):
        return Given(source=model)
    if callable(model):
        return Given(source=cast(Callable[[tuple[int, ...], int], nn.Module], model))
    raise TypeError(
        "model must be None, a torch.nn.Module, a function (shape, classes) → module, an l2b "
        f"model such as l2b.models.Mlp(), or its name, got {type(model).__name__}."
    )


def sized_training(
    samples: int,
    *,
    epochs: int | None,
    batch: int,
    lr: float,
    device: str,
    threads: int | None = None,
) -> Training:
    """A training of at least so many epochs that small data sees enough steps.

    Args:
        samples: number of noisy samples.
        epochs: passes over them; None chooses 20 to 100, for about 800 steps.
        batch: most samples per step; fewer for small data.
        lr: learning rate of SGD with momentum, half a cosine to zero.
        device: "auto" or "cpu".
        threads: CPU threads; None leaves the choice to the loop.
    """
    batch = max(1, min(batch, max(8, samples // 16), samples))
    if epochs is None:
        epochs = min(100, max(20, math.ceil(STEPS / max(1, samples // batch))))
    return Training(
        epochs=epochs,
        batch=batch,
        clean_batch=batch,
        optimiser=Optimiser(lr=lr),
        device="cpu" if device == "cpu" else "auto",
        threads=threads,
    )


def _check_outputs(module: nn.Module, shape: tuple[int, ...], classes: int) -> None:
    training = module.training
    module.eval()
    with torch.no_grad():
        found = tuple(forward(module, torch.zeros(1, *shape)).shape)
    module.train(training)
    if found != (1, classes):
        raise ValueError(
            f"model must give {classes} logits, one for each class or label, shape (n, {classes}), "
            f"got {found} for one sample of shape {shape}: set the width of its last layer."
        )

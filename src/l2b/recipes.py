"""The paper's settings as functions: each returns a run, which can be changed and executed."""

from pathlib import Path

from l2b.augment import Augmentation, CropFlip
from l2b.datasets import Dataset
from l2b.datasets.cifar10 import Cifar10
from l2b.datasets.cifar100 import Cifar100
from l2b.datasets.clothing1m import Clothing1m
from l2b.datasets.isic import Isic
from l2b.datasets.promise12 import Promise12
from l2b.experiment import Run
from l2b.methods import Method
from l2b.methods.as_published import AsPublished
from l2b.methods.l2b import L2B
from l2b.models.preact_resnet import PreactResnet
from l2b.models.resnet import Resnet
from l2b.models.unet_plus_plus import UnetPlusPlus
from l2b.noise import Noise
from l2b.noise.none import NoNoise
from l2b.normalise import Softmax
from l2b.optimise import Cosine, Hyperbolic, Optimiser
from l2b.pseudo import Views
from l2b.train import Training


def cifar10_recipe(noise: Noise, method: Method | None = None, *, seed: int = 0) -> Run:
    """The paper's CIFAR-10 setting: PreAct ResNet-18, 300 epochs, 1000 clean samples.

    Here as in the other recipes, a fifth of the clean samples are set aside to choose an epoch by,
    which the paper did on the test set.

    Args:
        noise: what happens to the labels.
        method: how to learn from them; by default L2B as published, 10 epochs of warm-up.
        seed: of every random draw.
    """
    return _cifar_recipe(Cifar10(), noise, method, batch=512, clip=0.25, seed=seed)


def cifar100_recipe(noise: Noise, method: Method | None = None, *, seed: int = 0) -> Run:
    """The paper's CIFAR-100 setting: as CIFAR-10, with batches of 256 and clipping at 0.8.

    Args:
        noise: what happens to the labels.
        method: how to learn from them; by default L2B as published, 10 epochs of warm-up.
        seed: of every random draw.
    """
    return _cifar_recipe(Cifar100(), noise, method, batch=256, clip=0.8, seed=seed)


def isic_recipe(
    noise: Noise, method: Method | None = None, *, weights: Path | None = None, seed: int = 0
) -> Run:
    """The paper's ISIC 2019 setting: ResNet-50, 30 epochs, softmax with temperature 10.

    Args:
        noise: what happens to the labels.
        method: how to learn from them; by default L2B as published, 1 epoch of warm-up.
        weights: ImageNet parameters to start from; None starts from random ones.
        seed: of every random draw.
    """
    return Run(
        data=Isic(size=224),
        noise=noise,
        model=Resnet(depth=50, weights=weights),
        method=method or AsPublished(normalise=Softmax(temperature=10), warmup=1),
        training=_cosine(lr=0.01, epochs=30, batch=64, clip=0.8, augment=CropFlip(padding=16)),
        clean=640,
        seed=seed,
    )


def clothing1m_recipe(weights: Path | None, method: Method | None = None, *, seed: int = 0) -> Run:
    """The paper's Clothing1M setting: ResNet-18, 300 epochs of 250 balanced batches.

    The paper draws balanced batches from the whole set; here the same balanced 64,000 images
    (250 batches of 256) are seen in every epoch; with clean and test images they take 13 GB.

    Args:
        weights: ImageNet parameters to start from; None starts from random ones.
        method: how to learn; by default L2B as published, without warm-up.
        seed: of every random draw.
    """
    return Run(
        data=Clothing1m(per_class=4572, size=224),  # 14 · 4572 is just above 250 · 256
        noise=NoNoise(),
        model=Resnet(depth=18, weights=weights),
        method=method or AsPublished(warmup=0),
        training=_cosine(lr=0.005, epochs=300, batch=256, clip=None, augment=CropFlip(padding=16)),
        clean=14_313,
        seed=seed,
    )


def promise12_recipe(noise: Noise, method: Method | None = None, *, seed: int = 0) -> Run:
    """The paper's prostate setting: UNet++, 100 epochs, pseudo-masks averaged over five views.

    The paper's batches are one noisy and two clean images in five views each; here they are five
    and ten images as they are, and views serve pseudo-masks alone; ten clean volumes are this
    library's choice. The published loop also takes a step on the clean batch after every other
    one, which `training.extra_clean_step` turns on. Its weights, Eq. 9 per pixel, let training
    collapse on other data (docs/masks.md), which those of `L2BMasks` do not.

    Args:
        noise: what happens to the masks.
        method: how to learn from them; by default L2B as published, without warm-up.
        seed: of every random draw.
    """
    return Run(
        data=Promise12(),
        noise=noise,
        model=UnetPlusPlus(),
        method=method or L2B(pseudo=Views(), warmup=0, clean_weight=0.0, cross_fit=False),
        training=Training(
            epochs=100,
            batch=5,
            clean_batch=10,
            optimiser=Optimiser(lr=0.005),
            schedule=Hyperbolic(half=20),
            clip=0.2,
        ),
        clean=10,
        seed=seed,
    )


def _cifar_recipe(
    data: Dataset, noise: Noise, method: Method | None, *, batch: int, clip: float, seed: int
) -> Run:
    return Run(
        data=data,
        noise=noise,
        model=PreactResnet(),
        method=method or AsPublished(warmup=10),
        training=_cosine(lr=0.15, epochs=300, batch=batch, clip=clip, augment=CropFlip()),
        clean=1000,
        seed=seed,
    )


def _cosine(
    *, lr: float, epochs: int, batch: int, clip: float | None, augment: Augmentation
) -> Training:
    """SGD (momentum 0.9, weight decay 5e-4) with a cosine; clean batches as large as noisy ones."""
    return Training(
        epochs=epochs,
        batch=batch,
        clean_batch=batch,
        optimiser=Optimiser(lr=lr),
        schedule=Cosine(),
        clip=clip,
        augment=augment,
    )

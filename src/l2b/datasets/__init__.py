"""Data sets, one source per file."""

from l2b.datasets.arrays import Arrays
from l2b.datasets.base import Dataset, Source, Split
from l2b.datasets.cifar10 import Cifar10
from l2b.datasets.cifar100 import Cifar100
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.datasets.image_folder import ImageFolder

__all__ = [
    "Arrays",
    "Cifar10",
    "Cifar100",
    "Dataset",
    "Digits",
    "FashionMnist",
    "ImageFolder",
    "Source",
    "Split",
]

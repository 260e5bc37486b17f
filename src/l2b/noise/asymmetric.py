"""Asymmetric noise on CIFAR: each class is mistaken for one that looks like it."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.noise.base import ClassConditional, check_rate

CIFAR10 = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
"""truck → automobile, bird → airplane, deer → horse, cat ↔ dog; the rest stays."""

CIFAR100_SUPERCLASSES = (
    (4, 30, 55, 72, 95),  # aquatic mammals
    (1, 32, 67, 73, 91),  # fish
    (54, 62, 70, 82, 92),  # flowers
    (9, 10, 16, 28, 61),  # food containers
    (0, 51, 53, 57, 83),  # fruit and vegetables
    (22, 39, 40, 86, 87),  # household electrical devices
    (5, 20, 25, 84, 94),  # household furniture
    (6, 7, 14, 18, 24),  # insects
    (3, 42, 43, 88, 97),  # large carnivores
    (12, 17, 37, 68, 76),  # large man-made outdoor things
    (23, 33, 49, 60, 71),  # large natural outdoor scenes
    (15, 19, 21, 31, 38),  # large omnivores and herbivores
    (34, 63, 64, 66, 75),  # medium-sized mammals
    (26, 45, 77, 79, 99),  # non-insect invertebrates
    (2, 11, 35, 46, 98),  # people
    (27, 29, 44, 78, 93),  # reptiles
    (36, 50, 65, 74, 80),  # small mammals
    (47, 52, 56, 59, 96),  # trees
    (8, 13, 48, 58, 90),  # vehicles 1
    (41, 69, 81, 85, 89),  # vehicles 2
)
"""The official superclasses, as fine class indices (alphabetical order)."""

CIFAR100 = {
    fine: group[(position + 1) % len(group)]
    for group in CIFAR100_SUPERCLASSES
    for position, fine in enumerate(group)
}
"""Each class → the next one of its superclass, circular."""

CONFUSIONS = {10: CIFAR10, 100: CIFAR100}


@dataclass(frozen=True, kw_only=True)
class Asymmetric(ClassConditional):
    """CIFAR-10's look-alikes (cat ↔ dog, …), or CIFAR-100's next class of the superclass.

    The number of classes says which; they must be numbered as in CIFAR.

    Attributes:
        rate: share of wrong labels within each class that has a look-alike, in [0, 0.5).
            CIFAR-10 has five such classes, so half the rate is wrong over all samples.
    """

    rate: float

    def __post_init__(self) -> None:
        """Refuse a rate at which right and wrong cannot be told apart."""
        why = (
            "from 0.5 on, cats are called dogs at least as often as cats, and no method can "
            "tell them apart"
        )
        check_rate("Asymmetric", self.rate, below=0.5, why=why)

    def transition(self, classes: int) -> Tensor:
        """1 − rate on the diagonal, the rate at the look-alike; 1 where there is none."""
        if classes not in CONFUSIONS:
            raise ValueError(
                f"Asymmetric noise is defined for CIFAR-10 (10 classes) and CIFAR-100 (100 "
                f"classes), got {classes} classes: nobody has said which of them look alike. "
                "Use pair_flip, or write down your own confusions with matrix."
            )
        rows = torch.eye(classes, dtype=torch.float64)
        for true, wrong in CONFUSIONS[classes].items():
            rows[true, true] = 1 - self.rate
            rows[true, wrong] = self.rate
        return rows

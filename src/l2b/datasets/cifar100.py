"""CIFAR-100 (Krizhevsky 2009), with the human labels of CIFAR-100N (Wei et al. 2022)."""

from dataclasses import dataclass
from pathlib import Path

from l2b.datasets.base import Dataset, Source, check_limit
from l2b.datasets.cifar10 import Edition, load_cifar

NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus
butterfly camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch
crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo
keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse
mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree plain plate poppy
porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk skyscraper
snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television
tiger tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""

CIFAR100 = Edition(
    name="cifar100",
    label="fine_label",
    classes=tuple(NAMES.split()),
    mean=(0.5071, 0.4866, 0.4409),
    std=(0.2673, 0.2564, 0.2762),
    human_file="CIFAR-100_human.pt",
    human={"noisy": "noisy_label"},
)


@dataclass(frozen=True, kw_only=True)
class Cifar100(Dataset):
    """CIFAR-100: 50,000 + 10,000 colour images, 32×32, 100 classes; human labels if present.

    Reads the hub's parquet files. If the official CIFAR-100_human.pt lies beside them, the
    annotation is noisy.

    Attributes:
        root: folder of the files, or a name on the hub (``uoft-cs/cifar100``); by default
            $L2B_DATA/cifar100, else ./data/cifar100.
        limit: keep only the first so many training images; None keeps all.
        workers: threads that decode images; changes no result.
    """

    root: Path | str | None = None
    limit: int | None = None
    workers: int = 2

    def __post_init__(self) -> None:
        """Refuse a limit that leaves nothing."""
        check_limit("Cifar100", self.limit)

    def load(self) -> Source:
        """Decode both splits with their fine labels, and read the human labels if there."""
        return load_cifar(CIFAR100, self.root, limit=self.limit, workers=self.workers)

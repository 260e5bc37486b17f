"""Methods under every kind of noise."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

from l2b.catalog import name_of
from l2b.datasets.cifar10 import Cifar10
from l2b.datasets.cifar100 import Cifar100
from l2b.experiment import Run
from l2b.figures.base import GridFigure, Kind, method, noise_label
from l2b.grid import Grid, Results, cross
from l2b.grid.pictures import dots_picture
from l2b.noise.asymmetric import Asymmetric
from l2b.noise.instance_dependent import InstanceDependent
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric


@dataclass(frozen=True, kw_only=True)
class Noise(GridFigure):
    """Methods and plain baselines under symmetric, pair-flip and instance-dependent noise.

    On CIFAR under that of look-alikes too. The noise of the base run joins the columns if it is
    another one.

    Attributes:
        methods: names of those that are compared; the others are tested against the last.
        symmetric: shares of labels that are drawn anew, a column each.
        pair_flip: shares of labels that go to the next class, a column each.
        asymmetric: shares of wrong labels in classes that have a look-alike, a column each; on
            CIFAR alone, where these are known.
        instance: mean shares of labels that are wrong for reasons of the sample, a column each.
    """

    kind: ClassVar[Kind] = "table"
    adds_noise: ClassVar[bool] = True
    methods: tuple[str, ...] = (
        "cross_entropy", "clean_only", "fine_tune", "l2rw", "l2b",
    )  # fmt: skip
    symmetric: tuple[float, ...] = (0.2, 0.4, 0.8)
    pair_flip: tuple[float, ...] = (0.4,)
    asymmetric: tuple[float, ...] = (0.4,)
    instance: tuple[float, ...] = (0.4,)

    def title(self, base: Run) -> str:
        """What is compared."""
        del base
        return "Methods under several kinds of noise"

    def grid(self, base: Run, seeds: Sequence[int]) -> Grid:
        """Every method under every noise."""
        cifar = isinstance(base.data, Cifar10 | Cifar100)
        if not cifar and self.asymmetric != Noise.asymmetric:
            raise ValueError(
                f"--asymmetric has no effect here: which classes of {name_of(base.data)} look "
                "alike is not known. Choose cifar10 or cifar100, or leave it away."
            )
        alike = self.asymmetric if cifar else ()
        kinds = [*(Symmetric(rate=rate) for rate in self.symmetric),
                 *(PairFlip(rate=rate) for rate in self.pair_flip),
                 *(Asymmetric(rate=rate) for rate in alike),
                 *(InstanceDependent(rate=rate) for rate in self.instance), base.noise]  # fmt: skip
        noises = {noise_label(replace(base, noise=noise)): {"noise": noise} for noise in kinds}
        methods = {name: {"method": method(base, name)} for name in self.methods}
        return cross(base, {"noise": noises, "method": methods}, seeds, reference=self.methods[-1])

    def draw(self, results: Results, base: Run, out: Path) -> list[Path]:
        """The table as dots with error bars."""
        path = out / "noise.png"
        dots_picture(path, self.title(base), results, note=self.note(base))
        return [path]

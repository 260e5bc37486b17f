"""What does a step cost on a GPU, in which memory layout, and are its weights exact there?

python benchmarks/gpu.py [--rounds 7] [--steps 10] [--batch 256] [--out benchmarks/results/gpu.json]

PreAct ResNet-18 on random 32×32 images with crop and flip, half as many clean ones a step.
Methods, precisions and layouts take turns in one process; medians and interquartile ranges are
over rounds, ratios to plain training in the same precision and layout over the rounds' own
ratios. Then scores of one batch against those in float64 by reverse mode: relative error.
Runs on a CPU too, with --width and --batch small.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from provenance import RESULTS, provenance
from torch import Tensor, nn

from l2b.augment import CropFlip
from l2b.data import Data, prepare
from l2b.datasets import Source, Split
from l2b.engines import DoubleBackward, Forward
from l2b.files import write_json
from l2b.grid.markdown import rendered
from l2b.loop import Loop
from l2b.methods import Method
from l2b.methods.as_published import AsPublished
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.l2b import L2B
from l2b.methods.l2rw import L2RW
from l2b.models.preact_resnet import PreactResnet
from l2b.noise.symmetric import Symmetric
from l2b.train import Training
from l2b.types import Batch
from l2b.weighing import weigh

PLAIN = "cross_entropy"
METHODS: dict[str, Method] = {
    PLAIN: CrossEntropy(),
    "l2rw": L2RW(warmup=0),
    "as_published": AsPublished(warmup=0),
    "l2b": L2B(warmup=0),
}
Precision = Literal["float32", "bfloat16"]
PRECISIONS: tuple[Precision, ...] = ("float32", "bfloat16")
LAYOUTS = {"channels first": torch.contiguous_format, "channels last": torch.channels_last}
SETTINGS: tuple[tuple[Precision, str], ...] = tuple(
    (p, layout) for p in PRECISIONS for layout in LAYOUTS
)


@dataclass
class Contestant:
    """A run that takes a few steps at a time."""

    loop: Loop
    batches: Iterator[tuple[Batch, Batch]]

    def milliseconds(self, steps: int) -> float:
        """A step's, on average."""
        _wait()
        start = time.perf_counter()
        for _ in range(steps):
            self.loop._step(*next(self.batches))
        _wait()
        return 1000 * (time.perf_counter() - start) / steps


def contestant(method: Method, precision: Precision, layout: str, data: Data, o: Any) -> Contestant:
    """A run at its beginning, all of its networks in a layout."""
    training = Training(
        epochs=1, batch=o.batch, clean_batch=o.batch // 2, augment=CropFlip(), precision=precision
    )
    loop = Loop(data, PreactResnet(width=o.width), method, training, 0, None)
    loop.learner.begin_epoch(0)
    for module in _modules(loop.learner):
        module.to(memory_format=LAYOUTS[layout])  # pyright: ignore[reportCallIssue]
    return Contestant(loop, iter(loop.feed.epoch(0)))


def _modules(owner: object) -> list[nn.Module]:
    """Of a learner: its network, and that of its pseudo-labels if they have one."""
    found = [vars(owner)["network"].module]
    source = getattr(getattr(owner, "pseudo", None), "source", None)
    average = getattr(source, "average", None)
    return [*found, average] if isinstance(average, nn.Module) else found


def made(rows: int) -> Data:
    """Random images of ten classes."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (rows + 1000, 3, 32, 32), dtype=torch.uint8, generator=draw)
    source = Source(
        train=Split(images, torch.arange(len(images)) % 10),
        test=None,
        classes=tuple("0123456789"),
        mean=torch.full((3, 1, 1), 125.0),
        std=torch.full((3, 1, 1), 63.0),
    )
    return prepare(source, Symmetric(rate=0.4), clean=1000, validation=0.2, seed=0)


def errors(data: Data, o: Any) -> dict[str, float]:
    """Relative error of the exact engine's scores, by precision and layout."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(0)
    trained = contestant(METHODS[PLAIN], "float32", "channels first", data, o)
    trained.milliseconds(o.steps)
    module = trained.loop.learner.network.module
    here = data.to(device)
    x, clean = (here.standardise(p.inputs[: o.batch // 4]) for p in (here.train, here.clean))
    y, clean_y = here.train.labels[: len(x)], here.clean.labels[: len(clean)]

    def scores(precision: str, layout: str, dtype: torch.dtype, engine: Any) -> Tensor:
        copy = PreactResnet(width=o.width).build((3, 32, 32), 10).to(device)
        copy.load_state_dict(module.state_dict())
        copy.to(dtype).to(memory_format=LAYOUTS[layout])  # pyright: ignore[reportCallIssue]
        half = torch.autocast(device.type, dtype=torch.bfloat16)
        with half if precision == "bfloat16" else nullcontext():
            found = weigh(copy, x.to(dtype), y, clean.to(dtype), clean_y, engine=engine)
        return found.scores.double()

    exact = scores("float64", "channels first", torch.float64, DoubleBackward())
    found = {}
    for precision, layout in (("float64", "channels first"), *SETTINGS):
        dtype = torch.float64 if precision == "float64" else torch.float32
        ours = scores(precision, layout, dtype, Forward())
        found[f"{precision}, {layout}"] = float((ours - exact).norm() / exact.norm())
    return found


def main() -> None:
    """Take turns, print and store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--out", type=Path, default=RESULTS / "gpu.json")
    o = parser.parse_args()
    data = made(o.batch * o.steps * (o.rounds + 1))
    field = {
        (name, *setting): contestant(method, *setting, data, o)
        for setting in SETTINGS
        for name, method in METHODS.items()
    }
    taken: dict[tuple[str, str, str], list[float]] = {place: [] for place in field}
    for number in range(o.rounds + 1):
        for place, one in field.items():
            spent = one.milliseconds(o.steps)
            if number:  # the first round warms up
                taken[place].append(spent)
    rows, stored = [], []
    for (name, *setting), spent in taken.items():
        ratios = np.divide(spent, taken[PLAIN, setting[0], setting[1]])
        quarters = np.percentile(spent, (25, 50, 75))
        rows.append(
            [*setting, name, f"{quarters[1]:.1f} ({quarters[0]:.1f}–{quarters[2]:.1f})",
             f"{np.median(ratios):.2f}"]
        )  # fmt: skip
        stored.append({"method": name, "setting": setting, "milliseconds": spent})
    print(rendered(["precision", "layout", "method", "ms a step (quartiles)", "÷ plain"], rows))
    del field
    found = errors(data, o)
    print("\n".join(f"relative error of scores, {name}: {e:.2g}" for name, e in found.items()))
    shape = {"batch": o.batch, "width": o.width, "steps": o.steps}
    write_json(o.out, {**provenance(), **shape, "rows": stored, "errors": found})


def _wait() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


if __name__ == "__main__":
    main()

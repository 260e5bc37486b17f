"""Does a weighed step cost linearly in batch, clean batch and parameters? A picture.

python benchmarks/scaling.py [--rounds 9] [--out benchmarks/results/scaling]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from provenance import RESULTS, provenance
from step_contestants import CONTESTANTS, Setup

from l2b.files import write_atomically, write_json
from l2b.models.conv_net import ConvNet
from l2b.models.mlp import Mlp

NAMES = ("plain", "forward, shared", "finite_difference, shared", "last_layer, shared")
BATCHES, WIDTHS = (32, 64, 128, 256), (128, 256, 512, 1024, 2048)


def images(n: int, m: int) -> Setup:
    """The small conv net on 28×28 images."""
    torch.manual_seed(0)
    model = ConvNet().build((1, 28, 28), 10)
    x, clean = torch.randn(n, 1, 28, 28), torch.randn(m, 1, 28, 28)
    return Setup.of(model, x, torch.randint(10, (n,)), clean, torch.randint(10, (m,)))


def features(width: int) -> Setup:
    """A perceptron whose two layers have about 800 · width + width² parameters."""
    torch.manual_seed(0)
    model = Mlp(hidden=(width, width)).build((784,), 10)
    x, clean = torch.randn(128, 784), torch.randn(128, 784)
    return Setup.of(model, x, torch.randint(10, (128,)), clean, torch.randint(10, (128,)))


def measured(setups: dict[int, Callable[[], Setup]], rounds: int) -> dict[str, dict[int, float]]:
    """Median milliseconds by contestant and size; all take turns in one process."""
    steps = {(k, n): CONTESTANTS[n](make()) for k, make in setups.items() for n in NAMES}
    taken: dict[tuple[int, str], list[float]] = {key: [] for key in steps}
    for turn in range(rounds + 2):
        for key, step in steps.items():
            start = time.perf_counter()
            step()
            if turn >= 2:
                taken[key].append(1e3 * (time.perf_counter() - start))
    return {n: {k: statistics.median(taken[k, n]) for k in setups} for n in NAMES}


def main() -> None:
    """Measure three ways to grow, draw, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "scaling")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    parameters = {width: 785 * width + (width + 1) * width + 10 * width for width in WIDTHS}
    ways = {
        "noisy batch n (m = n)": {k: lambda k=k: images(k, k) for k in BATCHES},
        "clean batch m (n = 128)": {k: lambda k=k: images(128, k) for k in BATCHES},
        "parameters of an MLP": {parameters[w]: lambda w=w: features(w) for w in WIDTHS},
    }
    found = {way: measured(setups, options.rounds) for way, setups in ways.items()}
    for way, curves in found.items():
        print(way)
        for name, curve in curves.items():
            print(f"  {name:<28}" + "  ".join(f"{k}: {ms:.1f} ms" for k, ms in curve.items()))
    write_json(options.out.with_suffix(".json"), {**provenance(), "milliseconds": found})
    with mpl.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        for axes, (way, curves) in zip(figure.subplots(1, 3), found.items(), strict=True):
            for name, curve in curves.items():
                axes.plot(list(curve), list(curve.values()), marker="o", label=name)
            axes.set(xlabel=way, ylabel="ms per step", xlim=(0, None), ylim=(0, None))
        figure.axes[0].legend(frameon=False)
        path = options.out.with_suffix(".png")
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110))


if __name__ == "__main__":
    main()

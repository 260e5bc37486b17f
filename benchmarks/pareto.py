"""What does accuracy cost? Time per step against final test accuracy, for every engine and saving.

Sets: digits (40 % symmetric), Fashion-MNIST (first 10,000, perceptron, 40 % symmetric and
pair flip), CIFAR-10N worst (first 10,000, small conv net). Contestants take turns, seed by
seed, in one process, on one thread; time is the processor's, of training alone. Accuracy is
that of the last epoch. Real data is found through L2B_DATA.

python benchmarks/pareto.py [--sets digits fashion-symmetric ...] [--seeds 5] [--out …]
"""

import argparse
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import matplotlib as mpl
import torch
from matplotlib.figure import Figure
from provenance import RESULTS, provenance
from spread import spread
from steering import steering

from l2b.amortise import Amortisation
from l2b.data import Data
from l2b.datasets.cifar10 import Cifar10
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.engines import DoubleBackward, FiniteDifference, Forward, LastLayer
from l2b.evaluate import evaluate
from l2b.experiment import Run
from l2b.files import write_atomically, write_json
from l2b.methods import Method
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.l2rw import L2RW
from l2b.models.conv_net import ConvNet
from l2b.models.mlp import Mlp
from l2b.noise.existing import Existing
from l2b.noise.pair_flip import PairFlip
from l2b.pseudo import SelfLabels, Temporal
from l2b.train import Training


@dataclass(frozen=True, kw_only=True)
class Contestant:
    """A method, and the size of its clean batch if it is not the usual one."""

    method: Method
    clean_batch: int | None = None


LARGE = Training(epochs=10, batch=128, clean_batch=128)
SETS: dict[str, Callable[[], Run]] = {
    "digits": lambda: Run(data=Digits()),
    "fashion-symmetric": lambda: Run(
        data=FashionMnist(limit=10_000), model=Mlp(), training=LARGE, clean=250
    ),
    "fashion-pair-flip": lambda: Run(
        data=FashionMnist(limit=10_000),
        noise=PairFlip(rate=0.4),
        model=Mlp(),
        training=LARGE,
        clean=250,
    ),
    "cifar10n-worst": lambda: Run(
        data=Cifar10(limit=10_000),
        noise=Existing(annotation="worst"),
        model=ConvNet(),
        training=replace(LARGE, epochs=5),
        clean=1000,
    ),
}

CONTESTANTS = {
    "cross_entropy": Contestant(method=CrossEntropy()),
    "l2rw": Contestant(method=L2RW()),
    "forward": Contestant(method=steering(engine=Forward())),
    "finite_difference": Contestant(method=steering(engine=FiniteDifference())),
    "last_layer": Contestant(method=steering(engine=LastLayer())),
    "double_backward": Contestant(method=steering(engine=DoubleBackward())),
    "forward, self-labels": Contestant(method=steering(pseudo=SelfLabels())),
    "forward, temporal soft": Contestant(method=steering(pseudo=Temporal())),
    "forward, clean batch ÷ 4": Contestant(method=steering(), clean_batch=4),
    "forward, gradient every 4th": Contestant(
        method=steering(amortise=Amortisation(gradient_every=4))
    ),
    "forward, gradient averaged": Contestant(
        method=steering(amortise=Amortisation(gradient_memory=0.8))
    ),
    "forward, weights every 2nd": Contestant(
        method=steering(amortise=Amortisation(weights_every=2))
    ),
}


def one(run: Run, contestant: Contestant, data: Data) -> dict[str, float]:
    """Accuracy in percent and milliseconds of processor time per step of one run."""
    assert data.test is not None
    training = run.training
    if contestant.clean_batch:
        smaller = max(1, training.clean_batch // contestant.clean_batch)
        training = replace(training, clean_batch=smaller)
    run = replace(run, method=contestant.method, training=training)
    start = time.process_time()
    outcome = run.execute(progress=False, data=replace(data, test=None)).outcome
    seconds = time.process_time() - start
    steps = training.epochs * (len(data.train) // training.batch)
    accuracy = evaluate(outcome.learner.predict, data.test, data)["accuracy"]
    return {"last": 100 * accuracy, "ms": 1e3 * seconds / steps}


def table(rows: list[dict[str, Any]], sets: list[str]) -> str:
    """Last-epoch accuracy (mean ± sd) and median time per step, as Markdown."""
    lines = ["| | " + " | ".join(f"{s}: %, ms" for s in sets) + " |"]
    lines.append("|---" * (len(sets) + 1) + "|")
    for name in dict.fromkeys(row["name"] for row in rows):
        cells = []
        for s in sets:
            mine = [r for r in rows if (r["set"], r["name"]) == (s, name)]
            values = [r["last"] for r in mine]
            ms = statistics.median(r["ms"] for r in mine)
            cells.append(f"{spread(values)}, {ms:.0f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def picture(rows: list[dict[str, Any]], sets: list[str], path: Path) -> None:
    """One panel per set: time per step to the right, accuracy upwards."""
    with mpl.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = Figure(figsize=(5 * len(sets), 4), layout="constrained")
        for axes, s in zip(figure.subplots(1, len(sets), squeeze=False)[0], sets, strict=True):
            for number, name in enumerate(dict.fromkeys(row["name"] for row in rows)):
                mine = [r for r in rows if (r["set"], r["name"]) == (s, name)]
                values = [r["last"] for r in mine]
                error = statistics.stdev(values) if len(values) > 1 else 0.0
                x, y = statistics.median(r["ms"] for r in mine), statistics.mean(values)
                marker = "osD^v<>"[number // 6]
                axes.errorbar(x, y, yerr=error, fmt=marker, capsize=2, label=name)
            axes.set(
                title=s,
                xlabel="ms of processor time per step",
                ylabel="test accuracy, last epoch (%)",
            )
            axes.set_xlim(0, None)
            axes.grid(alpha=0.25)
        figure.legend(*figure.axes[0].get_legend_handles_labels(), loc="outside right upper",
                      frameon=False)  # fmt: skip
        write_atomically(path, lambda temporary: figure.savefig(temporary, dpi=110))


def main() -> None:
    """Run everything in turns, print, draw, store after every seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=SETS)
    parser.add_argument("--only", nargs="+", default=list(CONTESTANTS), choices=CONTESTANTS)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--first-seed", type=int, default=0, help="to go on where a run stopped")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS / "pareto")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows: list[dict[str, Any]] = []
    for s in options.sets:
        for seed in range(options.first_seed, options.first_seed + options.seeds):
            run = replace(SETS[s](), seed=seed)
            data = run.prepare()
            for name in options.only:
                found = one(run, CONTESTANTS[name], data)
                rows.append({"set": s, "name": name, "seed": seed, **found})
            write_json(options.out.with_suffix(".json"), {**provenance(), "rows": rows})
        print(table(rows, [s]), flush=True)
    picture(rows, options.sets, options.out.with_suffix(".png"))


if __name__ == "__main__":
    main()

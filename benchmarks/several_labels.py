"""Several yes-or-no labels a sample: what do the methods gain, and what does the audit find?

Four questions about every image of digits (1,247 images, 50 checked) and of Fashion-MNIST (5,000,
250 checked), with two kinds of wrong answers: 30 % turned round at random and 10 % missing; or
findings that were overlooked, 40 % of all yes and 5 % of all no. The same perceptron, steps and
clipping for all methods, a fifth of the checked samples choose an epoch; but for α + β = 1, nothing
was chosen on the test set. With --auto, what `L2BClassifier(method="auto")` does on the very
samples, network and training instead, compared with the figures of every method in
several_labels.json.

L2B_DATA=… python benchmarks/several_labels.py [--seeds 5] [--sets digits fashion] [--methods …]
    [--auto [--budget 600]]
"""

import argparse
import json
import statistics
import tempfile
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from auto import difference, samples
from provenance import RESULTS, provenance
from scipy.stats import ttest_rel
from spread import spread

from l2b.audit import audit_run
from l2b.catalog import default
from l2b.datasets.arrays import Arrays
from l2b.datasets.base import Dataset
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.estimation.learn import Plan, logits
from l2b.estimation.selection import elect
from l2b.evaluate import evaluate
from l2b.experiment import Run
from l2b.files import write_json
from l2b.methods import Method
from l2b.methods.l2b_tags import L2BTags
from l2b.models.mlp import Mlp
from l2b.noise.existing import Existing
from l2b.training import Training

WRONG, MISSING = 0.3, 0.1
OVERLOOKED, IMAGINED = 0.4, 0.05
DIGITS = [[d % 2 == 0, d > 4, d in (0, 6, 8, 9), d in (2, 3, 5, 7)] for d in range(10)]
# Worn on the upper body, on the feet, has sleeves, reaches below the hip.
CLOTHES = [
    [c in (0, 2, 3, 4, 6), c in (5, 7, 9), c in (0, 2, 4, 6), c in (1, 3, 4)] for c in range(10)
]
SETS: dict[str, tuple[Dataset, list[list[bool]], int, int]] = {
    "digits": (Digits(), DIGITS, 50, 30),
    "fashion": (FashionMnist(limit=5000), CLOTHES, 250, 15),
}
NOISES = ("wrong", "overlooked")
METHODS = (
    "cross_entropy", "clean_only", "pooled", "fine_tune", "bootstrap", "label_smoothing",
    "generalised_cross_entropy", "mixup", "elr", "gold_correction", "gold_posterior", "l2rw",
    "as_published", "l2b", "l2b_tags",
)  # fmt: skip


def write(path: Path, name: str, kind: str, seed: int) -> None:
    """The answers as the truth and as given, as a user's own arrays."""
    dataset, table, _, _ = SETS[name]
    source, answers = dataset.load(), torch.tensor(table).long()
    true, draw = answers[source.train.labels], torch.Generator().manual_seed(seed)
    uniform = torch.rand(true.shape, generator=draw)
    rate = (true * OVERLOOKED + (1 - true) * IMAGINED) if kind == "overlooked" else WRONG
    given = torch.where(uniform < rate, 1 - true, true)
    if kind == "wrong":
        gone = torch.rand(true.shape, generator=draw) < MISSING
        gone[gone.all(dim=1), 0] = False
        given = given.masked_fill(gone, -1)
    assert source.test is not None
    np.savez(
        path,
        x_train=source.train.inputs.flatten(1).float().numpy(),
        y_train=given.numpy(),
        y_true=true.numpy(),
        x_test=source.test.inputs.flatten(1).float().numpy(),
        y_test=answers[source.test.labels].numpy(),
    )


def run(path: Path, name: str, method: Method, seed: int) -> Run:
    """One training."""
    _, _, checked, epochs = SETS[name]
    return Run(
        data=Arrays(path=path),
        noise=Existing(annotation="observed"),
        model=Mlp(hidden=(256,)),
        method=method,
        clean=checked,
        validation=0.2,
        training=Training(epochs=epochs, batch=64, clean_batch=64),
        seed=seed,
    )


def audited(path: Path, name: str, seed: int) -> dict[str, Any]:
    """What the audit finds, by the cheapest form of L2B, whose clean samples only steer."""
    folder = path.with_suffix("")
    run(path, name, L2BTags(clean_weight=0.0), seed).execute(folder, progress=False, figures=False)
    return audit_run(folder).summary["against_truth"]


def elected(path: Path, name: str, seed: int, budget: float) -> dict[str, Any]:
    """Test accuracy and AUROC in percent of one automatic choice, and what it chose."""
    described = run(path, name, L2BTags(), seed)
    data = described.prepare()
    training = replace(described.training, threads=1)
    plan = Plan(model=described.model, training=training, validation=0.0, progress=False)
    found = elect(samples(data), plan, budget=budget, seed=seed, say=lambda _: None)
    assert data.test is not None
    row = evaluate(partial(logits, found.module), data.test, data)
    return {
        "seed": seed,
        "last_accuracy": 100 * row["accuracy"],
        "last_auroc": 100 * row["auroc"],
        "members": found.comparison.members,
        "cross_validated": found.comparison.accuracy,
        "folds": found.comparison.folds,
        "left_out": found.comparison.left_out,
        "seconds": found.comparison.seconds,
    }


def automatic(options: argparse.Namespace, out: Path) -> None:
    """The automatic choice in every setting, beside the best of all single methods."""
    others = json.loads((RESULTS / "several_labels.json").read_text())["rows"]
    print("| setting | auto | best of all | auto − best ± SE | p | auto − l2b_tags ± SE |")
    print("|---|---:|---:|---:|---:|---:|")
    rows = []
    for name, kind in ((name, kind) for name in options.sets for kind in options.noises):
        with tempfile.TemporaryDirectory() as folder:
            found = []
            for seed in range(options.seeds):
                path = Path(folder) / f"{seed}.npz"
                write(path, name, kind, seed)
                found.append(elected(path, name, seed, options.budget))
        rows += [{"set": name, "noise": kind, **row} for row in found]
        ours = {row["seed"]: row["last_accuracy"] for row in found}
        there = {
            row["method"]: dict(enumerate(row["last_accuracy"][: options.seeds]))
            for row in others
            if (row["set"], row["noise"]) == (name, kind)
        }
        best = max(there, key=lambda method: statistics.mean(there[method].values()))
        cells = [
            f"{name}, {kind}",
            spread(list(ours.values())),
            f"{best} {spread(list(there[best].values()))}",
            *difference(ours, there[best]),
            difference(ours, there["l2b_tags"])[0],
        ]
        print(f"| {' | '.join(cells)} |", flush=True)
        write_json(out, {**provenance(), "budget": options.budget, "rows": rows})


def main() -> None:
    """Measure, print tables and write them down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--noises", nargs="+", choices=NOISES, default=list(NOISES))
    parser.add_argument("--methods", nargs="+", choices=METHODS, default=list(METHODS))
    parser.add_argument("--auto", action="store_true")
    parser.add_argument("--budget", type=float, default=600.0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.auto:
        automatic(options, options.out or RESULTS / "several_labels_auto.json")
        return
    rows, audits = [], []
    for name, kind in ((name, kind) for name in options.sets for kind in options.noises):
        with tempfile.TemporaryDirectory() as folder:
            paths = [Path(folder) / f"{seed}.npz" for seed in range(options.seeds)]
            for seed, path in enumerate(paths):
                write(path, name, kind, seed)
            found = {
                method: [
                    run(path, name, default(Method, method), seed).execute(progress=False).record
                    for seed, path in enumerate(paths)
                ]
                for method in options.methods
            }
            each = [audited(path, name, seed) for seed, path in enumerate(paths)]
        for method, records in found.items():
            keys = "last_accuracy", "chosen_accuracy", "last_auroc", "last_balanced_accuracy"
            values = {key: [100 * record[key] for record in records] for key in keys}
            rows.append({"set": name, "noise": kind, "method": method, **values})
        ours = [100 * record["last_accuracy"] for record in found[options.methods[-1]]]
        print(
            f"\n| {name}, {kind} | last epoch | chosen | AUROC | {options.methods[-1]} − this | p |"
        )
        print("|---|---:|---:|---:|---:|---:|")
        for row in rows[-len(found) :]:
            last = row["last_accuracy"]
            shown = [
                f"{statistics.mean(row[key]):.1f} ± {statistics.stdev(row[key]):.1f}"
                for key in ("last_accuracy", "chosen_accuracy", "last_auroc")
            ]
            gap = statistics.mean(ours) - statistics.mean(last)
            p = "" if last == ours else f"{ttest_rel(ours, last).pvalue:.3f}"
            print(f"| {row['method']} | {' | '.join(shown)} | {gap:+.1f} | {p} |", flush=True)
        audits.append({"set": name, "noise": kind, "audits": each})
        means = {key: statistics.mean(a[key] for a in each) for key in each[0]}
        print(
            "audit: " + ", ".join(f"{key} {value:.3f}" for key, value in means.items()), flush=True
        )
    out = options.out or RESULTS / "several_labels.json"
    write_json(out, {**provenance(), "rows": rows, "audits": audits})


if __name__ == "__main__":
    main()

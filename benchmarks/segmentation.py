"""Masks corrupted to a Dice of about 60 %: whole-volume Dice of every method over seeds.

python benchmarks/segmentation.py [--seeds 3] [--epochs 3] [--volumes 120] [--clean 10] [--out FILE]

Hippocampus MRI in slices, a narrow U-Net, 10 clean volumes (a fifth of which choose the epoch),
the rest corrupted, held-out volumes judged by their true masks; every method without and with an
extra step on the clean set. A seed draws the noise, the clean set, the order and the network.
What is in the file already is not run again.
"""

import argparse
import itertools
import statistics
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from in_processes import results
from provenance import RESULTS, provenance, rows_left
from spread import gain, spread
from steering import steering

from l2b.audit.masks import judge_masks
from l2b.catalog import default
from l2b.datasets.hippocampus import Hippocampus
from l2b.engines import LastLayer
from l2b.evaluate import predict_pool
from l2b.experiment import Run
from l2b.files import write_json
from l2b.methods import Method
from l2b.methods.l2b_masks import L2BMasks
from l2b.models.unet import Unet
from l2b.noise.mask import Mask
from l2b.normalise import Fixed, PerSample
from l2b.optimise import Optimiser
from l2b.overlap import Dice as DiceLoss
from l2b.pseudo import MovingAverage
from l2b.stats import paired
from l2b.train import Training

QUICK = MovingAverage(decay=0.9)  # an average over ten steps: there are few in all

METHODS: dict[str, Method] = {
    **{
        name: default(Method, name)
        for name in ("cross_entropy", "clean_only", "fine_tune", "pooled", "l2rw", "l2b")
    },
    # Every pixel keeps its weight; what is learned is which of its two labels it goes to.
    "l2b, α + β = 1, soft": steering(normalise=PerSample(), pseudo=QUICK),
    "l2b, α + β = 1, soft, clean term": steering(
        normalise=PerSample(), pseudo=QUICK, clean_weight=1.0
    ),
    "l2b, soft, clean term": steering(pseudo=QUICK, clean_weight=1.0),
    "l2b, α + β = 1, soft, clean term, last layer": steering(
        normalise=PerSample(), pseudo=QUICK, clean_weight=1.0, engine=LastLayer()
    ),
    # The same with an average of clean gradients over about ten batches, and a clean start.
    "l2b_masks": L2BMasks(),
    "l2b_masks, noisy start": L2BMasks(start="noisy"),
    # What of it is weighing: both labels of every pixel at fixed shares.
    "l2b_masks, α = β": L2BMasks(normalise=Fixed(alpha=0.5, beta=0.5)),
    "l2b_masks, α = 1": L2BMasks(normalise=Fixed(alpha=1.0, beta=0.0)),
    "l2b_masks, β = 1": L2BMasks(normalise=Fixed(alpha=0.0, beta=1.0)),
    "cross_entropy, clean term": steering(
        normalise=Fixed(alpha=1.0, beta=0.0), clean_weight=1.0, engine=LastLayer()
    ),
}
USUAL = (
    "cross_entropy", "clean_only", "fine_tune", "pooled", "l2rw", "l2b_masks",
)  # fmt: skip
DICE = 0.6


def settings(seed: int, epochs: int, volumes: int, clean: int) -> Run:
    """What all methods share."""
    return Run(
        data=Hippocampus(limit=volumes),
        noise=Mask(dice=DICE),
        model=Unet(width=4),
        clean=clean,
        training=Training(
            epochs=epochs,
            batch=16,
            clean_batch=16,
            optimiser=Optimiser(kind="Adam", lr=0.01),
            overlap=DiceLoss(),
            threads=1,
        ),
        seed=seed,
    )


def one(task: tuple[str, bool, int], epochs: int, volumes: int, clean: int) -> dict[str, Any]:
    """Run one method with one seed; Dice in percent, distances in mm."""
    torch.set_num_threads(1)
    method, extra, seed = task
    run = replace(settings(seed, epochs, volumes, clean), method=METHODS[method])
    run = replace(run, training=replace(run.training, extra_clean_step=extra))
    result = run.execute(progress=False)
    record, module = result.record, result.outcome.learner.network.module.eval()
    with torch.no_grad():
        drawn = predict_pool(module, result.data.train, result.data).argmax(dim=1)
    _, audit = judge_masks(result.data, drawn)
    dices = {key: record[f"{key}_dice"] for key in ("last", "chosen", "best")}
    # Too few clean volumes leave none to choose an epoch by.
    found = {key: None if dice is None else 100 * dice for key, dice in dices.items()}
    kept = {key: record[key] for key in ("noise_dice", "last_hausdorff_95", "seconds")}
    told = {key: audit[key] for key in ("rank_correlation", "dice_given", "dice_suggested")}
    return {"method": method, "extra_clean_step": extra, "seed": seed, **found, **kept, **told}


def table(rows: list[dict[str, Any]]) -> str:
    """Mean ± sd over seeds, as Markdown."""
    lines = [
        "| method | Dice, last | Dice, chosen | Hausdorff 95 (mm) "
        "| with extra clean step: Dice, last | Dice, chosen | Hausdorff 95 (mm) |",
        "|---" * 7 + "|",
    ]
    for method in (name for name in METHODS if any(row["method"] == name for row in rows)):
        cells = []
        for extra, key in itertools.product((False, True), ("last", "chosen", "last_hausdorff_95")):
            values = [
                row[key]
                for row in rows
                if (row["method"], row["extra_clean_step"]) == (method, extra)
                and row[key] is not None
            ]
            cells.append(spread(values))
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def lead(rows: list[dict[str, Any]], extra: bool, key: str) -> str:
    """How far `l2b_masks` is from each other method, paired by seed, in points."""
    by: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["extra_clean_step"] == extra and row[key] is not None:
            by.setdefault(row["method"], {})[row["seed"]] = row[key]
    ours, lines = by.pop("l2b_masks", {}), []
    for method, theirs in by.items():
        seeds = sorted(ours.keys() & theirs.keys())
        if len(seeds) > 1:
            change, error = gain(ours, theirs)
            p = paired([ours[s] for s in seeds], [theirs[s] for s in seeds]).t
            lines.append(f"  {method}: {change:+.1f} ± {error:.1f}, p = {p:.3f}")
    title = f"l2b_masks minus, Dice, {key}, extra clean step {'on' if extra else 'off'}:"
    return "\n".join([title, *lines]) if lines else ""


def main() -> None:
    """Run what is missing, print the table, keep the figures after each run."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--volumes", type=int, default=120)
    parser.add_argument("--clean", type=int, default=10)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--extra", nargs="+", choices=("no", "yes"), default=["no", "yes"],
        help="without and with an extra step on the clean set",
    )  # fmt: skip
    parser.add_argument("--methods", nargs="+", default=list(USUAL), choices=METHODS)
    parser.add_argument("--out", type=Path, default=RESULTS / "segmentation.json")
    options = parser.parse_args()
    tasks = [
        (method, word == "yes", seed)
        for seed in range(options.seeds)
        for word in options.extra
        for method in options.methods
    ]
    kept = (options.epochs, options.volumes, options.clean)
    rows = rows_left(options.out, kept)
    done = {(row["method"], row["extra_clean_step"], row["seed"]) for row in rows}
    for found in results(
        one, [(task, *kept) for task in tasks if task not in done], options.workers
    ):
        rows.append(found)
        write_json(options.out, {**provenance(), "settings": kept, "rows": rows})
    print(
        f"Dice of the corrupted masks: {100 * statistics.mean(r['noise_dice'] for r in rows):.1f}"
    )
    print(table(rows))
    leads = (lead(rows, *pair) for pair in itertools.product((False, True), ("last", "chosen")))
    print("\n".join(filter(None, leads)))


if __name__ == "__main__":
    main()

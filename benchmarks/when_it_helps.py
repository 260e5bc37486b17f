"""When does learning to bootstrap help? Kind of noise × number of clean samples × capacity.

python benchmarks/when_it_helps.py [--seeds 3] [--workers 2] [--out DIR]

Digits with labels that are wrong at random, by class, or for reasons of the sample, and TREC, whose
labels come from rules. Perceptrons, narrow and wide; test accuracy at the last epoch. The rivals
are what one would do anyway: train on all labels, on the clean samples alone, or on one after
the other. Draws how many points L2B gains over the best of the three.
"""

import argparse
from dataclasses import replace
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from provenance import RESULTS, provenance

from l2b.catalog import default
from l2b.experiment import Run
from l2b.files import write_json
from l2b.grid import Grid, Results, Trial, execute
from l2b.grid.markdown import rendered
from l2b.grid.results import flat
from l2b.methods import Method
from l2b.models import Mlp
from l2b.presets import base_run
from l2b.report import STYLE, save
from l2b.stats import mean_sd

RIVALS = ("cross_entropy", "clean_only", "fine_tune")
OURS = "l2b"
DIGITS = {
    "symmetric 40 %": "--noise symmetric --noise.rate 0.4",
    "pairs 40 %": "--noise pair_flip --noise.rate 0.4",
    "instance 40 %": "--noise instance_dependent --noise.rate 0.4",
}
WIDTHS = {"narrow": (16,), "wide": (256, 128)}
CLEAN = {"digits": (20, 50, 200), "trec": (60, 200, 603)}
STAGES = ("few", "some", "many")


def rows() -> dict[str, Run]:
    """What every row of the picture shares, by its label."""
    found = {}
    for noise, words in DIGITS.items():
        base = base_run(f"--data digits {words}".split(), "quick")
        for name, hidden in WIDTHS.items():
            found[f"digits, {noise}, {name}"] = replace(base, model=Mlp(hidden=hidden))
    rules = "--data trec --noise existing --noise.annotation weak --training.epochs 20"
    base = base_run(rules.split(), "quick")
    for name, hidden in WIDTHS.items():
        found[f"TREC, weak rules, {name}"] = replace(base, model=Mlp(hidden=hidden[:1]))
    return found


def grid(seeds: int) -> Grid:
    """Every method in every cell, one seed after the other."""
    trials = []
    for seed in range(seeds):
        for label, base in rows().items():
            sizes = CLEAN[label.partition(",")[0].lower()]
            for stage, clean in zip(STAGES, sizes, strict=True):
                for name in (*RIVALS, OURS):
                    run = replace(base, method=default(Method, name), clean=clean, seed=seed)
                    labels = {"row": label, "clean": stage, "method": name}
                    trials.append(Trial(labels=labels, run=run))
    return Grid(trials=tuple(trials))


def gains(results: Results) -> tuple[np.ndarray, np.ndarray, list[list[str]]]:
    """Points over the best rival and their standard error, [rows, stages]; and that rival."""
    gain, error, names = [], [], []
    for label in rows():
        cells = [_gain(results, {"row": label, "clean": stage}) for stage in STAGES]
        gain.append([cell[0] for cell in cells])
        error.append([cell[1] for cell in cells])
        names.append([cell[2] for cell in cells])
    return np.array(gain), np.array(error), names


def _gain(results: Results, setting: dict[str, str]) -> tuple[float, float, str]:
    of = {
        name: results.values({**setting, "method": name}, "last_accuracy")
        for name in (*RIVALS, OURS)
    }
    best = max(RIVALS, key=lambda name: mean_sd(list(of[name].values()))[0])
    change = [100 * (of[OURS][seed] - of[best][seed]) for seed in of[OURS]]
    mean, sd = mean_sd(change)
    return mean, 0.0 if sd is None else sd / len(change) ** 0.5, best


def picture(path: Path, results: Results) -> None:
    """A cell for every row and number of clean samples: gain, its error, and the best rival."""
    gain, error, names = gains(results)
    labels = list(rows())
    with mpl.rc_context(STYLE):
        figure = Figure(figsize=(8.5, 0.55 * len(labels) + 1.6), layout="constrained")
        axes = figure.subplots()
        size = max(1.0, float(np.abs(gain).max()))
        shown = axes.imshow(gain, cmap="RdBu", vmin=-size, vmax=size, aspect="auto")
        for i, j in np.ndindex(*gain.shape):
            dark = abs(gain[i, j]) > 0.6 * size
            said = f"{gain[i, j]:+.1f} ± {error[i, j]:.1f}  ({names[i][j].replace('_', ' ')})"
            colour = "white" if dark else "black"
            axes.text(j, i, said, ha="center", va="center", fontsize=8, color=colour)
        heads = [
            f"{stage}\n(digits {d}, TREC {t})"
            for stage, d, t in zip(STAGES, CLEAN["digits"], CLEAN["trec"], strict=True)
        ]
        axes.set_xticks(range(len(STAGES)), heads)
        axes.set_yticks(range(len(labels)), labels)
        axes.set_xlabel("clean samples")
        axes.tick_params(length=0)
        figure.colorbar(shown, ax=axes, label="points over the best other")
        title = "Gain of L2B over the best of plain training, clean samples alone, fine-tuning"
        figure.suptitle(title, x=0.01, ha="left", weight="bold")
        save(figure, path)


def main() -> None:
    """Run what is missing, print the table, keep figures and picture."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("runs/when-it-helps"))
    options = parser.parse_args()
    results = execute(grid(options.seeds), options.out, workers=options.workers)
    if results.failures or results.missing:
        raise SystemExit(f"{len(results.failures)} runs failed, {results.missing} are missing.")
    table = [flat(row) for row in results.rows]
    write_json(RESULTS / "when_it_helps.json", {**provenance(), "rows": table})
    picture(RESULTS / "when_it_helps.png", results)
    gain, error, names = gains(results)
    cells = [
        [label, *(f"{g:+.1f} ± {e:.1f} ({n})" for g, e, n in zip(*row, strict=True))]
        for label, *row in zip(rows(), gain, error, names, strict=True)
    ]
    print(rendered(["", *STAGES], cells))


if __name__ == "__main__":
    main()

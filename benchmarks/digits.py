"""Every method on mislabelled digits: test accuracy over seeds, last and chosen epoch.

python benchmarks/digits.py [--seeds 5] [--out benchmarks/results/digits.json]
"""

import argparse
import itertools
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from provenance import RESULTS, provenance
from spread import spread

from l2b.catalog import default
from l2b.experiment import Run
from l2b.files import write_json
from l2b.methods import Method
from l2b.noise import Noise
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric

NOISES: dict[str, Noise] = {
    "symmetric 40 % (redraw)": Symmetric(rate=0.4),
    "symmetric 40 % (flip)": Symmetric(rate=0.4, convention="flip"),
    "symmetric 80 % (redraw)": Symmetric(rate=0.8),
    "pair flip 40 %": PairFlip(rate=0.4),
}
METHODS = ("cross_entropy", "bootstrap", "clean_only", "pooled", "fine_tune", "l2rw", "l2b")


def one(task: tuple[str, str, int]) -> dict[str, Any]:
    """Run one method on one noise with one seed; accuracies in percent."""
    torch.set_num_threads(1)
    noise, method, seed = task
    run = replace(Run(seed=seed), noise=NOISES[noise], method=default(Method, method))
    record = run.execute(progress=False).record
    found = {key: 100 * record[f"{key}_accuracy"] for key in ("last", "chosen", "best")}
    return {"noise": noise, "method": method, "seed": seed, **found}


def table(rows: list[dict[str, Any]]) -> str:
    """Mean ± sd over seeds, as Markdown."""
    lines = ["| method | " + " | ".join(NOISES) + " |", "|---" * (len(NOISES) + 1) + "|"]
    for key in ("last", "chosen"):
        for method in METHODS:
            cells = []
            for noise in NOISES:
                values = [r[key] for r in rows if (r["noise"], r["method"]) == (noise, method)]
                cells.append(spread(values))
            lines.append(f"| {method}, {key} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run the grid on all cores, print the table, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=RESULTS / "digits.json")
    options = parser.parse_args()
    tasks = list(itertools.product(NOISES, METHODS, range(options.seeds)))
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as pool:
        rows = list(pool.map(one, tasks))
    print(table(rows))
    write_json(options.out, {**provenance(), "rows": rows})


if __name__ == "__main__":
    main()

"""How much sooner does the automatic choice end when it trains in several processes?

python benchmarks/side_by_side.py [--pairs 3] [--jobs 2] [--images N] [--out FILE]
Digits, or with --images so many of Fashion-MNIST, with 40 % random labels.
"""

import argparse
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
from joblib.externals.loky import get_reusable_executor
from provenance import RESULTS, provenance
from sklearn.datasets import load_digits

from l2b import L2BClassifier
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.files import write_json

CHECKED = {"digits": 60, "fashion_mnist": 300}


def problem(images: int) -> tuple[str, np.ndarray, np.ndarray]:
    """Name, samples [N, features] and true labels [N]; 0 images for digits."""
    if not images:
        digits: Any = load_digits()
        return "digits", digits.data, digits.target
    train = FashionMnist().load().train
    x = train.inputs[:images].flatten(1).float() / 255
    return "fashion_mnist", x.numpy(), train.labels[:images].numpy()


def main() -> None:
    """Fit with one process and with several in turns; both must find the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--images", type=int, default=0)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    name, x, y = problem(options.images)
    draw = np.random.default_rng(0)
    observed = np.where(draw.random(len(y)) < 0.4, draw.integers(0, 10, len(y)), y)
    clean = np.arange(CHECKED[name])
    observed[clean] = y[clean]
    seconds: dict[int, list[float]] = {1: [], options.jobs: []}
    for pair in range(options.pairs):
        found = []
        for jobs, taken in seconds.items():
            start = time.perf_counter()
            model = L2BClassifier(n_jobs=jobs, time_budget=1e6, random_state=pair)
            found.append(model.fit(x, observed, clean=clean).predict_proba(x))
            taken.append(time.perf_counter() - start)
            get_reusable_executor().shutdown()  # so that every fit starts its processes
        if not np.array_equal(*found):
            raise AssertionError("Several processes found something else than one.")
        print({jobs: round(taken[-1], 1) for jobs, taken in seconds.items()}, flush=True)
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    rows = {str(jobs): taken for jobs, taken in seconds.items()}
    out = options.out or RESULTS / f"side_by_side_{name}.json"
    write_json(out, {**provenance(), "samples": len(y), "seconds": rows, "ratios": ratios})


if __name__ == "__main__":
    main()

"""How much sooner does the automatic choice end when it trains in several processes? Digits.

python benchmarks/side_by_side.py [--pairs 3] [--jobs 2] [--epochs N] [--out FILE]
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
from joblib.externals.loky import get_reusable_executor
from provenance import RESULTS, provenance
from sklearn.datasets import load_digits

from l2b import L2BClassifier
from l2b.files import write_json


def main() -> None:
    """Fit with one process and with several in turns; both must find the same."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--epochs", type=int, help="passes over the samples; the usual number")
    parser.add_argument("--out", type=Path, default=RESULTS / "side_by_side.json")
    options = parser.parse_args()
    x, y = load_digits(return_X_y=True)
    draw = np.random.default_rng(0)
    observed = np.where(draw.random(len(y)) < 0.4, draw.integers(0, 10, len(y)), y)
    clean = np.arange(60)
    observed[clean] = y[clean]
    seconds: dict[int, list[float]] = {1: [], options.jobs: []}
    for pair in range(options.pairs):
        found = []
        for jobs, taken in seconds.items():
            start = time.perf_counter()
            model = L2BClassifier(
                epochs=options.epochs, n_jobs=jobs, time_budget=1e6, random_state=pair
            )
            found.append(model.fit(x, observed, clean=clean).predict_proba(x))
            taken.append(time.perf_counter() - start)
            get_reusable_executor().shutdown()  # so that every fit starts its processes
        if not np.array_equal(*found):
            raise AssertionError("Several processes found something else than one.")
        print({jobs: round(taken[-1], 1) for jobs, taken in seconds.items()}, flush=True)
    ratios = [a / b for a, b in zip(*seconds.values(), strict=True)]
    print(f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})")
    rows = {str(jobs): taken for jobs, taken in seconds.items()}
    write_json(options.out, {**provenance(), "seconds": rows, "ratios": ratios})


if __name__ == "__main__":
    main()

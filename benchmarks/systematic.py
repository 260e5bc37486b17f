"""What is best on labels that are wrong by rule or at random, and does the default find it?

Test accuracy of `L2BClassifier` on TF-IDF of Yorùbá news and TREC, the development set as
checked samples, and on images of digits (50 checked) and Fashion-MNIST (5,000, 250 checked) with
random noise, as flat vectors; every row is the same perceptron, but for logistic regression.
Nothing is chosen on the test set. Also the AUROC of finding wrong labels by `label_quality_`.

L2B_DATA=… python benchmarks/systematic.py [--seeds 5] [--sets yoruba trec] [--methods …]
"""

import argparse
import statistics
import time
from functools import cache
from pathlib import Path
from typing import Any

import torch
from provenance import RESULTS, provenance
from scipy import sparse
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score

from l2b.data import Data, Pool, prepare
from l2b.datasets import Dataset
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.datasets.trec import Trec
from l2b.datasets.yoruba import Yoruba
from l2b.estimator import L2BClassifier
from l2b.files import write_json
from l2b.noise import Existing, Noise
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric

WEAK, RANDOM, PAIRS = Existing(annotation="weak"), Symmetric(rate=0.4), PairFlip(rate=0.4)
SETS: dict[str, tuple[Dataset, Noise, int | None]] = {
    "yoruba": (Yoruba(), WEAK, None),
    "trec": (Trec(), WEAK, None),
    "digits": (Digits(), RANDOM, 50),
    "digits-pairs": (Digits(), PAIRS, 50),
    "fashion": (FashionMnist(limit=5000), RANDOM, 250),
}
METHODS = (
    "cross_entropy",
    "clean_only",
    "pooled",
    "fine_tune",
    "gold_correction",
    "l2b",
    "gold_posterior",
    "auto",
)


@cache
def load(name: str, seed: int) -> Data:
    """Noisy and checked samples; of texts, the whole development set is checked."""
    dataset, noise, clean = SETS[name]
    source = dataset.load()
    if clean is None:
        assert source.trusted is not None
        clean, seed = len(source.trusted), 0  # nothing is drawn
    return prepare(source, noise, clean=clean, validation=0.0, seed=seed)


def one(data: Data, method: str, seed: int, budget: float) -> dict[str, Any]:
    """Fit once; accuracy and AUROC in percent."""
    assert data.test is not None and data.train.true is not None
    x, x_clean, x_test = (samples(pool) for pool in (data.train, data.clean, data.test))
    start = time.perf_counter()
    model = L2BClassifier(method=method, random_state=seed, n_jobs=1, time_budget=budget)
    model.fit(x, data.train.labels, x_clean, data.clean.labels)
    seconds = time.perf_counter() - start
    right = data.train.labels == data.train.true
    found = model.comparison_
    return {
        "method": method,
        "seed": seed,
        "accuracy": 100 * float(model.score(x_test, data.test.labels.numpy())),
        "auroc": 100 * float(roc_auc_score(right.numpy(), model.label_quality_)),
        "seconds": seconds,
        "members": {} if found is None else found.members,
        "folds": 0 if found is None else found.folds,
        "noisy_labels_help": model.noisy_labels_help_,
    }


def samples(pool: Pool) -> Any:
    """What a user would give: a sparse matrix of words, or images as flat vectors."""
    flat = pool.inputs.flatten(1).float().numpy()
    return sparse.csr_matrix(flat) if pool.inputs.dim() == 2 else flat


def linear(data: Data) -> dict[str, float]:
    """Test accuracy of logistic regression on true, weak and checked labels, in percent."""
    assert data.test is not None and data.train.true is not None
    pools = {
        "true": (data.train.inputs, data.train.true),
        "weak": (data.train.inputs, data.train.labels),
        "checked": (data.clean.inputs, data.clean.labels),
    }

    def flat(x: torch.Tensor) -> Any:
        return data.standardise(x).flatten(1).numpy()

    test = flat(data.test.inputs), data.test.labels.numpy()
    return {
        name: 100 * float(LogisticRegression(max_iter=1000).fit(flat(x), y.numpy()).score(*test))
        for name, (x, y) in pools.items()
    }


def main() -> None:
    """Run the grid, print a line per method, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", default=["yoruba", "trec"], choices=list(SETS))
    parser.add_argument("--methods", nargs="+", default=METHODS)
    parser.add_argument("--budget", type=float, default=300.0)
    parser.add_argument("--out", type=Path, default=RESULTS / "systematic.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.sets:
        data = load(name, 0)
        print(f"{name}: {data.noise_rate:.1%} wrong; logistic regression {linear(data)}")
        for method in options.methods:
            found = [
                one(load(name, seed), method, seed, options.budget) for seed in range(options.seeds)
            ]
            rows += [{"set": name, **row} for row in found]
            print(f"  {method:<16}" + "  ".join(_cell(found, key) for key in KEYS), flush=True)
        write_json(options.out, {**provenance(), "rows": rows})


KEYS = ("accuracy", "auroc", "seconds")


def _cell(rows: list[dict[str, Any]], key: str) -> str:
    values = [row[key] for row in rows]
    error = statistics.stdev(values) / len(values) ** 0.5 if len(values) > 1 else 0.0
    return f"{key} {statistics.mean(values):5.1f} ± {error:.1f}"


if __name__ == "__main__":
    main()

"""Several yes-or-no labels a sample: what do weights for each label gain?

Four questions about every image of digits (1,247 images, 50 checked) and of Fashion-MNIST (5,000,
250 checked); 30 % of the answers are turned round and 10 % are missing, each by itself. The same
perceptron, steps and clipping for all; the checked samples are whole. Nothing was chosen on the
test set, and the last epoch is judged.

L2B_DATA=… python benchmarks/several_labels.py [--seeds 5] [--sets digits fashion]
"""

import argparse
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from provenance import RESULTS, provenance
from scipy.stats import ttest_rel
from torch import Tensor, nn

import l2b
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.files import write_json
from l2b.losses import cross_entropy
from l2b.normalise import ObservedOnly, PerSample, PositiveShare

WRONG, MISSING, BATCH, HIDDEN = 0.3, 0.1, 64, 256
DIGITS = [[d % 2 == 0, d > 4, d in (0, 6, 8, 9), d in (2, 3, 5, 7)] for d in range(10)]
# Worn on the upper body, on the feet, has sleeves, reaches below the hip.
CLOTHES = [
    [c in (0, 2, 3, 4, 6), c in (5, 7, 9), c in (0, 2, 4, 6), c in (1, 3, 4)] for c in range(10)
]
SETS: dict[str, tuple[Any, list[list[bool]], int, int]] = {
    "digits": (Digits(), DIGITS, 50, 30),
    "fashion": (FashionMnist(limit=5000), CLOTHES, 250, 15),
}


class Task(NamedTuple):
    """Noisy, checked and test samples, standardised."""

    x: Tensor
    observed: Tensor
    clean_x: Tensor
    clean_y: Tensor
    test_x: Tensor
    test_y: Tensor
    epochs: int


def load(name: str, seed: int) -> Task:
    """Draw the noise and the checked samples."""
    dataset, table, checked, epochs = SETS[name]
    source, answers = dataset.load(), torch.tensor(table).long()
    assert source.test is not None
    draw = torch.Generator().manual_seed(seed)
    x, test_x = (
        ((split.inputs.float() - source.mean) / source.std).flatten(1)
        for split in (source.train, source.test)
    )
    order = torch.randperm(len(x), generator=draw)
    x, y = x[order], answers[source.train.labels[order]]
    clean, noisy = y[:checked], y[checked:]
    turned = torch.rand(noisy.shape, generator=draw) < WRONG
    missing = torch.rand(noisy.shape, generator=draw) < MISSING
    observed = torch.where(turned, 1 - noisy, noisy).masked_fill(missing, -1)
    test_y = answers[source.test.labels]
    return Task(x[checked:], observed, x[:checked], clean, test_x, test_y, epochs)


class Weighed:
    """The loss of one step, with weights for each label."""

    def __init__(
        self, *, averaged: bool, normalise: l2b.normalise.Normaliser, clean: float
    ) -> None:
        """Choose pseudo-labels, normaliser and the weight of the clean loss."""
        self.averaged, self.normalise, self.clean = averaged, normalise, clean

    def __call__(self, model: nn.Module, task: Task) -> Callable[[Tensor], Tensor]:
        """The loss of some rows."""
        average = l2b.pseudo.MovingAverage(soft=False).build(model)
        pseudo = average if self.averaged else l2b.pseudo.hard_self

        def loss(rows: Tensor) -> Tensor:
            given = task.observed[rows]
            average.update(model, given, None)
            z, weights = l2b.weighed_pass(
                model,
                task.x[rows],
                given,
                task.clean_x,
                task.clean_y,
                normalise=self.normalise,
                pseudo=pseudo,
            )
            return l2b.bootstrapped_loss(z, given, weights) + self.clean * on_clean(model, task)

        return loss


def on_noisy(model: nn.Module, task: Task, rows: Tensor) -> Tensor:
    """Mean binary cross-entropy of noisy labels."""
    return cross_entropy(model(task.x[rows]), task.observed[rows]).mean()


def on_clean(model: nn.Module, task: Task) -> Tensor:
    """Mean binary cross-entropy of checked labels."""
    return cross_entropy(model(task.clean_x), task.clean_y).mean()


METHODS: dict[str, Weighed | str] = {
    "plain": "noisy",
    "checked labels alone": "clean",
    "both": "both",
    "plain, then checked": "fine_tune",
    "weights of the labels as given (L2RW)": Weighed(
        averaged=False, normalise=ObservedOnly(), clean=0.0
    ),
    "L2B as published": Weighed(averaged=False, normalise=PositiveShare(), clean=0.0),
    "L2B, averaged model, clean loss": Weighed(averaged=True, normalise=PositiveShare(), clean=0.2),
    "the same, α + β = 1": Weighed(averaged=True, normalise=PerSample(), clean=0.2),
}


def one(task: Task, method: str, seed: int) -> float:
    """Train once; percent of the test labels that are right."""
    torch.manual_seed(seed)
    layers = nn.Linear(task.x.shape[1], HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, task.test_y.shape[1])
    model, kind = l2b.YesNo(nn.Sequential(*layers)), METHODS[method]
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    weighed = kind(model, task) if isinstance(kind, Weighed) else None
    for epoch in range(task.epochs):
        for rows in torch.randperm(len(task.x)).split(BATCH):
            tuned = kind == "clean" or (kind == "fine_tune" and epoch >= task.epochs // 2)
            if weighed is not None and epoch:  # after one epoch of warm-up
                loss = weighed(rows)
            elif tuned:
                loss = on_clean(model, task)
            else:
                loss = on_noisy(model, task, rows)
                loss = loss + on_clean(model, task) if kind == "both" else loss
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
    with torch.no_grad():
        return 100 * (model(task.test_x).argmax(dim=1) == task.test_y).float().mean().item()


def main() -> None:
    """Measure, print a table and write it down."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--out", type=Path, default=RESULTS / "several_labels.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = []
    for name in options.sets:
        tasks = [load(name, seed) for seed in range(options.seeds)]
        found = {m: [one(t, m, seed) for seed, t in enumerate(tasks)] for m in METHODS}
        rows += [{"set": name, "method": m, "accuracy": values} for m, values in found.items()]
        published = found["L2B as published"]
        print(f"\n| {name} | right answers, % | published − this | p |\n|---|---:|---:|---:|")
        for method, values in found.items():
            mean, spread = statistics.mean(values), statistics.stdev(values)
            gap = statistics.mean(published) - mean
            p = "" if values is published else f"{ttest_rel(published, values).pvalue:.3f}"
            print(f"| {method} | {mean:.1f} ± {spread:.1f} | {gap:+.1f} | {p} |", flush=True)
    write_json(options.out, {**provenance(), "rows": rows})


if __name__ == "__main__":
    main()

"""How the defaults were chosen: digits, a development split, the test set untouched.

A fifth of the training split (300 samples) stands in for the test set; everything else is
as in benchmarks/digits.py. Prints last-epoch accuracy, mean over seeds.

python benchmarks/tune_digits.py [--seeds 3]
"""

import argparse
from dataclasses import replace

import numpy as np
import torch
from digits import NOISES
from provenance import provenance
from sklearn.model_selection import train_test_split
from steering import steering

from l2b.data import prepare
from l2b.datasets import Source, Split
from l2b.datasets.digits import Digits
from l2b.engines import Engine, Forward, LastLayer
from l2b.methods import Method
from l2b.methods.fine_tune import FineTune
from l2b.methods.l2rw import L2RW
from l2b.models import ConvNet, Mlp, Model
from l2b.optimise import Optimiser
from l2b.pseudo import MovingAverage, PseudoLabels, SelfLabels, Temporal
from l2b.train import Training, fit

PSEUDO: dict[str, PseudoLabels] = {
    "self": SelfLabels(),
    "moving average, soft": MovingAverage(),
    "moving average, hard": MovingAverage(soft=False),
    "temporal, soft": Temporal(),
    "temporal, hard": Temporal(soft=False),
}
MODELS: dict[str, Model] = {"mlp": Mlp(), "conv_net": ConvNet()}
ENGINES: dict[str, Engine] = {"forward": Forward(), "last_layer": LastLayer()}
TRIALS = {
    "lr 0.1": Training(epochs=40, optimiser=Optimiser(lr=0.1)),
    "lr 0.2": Training(epochs=40, optimiser=Optimiser(lr=0.2)),
    "lr 0.3": Training(epochs=40, optimiser=Optimiser(lr=0.3)),
    "lr 0.5": Training(epochs=40, optimiser=Optimiser(lr=0.5)),
    "lr 0.3, batch 32": Training(epochs=40, optimiser=Optimiser(lr=0.3), batch=32),
    "lr 0.3, clip 2": Training(epochs=40, optimiser=Optimiser(lr=0.3), clip=2.0),
    "lr 0.1, clip none": Training(epochs=40, optimiser=Optimiser(lr=0.1), clip=None),
    "lr 0.2, 60 epochs": Training(epochs=60, optimiser=Optimiser(lr=0.2)),
}


def development(source: Source) -> Source:
    """The training split alone, 300 of its samples held out."""
    labels = source.train.labels
    kept, held = train_test_split(
        np.arange(len(labels)), test_size=300, stratify=labels, random_state=1
    )
    kept, held = torch.from_numpy(np.sort(kept)), torch.from_numpy(np.sort(held))
    return replace(
        source,
        train=Split(source.train.inputs[kept], labels[kept]),
        test=Split(source.train.inputs[held], labels[held]),
    )


def trial(
    name: str, source: Source, method: Method, training: Training, model: Model, seeds: int
) -> None:
    """Print one line: mean last-epoch accuracy for each noise."""
    means = []
    for noise in NOISES.values():
        found = []
        for seed in range(seeds):
            data = prepare(source, noise, clean=50, validation=0.2, seed=seed)
            outcome = fit(data, model, method, training, seed=seed, progress=False)
            found.append(100 * outcome.history[-1]["test_accuracy"])
        means.append(sum(found) / seeds)
    cells = "  ".join(f"{mean:5.1f}" for mean in means)
    print(f"{name:<52}{cells}   mean {sum(means) / len(means):.2f}", flush=True)


def main() -> None:
    """Vary the model, the engine and the pseudo-label, then the training."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = development(Digits().load())
    print(provenance())
    print(f"{'':<52}{', '.join(NOISES)}")
    usual = TRIALS["lr 0.1"]
    for model_name, model in MODELS.items():
        trial(f"{model_name}: fine_tune", source, FineTune(), usual, model, options.seeds)
        for engine_name, engine in ENGINES.items():
            prefix = f"{model_name}, {engine_name}"
            trial(f"{prefix}: l2rw", source, L2RW(engine=engine), usual, model, options.seeds)
            for pseudo_name, pseudo in PSEUDO.items():
                method = steering(engine=engine, pseudo=pseudo)
                trial(f"{prefix}: l2b, {pseudo_name}", source, method, usual, model, options.seeds)
        for name, training in TRIALS.items():
            trial(
                f"{model_name}: l2b, {name}",
                source,
                steering(),
                training,
                model,
                options.seeds,
            )


if __name__ == "__main__":
    main()

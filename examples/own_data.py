"""Your own arrays: noisy labels, some of them checked, and a held-out test set."""

import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from l2b.datasets.arrays import Arrays
from l2b.experiment import Run
from l2b.noise.none import NoNoise
from l2b.train import Training


def write_arrays(path: Path) -> None:
    """A table whose labels are wrong in three cases out of ten, the first 100 checked."""
    x, y = load_breast_cancer(return_X_y=True)
    x, x_test, y, y_test = train_test_split(x, y, test_size=150, random_state=0, stratify=y)
    checked = np.arange(100)
    wrong = np.random.default_rng(0).random(len(y)) < 0.3
    wrong[checked] = False
    np.savez(
        path,
        x_train=x,
        y_train=np.logical_xor(y, wrong).astype(int),
        x_test=x_test,
        y_test=y_test,
        clean_index=checked,
    )


def main(epochs: int = 40) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mine.npz"
        write_arrays(path)
        run = Run(
            data=Arrays(path=path),
            noise=NoNoise(),  # the labels are noisy already
            training=Training(epochs=epochs, batch=32),
            clean=100,
        )
        result = run.execute(Path(folder) / "run", progress=False)
    print(f"test accuracy {result.record['chosen_accuracy']:.1%} at the chosen epoch")
    return result.record["chosen_accuracy"]


if __name__ == "__main__":
    main()

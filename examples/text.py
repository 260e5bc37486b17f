"""Texts with wrong labels: which library is a docstring from? Words, a pipeline, a few checked."""

import importlib
import inspect

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline

from l2b import L2BClassifier

LIBRARIES = {
    "arrays": ["numpy", "numpy.linalg", "numpy.fft"],
    "science": ["scipy.stats", "scipy.signal", "scipy.optimize", "scipy.special"],
    "learning": ["sklearn.metrics", "sklearn.preprocessing", "sklearn.datasets"],
}


def docstrings() -> tuple[np.ndarray, np.ndarray]:
    """The first lines of what the libraries say about their own functions."""
    found = {}
    for label, modules in LIBRARIES.items():
        for name in modules:
            for _, thing in inspect.getmembers(importlib.import_module(name), callable):
                text = inspect.getdoc(thing) or ""
                if len(text) > 80:
                    found[text[:400]] = label
    return np.array(list(found)), np.array(list(found.values()))


def main(epochs: int = 20) -> float:
    texts, right = docstrings()
    texts, test, right, y_test = train_test_split(
        texts, right, test_size=0.25, random_state=0, stratify=right
    )
    draw = np.random.default_rng(0)
    wrong = draw.random(len(right)) < 0.3
    checked = np.arange(60)
    wrong[checked] = False
    y = np.where(wrong, draw.choice(list(LIBRARIES), len(right)), right)

    words = TfidfVectorizer(max_features=2000, sublinear_tf=True)
    model = L2BClassifier(method="gold_posterior", epochs=epochs, random_state=0)
    pipeline = make_pipeline(words, model).fit(texts, y, l2bclassifier__clean=checked)

    is_wrong = y != right
    suspects = model.is_suspect_
    print(f"{is_wrong.mean():.0%} of {len(y)} labels are wrong; {suspects.sum()} are suspects,")
    print(f"of which {is_wrong[suspects].mean():.0%} are wrong. For example:")
    for row in np.argsort(model.label_quality_)[:3]:
        print(
            f"  {y[row]} → {model.suggested_labels_[row]}: {str(texts[row]).splitlines()[0][:60]}"
        )
    accuracy = pipeline.score(test, y_test)
    print(f"Test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()

"""A table with wrong labels: fit, predict, and ask which labels are wrong."""

import numpy as np
from sklearn.datasets import load_breast_cancer
from sklearn.model_selection import train_test_split

from l2b import L2BClassifier


def main(epochs: int = 40) -> float:
    features, names = load_breast_cancer(return_X_y=True, as_frame=False)
    labels = np.where(names == 1, "benign", "malignant")
    x, x_test, right, y_test = train_test_split(
        features, labels, test_size=150, random_state=0, stratify=labels
    )
    wrong = np.random.default_rng(0).random(len(right)) < 0.3
    checked = np.arange(60)  # rows that somebody has looked at
    wrong[checked] = False
    y = np.where(wrong, np.where(right == "benign", "malignant", "benign"), right)

    model = L2BClassifier(method="l2b", epochs=epochs, random_state=0).fit(x, y, clean=checked)

    suspects = model.is_suspect_
    repaired = (model.suggested_labels_ == right)[suspects].mean()
    print(f"{wrong.mean():.0%} of the labels are wrong; {suspects.sum()} are suspects.")
    print(f"{wrong[suspects].mean():.0%} of the suspects are wrong, and {repaired:.0%} of the")
    print("suggestions are right. The least trusted rows:")
    for row in np.argsort(model.label_quality_)[:5]:
        print(f"  row {row}: {y[row]} → {model.suggested_labels_[row]}, in truth {right[row]}")
    accuracy = model.score(x_test, y_test)
    print(f"Test accuracy {accuracy:.1%}")
    return accuracy


if __name__ == "__main__":
    main()

"""How well predictions fit labels."""

from collections.abc import Callable

import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_accuracy

from l2b.data import Data, Pool
from l2b.losses import cross_entropy

ROWS_AT_ONCE = 2048


def evaluate(predict: Callable[[Tensor], Tensor], pool: Pool, data: Data) -> dict[str, float]:
    """Accuracy, balanced accuracy and mean loss over a pool.

    Args:
        predict: standardised inputs to logits [n, classes].
        pool: samples and the labels to judge by.
        data: gives the classes and the scale of the inputs.

    Returns:
        ``accuracy`` and ``balanced_accuracy`` as fractions, ``loss`` in nats.
    """
    z = predict_pool(predict, pool, data)
    classes = len(data.classes)
    # Balanced: the mean over the classes that occur, so an absent class counts for nothing.
    recall = multiclass_accuracy(z, pool.labels, num_classes=classes, average="none")
    present = torch.bincount(pool.labels, minlength=classes) > 0
    accuracy = multiclass_accuracy(z, pool.labels, num_classes=classes, average="micro")
    return {
        "accuracy": accuracy.item(),
        "balanced_accuracy": recall[present].mean().item(),
        "loss": cross_entropy(z, pool.labels).mean().item(),
    }


def predict_pool(predict: Callable[[Tensor], Tensor], pool: Pool, data: Data) -> Tensor:
    """Logits of a whole pool, [N, classes], in blocks of bounded size."""
    blocks = pool.inputs.split(ROWS_AT_ONCE)
    return torch.cat([predict(data.standardise(block)) for block in blocks])

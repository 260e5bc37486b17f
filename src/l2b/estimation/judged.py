"""What training thinks of every label that the user gave."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l2b.estimation.learn import Learned
from l2b.estimation.task import Given
from l2b.quality import knowing_epochs, label_quality
from l2b.targets import VOID

SUSPECT_BELOW = 0.5


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Of every row of the user's X, and of each of several labels: arrays of [N, *tags].

    Labels that were checked are beyond doubt, and of those that nobody knows nothing is said:
    their quality is NaN and −1 is suggested.

    Attributes:
        quality: how far each label can be trusted, in [0, 1].
        suggested: the label that each would be given, as a number.
        confidence: share of the epochs in favour of it.
        alpha: mean learned weight of each observed label; 1 is plain training.
        beta: mean learned weight of each pseudo-label.
        suspect: where quality is under 0.5 and another label is suggested.
    """

    quality: np.ndarray
    suggested: np.ndarray
    confidence: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    suspect: np.ndarray


def judge(given: Given, learned: Learned, y: np.ndarray) -> Judged:
    """Judge the labels by the ledger of one training.

    Args:
        given: what it learned from.
        learned: what it left.
        y: all labels as given, as numbers, [N, *tags].
    """
    ledger, answers = learned.ledger, max(1, len(given.tags))
    labels = given.y.flatten()
    there = (labels != VOID).nonzero().squeeze(1)
    places = (given.index.unsqueeze(1) * answers + torch.arange(answers)).flatten()[there].numpy()

    def told(column: Tensor) -> Tensor:
        return column if len(there) == len(labels) else column[:, there]

    alpha, beta = told(ledger.alpha), told(ledger.beta)
    heard = None
    if learned.judges and not given.stood_in:
        heard = knowing_epochs(torch.tensor(learned.known), learned.judges)
    found = label_quality(
        alpha,
        beta,
        told(ledger.pseudo),
        told(ledger.loss),
        labels[there],
        classes=len(given.classes),
        heard=heard,
    )

    def everywhere(values: Tensor, otherwise: Any) -> np.ndarray:
        every = np.array(np.broadcast_to(otherwise, y.size), dtype=values.numpy().dtype)
        every[places] = values.numpy()
        return every.reshape(y.shape)

    as_given = y.flatten()
    beyond_doubt = np.where(as_given == VOID, np.nan, 1.0)
    quality = everywhere(found.quality, beyond_doubt)
    suggested = everywhere(found.suggested, as_given)
    return Judged(
        quality=quality,
        suggested=suggested,
        confidence=everywhere(found.confidence, beyond_doubt),
        alpha=everywhere(alpha.float().nanmean(dim=0).nan_to_num(1.0), beyond_doubt),
        beta=everywhere(beta.float().nanmean(dim=0).nan_to_num(0.0), beyond_doubt - 1.0),
        suspect=(quality < SUSPECT_BELOW) & (suggested != y),
    )

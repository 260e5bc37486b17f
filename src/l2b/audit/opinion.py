"""A second opinion on every label, from the checked samples alone."""

from dataclasses import replace

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import Tensor, nn

from l2b.audit.table import AuditTable
from l2b.data import Data
from l2b.functional import forward

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the linear model, tried on held-out checked samples
EXPONENTS = tuple(np.linspace(0, 3, 13))  # of the two opinions
FOLDS = 5
ROUNDS = 30  # of expectation and maximisation
SURE = 1e-4  # no probability is closer to 0 or 1
PIECE = 2048
SEED = 0  # of the folds


def second_opinion(table: AuditTable, data: Data, module: nn.Module) -> AuditTable:
    """Weigh the run's judgement of each label against that of the checked samples.

    Where labels are wrong by a rule that the inputs show, a run learns the rule, and trusts
    the labels that follow it. A linear model p(y|x) of the checked samples alone does not.
    The probability that a label ỹ is right is then, with T(y, ỹ) fitted to the noisy labels,

        r = p(ỹ|x) T(ỹ, ỹ) / Σ_y p(y|x) T(y, ỹ).

    How much each side counts is what predicts the checked labels, none of which the run was
    trained on: exponents a of the run's and b of the (cross-fitted) linear model's
    probabilities, averaged over a grid in proportion to the likelihood of those labels, since
    the best pair alone jumps from one draw to the next. The log-odds are then mixed in the
    shares a : b. Suggestions stay the run's unless the linear model counts for more.

    Args:
        table: the run's own judgement.
        data: what the run learned from; the checked samples only steered it.
        module: the run's network.

    Returns:
        The same table with other qualities, suggestions and confidences; the table itself
        if a class has fewer than two checked samples.
    """
    x, y = _flat(data, data.clean.inputs), data.clean.labels.numpy()
    size = len(data.classes)
    if np.bincount(y, minlength=size).min() < 2:
        return table
    linear, held_out = _linear(x, y, size)
    a, b = _exponents(_network(module, data, data.clean.inputs), held_out, y)
    share = a / (a + b)
    pieces = [linear.predict_proba(_flat(data, x)) for x in data.train.inputs.split(PIECE)]
    believed = _sharpened(np.concatenate(pieces), b)
    changes = _transition(believed, table.observed)
    posterior = believed * changes[:, table.observed].T
    posterior /= posterior.sum(axis=1, keepdims=True)
    return _mixed(table, posterior, share)


def _mixed(table: AuditTable, posterior: np.ndarray, share: float) -> AuditTable:
    rows = np.arange(len(table))
    right = posterior[rows, table.observed]
    odds = share * _log_odds(table.quality) + (1 - share) * _log_odds(right)
    quality = 1 / (1 + np.exp(-odds))
    if share >= 0.5:
        return replace(table, quality=quality)
    others = posterior.copy()
    others[rows, table.observed] = -1.0
    suggested = np.where(quality < 0.5, others.argmax(axis=1), table.observed)
    return replace(
        table, quality=quality, suggested=suggested, confidence=posterior[rows, suggested]
    )


def _linear(x: np.ndarray, y: np.ndarray, size: int) -> tuple[LogisticRegression, np.ndarray]:
    """A linear model of the checked samples, and its probabilities for held-out ones."""
    count = min(FOLDS, int(np.bincount(y, minlength=size).min()))
    folds = StratifiedKFold(count, shuffle=True, random_state=SEED)
    models = [LogisticRegression(C=strength, max_iter=1000) for strength in STRENGTHS]
    held_out = [
        np.asarray(cross_val_predict(model, x, y, cv=folds, method="predict_proba"))
        for model in models
    ]
    losses = [_losses(np.log(np.maximum(p, SURE)), y).mean() for p in held_out]
    best = int(np.argmin(losses))
    return models[best].fit(x, y), held_out[best]


def _exponents(run: np.ndarray, linear: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Mean exponents of both opinions, given the checked labels and a flat prior."""
    first, second = np.log(np.maximum(run, SURE)), np.log(np.maximum(linear, SURE))
    pairs = np.array([(a, b) for a in EXPONENTS for b in EXPONENTS if a or b])
    losses = np.array([_losses(a * first + b * second, y).sum() for a, b in pairs])
    likely = np.exp(losses.min() - losses)
    a, b = likely @ pairs / likely.sum()
    return float(a), float(b)


def _losses(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    targets = torch.from_numpy(y)
    return nn.functional.cross_entropy(torch.from_numpy(z), targets, reduction="none").numpy()


def _transition(believed: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """T(y, ỹ) of greatest likelihood, rows sum to 1, by expectation and maximisation."""
    size = believed.shape[1]
    given = np.eye(size)[observed]
    found = np.full((size, size), 0.5 / size) + 0.5 * np.eye(size)
    for _ in range(ROUNDS):
        posterior = believed * found[:, observed].T
        posterior /= posterior.sum(axis=1, keepdims=True)
        counts = posterior.T @ given + 1 / size
        found = counts / counts.sum(axis=1, keepdims=True)
    return found


def _sharpened(p: np.ndarray, exponent: float) -> np.ndarray:
    powered = np.maximum(p, SURE) ** exponent
    return powered / powered.sum(axis=1, keepdims=True)


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, SURE, 1 - SURE)
    return np.log(p / (1 - p))


def _flat(data: Data, inputs: Tensor) -> np.ndarray:
    return data.standardise(inputs).flatten(1).numpy()


def _network(module: nn.Module, data: Data, inputs: Tensor) -> np.ndarray:
    """Probabilities that the run's network gives, in evaluation mode."""
    training = module.training
    module.eval()
    with torch.no_grad():
        z = torch.cat([forward(module, data.standardise(x)) for x in inputs.split(PIECE)])
    module.train(training)
    return torch.softmax(z.double(), dim=1).numpy()

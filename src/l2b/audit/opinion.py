"""Further opinions on every label, from linear models of the checked and of all samples."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy import sparse
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import Tensor, nn

from l2b.audit.table import AuditTable
from l2b.data import Data
from l2b.functional import forward

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the linear model, tried on held-out checked samples
OF_ALL = 1.0  # strength of the linear model of all samples
EXPONENTS = tuple(np.linspace(0, 3, 9))  # of every opinion
FOLDS = 5
ROUNDS = 30  # of expectation and maximisation
SURE = 1e-4  # no probability is closer to 0 or 1
PIECE = 2048
MOST_ENTRIES = 2_000_000  # other than 0, of all samples: beyond, a linear model of them takes long
SEED = 0  # of the folds


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one model thinks of the noisy and of the checked samples.

    Attributes:
        held_out: its probabilities for checked samples that it did not see, [M, classes].
        right: the probability that each noisy sample's label is right, [N].
        believed: its probabilities for the noisy samples, [N, classes], from which suggestions
            are made.
    """

    held_out: np.ndarray
    right: np.ndarray
    believed: np.ndarray


def second_opinion(table: AuditTable, data: Data, module: nn.Module) -> AuditTable:
    """Weigh the run's judgement of each label against those of two linear models.

    Where labels are wrong by a rule that the inputs show, a run learns the rule, and trusts
    the labels that follow it. A linear model p(y|x) of the checked samples alone does not.
    The probability that a label ỹ is right is then, with T(y, ỹ) fitted to the noisy labels,

        r = p(ỹ|x) T(ỹ, ỹ) / Σ_y p(y|x) T(y, ỹ).

    Where checked samples are few, a linear model of all samples, noisy and checked, knows more:
    its r is the probability of the label, predicted without it (confident learning). It is
    left out where the samples have more than 2 million entries, as images do.

    How much each side counts is what predicts the checked labels, none of which the run was
    trained on: exponents of the opinions' probabilities (those of linear models cross-fitted),
    averaged over a grid in proportion to the likelihood of those labels, since the best ones
    alone jump from one draw to the next. The log-odds are then mixed in the shares of the
    exponents, each in units of its standard deviation, so that the most self-assured does not
    drown the others, and brought back to their mean scale.

    Suggestions come from the opinion that predicts the checked labels best by itself. The
    run's are the most likely class given both the sample and its label, p(y|x)^a T(y, ỹ), with
    the exponent a that predicts the checked labels best: a network that learned from wrong
    labels is less sure than it should be, and a label that it finds unlikely is still
    evidence. So a model that knows less than the labels does not overrule them wholesale.

    Args:
        table: the run's own judgement.
        data: what the run learned from; the checked samples only steered it.
        module: the run's network.

    Returns:
        The same table with other qualities, suggestions and confidences; the table itself
        if a class has fewer than two checked samples.
    """
    y, size = data.clean.labels.numpy(), len(data.classes)
    if np.bincount(y, minlength=size).min() < 2:
        return table
    held_out = _network(module, data, data.clean.inputs)
    sureness = float(_exponents([held_out], y)[0])
    own = _sharpened(_network(module, data, data.train.inputs), sureness)
    run = Opinion(
        held_out=held_out,
        right=table.quality,
        believed=_given_the_label(own, table.observed),
    )
    of_checked, checked_held_out = _of_checked(data, size)
    of_all = _of_all(data)
    others = [of_all] if of_all else []
    tested = [held_out, checked_held_out, *(opinion.held_out for opinion in others)]
    exponents = _exponents(tested, y)
    posterior = _given_the_label(_sharpened(of_checked, exponents[1]), table.observed)
    checked = Opinion(
        held_out=checked_held_out,
        right=posterior[np.arange(len(table)), table.observed],
        believed=posterior,
    )
    leading = int(np.argmin([_loss_alone(p, y) for p in tested]))
    return _mixed(table, [run, checked, *others], exponents / exponents.sum(), leading)


def _mixed(
    table: AuditTable, opinions: Sequence[Opinion], shares: np.ndarray, leading: int
) -> AuditTable:
    """Qualities mixed in these shares; suggestions of the leading opinion (0: the run's)."""
    rows = np.arange(len(table))
    odds = [_log_odds(opinion.right) for opinion in opinions]
    spreads = np.array([max(float(o.std()), SURE) for o in odds])
    odds = (shares @ spreads) * sum(
        share * o / spread for share, o, spread in zip(shares, odds, spreads, strict=True)
    )
    quality = 1 / (1 + np.exp(-odds))
    believed = opinions[leading].believed
    suggested = believed.argmax(axis=1)
    if leading > 0:
        others = believed.copy()
        others[rows, table.observed] = -1.0
        suggested = np.where(quality < 0.5, others.argmax(axis=1), table.observed)
    return replace(
        table, quality=quality, suggested=suggested, confidence=believed[rows, suggested]
    )


def _given_the_label(believed: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """p(y|x) T(y, ỹ), normalised: what an opinion believes once it knows the label as well."""
    posterior = believed * _transition(believed, observed)[:, observed].T
    return posterior / posterior.sum(axis=1, keepdims=True)


def _of_checked(data: Data, size: int) -> tuple[np.ndarray, np.ndarray]:
    """What a linear model of the checked samples believes of the noisy and of held-out ones."""
    x, y = _flat(data, data.clean.inputs), data.clean.labels.numpy()
    linear, held_out = _linear(x, y, size)
    pieces = [linear.predict_proba(_flat(data, x)) for x in data.train.inputs.split(PIECE)]
    return np.concatenate(pieces), held_out


def _of_all(data: Data) -> Opinion | None:
    """The linear model of all samples, each judged without it; None where that takes long."""
    pools = (data.train, data.clean)
    dense = bool(torch.as_tensor(data.mean).any())
    entries = (int(p.inputs.numel() if dense else p.inputs.count_nonzero()) for p in pools)
    if sum(entries) > MOST_ENTRIES:
        return None
    x = sparse.vstack([_sparse(data, pool.inputs) for pool in pools]).tocsr()
    y = np.concatenate([pool.labels.numpy() for pool in pools])
    count = min(FOLDS, int(np.bincount(y).min()))
    folds = StratifiedKFold(count, shuffle=True, random_state=SEED)
    model = LogisticRegression(C=OF_ALL, max_iter=300)
    with warnings.catch_warnings():  # a fit that is not quite at its end is as good an opinion
        warnings.simplefilter("ignore", ConvergenceWarning)
        p = np.asarray(cross_val_predict(model, x, y, cv=folds, method="predict_proba"))
    noisy = len(data.train)
    right = p[np.arange(noisy), y[:noisy]]
    return Opinion(held_out=p[noisy:], right=right, believed=p[:noisy])


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


def _exponents(held_out: Sequence[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Mean exponent of every opinion, given the checked labels and a flat prior."""
    logs = np.log(np.maximum(np.stack(held_out), SURE))
    tried = np.array([e for e in product(EXPONENTS, repeat=len(logs)) if any(e)])
    losses = np.array([_losses(np.tensordot(e, logs, axes=1), y).sum() for e in tried])
    likely = np.exp(losses.min() - losses)
    return likely @ tried / likely.sum()


def _loss_alone(held_out: np.ndarray, y: np.ndarray) -> float:
    """Mean loss of one opinion on the checked labels, in nats, at the exponent that suits it."""
    log = np.log(np.maximum(held_out, SURE))
    return min(float(_losses(exponent * log, y).mean()) for exponent in EXPONENTS)


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


def _sparse(data: Data, inputs: Tensor) -> Any:
    """Standardised samples as a sparse matrix, made in pieces."""
    return sparse.vstack([sparse.csr_matrix(_flat(data, x)) for x in inputs.split(PIECE)])


def _network(module: nn.Module, data: Data, inputs: Tensor) -> np.ndarray:
    """Probabilities that the run's network gives, in evaluation mode."""
    training = module.training
    module.eval()
    with torch.no_grad():
        z = torch.cat([forward(module, data.standardise(x)) for x in inputs.split(PIECE)])
    module.train(training)
    return torch.softmax(z.double(), dim=1).numpy()

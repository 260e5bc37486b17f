"""Further opinions on every label, from linear models of the checked and of all samples."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy import sparse
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict
from torch import nn

from l2b.audit.rate import at_least, confident_rate, noise_rate
from l2b.audit.summary import wrong_probability
from l2b.audit.table import AuditTable
from l2b.audit.views import View

STRENGTHS = (0.01, 0.1, 1.0, 10.0)  # of the linear model, tried on held-out checked samples
OF_ALL = 1.0  # strength of the linear model of all samples
EXPONENTS = tuple(np.linspace(0, 3, 9))  # of every opinion
FOLDS = 5
ROUNDS = 30  # of expectation and maximisation
SAVED = 0.25  # nats over all checked labels: what linear models must save to be heard
LEAST = 0.25  # of the root mean square of log-odds: the least that they are measured in
SURE = 1e-4  # no probability is closer to 0 or 1
SEED = 0  # of the folds


@dataclass(frozen=True, kw_only=True)
class Opinion:
    """What one model thinks of the noisy and of the checked samples.

    Attributes:
        held_out: its probabilities for checked samples that it did not see, [M, classes].
        right: the probability that each noisy sample's label is right, [N].
        believed: its probabilities for the noisy samples, [N, classes].
    """

    held_out: np.ndarray
    right: np.ndarray
    believed: np.ndarray


def second_opinion(table: AuditTable, seen: View, y: np.ndarray) -> AuditTable:
    """Weigh the run's judgement of each label against those of two linear models.

    Where labels are wrong by a rule that the inputs show, a run learns the rule, and trusts
    the labels that follow it. A linear model p(y|x) of the checked samples alone does not.
    The probability that a label ỹ is right is then, with T(y, ỹ) fitted to the noisy labels,

        r = p(ỹ|x) T(ỹ, ỹ) / Σ_y p(y|x) T(y, ỹ).

    Where checked samples are few, a linear model of all samples, noisy and checked, knows more:
    its r is the probability of the label, predicted without it (confident learning). It is
    left out where there are so many numbers that it takes long. Both see the samples' own
    numbers or, of larger sets of images, what the run's network sees in them (`view_of`).

    How much each counts is what predicts the checked labels, none of which the run was trained
    on: exponents of the opinions' probabilities (those of linear models cross-fitted), averaged
    over a grid in proportion to the likelihood of those labels, since the best ones alone jump
    from one draw to the next. The log-odds are then mixed in the shares of the exponents, each
    in units of its standard deviation, or of a quarter of its root mean square if that is more, so
    that each has its share in what ranks one label below another, and brought back to their mean
    scale. Their means are measured in these units too: an opinion that trusts, or doubts, nearly
    all labels alike moves them all by more than its share. (Centred log-odds, or units of the root
    mean square, would not; of labels that people had set wrong they flagged more right ones.) If
    fewer labels seem wrong then than the two linear models count by different ways (`noise_rate`,
    `confident_rate`), the log-odds are lowered.

    Labels with a quality under 0.5 get the most likely other class as suggestion, by the
    product m(y|x) of all opinions' probabilities to their exponents. The confidence is how
    likely the suggested label is to be right, as far as the opinions know: that of the label as
    given if it is kept, or else the probability that it is wrong, times m(y|x) / (1 − m(ỹ|x)).

    The linear models are heard only if they help: with them, the checked labels must become
    likelier, by a quarter of a nat in all, on folds that did not choose the exponents. A run
    that knows these already keeps its own qualities, and suggests the most likely class given
    both the sample and its label, p(y|x)^a T(y, ỹ): a network that learned from wrong labels
    is less sure than it should be, and a label that it finds unlikely is still evidence.

    Args:
        table: the run's own judgement.
        seen: noisy and checked samples as linear models and the run's network see them; the run was
            not trained on the checked ones.
        y: classes of the checked samples, [M].

    Returns:
        The same table with other qualities, suggestions and confidences; the table itself
        if it is empty, a class has fewer than two checked samples, or the run's network diverged.
    """
    if not len(table) or np.bincount(y, minlength=len(table.classes)).min() < 2:
        return table
    if not (np.isfinite(seen.held_out).all() and np.isfinite(seen.believed).all()):
        return table
    run = Opinion(held_out=seen.held_out, right=table.quality, believed=seen.believed)
    checked = _of_checked(seen, table.observed, y)
    others = [_of_all(seen, table.observed, y)] if seen.small else []
    held_out = [opinion.held_out for opinion in (run, checked, *others)]
    if not _worth_hearing(held_out, y):
        return _suggested_by_the_run(
            table, _sharpened(run.believed, _exponents([run.held_out], y)[0])
        )
    exponents = _exponents(held_out, y)
    rate = _counted(checked, others[0], y, table.observed) if others else 0.0
    posterior = _given_the_label(_sharpened(checked.believed, exponents[1]), table.observed)
    known = replace(checked, right=_of_given(posterior, table.observed))
    return _mixed(table, [run, known, *others], exponents, rate)


def _worth_hearing(held_out: Sequence[np.ndarray], y: np.ndarray) -> bool:
    """Whether all opinions together save enough over the run's alone, on all of y."""
    return len(y) * (_loss(held_out[:1], y) - _loss(held_out, y)) > SAVED


def _suggested_by_the_run(table: AuditTable, believed: np.ndarray) -> AuditTable:
    """The classes that the run finds most likely once it knows the label as well."""
    posterior = _given_the_label(believed, table.observed)
    suggested = posterior.argmax(axis=1)
    return replace(table, suggested=suggested, confidence=_of_given(posterior, suggested))


def _mixed(
    table: AuditTable, opinions: Sequence[Opinion], exponents: np.ndarray, rate: float
) -> AuditTable:
    """Qualities in the shares of the exponents; suggestions of all opinions together."""
    shares = exponents / exponents.sum()
    odds = [_log_odds(opinion.right) for opinion in opinions]
    spreads = np.array([_spread(o) for o in odds])
    mixed = (shares @ spreads) * sum(
        share * o / spread for share, o, spread in zip(shares, odds, spreads, strict=True)
    )
    quality = 1 / (1 + np.exp(-at_least(mixed, rate)))
    others = _product([opinion.believed for opinion in opinions], exponents)
    others[np.arange(len(table)), table.observed] = -np.inf
    likely = softmax(others, axis=1).max(axis=1)
    suspect, wrong = quality < 0.5, wrong_probability(quality)
    return replace(
        table,
        quality=quality,
        suggested=np.where(suspect, others.argmax(axis=1), table.observed),
        confidence=np.where(suspect, wrong * likely, 1 - wrong),
    )


def _spread(odds: np.ndarray) -> float:
    """What log-odds are measured in; nothing small beside them, which would magnify noise."""
    return max(float(odds.std()), LEAST * float(np.sqrt(np.mean(odds**2))), SURE)


def _counted(checked: Opinion, every: Opinion, y: np.ndarray, observed: np.ndarray) -> float:
    """Share of labels that both linear models count as wrong, each in its own way.

    Either way can count too many, where its assumption does not hold; hardly both.
    """
    first = noise_rate(checked.held_out, y, checked.believed, observed)
    return min(first, confident_rate(every.believed, observed))


def _given_the_label(believed: np.ndarray, observed: np.ndarray) -> np.ndarray:
    """p(y|x) T(y, ỹ), normalised: what an opinion believes once it knows the label as well."""
    posterior = believed * _transition(believed, observed)[:, observed].T
    return posterior / posterior.sum(axis=1, keepdims=True)


def _of_given(believed: np.ndarray, observed: np.ndarray) -> np.ndarray:
    return believed[np.arange(len(observed)), observed]


def _of_checked(seen: View, observed: np.ndarray, y: np.ndarray) -> Opinion:
    """A linear model of the checked samples."""
    count = min(FOLDS, int(np.bincount(y).min()))
    folds = StratifiedKFold(count, shuffle=True, random_state=SEED)
    models = [LogisticRegression(C=strength, max_iter=1000) for strength in STRENGTHS]
    held_out = [
        np.asarray(cross_val_predict(model, seen.checked, y, cv=folds, method="predict_proba"))
        for model in models
    ]
    losses = [_losses(np.log(np.maximum(p, SURE)), y).mean() for p in held_out]
    best = int(np.argmin(losses))
    believed = models[best].fit(seen.checked, y).predict_proba(seen.noisy)
    return Opinion(held_out=held_out[best], right=_of_given(believed, observed), believed=believed)


def _of_all(seen: View, observed: np.ndarray, checked: np.ndarray) -> Opinion:
    """A linear model of all samples, each judged without it."""
    pair = [seen.noisy, seen.checked]
    x: Any = np.concatenate(pair) if isinstance(pair[0], np.ndarray) else sparse.vstack(pair)
    y = np.concatenate([observed, checked])
    count = min(FOLDS, int(np.bincount(y).min()))
    folds = StratifiedKFold(count, shuffle=True, random_state=SEED)
    model = LogisticRegression(C=OF_ALL, max_iter=300)
    with warnings.catch_warnings():  # a fit that is not quite at its end is as good an opinion
        warnings.simplefilter("ignore", ConvergenceWarning)
        p = np.asarray(cross_val_predict(model, x, y, cv=folds, method="predict_proba"))
    noisy = len(observed)
    return Opinion(held_out=p[noisy:], right=_of_given(p[:noisy], observed), believed=p[:noisy])


def _exponents(held_out: Sequence[np.ndarray], y: np.ndarray) -> np.ndarray:
    """Mean exponent of every opinion, given the checked labels and a flat prior."""
    tried, losses = _tried(held_out, y)
    return _mean_of(tried, losses.sum(axis=1))


def _loss(held_out: Sequence[np.ndarray], y: np.ndarray) -> float:
    """Mean loss of opinions on checked labels that did not choose their exponents, in nats."""
    tried, losses = _tried(held_out, y)
    total = 0.0
    for fold in range(FOLDS):
        inside = np.arange(len(y)) % FOLDS == fold
        chosen = _mean_of(tried, losses[:, ~inside].sum(axis=1))
        total += _losses(_product([p[inside] for p in held_out], chosen), y[inside]).sum()
    return float(total / len(y))


def _tried(held_out: Sequence[np.ndarray], y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """All exponents of the grid, [tried, opinions], and each one's losses, [tried, M]."""
    tried = np.array([e for e in product(EXPONENTS, repeat=len(held_out)) if any(e)])
    return tried, np.array([_losses(_product(held_out, e), y) for e in tried])


def _mean_of(tried: np.ndarray, losses: np.ndarray) -> np.ndarray:
    likely = np.exp(losses.min() - losses)
    return likely @ tried / likely.sum()


def _product(opinions: Sequence[np.ndarray], exponents: np.ndarray) -> np.ndarray:
    """Logarithm of the product of probabilities to these exponents, but for a constant."""
    logs = np.log(np.maximum(np.stack(list(opinions)), SURE))
    return np.tensordot(exponents, logs, axes=1)


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

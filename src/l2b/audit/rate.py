"""How many labels are wrong, from where checked and noisy labels part."""

import numpy as np
from scipy.optimize import nnls

from l2b.audit.summary import wrong_probability

FARTHEST = 20.0  # shift of the log-odds
HALVINGS = 40


def noise_rate(
    held_out: np.ndarray, y: np.ndarray, believed: np.ndarray, observed: np.ndarray
) -> float:
    """Share of wrong labels, by a model of the checked samples that may be wrong itself.

    How often the model confuses the classes, C(y, ŷ), shows on checked samples that it did not
    see. On noisy samples its predictions and the labels are jointly distributed as

        J(ŷ, ỹ) = Σ_y C(y, ŷ) P(y, ỹ),

    if it does not err where labels do; P is found by non-negative least squares (as in the
    correction for label shift of Lipton et al., ICML 2018), and 1 − tr P is the rate. Where the
    model errs with the labels, the rate comes out too low.

    Args:
        held_out: the model's probabilities for checked samples that it did not see, [M, classes].
        y: their labels, [M].
        believed: its probabilities for the noisy samples, [N, classes].
        observed: their labels as given, [N].
    """
    size = held_out.shape[1]
    confused = np.full((size, size), 1 / size)
    np.add.at(confused, (y, held_out.argmax(axis=1)), 1.0)
    confused /= confused.sum(axis=1, keepdims=True)
    joint = np.zeros((size, size))
    np.add.at(joint, (believed.argmax(axis=1), observed), 1 / len(observed))
    found = np.stack([nnls(confused.T, joint[:, k])[0] for k in range(size)], axis=1)
    return float(1 - np.trace(found) / found.sum())


def confident_rate(believed: np.ndarray, observed: np.ndarray) -> float:
    """Share of wrong labels, by probabilities predicted without them (confident learning).

    A sample counts for the most likely of those classes to which it belongs with at least the
    mean probability of samples labelled so; the counts are scaled to the labels' frequencies
    (Northcutt et al., JAIR 2021, Eqs. 1–3).

    Args:
        believed: probabilities of a model that did not see the sample's label, [N, classes].
        observed: labels as given, [N].
    """
    size = believed.shape[1]
    totals = np.bincount(observed, minlength=size)
    usual = [believed[observed == k, k].mean() if totals[k] else np.inf for k in range(size)]
    enough = believed >= np.array(usual)
    rows = enough.any(axis=1)
    counts = np.zeros((size, size))
    found = np.where(enough, believed, -1.0).argmax(axis=1)
    np.add.at(counts, (observed[rows], found[rows]), 1.0)
    shares = np.divide(
        np.diag(counts), counts.sum(axis=1), out=np.ones(size), where=counts.any(axis=1)
    )
    return float(1 - (totals * shares).sum() / totals.sum())


def at_least(odds: np.ndarray, rate: float) -> np.ndarray:
    """Log-odds of right labels, lowered until as many are wrong as the rate says.

    Scores that say more than that already are left alone.
    """

    def excess(shift: float) -> float:
        return float(wrong_probability(1 / (1 + np.exp(-(odds + shift)))).mean()) - rate

    if excess(0.0) >= 0:
        return odds
    if excess(-FARTHEST) < 0:
        return odds - FARTHEST
    low, high = -FARTHEST, 0.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if excess(middle) >= 0 else (low, middle)
    return odds + high

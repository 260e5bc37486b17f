"""Who votes in the automatic choice, by what held-out labels say of the candidates."""

from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor

from l2b.estimation.committee import tempered

ROUNDS = 200  # of expectation and maximisation; weights hardly move after some dozens
REPEATS = 2  # estimates of how noisy labels came about; the first rests on checked ones alone
LEAST = 0.05  # weight of a member that is worth its time
TEMPERATURES = torch.logspace(-1, 1, 61, dtype=torch.double)
SPREAD = 0.5  # standard deviation of ln T before anything was judged
CERTAIN = 1e-9  # no certainty of one label may outweigh all others


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Held-out labels and what each candidate said of them.

    Attributes:
        p: probabilities of the true classes, by candidate, [judged, classes].
        labels: as observed, [judged].
        counts: how much each label counts; its mean is 1 for checked labels, [judged].
        matrix: C[y, ỹ] = P(ỹ | y), [classes, classes]; None where labels are true.
    """

    p: dict[str, Tensor]
    labels: Tensor
    counts: Tensor
    matrix: Tensor | None = None

    @cached_property
    def fits(self) -> Tensor:
        """Likelihood Σ_y p[y] C[y, ỹ] of each label, [candidates, temperatures, judged]."""
        return torch.stack(
            [
                torch.stack([self.of(tempered(p.double(), t)) for t in TEMPERATURES.tolist()])
                for p in self.p.values()
            ]
        )

    def of(self, p: Tensor) -> Tensor:
        """Likelihood of each label under other probabilities, [judged]."""
        observed = p if self.matrix is None else p @ self.matrix
        return observed.gather(1, self.labels.unsqueeze(1)).flatten().clamp_min(CERTAIN)


@dataclass(frozen=True, kw_only=True)
class Mixture:
    """Σ_m w_m p_m, each at its temperature.

    Attributes:
        weights: of all candidates, with sum 1.
        temperatures: of all.
    """

    weights: dict[str, float]
    temperatures: dict[str, float]

    def __call__(self, p: dict[str, Tensor]) -> Tensor:
        """Probabilities of the mixture, float64, [judged, classes].

        Args:
            p: of each candidate, [judged, classes].
        """
        parts = [
            w * tempered(p[name].double(), self.temperatures[name])
            for name, w in self.weights.items()
        ]
        return torch.stack(parts).sum(dim=0)


@dataclass(frozen=True, kw_only=True)
class Election:
    """Who votes, and how.

    Attributes:
        members: weights with sum 1 of the candidates that are worth theirs, the heaviest first.
        temperatures: at which each of them votes.
        heard: how much a noisy label counted, where a checked one counts 1; None where none
            was held out.
    """

    members: dict[str, float]
    temperatures: dict[str, float]
    heard: float | None = None


def elected(checked: Evidence, noisy: Evidence | None = None) -> Election:
    """Elect by the checked labels, and by the noisy ones as far as chance has made them.

    Checked labels are few, and cannot tell half a point. Held-out noisy ones are many, and
    tell as well, if errors depend on the true class alone: a candidate's p makes ỹ as likely
    as Σ_y p[y] C[y, ỹ]. C is the likeliest one under what the checked labels alone elect, then
    under what both do. Where labels follow the input instead, as those of weak rules do,
    whoever imitates them would win, so noisy labels count less by the share that imitation
    explains (docs/evidence.md).

    Args:
        checked: held-out checked samples.
        noisy: held-out noisy samples, and no matrix; None if there are none.
    """
    found = likeliest(checked)
    if noisy is None:
        return _election(found, None)
    heard = 0.0
    for _ in range(REPEATS):
        said = found(noisy.p)
        chance = replace(noisy, matrix=confusions(said, noisy))
        heard = by_chance(noisy, chance.of(said))
        found = likeliest(checked, replace(chance, counts=heard * noisy.counts))
    return _election(found, heard)


def likeliest(*heard: Evidence) -> Mixture:
    """The mixture that makes held-out labels likeliest, each candidate at its own temperature.

    Who learned labels of which many are wrong is as unsure as they are, and who learned a few
    samples by heart is too sure: neither says how much its vote should count. So a candidate
    votes at the likeliest T of softmax(z / T) (Guo et al. 2017, arXiv 1706.04599), where ln T
    is normal with standard deviation 0.5, so that a few labels change little. Then weights, by
    expectation and maximisation, from equal ones. Likelihood says more of a few dozen labels
    than their number of right ones, and has no second maximum (docs/evidence.md).

    Args:
        heard: labels, and what the same candidates say of them.
    """
    fits = torch.cat([part.fits for part in heard], dim=2)
    counts = torch.cat([part.counts.double() for part in heard])
    at = (fits.log() @ counts - 0.5 * (TEMPERATURES.log() / SPREAD) ** 2).argmax(dim=1)
    w = mixing(fits[torch.arange(len(at)), at], counts)
    names = heard[0].p
    return Mixture(
        weights=dict(zip(names, w.tolist(), strict=True)),
        temperatures=dict(zip(names, TEMPERATURES[at].tolist(), strict=True)),
    )


def mixing(fits: Tensor, counts: Tensor) -> Tensor:
    """Weights of parts whose mixture makes labels likeliest, [parts].

    Args:
        fits: likelihood of each label under each part, [parts, judged].
        counts: how much each label counts, [judged].
    """
    w = torch.full((len(fits),), 1 / len(fits), dtype=torch.double)
    for _ in range(ROUNDS):
        w = w * (fits / (w @ fits) @ counts)
        w = w / w.sum()
    return w


def by_chance(noisy: Evidence, chance: Tensor) -> float:
    """The share of noisy labels that chance explains, beside the best imitation of them.

    Where errors depend on the true class alone, nobody can imitate them better than by C.

    Args:
        noisy: held-out noisy labels, and no matrix.
        chance: their likelihood where errors depend on the true class alone, [judged].
    """
    imitated = noisy.of(likeliest(noisy)(noisy.p))
    return mixing(torch.stack([chance, imitated]), noisy.counts.double())[0].item()


def confusions(p: Tensor, noisy: Evidence) -> Tensor:
    """The likeliest C[y, ỹ] where p are the probabilities of the true classes.

    By expectation and maximisation, with one label more in every row, spread evenly.

    Args:
        p: [judged, classes].
        noisy: the labels.
    """
    classes = p.shape[1]
    at = torch.nn.functional.one_hot(noisy.labels, classes).double() * noisy.counts.unsqueeze(1)
    c = 0.6 * torch.eye(classes, dtype=torch.double) + 0.4 / classes
    for _ in range(ROUNDS):
        true = p * c[:, noisy.labels].T
        found = (true / true.sum(dim=1, keepdim=True).clamp_min(CERTAIN)).T @ at + 1 / classes
        c = found / found.sum(dim=1, keepdim=True)
    return c


def _election(found: Mixture, heard: float | None) -> Election:
    """Leave those out who have less than 5 %."""
    least = min(LEAST, max(found.weights.values()))
    kept = {name: weight for name, weight in found.weights.items() if weight >= least}
    total = sum(kept.values())
    members = {n: weight / total for n, weight in sorted(kept.items(), key=lambda item: -item[1])}
    return Election(
        members=members,
        temperatures={name: found.temperatures[name] for name in members},
        heard=heard,
    )

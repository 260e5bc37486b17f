"""Who votes in the automatic choice, by what held-out labels say of the candidates."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.estimation.committee import tempered

ROUNDS = 200  # of expectation and maximisation; weights hardly move after some dozens
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
        counts: how much each label counts, with mean 1, [judged].
        matrix: C[y, ỹ] = P(ỹ | y), [classes, classes]; None where labels are true.
    """

    p: dict[str, Tensor]
    labels: Tensor
    counts: Tensor
    matrix: Tensor | None = None

    def likelihood(self, name: str, t: float) -> Tensor:
        """Of each label, if this candidate is right at temperature T, [judged]."""
        return self.of(tempered(self.p[name].double(), t))

    def of(self, p: Tensor) -> Tensor:
        """Likelihood Σ_y p[y] C[y, ỹ] of each label under other probabilities, [judged]."""
        observed = p if self.matrix is None else p @ self.matrix
        return observed.gather(1, self.labels.unsqueeze(1)).flatten().clamp_min(CERTAIN)


@dataclass(frozen=True, kw_only=True)
class Election:
    """Who votes, and how.

    Attributes:
        members: weights with sum 1 of the candidates that are worth theirs, the heaviest first.
        temperatures: at which each of them votes.
        by_rule: share of the noisy labels that a rule explains better than chance confusions
            of the true classes do; None where no noisy label was heard.
    """

    members: dict[str, float]
    temperatures: dict[str, float]
    by_rule: float | None = None


def elected(checked: Evidence, noisy: Evidence | None = None, imitator: str = "") -> Election:
    """Elect by the checked labels, and by as many noisy ones as chance has made.

    Checked labels are few, and cannot tell half a point. Held-out noisy ones are many, and
    tell as well, if errors depend on the true class alone: a candidate's p makes ỹ as likely
    as Σ_y p[y] C[y, ỹ]. C is the likeliest one under what the checked labels alone elect. Where
    labels follow the input instead, as those of weak rules do, who imitates them would win. So
    every noisy label has a second explanation, a network that has learned the other noisy
    labels, and counts only as much as the first one is likelier (docs/evidence.md).

    Args:
        checked: held-out checked samples.
        noisy: held-out noisy samples, and no matrix; None if there are none.
        imitator: the candidate that learns the noisy labels as they are.
    """
    at = {name: temperature(name, (checked, checked.counts)) for name in checked.p}
    weights, _ = mixture(checked, at)
    if noisy is None:
        return _election(weights, at, None)
    mixed = sum(
        w * tempered(noisy.p[name].double(), at[name])
        for w, name in zip(weights.tolist(), at, strict=True)
    )
    assert isinstance(mixed, Tensor)
    imitated = noisy.likelihood(imitator, temperature(imitator, (noisy, noisy.counts)))
    heard = Evidence(
        p=noisy.p, labels=noisy.labels, counts=noisy.counts, matrix=confusions(mixed, noisy)
    )
    chance = torch.ones_like(imitated)
    for _ in range(2):  # once to find out which labels are made by chance, once by these
        at = {
            name: temperature(name, (checked, checked.counts), (heard, chance * heard.counts))
            for name in checked.p
        }
        weights, chance = mixture(checked, at, heard, imitated)
    by_rule = (heard.counts * (1 - chance)).sum() / heard.counts.sum()
    return _election(weights, at, by_rule.item())


def temperature(name: str, *heard: tuple[Evidence, Tensor]) -> float:
    """At which temperature a candidate's probabilities suit held-out labels best.

    Who learned labels of which many are wrong is as unsure as they are, and who learned a few
    samples by heart is too sure: neither says how much its vote should count. The likeliest T
    of softmax(z / T) (Guo et al. 2017, arXiv 1706.04599), where ln T is normal with standard
    deviation 0.5, so that a few labels change little.

    Args:
        name: of the candidate.
        heard: labels, and how much each counts, [judged].
    """
    prior = -0.5 * (TEMPERATURES.log() / SPREAD) ** 2
    fits = [
        sum((counts * part.likelihood(name, t).log()).sum().item() for part, counts in heard)
        for t in TEMPERATURES.tolist()
    ]
    return TEMPERATURES[(torch.tensor(fits, dtype=torch.double) + prior).argmax()].item()


def mixture(
    checked: Evidence,
    at: dict[str, float],
    noisy: Evidence | None = None,
    imitated: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Weights of the mixture Σ_m w_m p_m that makes held-out labels likeliest.

    By expectation and maximisation, from equal ones. A noisy label comes from the mixture with
    probability 1 − π, else from the imitator; π is learned too. Likelihood says more of a few
    dozen labels than their number of right ones, and it has no second maximum
    (docs/evidence.md).

    Args:
        checked: labels that come from the mixture.
        at: temperatures of the candidates.
        noisy: labels that may come from it.
        imitated: likelihood of these under the imitator, [noisy].

    Returns:
        w, [candidates], and how likely each noisy label comes from the mixture, [noisy].
    """
    parts = [checked] if noisy is None else [checked, noisy]
    fits = torch.stack(
        [torch.cat([part.likelihood(name, t) for part in parts]) for name, t in at.items()]
    )
    counts = torch.cat([part.counts.double() for part in parts])
    w, rule = torch.full((len(fits), 1), 1 / len(fits), dtype=torch.double), 0.5
    own, judged = torch.ones_like(counts), len(checked.labels)
    for _ in range(ROUNDS):
        mixed = (w * fits).sum(dim=0)
        if imitated is not None:
            chance = (1 - rule) * mixed[judged:]
            own[judged:] = chance / (chance + rule * imitated)
            rule = ((counts * (1 - own))[judged:].sum() / counts[judged:].sum()).item()
        shares = (counts * own * w * fits / mixed).sum(dim=1, keepdim=True)
        w = shares / shares.sum()
    return w.flatten(), own[judged:]


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


def _election(weights: Tensor, at: dict[str, float], by_rule: float | None) -> Election:
    """Leave those out who have less than 5 %."""
    found = dict(zip(at, weights.tolist(), strict=True))
    least = min(LEAST, max(found.values()))
    kept = {name: weight for name, weight in found.items() if weight >= least}
    total = sum(kept.values())
    members = {n: weight / total for n, weight in sorted(kept.items(), key=lambda i: -i[1])}
    return Election(members=members, temperatures={n: at[n] for n in members}, by_rule=by_rule)

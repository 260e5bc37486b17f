"""Several networks that vote with their probabilities."""

import torch
from torch import Tensor, nn

from l2b.functional import forward
from l2b.types import Inputs

ROUNDS = 200  # of expectation and maximisation; weights hardly move after some dozens
LEAST = 0.05  # weight of a member that is worth its time
TEMPERATURES = torch.logspace(-1, 1, 61, dtype=torch.double)
SPREAD = 0.5  # standard deviation of ln T before anything was judged


class Committee(nn.Module):
    """The weighted mean of the members' probabilities, each at its temperature, as logits."""

    def __init__(
        self,
        members: list[nn.Module],
        weights: list[float],
        temperatures: list[float] | None = None,
    ) -> None:
        """Take the members as they are.

        Args:
            members: networks from inputs to logits [n, classes].
            weights: of each, with sum 1.
            temperatures: that their logits are divided by; None for 1.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weights = weights
        self.temperatures = temperatures or [1.0] * len(members)

    def forward(self, inputs: Inputs) -> Tensor:
        """Log Σ_m w_m softmax(z_m / T_m), [n, classes]."""
        voters = zip(self.weights, self.temperatures, self.members, strict=True)
        votes = [w * torch.softmax(forward(m, inputs).double() / t, dim=1) for w, t, m in voters]
        return torch.stack(votes).sum(dim=0).clamp_min(1e-12).log()


def temperature(p: Tensor, labels: Tensor, worth: Tensor | None = None) -> float:
    """At which temperature a network's probabilities suit held-out labels best.

    Who learned labels of which many are wrong is as unsure as they are, and who learned a few
    samples by heart is too sure: neither says how much its vote should count. The likeliest T
    of softmax(z / T) (Guo et al. 2017, arXiv 1706.04599), where ln T is normal with standard
    deviation 0.5, so that a few labels change little.

    Args:
        p: held-out probabilities at T = 1, [judged, classes].
        labels: [judged].
        worth: how much each label counts, with mean 1, [judged]; None for all alike.
    """
    counts, p = torch.ones(len(labels)) if worth is None else worth, p.double()
    prior = -0.5 * (TEMPERATURES.log() / SPREAD) ** 2
    fit = [
        (counts * _likelihood(tempered(p, t), labels).log()).sum() for t in TEMPERATURES.tolist()
    ]
    return TEMPERATURES[(torch.stack(fit) + prior).argmax()].item()


def tempered(p: Tensor, t: float) -> Tensor:
    """What softmax(z / T) is where softmax(z) is known.

    Args:
        p: softmax(z), [n, classes].
        t: T > 0.
    """
    return torch.softmax(p.clamp_min(1e-12).log() / t, dim=1)


def elected(p: dict[str, Tensor], labels: Tensor, worth: Tensor | None = None) -> dict[str, float]:
    """The members whose mixture makes held-out labels likeliest, and their weights.

    Weights of the mixture Σ_m w_m p_m(label) by expectation and maximisation, from equal ones.
    Members that end below 5 % are left out. Its likelihood says more of a few dozen labels than
    their number of right ones, and it has no second maximum (docs/election.md).

    Args:
        p: held-out probabilities of each candidate, [judged, classes].
        labels: [judged].
        worth: how much each label counts, with mean 1, [judged]; None for all alike.

    Returns:
        Weights with sum 1 of the candidates that are worth theirs, the heaviest first.
    """
    likelihood = torch.stack([_likelihood(q, labels) for q in p.values()])  # [candidates, judged]
    counts = torch.ones(len(labels)) if worth is None else worth
    w = torch.full((len(p), 1), 1 / len(p), dtype=torch.double)
    for _ in range(ROUNDS):
        share = w * likelihood / (w * likelihood).sum(dim=0)
        w = (counts * share).mean(dim=1, keepdim=True)
    found = dict(zip(p, w.flatten().tolist(), strict=True))
    least = min(LEAST, max(found.values()))
    kept = {name: weight for name, weight in found.items() if weight >= least}
    total = sum(kept.values())
    return {n: weight / total for n, weight in sorted(kept.items(), key=lambda item: -item[1])}


def _likelihood(p: Tensor, labels: Tensor) -> Tensor:
    """Of each label; no certainty of one may outweigh all others."""
    return p.double().gather(1, labels.unsqueeze(1)).flatten().clamp_min(1e-9)

"""Several networks that vote with their probabilities."""

import torch
from torch import Tensor, nn

from l2b.functional import forward
from l2b.types import Inputs

ROUNDS = 200  # of expectation and maximisation; weights hardly move after some dozens
LEAST = 0.05  # weight of a member that is worth its time


class Committee(nn.Module):
    """The weighted mean of the members' probabilities, as logits."""

    def __init__(self, members: list[nn.Module], weights: list[float]) -> None:
        """Take the members as they are.

        Args:
            members: networks from inputs to logits [n, classes].
            weights: of each, with sum 1.
        """
        super().__init__()
        self.members = nn.ModuleList(members)
        self.weights = weights

    def forward(self, inputs: Inputs) -> Tensor:
        """Log Σ_m w_m softmax(z_m), [n, classes]."""
        votes = (torch.softmax(forward(m, inputs).double(), dim=1) for m in self.members)
        mean = torch.stack([w * p for w, p in zip(self.weights, votes, strict=True)]).sum(dim=0)
        return mean.clamp_min(1e-12).log()


def elected(p: dict[str, Tensor], labels: Tensor, worth: Tensor | None = None) -> dict[str, float]:
    """The members whose mixture makes held-out labels likeliest, and their weights.

    Weights of the mixture Σ_m w_m p_m(label) by expectation and maximisation, from equal ones.
    Members that end below 5 % are left out. Its likelihood says more of a few dozen labels than
    their number of right ones, and it has no second maximum (docs/evidence.md).

    Args:
        p: held-out probabilities of each candidate, [judged, classes].
        labels: [judged].
        worth: how much each label counts, with mean 1, [judged]; None for all alike.

    Returns:
        Weights with sum 1 of the candidates that are worth theirs, the heaviest first.
    """
    # [candidates, judged]; no certainty of one label may outweigh all others.
    likelihood = torch.stack([_of_label(q, labels) for q in p.values()]).clamp_min(1e-9)
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


def _of_label(p: Tensor, labels: Tensor) -> Tensor:
    return p.double().gather(1, labels.unsqueeze(1)).flatten()

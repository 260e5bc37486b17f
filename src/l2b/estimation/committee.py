"""Several networks that vote with their probabilities."""

import torch
from torch import Tensor, nn

from l2b.functional import forward
from l2b.types import Inputs

MOST_VOTES = 10


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


def elected(p: dict[str, Tensor], labels: Tensor) -> dict[str, float]:
    """The members that predict held-out labels best together, and their weights.

    One vote at a time goes to the candidate with which the committee's accuracy is highest
    (ties: lower loss); the best number of votes is kept (Caruana et al. 2004, "Ensemble
    selection from libraries of models", with replacement).

    Args:
        p: held-out probabilities of each candidate, [judged, classes].
        labels: [judged].

    Returns:
        Weights with sum 1 of the candidates that got a vote, the heaviest first.
    """
    total = torch.zeros_like(next(iter(p.values())))
    votes: list[str] = []
    best, kept = (-1.0, 0.0), 1
    for number in range(1, MOST_VOTES + 1):
        scores = {name: _score((total + q) / number, labels) for name, q in p.items()}
        name = max(scores, key=scores.__getitem__)
        votes.append(name)
        total = total + p[name]
        if scores[name] > best:
            best, kept = scores[name], number
    counted = {name: votes[:kept].count(name) / kept for name in votes[:kept]}
    return dict(sorted(counted.items(), key=lambda item: -item[1]))


def _score(p: Tensor, labels: Tensor) -> tuple[float, float]:
    right = (p.argmax(dim=1) == labels).float().mean().item()
    return right, p.gather(1, labels.unsqueeze(1)).clamp_min(1e-6).log().mean().item()

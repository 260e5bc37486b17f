"""Several networks that vote with their probabilities."""

import torch
from torch import Tensor, nn

from l2b.functional import forward
from l2b.types import Inputs


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


def tempered(p: Tensor, t: float) -> Tensor:
    """What softmax(z / T) is where softmax(z) is known.

    Args:
        p: softmax(z), [n, classes].
        t: T > 0.
    """
    return torch.softmax(p.clamp_min(1e-12).log() / t, dim=1)

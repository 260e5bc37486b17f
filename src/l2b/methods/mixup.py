"""Mixup: pairs of samples are blended, and so are their labels."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, NoisyOnly, Task, plain_record
from l2b.types import Batch, Inputs


@dataclass(frozen=True, kw_only=True)
class Mixup(NoisyOnly):
    """Mixup: λx_i + (1 − λ)x_j is learned as λy_i + (1 − λ)y_j, with λ ~ Beta(a, a).

    Zhang et al. 2018 (arXiv 1710.09412, Eq. 1 and Figure 1a): one λ and one random partner
    each per batch. Every sample is the larger part of its own blend, which over a batch of
    pairs is the same distribution, so that predictions can be recorded for it.

    Attributes:
        concentration: a of the Beta distribution; small values blend little. The paper
            takes large ones (8 and more) against label noise (its Table 2).
    """

    concentration: float = 8.0

    def __post_init__(self) -> None:
        """Refuse what is no Beta distribution."""
        if not self.concentration > 0:
            raise ValueError(
                f"Mixup needs concentration > 0, got {self.concentration}: it is the parameter "
                "of a Beta distribution."
            )

    @property
    def takes_overlap(self) -> bool:
        """No: its loss is one of cross-entropies."""
        return False

    def build(self, task: Task) -> Learner:
        """A learner of blends."""
        return MixupLearner(self, task)


class MixupLearner(Learner):
    """Cross-entropy on blended samples; the clean set is not used."""

    def __init__(self, method: Mixup, task: Task) -> None:
        """Make the one network."""
        self.beta = torch.distributions.Beta(method.concentration, method.concentration)
        self.network = task.network("main")

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step on every sample blended with a random other one.

        The recorded loss is that of the blend towards the sample's own label.
        """
        del clean
        share = self.beta.sample().item()  # drawn on the CPU, alike for any device
        share = max(share, 1 - share)
        partner = torch.randperm(len(batch.labels)).to(batch.labels.device)
        z = self.network.logits(blended(batch.inputs, partner, share))
        own = cross_entropy(z, batch.labels)
        other = cross_entropy(z, batch.labels[partner])
        self.network.descend((share * own + (1 - share) * other).mean())
        return plain_record(batch, z, own)


def blended(inputs: Inputs, partner: Tensor, share: float) -> Tensor:
    """Blend every sample with its partner: share · x_i + (1 − share) · x_partner(i).

    Raises:
        TypeError: if the inputs are not one tensor of floats.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise TypeError(
            f"Mixup needs inputs that can be averaged, one tensor of floats, got "
            f"{inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__}."
        )
    return torch.lerp(inputs[partner], inputs, share)

"""Mixup: pairs of samples are blended, and so are their labels."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from l2b import collectives
from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, NoisyOnly, Task, made_up_for, plain_record
from l2b.types import Batch, Inputs

EXACT = 2**53  # a float between ½ and 1 is a whole number of these parts


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
        Blends(self.concentration)

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
        self.blends = Blends(method.concentration)
        self.network = task.network("main")

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step on every sample blended with a random other one.

        The recorded loss is that of the blend towards the sample's own label.
        """
        del clean
        blend = self.blends.draw(len(batch.labels), batch.labels.device)
        z = self.network.logits(blend.inputs(batch.inputs))
        own = cross_entropy(z, batch.labels)
        others = batch.labels[blend.partner]
        other = made_up_for(cross_entropy(z, others), others)
        mine = made_up_for(own, batch.labels)
        self.network.descend((blend.share * mine + (1 - blend.share) * other).mean())
        return plain_record(batch, z, own)


@dataclass(frozen=True)
class Blend:
    """Which sample of a batch each of them is blended with, and how.

    Attributes:
        partner: positions in the batch, [n].
        share: λ, the part that every sample has in its own blend, in [½, 1].
    """

    partner: Tensor
    share: float

    def __call__(self, value: Tensor) -> Tensor:
        """λ · v_i + (1 − λ) · v_partner(i), for one row of floats per sample."""
        return torch.lerp(value[self.partner], value, self.share)

    def inputs(self, inputs: Inputs) -> Tensor:
        """Inputs blended.

        Raises:
            TypeError: if they are not one tensor of floats.
        """
        return self(blendable(inputs))


class Blends:
    """Draws a λ ~ Beta(a, a) and a random partner of every sample for one batch after the other."""

    def __init__(self, concentration: float) -> None:
        """Take the parameter a of the Beta distribution.

        Raises:
            ValueError: if it is not positive and finite.
        """
        if not 0 < concentration < math.inf:
            raise ValueError(
                f"Mixup needs finite concentration > 0, got {concentration}: it is the parameter "
                "of a Beta distribution."
            )
        self.beta = torch.distributions.Beta(concentration, concentration)

    def across_processes(self, inputs: Inputs, targets: Tensor) -> tuple[Tensor, Tensor]:
        """This process's part of the blends of everyone's batches, which are equally large.

        Args:
            inputs: of this process's samples.
            targets: what is to be learned of them, floats, [n, classes].

        Returns:
            Blended inputs and targets, shaped like those given.

        Raises:
            TypeError: if the inputs are not one tensor of floats.
        """
        count = len(targets)
        blend = self.draw(count * collectives.ranks(), targets.device)
        parts = (blendable(inputs), targets)
        blends = (blend(collectives.gathered(part)) for part in parts)
        mixed, towards = (collectives.own_share(whole, 0, count) for whole in blends)
        return mixed, towards

    def draw(self, count: int, device: torch.device) -> Blend:
        """A blend of a batch of so many samples, the same in all processes."""
        share = self.beta.sample().item()  # drawn on the CPU, alike for any device
        drawn = [round(max(share, 1 - share) * EXACT), *torch.randperm(count).tolist()]
        first, *partner = collectives.from_first(drawn)
        return Blend(torch.tensor(partner, device=device), first / EXACT)


def blendable(inputs: Inputs) -> Tensor:
    """The inputs, if they can be averaged.

    Raises:
        TypeError: if they are not one tensor of floats.
    """
    if not isinstance(inputs, Tensor) or not inputs.is_floating_point():
        raise TypeError(
            f"Mixup needs inputs that can be averaged, one tensor of floats, got "
            f"{inputs.dtype if isinstance(inputs, Tensor) else type(inputs).__name__}."
        )
    return inputs

"""One network that learns what several say together."""

from dataclasses import dataclass

from torch import Tensor

from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, Method, Task, mean_loss, posterior_record
from l2b.methods.mixup import Blends
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class Distilled(Method):
    """Noisy samples are learned as others see them, not as they are labelled.

    Every batch is blended with itself as in mixup, λx_i + (1 − λ)x_j towards
    λq_i + (1 − λ)q_j with λ ~ Beta(a, a), where q are the teachers' probabilities (Hinton et
    al. 2015, arXiv 1503.02531, at temperature 1). Clean samples are learned beside.

    Attributes:
        targets: q of every noisy sample, in the order of the training pool, [N, classes].
        clean_weight: weight of the mean clean loss beside the mean loss of the blends.
        concentration: a of the Beta distribution; 1 draws every λ alike.
    """

    targets: Tensor
    clean_weight: float = 0.2
    concentration: float = 1.0

    def build(self, task: Task) -> Learner:
        """A fresh network that learns from the teachers."""
        return DistilledLearner(self, task)


class DistilledLearner(Learner):
    """Cross-entropy of blends towards the teachers, and of clean samples."""

    def __init__(self, method: Distilled, task: Task) -> None:
        """Make the one network."""
        self.method = method
        self.blends = Blends(method.concentration)
        self.targets = method.targets.to(task.data.train.labels.device)
        self.network = task.network("main")

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step; a sample's record is what its teachers say, and its blend's loss."""
        q = self.targets[batch.index]
        blend = self.blends.draw(len(q), q.device)
        z = self.network.logits(blend.inputs(batch.inputs))
        losses = cross_entropy(z, blend(q))
        on_clean = mean_loss(self.network, clean)
        self.network.descend(losses.mean() + self.method.clean_weight * on_clean)
        return posterior_record(batch, z, q)

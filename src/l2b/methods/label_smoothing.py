"""Label smoothing: a little of every label for every class."""

from dataclasses import dataclass

from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, NoisyOnly, Task, labelled_mean, plain_record
from l2b.targets import probabilities, silenced
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class LabelSmoothing(NoisyOnly):
    """Label smoothing: cross-entropy towards (1 − share) · observed + share / C for each class.

    Szegedy et al. 2016 (arXiv 1512.00567, Section 7); that it helps against label noise is
    shown by Lukasik et al. 2020 (arXiv 2003.02819).

    Attributes:
        share: of the label that is spread evenly over all classes, in [0, 1).
    """

    share: float = 0.1

    def __post_init__(self) -> None:
        """Refuse a share that leaves no label."""
        if not 0 <= self.share < 1:
            raise ValueError(
                f"LabelSmoothing needs 0 <= share < 1, got {self.share}: at 1 every label would "
                "say the same."
            )

    @property
    def takes_overlap(self) -> bool:
        """No: its loss is one of cross-entropies."""
        return False

    def build(self, task: Task) -> Learner:
        """A learner of smoothed labels."""
        return LabelSmoothingLearner(self, task)


class LabelSmoothingLearner(Learner):
    """Cross-entropy towards smoothed labels; the clean set is not used."""

    def __init__(self, method: LabelSmoothing, task: Task) -> None:
        """Make the one network."""
        self.share = method.share
        self.network = task.network("main")

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step towards the smoothed labels."""
        del clean
        z = self.network.logits(batch.inputs)
        classes = z.shape[1]
        target = (1 - self.share) * probabilities(batch.labels, classes).to(z)
        smoothed = silenced(cross_entropy(z, target + self.share / classes), batch.labels)
        self.network.descend(labelled_mean(smoothed, batch.labels))
        return plain_record(batch, z, cross_entropy(z.detach(), batch.labels))

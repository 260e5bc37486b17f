"""Classic bootstrapping: one mixed target with a fixed share."""

from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor

from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, NoisyOnly, Task, labelled_mean, plain_record
from l2b.pseudo import InPieces, PseudoLabels, SelfLabels
from l2b.targets import labels, where_labelled
from l2b.types import Batch


@dataclass(frozen=True, kw_only=True)
class Bootstrap(NoisyOnly):
    """Fixed bootstrapping: (1 − share) · observed + share · pseudo for every sample (Eq. 2).

    Attributes:
        share: share of the pseudo-label in the target, in [0, 1].
        pseudo: where pseudo-labels come from.
    """

    share: float = 0.2
    pseudo: PseudoLabels = field(default_factory=SelfLabels)

    def __post_init__(self) -> None:
        """Refuse what is no share."""
        if not 0 <= self.share <= 1:
            raise ValueError(
                f"Bootstrap needs 0 <= share <= 1, got {self.share}: it is the pseudo-label's part "
                "of the target; 0 is cross_entropy."
            )

    def build(self, task: Task) -> Learner:
        """A learner with mixed targets."""
        return BootstrapLearner(self, task)


class BootstrapLearner(Learner):
    """Cross-entropy towards a fixed mixture; the clean set is not used."""

    shared = True

    def __init__(self, method: Bootstrap, task: Task) -> None:
        """Make the network and the source of its pseudo-labels."""
        self.share = method.share
        self.network = task.network("main")
        source = method.pseudo.build(self.network.module, len(task.data.train))
        self.pseudo = InPieces(source, self.network.pieces)

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step towards the mixed target."""
        del clean
        z = self.network.logits(batch.inputs)
        losses = cross_entropy(z, batch.labels)
        predicted = self.pseudo(z.detach(), batch.inputs, batch.index)
        pseudo = where_labelled(predicted, batch.labels)
        mixed = (1 - self.share) * losses + self.share * cross_entropy(z, pseudo)
        self.network.descend(
            labelled_mean(mixed, batch.labels) + self._overlap(z, batch.labels, pseudo)
        )
        self.pseudo.update(self.network.module, z.detach(), batch.index)
        return self._record(batch, z, losses, pseudo)

    def state_dict(self) -> dict[str, Any]:
        """The network and the pseudo-labels' past."""
        return {**super().state_dict(), "pseudo": self.pseudo.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both."""
        super().load_state_dict(state)
        self.pseudo.load_state_dict(state["pseudo"])

    def _overlap(self, z: Tensor, observed: Tensor, pseudo: Tensor) -> Tensor:
        overlap = self.network.overlap
        return (1 - self.share) * overlap(z, observed) + self.share * overlap(z, pseudo)

    def _record(self, batch: Batch, z: Tensor, losses: Tensor, pseudo: Tensor) -> StepRecord:
        record = plain_record(batch, z, losses)
        return replace(
            record,
            alpha=record.alpha * (1 - self.share),
            beta=record.alpha * self.share,
            pseudo=labels(pseudo),
        )

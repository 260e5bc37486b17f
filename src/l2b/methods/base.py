"""What a method is: a description that builds a learner."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from l2b import collectives
from l2b.catalog import name_of
from l2b.data import Data
from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.network import Network
from l2b.notices import notice
from l2b.targets import silenced, voids
from l2b.types import Batch, Inputs


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a learner is given.

    Attributes:
        data: the run's data on its device. Learners may look at the clean and the training
            pool, never at the test pool, and leave validation to the loop.
        epochs: length of the run.
        network: makes a freshly initialised network; each name has its own initialisation.
    """

    data: Data
    epochs: int
    network: Callable[[str], Network]


class Learner(ABC):
    """A method at work: what it keeps between steps.

    Attributes:
        network: the model that is judged.
        steers: whether the clean set decides what is learned from noisy samples.
        shared: whether its steps on the shares of several processes are known to equal its step
            on the whole batch. Its loss is then a mean over the samples of a share.
        in_pieces: whether its step on a batch in pieces equals its step on the whole batch. It
            does if the network is called by `Network.logits` and `Network.probe` alone.
    """

    network: Network
    steers: bool = False
    shared: bool = False
    in_pieces: bool = True

    def begin_epoch(self, epoch: int) -> None:
        """Prepare for an epoch (0-based)."""
        self.network.begin_epoch(epoch)

    @abstractmethod
    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """Learn from one noisy and one clean batch."""

    def learn_clean(self, clean: Batch) -> None:
        """One ordinary step on a clean batch, beside whatever the method does."""
        descend_clean(self.network, clean)

    def predict(self, inputs: Inputs) -> Tensor:
        """Logits for judging, [n, classes, *pixels], without gradient."""
        self.network.module.eval()
        with torch.no_grad():
            return self.network.logits(inputs)

    def state_dict(self) -> dict[str, Any]:
        """Everything needed to go on as if never stopped."""
        return {"network": self.network.state_dict()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned."""
        self.network.load_state_dict(state["network"])


@dataclass(frozen=True, kw_only=True)
class Method(ABC):
    """A way of learning from noisy labels and a clean set."""

    @property
    def fits_clean(self) -> bool:
        """Whether clean samples are trained on, so that the model cannot be judged by them."""
        return True

    @property
    def takes_masks(self) -> bool:
        """Whether labels may be masks, one class per pixel."""
        return True

    @property
    def takes_overlap(self) -> bool:
        """Whether ``training.overlap`` has a place in its loss."""
        return self.takes_masks

    @property
    def remembers(self) -> bool:
        """Whether it keeps what it has predicted of every sample; of masks, of every pixel."""
        pseudo = getattr(self, "pseudo", None)
        return pseudo is not None and pseudo.remembers

    @property
    def asks_clean(self) -> str:
        """What it asks clean samples that must not have been trained on for that; else empty."""
        return ""

    @property
    def judged_network(self) -> str:
        """The name of the network that the run ends with: equal names, equal initial values."""
        return "main"

    @abstractmethod
    def build(self, task: Task) -> Learner:
        """A learner at its start."""


@dataclass(frozen=True, kw_only=True)
class NoisyOnly(Method):
    """A method that learns from the noisy labels alone, whatever the clean set holds."""

    @property
    def fits_clean(self) -> bool:
        """No: the clean set is not used."""
        return False


class Plain(Learner):
    """A learner whose step is one descent on one loss of its network."""

    def __init__(self, task: Task) -> None:
        """Make the one network."""
        self.task = task
        self.network = task.network("main")

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One pass, one loss, one step."""
        made = plain_step(
            self.network, batch, lambda losses, overlap: self.loss(losses, overlap, batch, clean)
        )
        return made[0]

    @abstractmethod
    def loss(self, losses: Tensor, overlap: Tensor, batch: Batch, clean: Batch) -> Tensor:
        """The scalar to descend.

        Args:
            losses: cross-entropy of the noisy batch towards its observed labels, [n, *pixels].
            overlap: what the run adds to their mean.
            batch: the noisy batch.
            clean: the clean batch.
        """


def plain_record(batch: Batch, z: Tensor, losses: Tensor) -> StepRecord:
    """The record of a step that trusts every observed label fully."""
    ones = torch.ones_like(losses.detach())
    return StepRecord(
        index=batch.index,
        alpha=ones,
        beta=torch.zeros_like(ones),
        pseudo=z.detach().argmax(dim=1),
        loss=losses.detach(),
    )


def posterior_record(batch: Batch, z: Tensor, q: Tensor) -> StepRecord:
    """The record of a step towards soft labels: the observed label's part is α, the rest β.

    Args:
        batch: the noisy batch.
        z: its logits, [n, classes, *pixels].
        q: the labels that were learned, likewise.
    """
    observed = silenced(batch.labels, batch.labels)
    alpha = q.gather(1, observed.unsqueeze(1)).squeeze(1)
    record = plain_record(batch, z, cross_entropy(z.detach(), batch.labels))
    return replace(record, alpha=alpha, beta=1 - alpha, pseudo=q.argmax(dim=1))


def labelled_mean(losses: Tensor, observed: Tensor) -> Tensor:
    """The mean of the losses that have a label, a scalar.

    With several processes their mean is that of all labels, of whose pixels any may be void.

    Args:
        losses: [n, *pixels], 0 where nobody knows the label.
        observed: labels, likewise.
    """
    return made_up_for(losses, observed).mean()


def made_up_for(losses: Tensor, observed: Tensor) -> Tensor:
    """Losses whose mean is that of those with a label: larger by the share that has none.

    Args:
        losses: as for `labelled_mean`.
        observed: likewise.
    """
    void = voids(observed)
    if void is None:
        return losses
    known = (~void).sum()
    known, every = collectives.total(torch.stack([known, torch.full_like(known, void.numel())]))
    return losses * (every.double() / known.clamp_min(1)).to(losses)


def plain_step(
    network: Network, batch: Batch, loss: Callable[[Tensor, Tensor], Tensor] | None = None
) -> tuple[StepRecord, Tensor]:
    """One ordinary step on the noisy batch.

    Args:
        network: what is trained.
        batch: the noisy batch.
        loss: cross-entropies towards the observed labels, [n, *pixels], and what the run adds
            for whole masks, to the scalar to descend; None adds the latter to their mean.

    Returns:
        The record, and the logits of the noisy batch before the step, without gradient.
    """
    z = network.logits(batch.inputs)
    losses = cross_entropy(z, batch.labels)
    overlap = network.overlap(z, batch.labels)
    usual = loss is None
    network.descend(
        labelled_mean(losses, batch.labels) + overlap if usual else loss(losses, overlap)
    )
    return plain_record(batch, z, losses), z.detach()


def first_part(method: Method, share: float, epochs: int, *, parts: int = 2) -> int:
    """Epochs of a method's first part, which leaves one at least for each that follows.

    Args:
        method: whose parts they are.
        share: of the epochs that it asks for.
        epochs: of the run; a notice says so where they are too few.
        parts: how many there are.
    """
    if epochs < parts:
        notice(
            f"{name_of(method)} has {parts} parts, and {epochs} epochs are too few for all of "
            f"them: the last is left out. Train for {parts} epochs or more."
        )
    return max(1, min(round(share * epochs), epochs - parts + 1))


def anew(epoch: int, first: int, end: int, epochs: int) -> int:
    """The epoch of the schedule in a part of a run that has the whole schedule.

    Args:
        epoch: at hand, from 0.
        first: epoch of the part.
        end: the epoch after its last.
        epochs: of the run, and so of the schedule.
    """
    return (epoch - first) * epochs // max(1, end - first)


def check_warm_up(warmup: int | str, *, or_auto: bool = False) -> None:
    """Refuse a warm-up that is no number of epochs.

    Args:
        warmup: epochs of plain training that come first.
        or_auto: whether it may be "auto" instead.
    """
    if or_auto and warmup == "auto":
        return
    if isinstance(warmup, str) or warmup < 0:
        raise ValueError(
            f"warmup must be 0 or more epochs{' or auto' if or_auto else ''}, got {warmup!r}: in "
            "these, labels are learned as they are; 0 weighs them from the start."
        )


def told_warm_up(warmup: int | str, epochs: int) -> None:
    """Say that a run is all warm-up, if it is; of one or two epochs nobody expects more.

    Args:
        warmup: epochs of plain training that come first, or "auto".
        epochs: of the run.
    """
    if isinstance(warmup, int) and warmup >= epochs > 2:
        notice(
            f"method.warmup takes {warmup} epochs and the run has {epochs}: all of it is plain "
            "training. Train longer, or set --method.warmup lower."
        )


def descend_clean(network: Network, clean: Batch, share: float = 1.0) -> None:
    """One ordinary step on a clean batch, of which this process holds a share (`Split`)."""
    network.descend(share * mean_loss(network, clean))


def mean_loss(network: Network, batch: Batch) -> Tensor:
    """The mean loss of a batch towards its labels, in one ordinary pass; a scalar in nats."""
    z = network.logits(batch.inputs)
    return labelled_mean(cross_entropy(z, batch.labels), batch.labels) + network.overlap(
        z, batch.labels
    )


def clean_step(
    network: Network, batch: Batch, clean: Batch, share: float = 1.0
) -> tuple[StepRecord, Tensor]:
    """One ordinary step on the clean batch; the noisy batch is only looked at.

    Args:
        network: what is trained.
        batch: the noisy batch.
        clean: the clean batch.
        share: of it that this process holds (`Split`).

    Returns:
        The record, and the logits of the noisy batch after the step.
    """
    descend_clean(network, clean, share)
    collectives.copy_from_first(network.module.buffers())  # wherever a sample lies, the same
    network.module.eval()  # looking must not move running statistics
    with torch.no_grad():
        z = network.logits(batch.inputs)
    network.module.train()
    losses = cross_entropy(z, batch.labels)
    record = plain_record(batch, z, losses)
    return replace(record, alpha=torch.zeros_like(losses)), z

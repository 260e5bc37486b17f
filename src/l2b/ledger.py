"""What happened to every sample in every epoch."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from l2b import collectives
from l2b.targets import VOID, silenced, where_labelled

BYTES_PER_SAMPLE_AND_EPOCH = 8
STEPS_TOGETHER = 64  # whose records lie in one piece of memory
HUGE_LOSS = 1e6  # nats; no sound sample has one


@dataclass(frozen=True, kw_only=True)
class StepRecord:
    """What one training step did with its batch.

    Attributes:
        index: positions of the samples in the training pool, [n].
        alpha: weight of the observed label times the number of labels in the batch, so that 1
            is plain training, [n, *pixels].
        beta: weight of the pseudo-label, likewise, [n, *pixels].
        pseudo: pseudo-label as a class, [n, *pixels].
        loss: cross-entropy towards the observed label before the step (after it, where the step
            is on clean samples alone), in nats, [n, *pixels].
    """

    index: Tensor
    alpha: Tensor
    beta: Tensor
    pseudo: Tensor
    loss: Tensor


@dataclass(frozen=True, kw_only=True)
class MaskRecord:
    """What one training step did with its images, each with its mask as a whole.

    Attributes:
        index: positions of the images in the training pool, [n].
        alpha: mean weight of the observed labels of the image's pixels, [n].
        beta: mean weight of their pseudo-labels, [n].
        changed: share of the pixels whose pseudo-label differs from the observed one, [n].
        loss: mean cross-entropy towards the observed mask, in nats, [n].
        on_wrong: the part of ``alpha`` on pixels that are labelled wrongly, [n]; NaN if
            nobody knows.
        pseudo_right: share of the pixels whose pseudo-label is true, [n]; NaN if unknown.
    """

    index: Tensor
    alpha: Tensor
    beta: Tensor
    changed: Tensor
    loss: Tensor
    on_wrong: Tensor
    pseudo_right: Tensor


Record = StepRecord | MaskRecord


def mask_record(record: StepRecord, observed: Tensor, true: Tensor | None) -> MaskRecord:
    """A step's record with one number per image where it has one per pixel; void pixels have none.

    Args:
        record: of a step on masks.
        observed: the batch's masks as the step saw them, [n, *pixels].
        true: true masks, likewise; None if nobody knows them.
    """
    labelled = observed != VOID
    count = labelled.flatten(1).sum(dim=1).clamp_min(1)

    def mean(values: Tensor) -> Tensor:
        return values.masked_fill(~labelled, 0).flatten(1).sum(dim=1, dtype=torch.float32) / count

    unknown = torch.full_like(record.index, torch.nan, dtype=torch.float32)
    return MaskRecord(
        index=record.index,
        alpha=mean(record.alpha),
        beta=mean(record.beta),
        changed=mean(record.pseudo != observed),
        loss=mean(record.loss),
        on_wrong=unknown if true is None else mean(record.alpha * (observed != true)),
        pseudo_right=unknown if true is None else mean(record.pseudo == true),
    )


def answer_record(record: StepRecord, observed: Tensor, answers: int) -> StepRecord:
    """A step's record with an entry for every answer, where each sample has several labels.

    Args:
        record: of a step on labels [n, answers].
        observed: the batch's labels, likewise.
        answers: of each sample.

    Returns:
        Entries of index · answers + k, [n · answers]; the pseudo-label of unknown answers is −1.
    """
    place = torch.arange(answers, device=record.index.device)
    return StepRecord(
        index=(record.index.unsqueeze(1) * answers + place).flatten(),
        alpha=silenced(record.alpha, observed).flatten(),
        beta=silenced(record.beta, observed).flatten(),
        pseudo=where_labelled(record.pseudo, observed).flatten(),
        loss=silenced(record.loss, observed).flatten(),
    )


def known_answers(record: StepRecord) -> StepRecord:
    """The entries of a record that are of answers somebody gave."""
    known = record.pseudo != VOID
    return StepRecord(**{f.name: getattr(record, f.name)[known] for f in fields(record)})


class Ledger:
    """α, β, pseudo-label and loss of every sample in every epoch.

    Eight bytes per sample and epoch: float16 for α, β and loss, int16 for the pseudo-label.
    Each of several yes-or-no labels of a sample has entries of its own. Of an image with a mask,
    these are means over its pixels, and the share of pixels whose pseudo-label differs takes the
    place of the label. A sample that an epoch left out has NaN
    and −1 there; of one that it saw more than once, as class weights have it, the first time
    counts, when the epoch had not trained on it.

    Attributes:
        alpha: [epochs, samples], times the batch size, so that 1 is plain training.
        beta: [epochs, samples], likewise.
        pseudo: [epochs, samples], class indices, −1 where unseen; no rows for masks.
        changed: [epochs, samples], share of pixels; no rows for labels.
        loss: [epochs, samples], towards the observed label, in nats.
    """

    def __init__(self, epochs: int, samples: int, *, masks: bool = False) -> None:
        """Make an empty ledger."""
        self.alpha = torch.full((epochs, samples), torch.nan, dtype=torch.float16)
        self.beta = self.alpha.clone()
        self.loss = self.alpha.clone()
        self.pseudo = torch.full((0 if masks else epochs, samples), -1, dtype=torch.int16)
        self.changed = self.alpha[: epochs if masks else 0].clone()
        self.columns = ("alpha", "beta", "changed" if masks else "pseudo", "loss")

    def write(self, epoch: int, records: Sequence[Record]) -> None:
        """Enter all steps of one epoch; of a sample that came more than once, the first."""
        index = torch.cat([r.index for r in records]).cpu().flip(0).numpy()
        for name in self.columns:
            row = getattr(self, name)
            values = torch.cat([getattr(r, name) for r in records]).cpu()
            if row.is_floating_point():
                values = values.float().clamp(-65504, 65504)  # the range of float16
            # Backwards, for NumPy keeps the last of what is assigned to one place, always.
            row[epoch].numpy()[index] = values.to(row.dtype).flip(0).numpy()

    def state_dict(self) -> dict[str, Tensor]:
        """All entries by name."""
        return {n: getattr(self, n) for n in self.columns}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore what `state_dict` returned; what else is there has no part."""
        for name in self.columns:
            getattr(self, name).copy_(state[name])

    def row(self, epoch: int) -> dict[str, Tensor]:
        """The entries of one epoch by name, [samples] each."""
        return {name: entries[epoch] for name, entries in self.state_dict().items()}

    def put(self, epoch: int, row: dict[str, Tensor]) -> None:
        """Enter what `row` returned."""
        for name, entries in self.state_dict().items():
            entries[epoch] = row[name]


class EpochLog:
    """What the steps of one epoch have left so far, on the device where they ran.

    Attributes:
        records: one per step, all of one kind.
        clean_losses: of the whole clean set, before the first and after every step, if it is
            monitored.
        sound: for every step looked at so far, whether its gradient was finite.
    """

    def __init__(self) -> None:
        """Start an epoch."""
        self.records: list[Record] = []
        self.clean_losses: list[float] = []
        self.sound: list[bool] = []
        self._norms: list[list[Tensor]] = []
        self._room: list[Record] = []

    def __len__(self) -> int:
        """Steps so far."""
        return len(self.records)

    def add(self, record: Record, norms: list[Tensor]) -> None:
        """Enter one step.

        Args:
            record: what it did.
            norms: of the gradients that it took.
        """
        self.records.append(self._beside_others(record))
        self._norms.append(norms)

    def look(self) -> list[bool]:
        """Whether the gradients of the steps since the last look were finite."""
        norms, self._norms = self._norms, []
        widths = [len(step) for step in norms]
        if not any(widths):
            found = [True] * len(norms)
        else:
            finite = torch.stack([n for step in norms for n in step]).isfinite().tolist()
            parts = iter(finite)
            found = [all([next(parts) for _ in range(width)]) for width in widths]
        self.sound += found
        return found

    def sound_records(self) -> list[Record]:
        """The steps whose gradient, loss and weights are all finite."""
        finite = self._finite().flatten(1).all(dim=1).tolist()
        kept = zip(self.records, self.sound, finite, strict=True)
        return [record for record, sound, whole in kept if sound and whole]

    def broken_samples(self, last: int | None = None) -> Tensor:
        """Samples of broken steps whose own loss or weight is huge or not finite, or else all.

        Args:
            last: how many of the last steps to look at; None for all.

        Returns:
            Positions in the training pool, sorted, each once.
        """
        first = 0 if last is None else len(self) - last
        broken = [k for k, sound in enumerate(self.sound) if not sound and k >= first]
        if not broken:
            return torch.zeros(0, dtype=torch.int64)
        index = torch.stack([self.records[k].index for k in broken])
        huge = torch.stack([self.records[k].loss for k in broken]) > HUGE_LOSS
        guilty = (huge | ~self._finite()[broken]).reshape(*index.shape, -1).any(dim=2)
        return (index[guilty] if bool(guilty.any()) else index).unique().cpu()

    def joined(self) -> "EpochLog | None":
        """The log of whole batches, in the first process; None in the others."""
        if collectives.ranks() == 1:
            return self
        log = EpochLog()
        log.clean_losses, log.sound = self.clean_losses, self.sound
        log._fill(dict(self._stacks(join=True)))
        return log if collectives.rank() == 0 else None

    def state_dict(self) -> dict[str, Any]:
        """The whole log; of whole batches, so ask `joined` first."""
        self.look()
        return {
            "records": dict(self._stacks(join=False)),
            "clean_losses": self.clean_losses,
            "sound": self.sound,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Restore what `state_dict` returned; each process takes its share."""
        self.clean_losses, self.sound = state["clean_losses"], state["sound"]
        stacks = {name: values.to(device) for name, values in state["records"].items()}
        size = stacks["index"].shape[1] // collectives.ranks()
        self._fill({n: collectives.own_share(v, 1, size) for n, v in stacks.items()})

    def _beside_others(self, record: Record) -> Record:
        """The same record, moved to where those of the steps around it lie.

        Small tensors that stay, each among the large ones of its step that go, would keep the
        heap of a CPU from shrinking: a run of many steps would hold many times what it uses.
        """
        if not self._room:
            values = {f.name: getattr(record, f.name) for f in fields(record)}
            stacks = {n: v.new_empty(STEPS_TOGETHER, *v.shape) for n, v in values.items()}
            self._room = [
                type(record)(**{name: stack[step] for name, stack in stacks.items()})
                for step in reversed(range(STEPS_TOGETHER))
            ]
        place = self._room.pop()
        for f in fields(record):
            value, room = getattr(record, f.name), getattr(place, f.name)
            if value.shape != room.shape or value.dtype != room.dtype:
                return record
            room.copy_(value)
        return place

    def _stacks(self, *, join: bool) -> Iterator[tuple[str, Tensor]]:
        """Every field of the records, [steps, n, …]."""
        for field in fields(self.records[0]):
            own = torch.stack([getattr(record, field.name) for record in self.records])
            parts = collectives.gathered_by_first(own) if join else [own]
            if parts is not None:
                yield field.name, torch.cat(parts, dim=1)

    def _fill(self, stacks: dict[str, Tensor]) -> None:
        steps = len(next(iter(stacks.values()))) if stacks else 0
        kind = MaskRecord if "changed" in stacks else StepRecord
        self.records = [
            kind(**{name: values[step] for name, values in stacks.items()}) for step in range(steps)
        ]

    def _finite(self) -> Tensor:
        """Whether loss and weights are finite, [steps, n]."""
        return torch.stack([r.loss + r.alpha + r.beta for r in self.records]).isfinite()

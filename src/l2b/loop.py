"""One run at work: steps, judgement, records, checkpoints; the only writer of the ledger."""

import itertools
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch

from l2b import collectives
from l2b.augment import Identity
from l2b.checkpoint import Place
from l2b.compatible import check_fit, check_learner, refuse_synchronised_norms
from l2b.data import Data, Pool
from l2b.device import accelerator_for, autocast
from l2b.evaluate import evaluate, measure, share_right
from l2b.feed import Feed
from l2b.folder import RunFolder
from l2b.guards import LOOK_EVERY
from l2b.layout import lay_channels_last
from l2b.ledger import (
    EpochLog,
    Ledger,
    MaskRecord,
    Record,
    StepRecord,
    answer_record,
    known_answers,
    mask_record,
)
from l2b.methods import Method, Task
from l2b.metrics import mask_telemetry, weight_telemetry
from l2b.models import Model
from l2b.network import Network
from l2b.signals import Stopped
from l2b.streams import stream_seed
from l2b.training import Training
from l2b.types import Batch
from l2b.watch import Watch


class Loop:
    """Everything that one run holds while it runs."""

    def __init__(
        self,
        data: Data,
        model: Model,
        method: Method,
        training: Training,
        seed: int,
        folder: RunFolder | None,
        asked: Callable[[], bool] = lambda: False,
    ) -> None:
        """Make everything; nothing is read or written yet. Arguments as for `fit`."""
        self.began, self.before = time.perf_counter(), 0.0
        self.tracker = accelerator_for(training, folder)
        self.data = data.to(self.tracker.device)
        self.training, self.seed, self.folder, self.asked = training, seed, folder, asked
        self.feed = Feed(
            data=self.data,
            batch=training.batch,
            clean_batch=training.clean_batch,
            augment=training.augment,
            seed=seed,
            ranks=collectives.ranks(),
            rank=collectives.rank(),
        )
        check_fit(method, self.data, training)
        self.watch = Watch(training.guards, self.data, training.epochs)
        task = Task(data=self.data, epochs=training.epochs, network=self._network_maker(model))
        self.learner = method.build(task)
        # Labels that are not trained on tell how much every epoch knows.
        self.apart = not (trains_on_clean(method, training) or self.data.masks)
        self.history: list[dict[str, Any]] = []
        self.log = EpochLog()
        self.within: dict[str, Any] | None = None
        check_learner(self.learner, training)
        # With several processes no one holds the whole ledger; it waits on disk, by epochs.
        together = collectives.ranks() > 1
        self.ledger = None if together else empty_ledger(self.data, training.epochs)

    def epoch(self, epoch: int, advance: Callable[[], None]) -> None:
        """One pass over the noisy samples, then judgement and record."""
        self._begin(epoch)
        log, own = self.log, [collectives.rank()] if collectives.rank() else []
        for step, pair in enumerate(self.feed.epoch(epoch, len(log)), len(log)):
            torch.manual_seed(stream_seed(self.seed, "step", epoch, step, *own))
            log.add(self._step(*pair), self.watch.gradient.taken())
            log.clean_losses += self._clean_loss()
            advance()
            self._after_step(epoch, step + 1)
        self.watch.look(epoch, self.log, self.feed.steps)
        collectives.copy_from_first(self.learner.network.module.buffers())
        self.watch.refuse_broken(epoch, self.learner.network.module)
        self._end(epoch, log.joined())
        if epoch + 1 < self.training.epochs and collectives.anywhere(self.asked()):
            raise Stopped(f"stopped after epoch {epoch + 1} as asked; everything is saved")

    def try_step(self) -> None:
        """Take the first step of the run; of no use for anything else afterwards."""
        self.learner.begin_epoch(0)
        self._step(*next(iter(self.feed.epoch(0, 0))))

    def _begin(self, epoch: int) -> None:
        if epoch == 0:
            self.watch.clean.start = self._judged(self.data.clean)["loss"]
        torch.manual_seed(stream_seed(self.seed, "epoch", epoch))
        self.learner.begin_epoch(epoch)
        self.log = EpochLog()
        if self.within is None:
            self.log.clean_losses = self._clean_loss()
            return
        # The epoch's beginning was done again above, so that what it sets up is there.
        self.learner.load_state_dict(self.within["learner"])
        self.log.load_state_dict(self.within["log"], self.tracker.device)
        self.watch.load_state_dict(self.within["watch"])
        self.within = None

    def _after_step(self, epoch: int, done: int) -> None:
        """Look at what steps left, save if it is time, stop if asked."""
        if done % LOOK_EVERY == 0:
            self.watch.look(epoch, self.log, self.feed.steps)
        if done == self.feed.steps or self.folder is None:
            return
        every = self.training.checkpoint_every
        asked = self._asked(done)
        if asked or (every and done % every == 0):
            self._save_within(self.folder, epoch, done)
        if asked:
            raise Stopped(f"stopped in epoch {epoch + 1} as asked; everything is saved")

    def _asked(self, done: int) -> bool:
        if collectives.ranks() == 1:
            return self.asked()
        # All have to stop after the same step, and asking each other takes time.
        return done % LOOK_EVERY == 0 and collectives.anywhere(self.asked())

    def _end(self, epoch: int, log: EpochLog | None) -> None:
        """Judge, record and save; in the first process alone."""
        if log is None:
            self.history.append({"epoch": epoch})
            return
        ledger = empty_ledger(self.data, 1) if self.ledger is None else self.ledger
        row = epoch if ledger is self.ledger else 0
        ledger.write(row, log.sound_records())
        self.history.append(self._row(epoch, log))
        self.tracker.log(self.history[-1], step=epoch)
        if self.folder is not None:
            self._save(self.folder, epoch, ledger.row(row))

    def _clean_loss(self) -> list[float]:
        """The mean loss of the whole clean set, if it is monitored."""
        if self.training.monitor == "none":
            return []
        loss = self._judged(self.data.clean)["loss"]
        self.learner.network.module.train()
        return [loss]

    def _judged(self, pool: Pool) -> dict[str, float]:
        return evaluate(self.learner.predict, pool, self.data)

    def _step(self, batch: Batch, clean: Batch) -> Record:
        """The method's step, and what the ledger takes of it: of masks, a number per image."""
        record = self.learner.step(batch, clean)
        if self.training.extra_clean_step:
            self.learner.learn_clean(clean)
        if self.data.tags:
            return answer_record(record, batch.labels, self.data.answers)
        if not self.data.masks:
            return record
        # Augmented masks have left their true ones.
        moved = not isinstance(self.training.augment, Identity)
        true = self.data.train.true
        return mask_record(
            record, batch.labels, None if moved or true is None else true[batch.index]
        )

    def _row(self, epoch: int, log: EpochLog) -> dict[str, Any]:
        records = log.sound_records()
        if self.data.tags:
            records = [known_answers(r) for r in records if isinstance(r, StepRecord)]
        loss = torch.cat([r.loss for r in records]).mean().item()
        row = {"epoch": epoch, "train_loss": loss, **self._telemetry(records)}
        for name in ("validation", "test"):
            judged = getattr(self.data, name)
            if judged is not None:
                row |= {f"{name}_{key}": value for key, value in self._judged(judged).items()}
        silent = row["silent_batches"] if self.learner.steers else None
        clean = self._judged(self.data.clean) if self.apart else {}
        told = {measure(self.data), share_right(self.data), "loss"} if clean else set()
        row |= {f"clean_{key}": value for key, value in clean.items() if key in told}
        remarks = self.watch.remarks(
            epoch, log, row, silent, lambda: clean or self._judged(self.data.clean)
        )
        return row | _rises(log.clean_losses) | remarks

    def _telemetry(self, records: Sequence[Record]) -> dict[str, float]:
        alpha, beta = [r.alpha for r in records], [r.beta for r in records]
        of_labels = [r for r in records if isinstance(r, StepRecord)]
        of_masks = [r for r in records if isinstance(r, MaskRecord)]
        if of_masks:
            on_wrong = torch.cat([r.on_wrong for r in of_masks])
            return mask_telemetry(
                alpha, beta, on_wrong, torch.cat([r.pseudo_right for r in of_masks])
            )
        index, pool = torch.cat([r.index for r in of_labels]), self.data.train
        return weight_telemetry(
            alpha,
            beta,
            torch.cat([r.pseudo for r in of_labels]),
            pool.labels.flatten()[index],
            None if pool.true is None else pool.true.flatten()[index],
        )

    def _save(self, folder: RunFolder, epoch: int, row: dict[str, torch.Tensor]) -> None:
        if chosen_epoch(self.history, measure(self.data)) == epoch:
            folder.write_model(self.learner.network.module, "chosen")
        folder.checkpoints.write_row(epoch, row)
        state = {**self._state(), "history": self.history}
        folder.checkpoints.write(Place(epoch + 1, 0), state, keep=self.training.keep)
        folder.write_metrics(self.history)

    def _save_within(self, folder: RunFolder, epoch: int, step: int) -> None:
        self.watch.look(epoch, self.log, self.feed.steps)
        log = self.log.joined()
        if log is not None:
            state = {**self._state(), "log": log.state_dict()}
            folder.checkpoints.write(Place(epoch, step), state, keep=self.training.keep)
        collectives.barrier()

    def _state(self) -> dict[str, Any]:
        return {
            "learner": self.learner.state_dict(),
            "watch": self.watch.state_dict(),
            "noise_hash": self.data.noise_hash,
            "data_hash": self.data.data_hash,
            "scale": [self.data.mean, self.data.std],
            "seconds": self.before + time.perf_counter() - self.began,
        }

    def restore(self) -> None:
        """Go on from the folder's newest intact checkpoint, if it has one."""
        if self.folder is None:
            return
        checkpoints, first = self.folder.checkpoints, collectives.rank() == 0
        found = checkpoints.newest() if first else None
        epoch, step = collectives.from_first([-1, 0] if found is None else list(found))
        if epoch < 0:
            return
        between = checkpoints.read(Place(epoch, 0)) if epoch else None
        self.within = checkpoints.read(Place(epoch, step)) if step else None
        for state in (between, self.within):
            if state is not None:
                self._refuse_other_data(state)
                self.before = state["seconds"]
        if between is not None:
            self.learner.load_state_dict(between["learner"])
            self.history = between["history"]
            self.watch.load_state_dict(between["watch"])
        if first:
            self.folder.write_metrics(self.history)  # a kill may have come before they were
        if self.ledger is not None:
            for number, row in checkpoints.rows(epoch):
                self.ledger.put(number, row)

    def _refuse_other_data(self, state: dict[str, Any]) -> None:
        if not {"watch", "scale", "seconds", "data_hash"} <= set(state):
            raise ValueError(
                "The checkpoint was made by another version of l2b, and cannot be gone on from: "
                "start afresh, or resume with that version."
            )
        scale = zip(state["scale"], (self.data.mean, self.data.std), strict=True)
        same = state["data_hash"] == self.data.data_hash and all(
            torch.equal(then.cpu(), now.cpu()) for then, now in scale
        )
        other = "labels" if state["noise_hash"] != self.data.noise_hash else "samples"
        if other == "labels" or not same:
            raise ValueError(
                f"The checkpoint was made with other {other} than this data set gives now: the "
                "files or the noise changed. Resume with the original data, or start afresh."
            )

    def close(self) -> Ledger:
        """End the trackers and return the whole ledger."""
        for tracker in self.tracker.trackers:
            tracker.finish()
        if self.ledger is not None:
            return self.ledger
        if collectives.rank() or self.folder is None:
            return Ledger(0, 0)
        ledger = empty_ledger(self.data, self.training.epochs)
        for number, row in self.folder.checkpoints.rows(self.training.epochs):
            ledger.put(number, row)
        return ledger

    def _network_maker(self, model: Model) -> Callable[[str], Network]:
        shape = tuple(self.data.train.inputs.shape[1:])
        training, device = self.training, self.tracker.device
        suited = model.suited(masks=self.data.masks)
        classes, tags = len(self.data.classes), len(self.data.tags)

        def network(name: str) -> Network:
            torch.manual_seed(stream_seed(self.seed, "initialise", name))
            module = suited.network(shape, classes, tags=tags).to(device)
            if suited.channels_last:
                lay_channels_last(module, device)
            refuse_synchronised_norms(module)
            return Network(
                module=module,
                optimiser=training.optimiser.build(module.parameters()),
                schedule=training.schedule,
                epochs=training.epochs,
                clip=training.clip,
                overlap=training.overlap,
                autocast=autocast(training.precision, device),
                guard=self.watch.gradient,
                pieces=training.accumulate,
            )

        return network


def empty_ledger(data: Data, epochs: int) -> Ledger:
    """Room for every noisy sample (of several yes-or-no labels, for each) in so many epochs."""
    return Ledger(epochs, len(data.train) * data.answers, masks=data.masks)


def _rises(losses: list[float]) -> dict[str, float]:
    """Share of steps after which the clean loss was higher, and the largest rise in nats."""
    if not losses:
        return {}
    changes = [after - before for before, after in itertools.pairwise(losses)]
    share = sum(change > 0 for change in changes) / len(changes)
    return {"clean_loss_rose": share, "largest_rise": max(0.0, *changes)}


def trains_on_clean(method: Method, training: Training) -> bool:
    """Whether steps are taken on clean samples, so that these cannot judge the model."""
    return method.fits_clean or training.extra_clean_step


def chosen_epoch(history: list[dict[str, Any]], measured: str) -> int | None:
    """The first epoch that is best on clean validation, by what counts (ties: lower loss)."""
    judged = [row for row in history if "validation_accuracy" in row]
    if not judged:
        return None
    best = max(judged, key=lambda row: (row[f"validation_{measured}"], -row["validation_loss"]))
    return best["epoch"]

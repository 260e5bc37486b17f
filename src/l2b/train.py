"""The loop: the only writer of the ledger."""

import itertools
import math
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from accelerate import Accelerator
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from l2b.augment import Augmentation, Identity
from l2b.catalog import name_of
from l2b.data import Data, Feed
from l2b.evaluate import evaluate, measure
from l2b.folder import RunFolder
from l2b.ledger import Ledger, MaskRecord, StepRecord, mask_record
from l2b.methods import Learner, Method, Task
from l2b.metrics import mask_telemetry, weight_telemetry
from l2b.models import Model
from l2b.network import Network
from l2b.optimise import Cosine, Optimiser, Schedule
from l2b.overlap import Ignored, Overlap
from l2b.streams import stream_seed
from l2b.threads import cpu_threads
from l2b.types import Batch

SMALL_BATCH = 200_000  # input numbers per batch


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long, how fast, on what.

    Attributes:
        epochs: passes over the noisy samples.
        batch: noisy samples per step.
        clean_batch: clean samples per step, at most as many as there are.
        optimiser: kind, learning rate and options.
        schedule: learning rate over the epochs.
        clip: largest allowed norm of the gradient; None for no limit. Weights sum to 1
            however few samples carry them, so without a limit training can collapse.
        augment: what is done to each batch of inputs.
        overlap: what is added to cross-entropy for the overlap of whole masks.
        extra_clean_step: take an ordinary step on the clean batch after every step, whatever
            the method, as the published loop for masks does. It is training on clean labels
            and would by itself improve any method, so it is off unless asked for.
        precision: "float32", or "bfloat16" for mixed precision.
        device: "auto" (a GPU if there is one) or "cpu".
        threads: CPU threads; None takes one where batches are small, because threads that
            wait for each other then cost more than they save (on a busy machine twenty
            times more), and all that torch may use elsewhere.
        tensorboard: also write metrics for TensorBoard.
        monitor: "descent" also records how often a step raised the loss on the whole clean
            set (evaluation mode), at the price of one pass over it per step.
    """

    epochs: int = 40
    batch: int = 64
    clean_batch: int = 64
    optimiser: Optimiser = field(default_factory=Optimiser)
    schedule: Schedule = field(default_factory=Cosine)
    clip: float | None = 1.0
    augment: Augmentation = field(default_factory=Identity)
    overlap: Overlap = field(default_factory=Ignored)
    extra_clean_step: bool = False
    precision: Literal["float32", "bfloat16"] = "float32"
    device: Literal["auto", "cpu"] = "auto"
    threads: int | None = None
    tensorboard: bool = False
    monitor: Literal["none", "descent"] = "none"

    def __post_init__(self) -> None:
        """Refuse lengths and limits that have no meaning."""
        if self.epochs < 1:
            raise ValueError(f"training.epochs must be at least 1, got {self.epochs}.")
        if self.threads is not None and self.threads < 1:
            raise ValueError(f"training.threads must be at least 1 or none, got {self.threads}.")
        if self.clip is not None and not self.clip > 0:
            raise ValueError(
                f"training.clip must be positive or none, got {self.clip}: it is the largest "
                "norm that a gradient may have."
            )


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run leaves in memory.

    Attributes:
        learner: after the last epoch.
        ledger: every sample in every epoch.
        history: one row of metrics per epoch.
        chosen_epoch: the epoch with the best accuracy (of masks, the best Dice) on the clean
            validation samples (ties: lower loss), counted from 0; None if there are none.
    """

    learner: Learner
    ledger: Ledger
    history: list[dict[str, Any]]
    chosen_epoch: int | None


def fit(
    data: Data,
    model: Model,
    method: Method,
    training: Training,
    *,
    seed: int,
    folder: RunFolder | None = None,
    progress: bool = True,
    label: str = "training",
) -> Outcome:
    """Train, judge and record, epoch by epoch; go on from the folder's checkpoint if any.

    Every random draw has a stream of its own, set anew at every step, so on a CPU a resumed
    run equals an uninterrupted one bit for bit. Global random state is left untouched.

    Args:
        data: prepared samples.
        model: what to train.
        method: how to learn from noisy labels.
        training: how long and how fast.
        seed: of every stream.
        folder: where checkpoints and metrics go; None keeps everything in memory.
        progress: show a progress bar on a terminal.
        label: what the progress bar says.

    Raises:
        ValueError: if a batch cannot be filled.
        FloatingPointError: if a loss stops being finite.
    """
    devices = range(torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices), cpu_threads(_threads(training, data)):
        loop = _Loop(data, model, method, training, seed, folder)
        with _bar(label, loop, show=progress) as advance:
            for epoch in range(len(loop.history), training.epochs):
                loop.epoch(epoch, advance)
        loop.tracker.end_training()
    return Outcome(
        learner=loop.learner,
        ledger=loop.ledger,
        history=loop.history,
        chosen_epoch=chosen_epoch(loop.history),
    )


def chosen_epoch(history: list[dict[str, Any]]) -> int | None:
    """The first epoch with the best clean-validation accuracy or Dice (ties: lower loss)."""
    judged = [row for row in history if "validation_accuracy" in row]
    if not judged:
        return None
    key = f"validation_{measure(judged[0], 'validation_')}"
    best = max(judged, key=lambda row: (row[key], -row["validation_loss"]))
    return best["epoch"]


class _Loop:
    """Everything that one run holds while it runs."""

    def __init__(
        self,
        data: Data,
        model: Model,
        method: Method,
        training: Training,
        seed: int,
        folder: RunFolder | None,
    ) -> None:
        self.tracker = _accelerator(training, folder)
        self.data = data.to(self.tracker.device)
        self.training, self.seed, self.folder = training, seed, folder
        self.feed = Feed(
            data=self.data,
            batch=training.batch,
            clean_batch=training.clean_batch,
            augment=training.augment,
            seed=seed,
        )
        _check_fit(method, self.data, training)
        task = Task(data=self.data, epochs=training.epochs, network=self._network_maker(model))
        self.learner = method.build(task)
        self.ledger = Ledger(training.epochs, len(data.train), masks=data.masks)
        self.history: list[dict[str, Any]] = []
        self._restore()

    def epoch(self, epoch: int, advance: Callable[[], None]) -> None:
        """One pass over the noisy samples, then judgement and record."""
        self.learner.begin_epoch(epoch)
        records, clean_losses = [], self._clean_loss()
        for step, (batch, clean) in enumerate(self.feed.epoch(epoch)):
            torch.manual_seed(stream_seed(self.seed, "step", epoch, step))
            records.append(self._recorded(batch, self.learner.step(batch, clean)))
            if self.training.extra_clean_step:
                self.learner.learn_clean(clean)
            clean_losses += self._clean_loss()
            advance()
        self.ledger.write(epoch, records)
        self.history.append(self._row(epoch, records) | _rises(clean_losses))
        self.tracker.log(self.history[-1], step=epoch)
        if self.folder is not None:
            self._save(self.folder, epoch)

    def _clean_loss(self) -> list[float]:
        """The mean loss of the whole clean set, if it is monitored."""
        if self.training.monitor == "none":
            return []
        loss = evaluate(self.learner.predict, self.data.clean, self.data)["loss"]
        self.learner.network.module.train()
        return [loss]

    def _recorded(self, batch: Batch, record: StepRecord) -> StepRecord | MaskRecord:
        """The record as the ledger takes it: of masks, one number per image."""
        if not self.data.masks:
            return record
        # Augmented masks have left their true ones.
        moved = not isinstance(self.training.augment, Identity)
        true = self.data.train.true
        return mask_record(
            record, batch.labels, None if moved or true is None else true[batch.index]
        )

    def _row(self, epoch: int, records: list[StepRecord | MaskRecord]) -> dict[str, Any]:
        loss = torch.cat([r.loss for r in records]).mean().item()
        if not math.isfinite(loss):
            raise FloatingPointError(
                f"The training loss became {loss} in epoch {epoch + 1}: lower "
                "training.optimiser.lr or set a smaller training.clip. What was saved before "
                "this epoch is intact."
            )
        row = {"epoch": epoch, "train_loss": loss, **self._telemetry(records)}
        for name in ("validation", "test"):
            judged = getattr(self.data, name)
            if judged is not None:
                found = evaluate(self.learner.predict, judged, self.data)
                row |= {f"{name}_{key}": value for key, value in found.items()}
        return row

    def _telemetry(self, records: list[StepRecord | MaskRecord]) -> dict[str, float]:
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
            pool.labels[index],
            None if pool.true is None else pool.true[index],
        )

    def _save(self, folder: RunFolder, epoch: int) -> None:
        if chosen_epoch(self.history) == epoch:
            folder.write_model(self.learner.network.module, "chosen")
        folder.write_checkpoint(
            {
                "learner": self.learner.state_dict(),
                "ledger": self.ledger.state_dict(),
                "history": self.history,
                "noise_hash": self.data.noise_hash,
            }
        )
        folder.write_metrics(self.history)

    def _restore(self) -> None:
        state = None if self.folder is None else self.folder.read_checkpoint()
        if state is None:
            return
        if state["noise_hash"] != self.data.noise_hash:
            raise ValueError(
                "The checkpoint was made with other labels than this data set gives now: the "
                "files or the noise changed. Resume with the original data, or start afresh."
            )
        self.learner.load_state_dict(state["learner"])
        self.ledger.load_state_dict(state["ledger"])
        self.history = state["history"]

    def _network_maker(self, model: Model) -> Callable[[str], Network]:
        shape = tuple(self.data.train.inputs.shape[1:])
        training, accelerator = self.training, self.tracker
        model = model.suited(masks=self.data.masks)

        def network(name: str) -> Network:
            torch.manual_seed(stream_seed(self.seed, "initialise", name))
            module = model.build(shape, len(self.data.classes)).to(accelerator.device)
            return Network(
                module=module,
                optimiser=training.optimiser.build(module.parameters()),
                schedule=training.schedule,
                epochs=training.epochs,
                clip=training.clip,
                overlap=training.overlap,
                backward=accelerator.backward,
                autocast=_autocast(training.precision, accelerator.device),
            )

        return network


def _check_fit(method: Method, data: Data, training: Training) -> None:
    """Refuse masks, and losses of masks, for methods that cannot learn from them."""
    if data.masks and not method.takes_masks:
        raise ValueError(
            f"{name_of(method)} needs one label per sample, and this data has a mask for each: "
            "choose l2b, l2rw, fine_tune, pooled, clean_only or cross_entropy."
        )
    if not isinstance(training.overlap, Ignored) and not method.takes_overlap:
        raise ValueError(
            f"{name_of(method)} has no place for training.overlap in its loss, got "
            f"{name_of(training.overlap)}: leave it out, or choose another method."
        )


def _rises(losses: list[float]) -> dict[str, float]:
    """Share of steps after which the clean loss was higher, and the largest rise in nats."""
    if not losses:
        return {}
    changes = [after - before for before, after in itertools.pairwise(losses)]
    share = sum(change > 0 for change in changes) / len(changes)
    return {"clean_loss_rose": share, "largest_rise": max(0.0, *changes)}


def _accelerator(training: Training, folder: RunFolder | None) -> Accelerator:
    if not training.tensorboard:
        return Accelerator(cpu=training.device == "cpu")
    if folder is None:
        raise ValueError("training.tensorboard needs a run folder to write to: set --out.")
    tracker = Accelerator(
        cpu=training.device == "cpu", log_with="tensorboard", project_dir=folder.path
    )
    tracker.init_trackers("tensorboard")
    return tracker


def _autocast(precision: str, device: torch.device) -> Callable[[], AbstractContextManager[Any]]:
    if precision == "float32":
        return nullcontext
    return lambda: torch.autocast(device.type, dtype=torch.bfloat16)


def _threads(training: Training, data: Data) -> int:
    """As many CPU threads as the work deserves."""
    numbers = training.batch * math.prod(data.train.inputs.shape[1:])
    return training.threads or (1 if numbers < SMALL_BATCH else torch.get_num_threads())


@contextmanager
def _bar(label: str, loop: _Loop, *, show: bool) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.fields[epoch]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[accuracy]}"),
    )
    steps, epochs = loop.feed.steps, loop.training.epochs
    with Progress(*columns, transient=True, disable=not show) as progress:
        done = len(loop.history) * steps
        task = progress.add_task(label, total=epochs * steps, completed=done, epoch="", accuracy="")

        def advance() -> None:
            row = loop.history[-1] if loop.history else {}
            pool = next((p for p in ("test_", "validation_") if f"{p}accuracy" in row), "")
            name = measure(row, pool)
            accuracy = row.get(f"{pool}{name}")
            progress.update(
                task,
                advance=1,
                epoch=f"{len(loop.history) + 1}/{epochs}",
                accuracy="" if accuracy is None else f"{name} {accuracy:.1%}",
            )

        yield advance

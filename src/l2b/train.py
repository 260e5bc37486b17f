"""Training from the first epoch to the last, with a progress bar."""

import gc
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from l2b import collectives
from l2b.data import Data
from l2b.evaluate import measure
from l2b.folder import RunFolder, read_module
from l2b.ledger import Ledger
from l2b.loop import Loop, chosen_epoch, empty_ledger
from l2b.methods import Learner, Method
from l2b.models import Model
from l2b.scoring import WORDS
from l2b.signals import stop_requests
from l2b.threads import cpu_threads
from l2b.training import Training

__all__ = ["Outcome", "Training", "check", "chosen_epoch", "fit", "recalled"]

SMALL_BATCH = 200_000  # input numbers per batch


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What a run leaves in memory.

    Attributes:
        learner: after the last epoch.
        ledger: every sample in every epoch; empty in all but the first of several processes.
        history: one row of metrics per epoch.
        chosen_epoch: the epoch with the best accuracy (of masks, the best Dice; under class
            weights, the best accuracy under them) on the clean validation samples (ties: lower
            loss), counted from 0; None if there are none.
        seconds_before: that processes before this one trained, up to the checkpoint that it went
            on from.
        threads: that torch had on the CPU; None where nothing was trained. Another number may sum
            in another order, so that equal runs differ in the last digits.
    """

    learner: Learner
    ledger: Ledger
    history: list[dict[str, Any]]
    chosen_epoch: int | None
    seconds_before: float = 0.0
    threads: int | None = None


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
    run equals an uninterrupted one bit for bit, wherever it was stopped. Global random state is
    left untouched. With a folder, SIGTERM is answered by saving after the step at hand.

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
        FloatingPointError: if losses or gradients stop being finite for good.
        Stopped: if SIGTERM came; everything is saved.
    """
    if folder is None and collectives.ranks() > 1:
        raise ValueError("Several processes need a run folder to meet in: set --out.")
    listening = nullcontext(lambda: False) if folder is None else stop_requests()
    with _undisturbed(training, data), listening as asked:
        loop = Loop(data, model, method, training, seed, folder, asked)
        loop.restore()
        with _bar(label, loop, show=progress) as advance:
            for epoch in range(len(loop.history), training.epochs):
                loop.epoch(epoch, advance)
        ledger, threads = loop.close(), torch.get_num_threads()
    return Outcome(
        learner=loop.learner,
        ledger=ledger,
        history=loop.history,
        chosen_epoch=chosen_epoch(loop.history, measure(loop.data)),
        seconds_before=loop.before,
        threads=threads,
    )


def recalled(
    data: Data, model: Model, method: Method, training: Training, *, seed: int, folder: RunFolder
) -> Outcome:
    """What `fit` left in a folder whose checkpoints are gone; nothing is trained or written.

    The learner has the parameters of its network back; what else it kept between steps went with
    the checkpoints. Arguments as for `fit`.

    Raises:
        FileNotFoundError: if a file of the run is missing.
        ValueError: if one is damaged or of another model.
    """
    history, first = folder.read_metrics(training.epochs), collectives.rank() == 0
    with _undisturbed(training, data):
        loop = Loop(data, model, method, replace(training, tensorboard=False), seed, None)
    read_module(loop.learner.network.module, folder.path / "model.safetensors")
    ledger = empty_ledger(data, training.epochs) if first else Ledger(0, 0)
    if first:
        ledger.load_state_dict(folder.read_ledger())
    return Outcome(
        learner=loop.learner,
        ledger=ledger,
        history=history,
        chosen_epoch=chosen_epoch(history, measure(data)),
    )


def check(data: Data, model: Model, method: Method, training: Training, *, seed: int) -> None:
    """Refuse what `fit` would refuse up to its first step, which is tried; writes nothing.

    With several processes, whose steps are common, no step is tried.

    Raises:
        ValueError: if data, model, method and training do not fit together.
    """
    with _undisturbed(training, data):
        loop = Loop(data, model, method, replace(training, tensorboard=False), seed, None)
        if collectives.ranks() == 1:
            loop.try_step()
        del loop
        gc.collect()  # it holds itself, and a second copy of data and model until then


@contextmanager
def _undisturbed(training: Training, data: Data) -> Iterator[None]:
    """Leave the global random state and the number of threads as they were."""
    devices = range(0 if training.device == "cpu" else torch.cuda.device_count())
    with torch.random.fork_rng(devices=devices), cpu_threads(_threads(training, data)):
        yield


def _threads(training: Training, data: Data) -> int:
    """As many CPU threads as the work deserves."""
    numbers = training.batch * math.prod(data.train.inputs.shape[1:])
    return training.threads or (1 if numbers < SMALL_BATCH else torch.get_num_threads())


@contextmanager
def _bar(label: str, loop: Loop, *, show: bool) -> Iterator[Callable[[], None]]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("epoch {task.fields[epoch]}"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[accuracy]}"),
    )
    steps, epochs = loop.feed.steps, loop.training.epochs
    hidden = not show or collectives.rank() > 0
    with Progress(*columns, transient=True, disable=hidden) as progress:
        done = len(loop.history) * steps
        task = progress.add_task(label, total=epochs * steps, completed=done, epoch="", accuracy="")

        def advance() -> None:
            row = loop.history[-1] if loop.history else {}
            pool = next((p for p in ("test_", "validation_") if f"{p}accuracy" in row), "")
            name = measure(loop.data)
            accuracy = row.get(f"{pool}{name}")
            progress.update(
                task,
                advance=1,
                epoch=f"{len(loop.history) + 1}/{epochs}",
                accuracy="" if accuracy is None else f"{WORDS[name]} {accuracy:.1%}",
            )

        yield advance

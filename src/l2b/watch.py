"""What goes wrong in a run, noticed while it goes on."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from l2b.data import Data
from l2b.evaluate import share_right
from l2b.guards import (
    CleanSetGuard,
    GradientGuard,
    Guards,
    broken_run,
    endless_losses,
    first_broken,
    silent_weights,
    skipped_steps,
)
from l2b.ledger import EpochLog
from l2b.notices import notice

LONGEST_LIST = 50  # positions of skipped samples in a row of metrics
SILENT_SHARE, SILENT_BATCHES = 0.8, 8  # all weights zero: when this is worth a word


class Watch:
    """Counts broken steps, ends runs that have too many, and says what looks wrong.

    Attributes:
        gradient: takes the gradients' norms; every network of the run calls it.
        broken: steps in a row whose gradient was not finite, up to the last one looked at.
        clean: judges the clean set.
    """

    def __init__(self, guards: Guards, data: Data, epochs: int) -> None:
        """Start with nothing seen.

        Args:
            guards: what to do about broken steps.
            data: of the run.
            epochs: length of the run.
        """
        self.guards, self.data, self.epochs = guards, data, epochs
        self.gradient, self.broken = GradientGuard(), 0
        self.clean = CleanSetGuard(data.clean.labels, data.class_weights)
        self.told_silent = False

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run has to know."""
        return {
            "broken": self.broken,
            "clean_start": self.clean.start,
            "told": self.clean.told,
            "told_silent": self.told_silent,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore it."""
        self.broken, self.told_silent = state["broken"], state["told_silent"]
        self.clean.start, self.clean.told = state["clean_start"], state["told"]

    def look(self, epoch: int, log: EpochLog, steps: int) -> None:
        """Count steps whose gradient was not finite; end the run if there are too many.

        Args:
            epoch: at hand, from 0.
            log: of its steps so far.
            steps: that it has in all.

        Raises:
            FloatingPointError: after as many as the settings allow, or if no step of the epoch
                was whole.
        """
        enough = 1 if self.guards.non_finite == "stop" else self.guards.patience
        found = log.look()
        for number, sound in enumerate(found, len(log) - len(found)):
            self.broken = 0 if sound else self.broken + 1
            nothing = number + 1 == steps and not any(log.sound)
            if self.broken >= enough or nothing:
                loss = log.records[number].loss.mean().item()
                samples = self._positions(log.broken_samples(len(found)))
                raise FloatingPointError(broken_run(epoch, loss, self.broken, samples))

    def refuse_broken(self, epoch: int, module: nn.Module) -> None:
        """End the run if the model itself is no longer finite.

        Raises:
            FloatingPointError: naming the parameter or running statistic.
        """
        name = first_broken(module)
        if name is not None:
            raise FloatingPointError(
                f"The training loss became useless in epoch {epoch + 1}, for {name} is no longer "
                "finite: lower training.optimiser.lr or set a smaller training.clip. What was "
                "saved before this epoch is intact."
            )

    def remarks(
        self,
        epoch: int,
        log: EpochLog,
        row: Mapping[str, Any],
        silent: float | None,
        judged: Callable[[], dict[str, float]],
    ) -> dict[str, Any]:
        """Say what a user should know of an epoch, and return it for the record.

        Args:
            epoch: that has ended, from 0.
            log: of its steps.
            row: its metrics, the losses of the pools that were judged among them.
            silent: share of its batches in which all weights were zero; None if no weights
                were learned.
            judged: what `evaluate` says of the clean set.
        """
        told, found = [], {}
        losses = {key.removesuffix("_loss"): row[key] for key in row if key.endswith("_loss")}
        endless = [name for name, loss in losses.items() if not math.isfinite(loss)]
        told += [endless_losses(epoch, endless)] if endless else []
        skipped = log.sound.count(False)
        if skipped:
            positions = self._positions(log.broken_samples())
            found = {"skipped_steps": skipped, "skipped_samples": positions[:LONGEST_LIST]}
            told.append(skipped_steps(epoch, skipped, len(log), positions))
        weighed, share = len(log) - skipped, silent or 0.0
        if share >= SILENT_SHARE and weighed >= SILENT_BATCHES and not self.told_silent:
            self.told_silent = True
            told.append(silent_weights(epoch, round(share * weighed), weighed))
        if self.clean.due(epoch, self.epochs):
            clean = judged()
            name = "accuracy" if self.data.masks else share_right(self.data)
            wrong = self.clean.judge(
                epoch, clean[name], clean["loss"], steers=silent is not None, counted=name
            )
            told += [wrong] if wrong else []
        for text in told:
            notice(text)
        return found | ({"notices": told} if told else {})

    def _positions(self, rows: Tensor) -> list[int]:
        """Entries of the ledger as positions in the data set, of samples."""
        samples = rows.div(self.data.answers, rounding_mode="floor").unique()
        return self.data.train.index.cpu()[samples].tolist()

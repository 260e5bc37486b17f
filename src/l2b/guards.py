"""Numbers that are not finite, weights that are all zero, clean sets that look wrong.

Nothing here makes an accelerator wait within a step: what steps leave is looked at every few
steps and at the end of an epoch.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from l2b.class_weights import ClassWeights, sample_weights

LOOK_EVERY = 16  # steps from one look at an accelerator's flags to the next
SHOWN = 10  # sample positions in a message
FEWEST_EPOCHS = 4  # before which a bad clean set cannot be told from a slow start


@dataclass(frozen=True, kw_only=True)
class Guards:
    """What happens when numbers stop being finite.

    Attributes:
        non_finite: "skip" counts the gradient of a step as zero where its loss or gradient is
            not finite (momentum and weight decay go on); "stop" ends the run there.
        patience: such steps in a row after which a run that skips ends too.
    """

    non_finite: Literal["skip", "stop"] = "skip"
    patience: int = 10

    def __post_init__(self) -> None:
        """Refuse a word and a patience that have no meaning."""
        if self.non_finite not in ("skip", "stop"):
            raise ValueError(
                f"training.guards.non_finite must be skip or stop, got {self.non_finite!r}: skip "
                "leaves broken steps out, stop ends the run at the first."
            )
        if self.patience < 1:
            raise ValueError(
                f"training.guards.patience must be at least 1 step, got {self.patience}: it is "
                "how many steps in a row may be skipped before the run ends."
            )


class GradientGuard:
    """Makes a gradient that is not finite harmless, and remembers that there was one."""

    def __init__(self) -> None:
        """Start with nothing seen."""
        self._norms: list[Tensor] = []

    def __call__(self, parameters: Iterable[nn.Parameter], norm: Tensor) -> None:
        """Zero the whole gradient if its norm is not finite.

        Args:
            parameters: with their gradients.
            norm: of the whole gradient, before clipping.
        """
        norm = norm.detach()
        self._norms.append(norm)
        if norm.device.type == "cpu":
            if not math.isfinite(norm.item()):
                for parameter in parameters:
                    if parameter.grad is not None:
                        parameter.grad.zero_()
            return
        broken = ~norm.isfinite()  # stays on the device: looking would make it wait
        for parameter in parameters:
            if parameter.grad is not None:
                parameter.grad.masked_fill_(broken, 0)

    def taken(self) -> list[Tensor]:
        """Norms of the gradients since the last call."""
        norms, self._norms = self._norms, []
        return norms


def first_broken(module: nn.Module) -> str | None:
    """The name of the first parameter or buffer that is not finite, if any.

    Buffers may hold -inf, as masks of attention do.
    """
    for name, value in module.named_parameters():
        if value.is_floating_point() and not bool(value.isfinite().all()):
            return name
    for name, value in module.named_buffers():
        if value.is_floating_point() and not bool((value < torch.inf).all()):
            return name
    return None


def broken_run(epoch: int, loss: float, steps: int, positions: Sequence[int]) -> str:
    """The message of a run that ends because its numbers are not finite.

    Args:
        epoch: in which it ends, from 0.
        loss: the last training loss.
        steps: how many steps in a row were broken.
        positions: of their samples in the data set.
    """
    what = "gradient of the training loss became infinite or NaN"
    if not math.isfinite(loss):
        what = f"training loss became {loss}"
    return (
        f"The {what} in epoch {epoch + 1}{f', for {steps} steps in a row' if steps > 1 else ''}: "
        "lower training.optimiser.lr or set a smaller training.clip, and look at "
        f"{told_positions(positions)}. What was saved before this epoch is intact."
    )


def skipped_steps(epoch: int, skipped: int, steps: int, positions: Sequence[int]) -> str:
    """The message about steps that were skipped in an epoch, from 0."""
    return (
        f"Epoch {epoch + 1}: {skipped} of {steps} steps had a loss or gradient that is not "
        f"finite and were skipped; look at {told_positions(positions)}, lower "
        "training.optimiser.lr or set a smaller training.clip."
    )


def silent_weights(epoch: int, silent: int, weighed: int) -> str:
    """The message about batches in which no label helps, in an epoch from 0."""
    return (
        f"Epoch {epoch + 1}: in {silent} of {weighed} batches all weights were zero, so nothing "
        "was learned from them: by the clean samples, no label of the batch helps. Enlarge "
        "training.clean_batch, lower training.optimiser.lr, set method.warmup to more epochs, "
        "or check the labels of the clean set."
    )


def endless_losses(epoch: int, names: Sequence[str]) -> str:
    """The message about pools whose loss is infinite after an epoch, from 0."""
    return (
        f"Epoch {epoch + 1}: the {' and the '.join(names)} loss is infinite, for the model's "
        "outputs are huge or not finite for some of those samples: look there for values far "
        "beyond those of the training samples, lower training.optimiser.lr or set a smaller "
        "training.clip. Training goes on, and metrics.jsonl holds null for it."
    )


def told_positions(positions: Sequence[int]) -> str:
    """Positions of samples in words, not too many."""
    if not positions:
        return "the clean samples"
    shown = ", ".join(map(str, positions[:SHOWN]))
    more = len(positions) - SHOWN
    return f"sample {shown}{f' and {more} more' if more > 0 else ''} (positions in the data set)"


class CleanSetGuard:
    """Judges the clean set at epochs 1, 2, 4, 8, …, so that it costs next to nothing."""

    def __init__(self, labels: Tensor, class_weights: ClassWeights = "none") -> None:
        """Remember what chance would reach.

        Args:
            labels: of the clean set, class indices; negative ones count for nothing.
            class_weights: how much classes count.
        """
        labels = labels[labels >= 0].cpu()
        counts = torch.bincount(labels, sample_weights(class_weights, labels))
        self.chance = (counts.max() / counts.sum()).item() if labels.numel() else 0.0
        self.start: float | None = None
        self.told = False

    def due(self, epoch: int, epochs: int) -> bool:
        """Whether to judge after this epoch (0-based); the last one counts too."""
        done = epoch + 1
        return not self.told and (done & epoch == 0 or done == epochs)

    def judge(
        self, epoch: int, accuracy: float, loss: float, *, steers: bool, counted: str = "accuracy"
    ) -> str | None:
        """A message if the clean set looks wrong.

        Args:
            epoch: that has ended, from 0.
            accuracy: of the model on the clean set, a fraction.
            loss: of the model on the clean set, in nats.
            steers: whether the method lets the clean set decide what is learned.
            counted: what the accuracy is called.
        """
        if self.start is None or epoch + 1 < FEWEST_EPOCHS:
            return None
        if loss < self.start or not (steers or accuracy <= self.chance):
            return None  # it is being learned, or only overfitted
        self.told = True
        how = "" if counted == "accuracy" else f" in {counted.replace('_', ' ')}"
        return (
            f"The clean set looks wrong: after epoch {epoch + 1} the model gets {accuracy:.1%} of "
            f"its labels{how} (guessing gets {self.chance:.1%}) and its loss went from "
            f"{self.start:.3g} to {loss:.3g}. Check that its labels are right and its inputs "
            "are like those of the training set; if they are, raise training.optimiser.lr or "
            "training.epochs, for nothing was learned."
        )

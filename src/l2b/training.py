"""How a run trains: its settings."""

from dataclasses import dataclass, field
from typing import Literal

from l2b.augment import Augmentation, Identity
from l2b.guards import Guards
from l2b.optimise import Cosine, Optimiser, Schedule
from l2b.overlap import Ignored, Overlap


@dataclass(frozen=True, kw_only=True)
class Training:
    """How long, how fast, on what.

    Attributes:
        epochs: passes over the noisy samples.
        batch: noisy samples per step.
        clean_batch: clean samples per step, at most as many as there are.
        accumulate: pieces of every batch that are passed through the network one after the
            other, to save memory; same result, for the time of one more forward pass (close to it
            with batch norm, which takes the statistics of each piece).
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
            set (evaluation mode; weighted, if classes are), at the price of one pass over it
            per step.
        guards: what happens when numbers stop being finite.
        keep: checkpoints between epochs that are kept, the newest ones.
        checkpoint_every: steps from one checkpoint within an epoch to the next; None writes one
            there only when the run is asked to stop.
    """

    epochs: int = 40
    batch: int = 64
    clean_batch: int = 64
    accumulate: int = 1
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
    guards: Guards = field(default_factory=Guards)
    keep: int = 3
    checkpoint_every: int | None = None

    def __post_init__(self) -> None:
        """Refuse words, lengths and limits that have no meaning."""
        self._refuse_words()
        if self.epochs < 1:
            raise ValueError(
                f"training.epochs must be at least 1, got {self.epochs}: it is how often the noisy "
                "samples are gone through."
            )
        if self.threads is not None and self.threads < 1:
            raise ValueError(
                f"training.threads must be at least 1 or none, got {self.threads}: none takes as "
                "many as the work deserves."
            )
        if self.accumulate < 1:
            raise ValueError(
                f"training.accumulate must be at least 1, got {self.accumulate}: it is in how "
                "many pieces a batch is passed through the network; 1 passes it as a whole."
            )
        if self.keep < 1:
            raise ValueError(
                f"training.keep must be at least 1, got {self.keep}: a run goes on from the newest "
                "checkpoint that is kept."
            )
        if self.checkpoint_every is not None and self.checkpoint_every < 1:
            raise ValueError(
                "training.checkpoint_every must be at least 1 step or none, got "
                f"{self.checkpoint_every}."
            )
        if self.clip is not None and not self.clip > 0:
            raise ValueError(
                f"training.clip must be positive or none, got {self.clip}: it is the largest "
                "norm that a gradient may have."
            )

    def _refuse_words(self) -> None:
        if self.precision not in ("float32", "bfloat16"):
            raise ValueError(
                f"training.precision must be float32 or bfloat16, got {self.precision!r}: float16 "
                "would need its losses scaled, and bfloat16 is as fast without."
            )
        if self.device not in ("auto", "cpu"):
            raise ValueError(
                f"training.device must be auto or cpu, got {self.device!r}: auto takes a GPU if "
                "there is one; which of several, CUDA_VISIBLE_DEVICES says."
            )
        if self.monitor not in ("none", "descent"):
            raise ValueError(
                f"training.monitor must be none or descent, got {self.monitor!r}: descent also "
                "records how often a step raised the clean loss."
            )

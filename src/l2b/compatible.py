"""What does not go together, refused before a run begins."""

from torch import nn

from l2b import collectives
from l2b.augment import Identity
from l2b.catalog import name_of
from l2b.data import Data
from l2b.methods import Learner, Method
from l2b.notices import notice
from l2b.overlap import Ignored
from l2b.training import Training


def check_fit(method: Method, data: Data, training: Training) -> None:
    """Refuse masks or several labels, and losses of masks, where they cannot be learned from."""
    several = "several labels" if data.tags else "a mask"
    if data.train.labels.ndim > 1 and not method.takes_masks:
        raise ValueError(
            f"{name_of(method)} needs one label per sample, and this data has {several} for each: "
            f"choose {'l2b_tags' if data.tags else 'l2b'}, l2rw, fine_tune, pooled, clean_only or "
            "cross_entropy."
        )
    if data.tags and not isinstance(training.overlap, Ignored):
        raise ValueError(
            f"training.overlap {name_of(training.overlap)} is of masks, and this data has several "
            "labels for each sample: leave it out."
        )
    if data.masks and method.remembers and not isinstance(training.augment, Identity):
        raise ValueError(
            f"{name_of(method)} remembers what was predicted of every pixel, and "
            f"training.augment {name_of(training.augment)} moves pixels: set --augment identity, "
            "or choose what remembers nothing (another method, or --pseudo moving_average)."
        )
    if training.extra_clean_step and method.asks_clean:
        notice(
            f"{name_of(method)} asks the clean samples {method.asks_clean}, and "
            "training.extra_clean_step trains on them, so that every epoch seems better than the "
            "last. Leave that step out."
        )
    if not isinstance(training.overlap, Ignored) and not method.takes_overlap:
        raise ValueError(
            f"{name_of(method)} has no place for training.overlap in its loss, got "
            f"{name_of(training.overlap)}: leave it out, or choose another method."
        )


def check_learner(learner: Learner, training: Training) -> None:
    """Refuse several processes, or batches in pieces, for learners that are not known to take them.

    Raises:
        ValueError: saying which.
    """
    if collectives.ranks() > 1 and not learner.shared:
        raise ValueError(
            f"{type(learner).__name__} is not known to give on several processes what it "
            "gives on one: run it on one process. A learner of your own that does says shared = "
            "True."
        )
    pieces, share = training.accumulate, training.batch // collectives.ranks()
    if pieces > share:
        raise ValueError(
            f"training.accumulate must be at most {share}, the samples of a batch in one "
            f"process, got {pieces}: every piece needs one."
        )
    if pieces > 1 and not learner.in_pieces:
        raise ValueError(
            f"{type(learner).__name__} needs every batch as a whole: set "
            "training.accumulate to 1, with a smaller training.batch if memory is short."
        )


def refuse_synchronised_norms(module: nn.Module) -> None:
    """Refuse layers whose passes wait for other processes, which tangents cannot follow."""
    if collectives.ranks() == 1:
        return
    for name, layer in module.named_modules():
        if isinstance(layer, nn.SyncBatchNorm):
            raise ValueError(
                f"Several processes cannot share the batch statistics of {name!r} "
                "(nn.SyncBatchNorm): it runs on GPUs alone and has no forward-mode derivative. "
                "Use nn.GroupNorm, which gives the same on any number of processes, or "
                "nn.BatchNorm2d, which takes each share's statistics."
            )

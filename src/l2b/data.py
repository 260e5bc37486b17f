"""From a data set to what training sees: index, corrupt once, split."""

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from l2b.cases import case_dice, mean_score
from l2b.class_weights import ClassWeights, check_class_weights
from l2b.clean_split import clean_split, reserve
from l2b.datasets import Source, Split
from l2b.datasets.base import pieces
from l2b.features import Encoding
from l2b.fingerprint import data_hash
from l2b.long_tail import thinned
from l2b.noise.base import ClassConditional, MaskNoise, Noise
from l2b.notices import notice
from l2b.on_disk import RowsOnDisk
from l2b.scoring import Scoring
from l2b.streams import stream
from l2b.targets import VOID, labelled
from l2b.types import Cases

MOST_CLASSES = 2**15 - 1  # the ledger keeps a pseudo-label in 16 bits


@dataclass(frozen=True, kw_only=True)
class Pool:
    """Samples that belong together, on one device (or in a file), in raw units.

    Attributes:
        inputs: one row per sample; they may lie in a file, see `RowsOnDisk`.
        labels: what training may see, [N, *pixels], int64; of masks, void pixels are −1, and so
            are unknown ones of several yes-or-no labels, [N, tags].
        index: positions in the data set's own training split (or test split), [N].
        true: true labels, likewise, or None where nobody knows them; void at the same pixels.
        cases: of masks, which images are slices of which volume; None for labels.
    """

    inputs: Tensor
    labels: Tensor
    index: Tensor
    true: Tensor | None
    cases: Cases | None = None

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.labels)

    def labelled(self) -> Tensor:
        """Which samples have a label (of masks: any pixel; of tags: any), [N] bool, on the CPU."""
        return labelled(self.labels).cpu()

    def judged(self, right: Tensor) -> float:
        """Share of the labels (of masks, of the labelled pixels; of tags, of the known ones) so.

        Args:
            right: whether it is, shaped like the labels.
        """
        return right[self.labels != VOID].float().mean().item()

    def slices(self) -> "Pool":
        """Masks in three dimensions as those of the slices they are made of; others as they are.

        A slice has the index of its slab. What a volume's last slab is filled up with is left out.
        """
        if self.cases is None or self.cases.lengths is None:
            return self
        cases, depth = self.cases, self.labels.shape[1]
        there = cases.there(depth).flatten()
        every = cases._replace(of=cases.of.repeat_interleave(depth), lengths=None)
        return Pool(
            inputs=cases.real(self.inputs),
            labels=cases.real(self.labels),
            index=self.index.repeat_interleave(depth)[there],
            true=None if self.true is None else cases.real(self.true),
            cases=every.take(there.nonzero().squeeze(1)),
        )

    def to(self, device: torch.device) -> "Pool":
        """The same samples on another device."""
        return Pool(
            inputs=_placed(self.inputs, device),
            labels=self.labels.to(device),
            index=self.index.to(device),
            true=None if self.true is None else self.true.to(device),
            cases=None if self.cases is None else self.cases.to(device),
        )


@dataclass(frozen=True, kw_only=True)
class Data:
    """Everything one run learns from and is judged by.

    Attributes:
        train: noisy samples; holds none of the clean ones, but those of which single answers
            were checked, which are −1 there, as the others are among the clean ones.
        clean: trusted samples for the method.
        validation: trusted samples kept aside to choose an epoch by; None if too few.
        test: held-out samples with true labels; None if there are none.
        classes: names of the classes.
        mean: subtracted from raw inputs.
        std: then divided by.
        noise_rate: share of wrong labels (or pixels) in ``train`` as realised; None if unknown.
        noise_dice: Dice of the observed against the true masks of ``train``, mean over classes
            and volumes; None if unknown, or for labels.
        noise_hash: SHA-256 of the drawn labels of the whole training split.
        data_hash: SHA-256 of the data set as it was read, see `fingerprint`; empty if unknown.
        encoding: what rows of a table become, where the samples are such.
        remark: what a reader must know of these bytes.
        class_weights: how much classes count, in training and where an epoch is chosen.
        stand_ins: how many of the clean samples nobody checked; they are among ``train`` too.
        values: of masks that are pictures, what stands for each class in their files.
        tags: of several yes-or-no labels per sample, the name of each; else empty.
        scoring: what an epoch is chosen and runs are compared by.
    """

    train: Pool
    clean: Pool
    validation: Pool | None
    test: Pool | None
    classes: tuple[str, ...]
    mean: Tensor
    std: Tensor
    noise_rate: float | None
    noise_hash: str
    data_hash: str = ""
    noise_dice: float | None = None
    encoding: Encoding | None = None
    remark: str = ""
    class_weights: ClassWeights = "none"
    stand_ins: int = 0
    values: tuple[int, ...] = ()
    tags: tuple[str, ...] = ()
    scoring: Scoring = "auto"

    @property
    def masks(self) -> bool:
        """Whether every sample has a mask."""
        return self.train.labels.ndim > 1 and not self.tags

    @property
    def answers(self) -> int:
        """Entries of the ledger per sample: one, or one for each of several yes-or-no labels."""
        return max(1, len(self.tags))

    def to(self, device: torch.device) -> "Data":
        """The same data on another device."""
        moved = {
            name: pool.to(device)
            for name in ("train", "clean", "validation", "test")
            if (pool := getattr(self, name)) is not None
        }
        scale = {"mean": self.mean.to(device), "std": self.std.to(device)}
        return Data(**{**self.__dict__, **moved, **scale})

    def standardise(self, inputs: Tensor) -> Tensor:
        """Raw inputs as float32 with about zero mean and unit variance, on the run's device."""
        return (inputs.to(self.mean.device).float() - self.mean) / self.std


def prepare(
    source: Source,
    noise: Noise,
    *,
    clean: int,
    validation: float,
    seed: int,
    imbalance: float = 1.0,
    class_weights: ClassWeights = "none",
    scoring: Scoring = "auto",
) -> Data:
    """Thin out the tail, corrupt once, then set the trusted samples aside.

    The noise is drawn over the whole training split, in its own order, from its own
    stream, so neither the tail, the clean set nor the loader has a part in it. Where the data
    marks the samples that were checked, those that are not drawn have no part at all: in the
    noisy set their right labels would make the noise less than it is.

    Args:
        source: a loaded data set.
        noise: the noise model.
        clean: number of trusted samples, drawn stratified and removed from training; of masks,
            the number of trusted patients, with all of their images.
        validation: share of them kept aside to choose an epoch by, in [0, 1), of each class
            and rounded down.
        seed: of the run.
        imbalance: how many times as many samples the first class has as the last; see
            `long_tail`. The test split stays as it is.
        class_weights: how much classes count; not for masks.
        scoring: what an epoch is chosen and runs are compared by.

    Raises:
        ValueError: if labels are out of range or of one class, there are more than 32,767
            classes, inputs are not finite as float32, or the clean set cannot hold every class.
    """
    _check_source(source)
    if class_weights != "none" and source.train.labels.ndim > 1:
        raise ValueError(
            "class_weight needs one label per sample to draw classes by, and this data has "
            f"{_kind(source)} for each: leave it at none."
        )
    check_class_weights(class_weights, len(source.classes))
    if noise.needs_truth and not source.truth_known:
        raise ValueError(
            f"{type(noise).__name__} noise needs true labels to corrupt, and this data's labels "
            "are as observed, wrong ones included: choose --noise none."
        )
    if source.train.cases is not None and isinstance(noise, ClassConditional):
        notice(
            f"{type(noise).__name__} noise changes every pixel of a mask by itself, which no "
            "annotator does: choose --noise mask, or --noise none for masks as they are."
        )
    classes = len(source.classes)
    as_read = data_hash(source)
    observed, source = _observed(source, noise, seed)
    kept = thinned(source, imbalance, seed)
    chosen, for_validation = clean_split(
        source, kept, clean=clean, validation=validation, seed=seed
    )
    kept[chosen] = kept[for_validation] = False
    unused = reserve(source)
    unused = unused[kept[unused]]
    kept[unused] = False
    kept[source.checked_in_part()] = True  # whose other answers are as doubtful as any
    rows = kept.nonzero().squeeze(1)
    train = _pool(source.train, rows, source.doubtful(observed), source)
    _tell_void(train, source)
    wrong = None if train.true is None else train.judged(train.labels != train.true)
    return Data(
        train=train,
        clean=_pool(source.train, chosen, source.shown(), source),
        validation=_pool(source.train, for_validation, source.shown(), source)
        if len(for_validation)
        else None,
        test=None
        if source.test is None
        else _pool(source.test, torch.arange(len(source.test.labels)), None, source),
        classes=source.classes,
        mean=source.mean,
        std=source.std,
        noise_rate=wrong,
        noise_hash=hashlib.sha256(observed.contiguous().numpy().data).hexdigest(),
        data_hash=as_read,
        noise_dice=_mask_agreement(train, classes),
        encoding=source.encoding,
        remark=" ".join(filter(None, (source.remark, _unused(len(unused), source)))),
        class_weights=class_weights,
        values=source.values,
        tags=source.tags,
        scoring=scoring,
    )


def _observed(source: Source, noise: Noise, seed: int) -> tuple[Tensor, Source]:
    """Labels as noise makes them, and the data set; of masks, what either calls void is so in both.

    Of several labels a sample, an answer that nobody gave to a noisy one may be known of a checked
    one.
    """
    given, classes = source.train.labels, len(source.classes)
    several = given.ndim > 1
    observed = noise.corrupt(
        given.clamp_min(0) if several and not isinstance(noise, MaskNoise) else given,
        inputs=source.train.inputs,
        classes=classes,
        annotations=source.annotations,
        generator=stream(seed, "noise"),
    )
    _check_labels(observed, classes, "observed training labels")
    if not several:
        return observed, source
    if source.tags:
        return observed.masked_fill(given == VOID, VOID), source
    void = (given == VOID) | (observed == VOID)
    train = source.train._replace(labels=given.masked_fill(void, VOID))
    return observed.masked_fill(void, VOID), replace(source, train=train)


def _tell_void(train: Pool, source: Source) -> None:
    """Say how many samples have nothing to learn from."""
    void = int((~train.labelled()).sum())
    if void and source.tags:
        notice(f"{void} of {len(train)} samples to learn from have no label, and are left out.")
    elif void:
        notice(
            f"{void} of {len(train)} images to learn from have no labelled pixel, and are left out "
            "of training: l2b predict draws masks for them afterwards."
        )


def _kind(source: Source) -> str:
    """What every sample has instead of one label."""
    return "several labels" if source.tags else "a mask"


def _unused(count: int, source: Source) -> str:
    """What a reader must know of checked samples that were not drawn."""
    if not count:
        return ""
    kind = "samples" if source.train.cases is None else "images"
    return f"{count} checked {kind} have no part: a larger clean set would take them."


def _placed(inputs: Tensor, device: torch.device) -> Tensor:
    """Samples on a device; those in a file stay there, and are moved batch by batch."""
    return inputs if isinstance(inputs, RowsOnDisk) else inputs.to(device)


def _pool(split: Split, rows: Tensor, observed: Tensor | None, source: Source) -> Pool:
    labels = split.labels if observed is None else observed
    known = source.truth_known or split is not source.train
    return Pool(
        inputs=split.inputs[rows],
        labels=labels[rows],
        index=rows,
        true=split.labels[rows] if known else None,
        cases=None if split.cases is None else split.cases.take(rows),
    )


def _mask_agreement(train: Pool, classes: int) -> float | None:
    if train.cases is None or train.true is None:
        return None
    return mean_score(case_dice(train.labels, train.true, train.cases, classes))


def _check_source(source: Source) -> None:
    classes = len(source.classes)
    if classes > MOST_CLASSES:
        raise ValueError(
            f"The data must have at most {MOST_CLASSES:,} classes, got {classes:,}: the record of "
            "every sample has no room for more. Merge classes, or leave rare ones out."
        )
    for name, split in (("training", source.train), ("test", source.test)):
        if split is None:
            continue
        if len(split.inputs) != len(split.labels):
            raise ValueError(
                f"The {name} split has {len(split.inputs)} inputs but {len(split.labels)} "
                "labels: every sample needs exactly one."
            )
        _check_labels(split.labels, classes, f"{name} labels")
        if source.tags and split.labels.shape[1:] != (len(source.tags),):
            raise ValueError(
                f"The {name} labels must be [N, {len(source.tags)}], one for each of "
                f"{', '.join(source.tags)}, got the shape {tuple(split.labels.shape)}."
            )
        several = split.labels.ndim > 1 and not source.tags
        if several and split.labels.shape[1:] != split.inputs.shape[2:]:
            raise ValueError(
                f"The {name} masks are {tuple(split.labels.shape[1:])} pixels large, their images "
                f"{tuple(split.inputs.shape[2:])}: every pixel needs one label."
            )
        bad = _first_not_finite(split.inputs)
        if bad is not None:
            sample, place, value = bad
            raise ValueError(
                f"The {name} inputs hold NaN or infinite values, first in sample {sample}, column "
                f"{place}, which is {value:g}, and they are read as float32 (up to 3.4e38): fill "
                "or drop them before training."
            )
    if int((source.train.labels.unique() != VOID).sum()) < 2:
        raise ValueError("The training labels hold a single class: there is nothing to tell apart.")


def _first_not_finite(inputs: Tensor) -> tuple[int, int | tuple[int, ...], float] | None:
    """Where the first value lies that is NaN or infinite as float32, and the value, if any."""
    if not inputs.is_floating_point():
        return None
    first = 0
    for piece in pieces(inputs):
        finite = piece.float().isfinite()
        if not bool(finite.all()):
            row, *column = (~finite).nonzero()[0].tolist()
            place = column[0] if len(column) == 1 else tuple(column)
            return first + row, place, float(piece[row][tuple(column)])
        first += len(piece)
    return None


def _check_labels(labels: Tensor, classes: int, name: str) -> None:
    if labels.dtype != torch.int64:
        raise ValueError(
            f"The {name} must be int64 class indices, got {labels.dtype}: call .long()."
        )
    if len(labels) == 0:
        raise ValueError(f"The {name} must not be empty, got none: there is nothing to learn from.")
    least = VOID if labels.ndim > 1 else 0
    low, high = int(labels.min()), int(labels.max())
    if low < least or high >= classes:
        raise ValueError(
            f"The {name} must lie in [0, {classes}) for {classes} classes, got "
            f"{low if low < least else high}: renumber them, or leave those samples out."
        )
    if high == VOID:
        raise ValueError(f"The {name} are void everywhere: nothing is left to learn or judge.")

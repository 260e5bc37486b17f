"""Which samples are set aside as trusted: some of each class, or of masks whole patients."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from l2b.datasets import Source
from l2b.streams import stream
from l2b.targets import VOID, labelled


def clean_split(
    source: Source, kept: Tensor, *, clean: int, validation: float, seed: int
) -> tuple[Tensor, Tensor]:
    """Draw the clean set, and the part of it that is kept aside to choose an epoch by.

    Args:
        source: a loaded data set.
        kept: which training samples there are, [N] bool; of masks, all are.
        clean: number of trusted samples, drawn stratified; of masks, of patients.
        validation: share of them to keep aside, in [0, 1); of each class (of masks, of the
            patients) and rounded down, so that few clean samples may leave none.
        seed: of the run.

    Returns:
        Positions in the training split of the clean set and of what is kept aside, sorted.

    Raises:
        ValueError: if nothing can be trusted, or a class or patient would be missing.
    """
    _check_trust(source, validation)
    generator = stream(seed, "clean")
    if source.tags:
        return _tagged(source, kept, clean, validation, generator)
    if source.train.labels.ndim > 1:
        return _patients(source, clean, validation, generator)
    return _samples(source, kept, clean, validation, generator)


def clean_bounds(source: Source, kept: Tensor | None = None) -> tuple[int, int]:
    """The least and the largest number of clean samples (of masks, of patients) to be had.

    Args:
        source: a loaded data set.
        kept: which training samples there are, [N] bool; None takes all.
    """
    if source.train.cases is None:
        candidates = _candidates(source)
        count = len(candidates) if kept is None else int(kept[candidates].sum())
        return len(source.classes), count  # of tags both answers, of classes all
    owner = source.train.cases.patient[source.train.cases.of]
    return 1, min(len(_whole(source, owner)), len(owner.unique()) - 1)


def most_clean(source: Source, kept: Tensor, batch: int) -> int:
    """The largest number of clean samples (of masks, patients) that leaves a batch of noisy ones.

    Checked samples that are not drawn are no noisy ones. Of masks, it holds whoever is drawn. Below
    1 if there is none.

    Args:
        source: a loaded data set.
        kept: which training samples there are, [N] bool.
        batch: noisy samples that must be left.
    """
    room = int(kept.sum()) - batch
    if int(kept[reserve(source)].sum()) > room:
        return 0
    most = min(clean_bounds(source, kept)[1], room)
    if source.train.cases is None:
        return most
    owner = source.train.cases.patient[source.train.cases.of]
    images = owner.bincount()[_whole(source, owner)].sort(descending=True).values
    return min(most, int((images.cumsum(0) <= room).sum()))


def reserve(source: Source) -> Tensor:
    """Positions of the samples that the clean set is drawn from, where these are marked.

    Their labels were checked, so that they are no noisy samples, drawn or not. Where all labels are
    the truth, before noise, or images of a patient are checked in part, there is no reserve.
    """
    if source.trusted is None:
        return torch.zeros(0, dtype=torch.int64)
    if source.train.cases is None:
        return source.trusted
    owner = source.train.cases.patient[source.train.cases.of]
    return torch.isin(owner, _whole(source, owner)).nonzero().squeeze(1)


def _samples(
    source: Source, kept: Tensor, clean: int, validation: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples of every class, in proportion."""
    classes = len(source.classes)
    candidates = _candidates(source)
    candidates = candidates[kept[candidates]]
    labels = source.train.labels[candidates]
    counts = torch.bincount(labels, minlength=classes)
    given = torch.bincount(source.train.labels, minlength=classes)
    absent = [
        f"{source.classes[c]!r} ({given[c]} {'label' if given[c] == 1 else 'labels'})"
        for c in (counts == 0).nonzero().flatten().tolist()
    ]
    if absent:
        raise ValueError(
            f"The clean set has no sample of {', '.join(absent[:5])}"
            f"{' and others' if len(absent) > 5 else ''}: what is never shown as trusted "
            "cannot be told from noise. Check at least one sample of every class, or correct "
            "labels that are none."
        )
    least, most = clean_bounds(source, kept)
    if not least <= clean <= most:
        raise ValueError(
            f"clean must lie in [{least}, {most}] (one trusted sample for each of "
            f"{classes} classes, at most as many as have true labels), got {clean}."
        )
    chosen, kept_aside = [], []
    for c, wanted in enumerate(_quota(counts, clean)):
        rows = candidates[labels == c]
        rows = rows[torch.randperm(len(rows), generator=generator)][:wanted]
        aside = int(validation * wanted + 1e-9)
        chosen.append(rows[aside:])
        kept_aside.append(rows[:aside])
    return torch.cat(chosen).sort().values, torch.cat(kept_aside).sort().values


def _patients(
    source: Source, clean: int, validation: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """All images of whole patients."""
    cases = source.train.cases
    if cases is None:
        raise ValueError(
            "Masks need to be told which images belong to one patient (Split.cases): slices of "
            "one volume on both sides of a split would make every result too good."
        )
    owner = cases.patient[cases.of]
    patients = _whole(source, owner)
    if not len(patients):
        raise ValueError(
            f"Of masks whole patients are trusted, and none has all of its images checked, got "
            f"{len(_candidates(source))} checked images of {len(owner.unique())} patients: check "
            "the other images of some."
        )
    least, most = clean_bounds(source)
    if not least <= clean <= most:
        raise ValueError(
            f"clean must lie in [{least}, {most}] for this data, got {clean}: of masks it is a "
            "number of patients, whose images are all trusted, and at least one must be left to "
            "train on."
        )
    order = patients[torch.randperm(len(patients), generator=generator)]
    aside = int(validation * clean + 1e-9)
    drawn = _showing_all(
        lambda places: _shown(source, owner, order[places]),
        len(order),
        aside,
        clean,
        named=[repr(name) for name in source.classes],
        whose="patient whose masks are all checked",
        those="patients",
    )
    chosen, kept_aside = (
        torch.isin(owner, order[part]).nonzero().squeeze(1)
        for part in (drawn[aside:], drawn[:aside])
    )
    return chosen, kept_aside


def _tagged(
    source: Source, kept: Tensor, clean: int, validation: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Samples that show both answers of every tag."""
    candidates = _candidates(source)
    labels = source.shown()
    candidates = candidates[(kept & labelled(labels))[candidates]]
    least, most = 2, len(candidates)
    if not least <= clean <= most:
        raise ValueError(
            f"clean must lie in [{least}, {most}], of which {most} have checked labels, got "
            f"{clean}."
        )
    order = candidates[torch.randperm(most, generator=generator)]
    answers = labels[order]
    shown = torch.cat([answers == 0, answers == 1], dim=1)
    aside = int(validation * clean + 1e-9)
    drawn = _showing_all(
        lambda places: shown[places],
        most,
        aside,
        clean,
        named=[f"{tag}: {answer}" for answer in source.classes for tag in source.tags],
        whose="checked sample",
        those="samples",
    )
    return order[drawn[aside:]].sort().values, order[drawn[:aside]].sort().values


def _showing_all(
    shown: Callable[[Tensor], Tensor],
    count: int,
    aside: int,
    clean: int,
    *,
    named: Sequence[str],
    whose: str,
    those: str,
) -> Tensor:
    """The first ``clean`` in an order, of whom those after ``aside`` show everything.

    Where they do not as they come, the first ones that show what is missing come before others.

    Args:
        shown: which of all things those at some places show, [places, things] bool.
        count: how many there are, in random order.
        aside: how many of them choose an epoch.
        clean: how many are drawn.
        named: the things.
        whose: what is drawn, for messages.
        those: likewise, several of them.

    Raises:
        ValueError: if none shows one of the things, or too few are drawn to show all.
    """
    every = torch.arange(count)
    if shown(every[aside:clean]).any(dim=0).all():
        return every[:clean]
    found = shown(every)
    absent = (~found.any(dim=0)).nonzero().flatten().tolist()
    if absent:
        raise ValueError(
            f"No {whose} shows {named[absent[0]]}: what is never shown as trusted cannot be told "
            "from noise. Check one that does."
        )
    needed: list[int] = []
    for k in found.sum(dim=0).argsort(stable=True).tolist():  # what few show comes first
        if not found[needed, k].any():
            needed.append(int(found[:, k].nonzero()[0]))
    if len(needed) > clean - aside:
        missing = (~found[needed[: clean - aside]].any(dim=0)).nonzero()
        raise ValueError(
            f"The {clean - aside} {those} of the clean set show no {named[int(missing[0])]}: what "
            "is never shown as trusted cannot be told from noise. Raise clean."
        )
    first = set(needed)
    rest = [k for k in range(count) if k not in first]
    kept_aside, learned = rest[:aside], [*needed, *rest[aside:]][: clean - aside]
    return torch.tensor(kept_aside + learned)


def _shown(source: Source, owner: Tensor, patients: Tensor) -> Tensor:
    """Which classes the masks of patients show, [patients, classes] bool."""
    shown = torch.zeros(len(patients), len(source.classes), dtype=torch.bool)
    for row, patient in enumerate(patients.tolist()):
        found = source.train.labels[owner == patient].unique()
        shown[row, found[found != VOID]] = True
    return shown


def _whole(source: Source, owner: Tensor) -> Tensor:
    """Patients of whom every image is checked, and any pixel is labelled.

    Args:
        source: a loaded data set of masks.
        owner: the patient of each image, [N].
    """
    checked = torch.isin(owner, owner[_outside(source)], invert=True)
    return owner[checked & labelled(source.train.labels)].unique()


def _outside(source: Source) -> Tensor:
    """Positions of the training samples that nobody checked."""
    checked = torch.zeros(len(source.train.labels), dtype=torch.bool)
    checked[_candidates(source)] = True
    return (~checked).nonzero().squeeze(1)


def _candidates(source: Source) -> Tensor:
    """Positions of the training samples whose labels can be trusted."""
    return torch.arange(len(source.train.labels)) if source.trusted is None else source.trusted


def _check_trust(source: Source, validation: float) -> None:
    if not 0 <= validation < 1:
        raise ValueError(
            f"validation must lie in [0, 1), got {validation}: it is the share of the clean "
            "samples that is kept aside to choose an epoch by; 0 keeps none."
        )
    if source.trusted is None and not source.truth_known:
        raise ValueError(
            "This data has no clean set: its labels are not known to be true and no sample is "
            "marked as checked. Check a few hundred labels and mark them (see the data set's "
            "documentation)."
        )


def _quota(counts: Tensor, total: int) -> list[int]:
    """Samples per class: proportional, at least one, with the given sum."""
    share = counts.double() * (total / counts.sum().item())
    quota = share.floor().clamp_min(1).long()
    order = (share - share.floor()).argsort(descending=True, stable=True).tolist()
    position = 0
    while quota.sum() < total:
        c = order[position % len(order)]
        quota[c] += int(quota[c] < counts[c])
        position += 1
    while quota.sum() > total:
        quota[quota.argmax()] -= 1
    return quota.tolist()

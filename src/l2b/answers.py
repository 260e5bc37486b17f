"""Decisions about answers: each of several yes-or-no labels of a sample, by name."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from l2b.catalog import unknown
from l2b.decisions import NO, YES, read_decisions
from l2b.targets import VOID


class Answer(NamedTuple):
    """Where an answer stands, and what it is.

    Attributes:
        row: of the sample, in the user's file or in the data set.
        tag: number of the label.
        given: 0 for no, 1 for yes, −1 where nobody knows.
    """

    row: int
    tag: int
    given: int


def answer_name(sample: str, tag: str) -> str:
    """What the audit calls one of several labels of a sample."""
    return f"{sample}/{tag}"


def answers_of(tag: str, words: Sequence[str]) -> list[str]:
    """What the audit calls the answers no and yes of one of several labels."""
    return [f"{tag}: {word}" for word in words]


def answers_by_name(
    names: Iterable[str], rows: Iterable[int], tags: Sequence[str], given: Iterable[Sequence[int]]
) -> dict[str, Answer]:
    """Where answers stand, by what the audit calls them.

    Args:
        names: what the samples are called.
        rows: where they are.
        tags: names of the labels.
        given: the labels of each sample: 0, 1 or −1.
    """
    return {
        answer_name(name, tag): Answer(row, number, labels[number])
        for name, row, labels in zip(names, rows, given, strict=True)
        for number, tag in enumerate(tags)
    }


def decided_answers(
    path: Path,
    known: Mapping[str, Answer],
    tags: Sequence[str],
    words: Sequence[str],
    *,
    owner: str,
    applied: bool = False,
) -> dict[Answer, int]:
    """What a person decided about answers: 0 for no, 1 for yes.

    Args:
        path: the export of ``audit.html``, or a filled-in ``next.csv``, in which yes and no will
            do.
        known: the answers that may be decided, by what the audit calls them.
        tags: names of the labels.
        words: what no and yes are called.
        owner: what has these answers, for messages.
        applied: whether a file into which the decisions went already fits too.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if a decision does not fit these answers.
    """
    chosen: dict[Answer, int] = {}
    for decision in read_decisions(path):
        found = known.get(decision.id)
        if found is None:
            raise ValueError(
                f"{path} decides {decision.key!r}, which {owner} does not have: of several labels "
                "a sample, id tells both, such as 17/<label>. Are the decisions of another run?"
            )
        classes = answers_of(tags[found.tag], words)
        word = decision.label.lower()
        short = word in YES or word in NO  # as a person fills in who is asked for one answer
        label = classes[word in YES] if short else decision.label
        if label not in classes:
            raise ValueError(f"In {path}: {unknown('label', decision.label, classes)}")
        given = classes[found.given] if found.given != VOID else ""
        fitting = {decision.observed, label} if applied else {decision.observed}
        if decision.observed and given and given not in fitting:
            raise ValueError(
                f"{path} saw {decision.id!r} labelled {decision.observed!r}, but it is labelled "
                f"{given!r}: are the decisions of another run?"
            )
        chosen[found] = classes.index(label)
    return chosen

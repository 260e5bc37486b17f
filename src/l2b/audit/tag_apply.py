"""Several yes-or-no labels a sample: decisions, or suggestions → corrected labels."""

from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

from l2b.audit.corrected import Corrected, write_corrected
from l2b.audit.subject import Subject
from l2b.audit.tags import answer_name, answers_of
from l2b.catalog import unknown
from l2b.datasets.tags import Tags
from l2b.decisions import NO, YES, read_decisions
from l2b.tables import defused, told_apart, write_csv
from l2b.targets import VOID


class Answer(NamedTuple):
    """Where an answer stands, and what it is.

    Attributes:
        row: of the sample, in the user's file or in the data set.
        tag: number of the label.
        given: 0 for no, 1 for yes.
    """

    row: int
    tag: int
    given: int


def accept_tag_suggestions(subject: Subject, target: Path) -> Corrected:
    """Write the answers as the audit would have them, unseen by a person.

    Suspects get the other answer, of which there is only one: it is more likely right than not.

    Args:
        subject: an audited run on several labels a sample.
        target: the file to write.
    """
    table, answers = subject.table(), _answers(subject)
    rows = table.suspect.nonzero()[0]
    chosen = {answers[table.ids[row]]: int(table.suggested[row]) % 2 for row in rows}
    _write(subject, target, chosen)
    return Corrected(path=target, changed=len(chosen))


def apply_tag_decisions(subject: Subject, decisions: Path, target: Path) -> Corrected:
    """Write the answers, corrected by what a person decided.

    Args:
        subject: an audited run on several labels a sample.
        decisions: the export of ``audit.html``, or a filled-in ``next.csv``, in which yes and no
            will do.
        target: the file to write.

    Raises:
        ValueError: if a decision does not fit the answers that were audited.
    """
    answers, chosen = _answers(subject), dict[Answer, int]()
    for decision in read_decisions(decisions):
        found = answers.get(decision.id)
        if found is None:
            raise ValueError(
                f"{decisions} decides {decision.key!r}, which {subject.path} did not audit: of "
                "several labels a sample, id tells both, such as 17/<label>. Are the decisions of "
                "another run?"
            )
        classes = answers_of(subject.tags[found.tag], subject.ledger["classes"])
        word = decision.label.lower()
        short = word in YES or word in NO  # as a person fills in who is asked for one answer
        label = classes[word in YES] if short else decision.label
        if label not in classes:
            raise ValueError(f"In {decisions}: {unknown('label', decision.label, classes)}")
        if decision.observed and decision.observed != classes[found.given]:
            raise ValueError(
                f"{decisions} saw {decision.id!r} labelled {decision.observed!r}, but it is "
                f"labelled {classes[found.given]!r}: are the decisions of another run?"
            )
        chosen[found] = classes.index(label)
    _write(subject, target, chosen)
    changed = sum(answer != found.given for found, answer in chosen.items())
    return Corrected(path=target, changed=changed, confirmed=len(chosen) - changed)


def _answers(subject: Subject) -> dict[str, Answer]:
    """The audited answers by what the audit calls them."""
    index, observed = subject.index.tolist(), subject.ledger["observed"].tolist()
    rows = index if subject.labels is None else subject.labels.rows[subject.index].tolist()
    names = [subject.ids[k] for k in index] if subject.ids else list(map(str, rows))
    return {
        answer_name(name, tag): Answer(row, number, given[number])
        for name, row, given in zip(names, rows, observed, strict=True)
        for number, tag in enumerate(subject.tags)
        if given[number] != VOID
    }


def _write(subject: Subject, target: Path, chosen: dict[Answer, int]) -> None:
    own = subject.own
    if isinstance(own, Tags):
        words, changes = own.spelled(), defaultdict[str, dict[int, str]](dict)
        for (row, tag, given), answer in chosen.items():
            if answer != given:
                changes[subject.tags[tag]][row] = words[subject.tags[tag]][answer]
        write_corrected(Path(own.path), target, changes)
        return
    fixed = {(answer.row, answer.tag): value for answer, value in chosen.items()}
    tags = range(len(subject.tags))
    every = zip(subject.index.tolist(), subject.ledger["observed"].tolist(), strict=True)
    rows = (
        (index, *("" if v == VOID else v for v in (fixed.get((index, k), given[k]) for k in tags)))
        for index, given in every
    )
    write_csv(target, told_apart(["index", *map(defused, subject.tags)]), rows)

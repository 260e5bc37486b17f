"""Several yes-or-no labels a sample: decisions, or suggestions → corrected labels."""

from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np

from l2b.answers import Answer, answers_by_name, decided_answers
from l2b.audit.corrected import Corrected, write_corrected
from l2b.audit.subject import Subject
from l2b.datasets.tags import TagLabels, Tags
from l2b.tables import defused, told_apart, write_csv
from l2b.targets import VOID


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
    return _write(subject, target, chosen)


def apply_tag_decisions(subject: Subject, decisions: Path, target: Path) -> Corrected:
    """Write the answers, corrected by what a person decided.

    Args:
        subject: an audited run on several labels a sample.
        decisions: the export of ``audit.html``, or a filled-in ``next.csv``, in which yes and no
            will do.
        target: the file to write.

    Raises:
        ValueError: if a decision does not fit the answers as they are given.
    """
    chosen = decided_answers(
        decisions,
        _answers(subject),
        subject.tags,
        subject.ledger["classes"],
        owner=f"the audit of {subject.path}",
    )
    found = _write(subject, target, chosen)
    confirmed = sum(answer == place.given for place, answer in chosen.items())
    return replace(found, confirmed=confirmed)


def _answers(subject: Subject) -> dict[str, Answer]:
    """The answers that can be decided: of an own table all, of other data those audited."""
    labels = subject.labels
    if isinstance(labels, TagLabels):
        rows, known = labels.rows.tolist(), {}
        by_row = [] if isinstance(subject.own, Tags) and subject.own.id else map(str, rows)
        for names in (by_row, labels.ids):  # images went by row once
            if names:
                every = answers_by_name(names, rows, subject.tags, labels.observed.tolist())
                known |= every
        return known
    index = subject.index.tolist()
    names = [subject.ids[k] for k in index] if subject.ids else map(str, index)
    every = answers_by_name(names, index, subject.tags, subject.ledger["observed"].tolist())
    return {name: answer for name, answer in every.items() if answer.given != VOID}


def _checked(subject: Subject) -> dict[Answer, int]:
    """The answers that were checked before the audit, and were given wrong."""
    labels = subject.labels
    if not isinstance(labels, TagLabels):
        return {}
    given, right = labels.observed, labels.checked
    return {
        Answer(int(labels.rows[k]), int(tag), int(given[k, tag])): int(right[k, tag])
        for k, tag in np.argwhere((right != VOID) & (right != given))
    }


def _write(subject: Subject, target: Path, chosen: dict[Answer, int]) -> Corrected:
    """Write all answers: corrected where they were checked before, or are chosen now."""
    own, fixed = subject.own, _checked(subject) | chosen
    changed = {place: answer for place, answer in fixed.items() if answer != place.given}
    if isinstance(own, Tags):
        words, changes = own.spelled(), defaultdict[str, dict[int, str]](dict)
        for (row, tag, _), answer in changed.items():
            changes[subject.tags[tag]][row] = words[subject.tags[tag]][answer]
        write_corrected(Path(own.path), target, changes)
        return Corrected(path=target, changed=len(changed))
    cells = {(place.row, place.tag): answer for place, answer in changed.items()}
    tags = range(len(subject.tags))
    every = zip(subject.index.tolist(), subject.ledger["observed"].tolist(), strict=True)
    rows = (
        (index, *("" if v == VOID else v for v in (cells.get((index, k), given[k]) for k in tags)))
        for index, given in every
    )
    write_csv(target, told_apart(["index", *map(defused, subject.tags)]), rows)
    return Corrected(path=target, changed=len(changed))

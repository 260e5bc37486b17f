"""Decisions of a person, or the suggestions themselves → a corrected label file."""

from pathlib import Path

from l2b.audit.corrected import Corrected, write_corrected
from l2b.audit.run import FOLDER
from l2b.audit.subject import Subject, read_subject
from l2b.audit.tag_apply import accept_tag_suggestions, apply_tag_decisions
from l2b.catalog import unknown
from l2b.datasets.table import Table, TableLabels
from l2b.datasets.tags import Tags
from l2b.decisions import Decision, read_decisions
from l2b.tables import TableFile, write_csv

CONFIDENT = 0.5  # of a suggestion that is accepted unseen


def accept_suggestions(path: Path | str, out: Path | str | None = None) -> Corrected:
    """Write the labels of an audited run as the audit would have them, unseen by a person.

    Suspects get the suggested label where it is more likely right than not (confidence of 0.5
    and more), and are left out of the file where it is not.

    Args:
        path: the run's folder.
        out: the file to write; by default ``suggested.csv`` in the audit, or with the ending that
            the user's table has.

    Raises:
        FileNotFoundError: if the run or its table is missing.
        ValueError: if its files are damaged.
    """
    subject = _subject(Path(path))
    if subject.tags:
        return accept_tag_suggestions(subject, _target(subject, out, "suggested", []))
    table = subject.table()
    sure = table.confidence >= CONFIDENT
    changed = table.suspect & sure
    chosen = _checked(subject) | {
        int(k): table.classes[label]
        for k, label in zip(table.index[changed], table.suggested[changed], strict=True)
    }
    left_out = frozenset(table.index[table.suspect & ~sure].tolist())
    target = _target(subject, out, "suggested", [])
    _write(subject, target, chosen, left_out)
    by_position = subject.labels is not None and not subject.labels.ids
    return Corrected(
        path=target,
        changed=len(chosen),
        left_out=len(left_out),
        moved=bool(left_out) and by_position,
    )


def apply_decisions(
    path: Path | str, decisions: Path | str, out: Path | str | None = None
) -> Corrected:
    """Write the labels of an audited run, corrected by what a person decided.

    A run on a user's own table gives a copy of that table with other labels in it; any other
    run gives a CSV of index, path where samples are files, and label.

    Args:
        path: the run's folder.
        decisions: the export of ``audit.html``.
        out: the file to write; by default ``corrected.csv`` in the audit, or with the ending that
            the user's table has.

    Raises:
        FileNotFoundError: if the run, its table, or the decisions are missing.
        ValueError: if a decision does not fit the labels that were audited.
    """
    subject = _subject(Path(path))
    if subject.tags:
        target = _target(subject, out, "corrected", [Path(decisions)])
        return apply_tag_decisions(subject, Path(decisions), target)
    given = _labels(subject)
    decided = _fitting(subject, given, read_decisions(Path(decisions)), Path(decisions))
    chosen = _checked(subject) | decided
    target = _target(subject, out, "corrected", [Path(decisions)])
    _write(subject, target, chosen)
    changed = sum(given[key] != label for key, label in chosen.items())
    return Corrected(path=target, changed=changed, confirmed=len(chosen) - changed)


def _subject(path: Path) -> Subject:
    """The audited run, with the user's own table if it learned from one."""
    subject = read_subject(path)
    if subject.on_own_table and subject.own is None:
        raise FileNotFoundError(subject.problem)
    return subject


def _target(subject: Subject, out: Path | str | None, name: str, read: list[Path]) -> Path:
    """Where to write, in a folder that is there, and not over what is read."""
    table = TableFile(Path(subject.own.path if subject.own else "labels.csv"))
    usual = ".parquet" if table.is_parquet else ".csv"
    suffix = table.path.suffix.lower() or usual
    target = Path(out or subject.path / FOLDER / f"{name}{suffix}")
    if target.is_dir() or target.suffix.lower() not in (suffix, usual):
        endings = suffix if suffix == usual else f"{suffix} or {usual}"
        raise ValueError(
            f"--out {target} must name a file that ends in {endings}, as the labels are written in "
            "the format that they came in."
        )
    if subject.own is not None:
        learned = subject.run.data, subject.own  # from files, which were kept as copies
        files = [file for t in learned if isinstance(t, Table | Tags) for file in t.checked]
        read = [Path(subject.own.path), *map(Path, files), *read]
    if any(target.resolve() == path.resolve() for path in read):
        raise ValueError(
            f"--out {target} is what the labels are corrected from, and would be lost: name "
            "another file."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    return target


def _checked(subject: Subject) -> dict[int, str]:
    """The right label of every sample that was checked before the audit, and given a wrong one."""
    labels = subject.labels
    if not isinstance(labels, TableLabels):
        return {}
    rows = zip(labels.rows, labels.observed, labels.checked, strict=True)
    return {int(row): labels.classes[k] for row, given, k in rows if k >= 0 and k != given}


def _labels(subject: Subject) -> dict[int, str]:
    """The label as given of every sample that can be decided, by its index."""
    labels = subject.labels
    if isinstance(labels, TableLabels):
        return {
            int(row): labels.classes[k] for row, k in zip(labels.rows, labels.observed, strict=True)
        }
    classes = subject.ledger["classes"]
    observed = subject.ledger["observed"].tolist()
    return {int(k): classes[c] for k, c in zip(subject.index, observed, strict=True)}


def _fitting(
    subject: Subject, given: dict[int, str], decisions: list[Decision], file: Path
) -> dict[int, str]:
    """Decided label by index, after a check that it is about the audited labels."""
    place = {str(index): index for index in given}
    rows = None if subject.labels is None else subject.labels.rows.tolist()
    by_id = dict(zip(subject.ids, rows or range(len(subject.ids)), strict=False))
    named = subject.source is not None  # else nobody knows how samples are called
    classes = list(subject.ledger["classes"])
    found = {}
    for decision in decisions:
        key, known = (decision.id, by_id) if decision.id and named else (decision.index, place)
        index = known.get(key)
        if index not in given:
            raise ValueError(
                f"{file} decides sample {decision.key!r}, which {subject.path} did not audit: are "
                "the decisions of another run?"
            )
        if decision.observed and decision.observed != given[index]:
            raise ValueError(
                f"{file} saw sample {decision.key!r} labelled {decision.observed!r}, but it is "
                f"labelled {given[index]!r}: are the decisions of another run?"
            )
        if decision.label not in classes:
            raise ValueError(f"In {file}: {unknown('label', decision.label, classes)}")
        if found.setdefault(index, decision.label) != decision.label:
            raise ValueError(
                f"{file} decides sample {decision.key!r} as {found[index]!r} in one row and as "
                f"{decision.label!r} in another: keep one of the two rows."
            )
    return found


def _write(
    subject: Subject, target: Path, chosen: dict[int, str], left_out: frozenset[int] = frozenset()
) -> None:
    if not isinstance(subject.own, Table):
        labels = _labels(subject) | chosen
        names = subject.ids
        kept = [index for index in sorted(labels) if index not in left_out]
        rows = ((index, *names[index : index + 1], labels[index]) for index in kept)
        write_csv(target, ("index", *(["path"] if names else []), "label"), rows)
        return
    write_corrected(Path(subject.own.path), target, {subject.own.label: chosen}, left_out)

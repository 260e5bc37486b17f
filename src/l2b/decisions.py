"""What a person decided about labels: the file that the audit's page exports."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from l2b.catalog import unknown
from l2b.features.columns import number
from l2b.tables import TableFile, armed

KEEP, ACCEPT, SKIP = "keep", "accept", "skip"
YES = frozenset({"1", "1.0", "true", "yes", "y", "x"})
NO = frozenset({"", "0", "0.0", "false", "no", "n"})
FLAGS = (("true", "false"), ("yes", "no"), ("1", "0"))  # the first that are no classes are advised
HEADER = ("index", "id", "decision", "label", "observed")


@dataclass(frozen=True, kw_only=True)
class Decision:
    """One label that a person looked at.

    Attributes:
        index: position of the sample in the audited file or training split, from 0; empty if
            the file names samples by id.
        id: the sample's id; empty if it has none.
        label: what the person found to be right.
        observed: the label that the person saw; empty if the file does not say.
    """

    index: str
    id: str
    label: str
    observed: str

    @property
    def key(self) -> str:
        """The id if there is one, else the position."""
        return self.id or self.index


def read_decisions(path: Path) -> list[Decision]:
    """Decisions in the order of the file; skipped samples are left out.

    Args:
        path: CSV with ``index`` or ``id``, and ``label``; where there is a column
            ``decision``, its ``skip`` rows do not count. Rows without a label neither.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if columns are missing or a sample is decided in two ways.
    """
    table = TableFile(path)
    columns = table.columns
    if "label" not in columns or not {"index", "id"} & set(columns):
        raise ValueError(
            f"{path} must have the columns label and index (or id), got {', '.join(columns)}: "
            "export it from audit.html, or fill in the labels of next.csv."
        )
    there = [name for name in HEADER if name in columns]
    found: dict[str, Decision] = {}
    for row in table.rows(there):
        cells = {name: armed(cell).strip() for name, cell in zip(there, row, strict=True)}
        word = cells.pop("decision", "")
        if word not in ("", KEEP, ACCEPT, SKIP):
            raise ValueError(f"In {path}: {unknown('decision', word, [KEEP, ACCEPT, SKIP])}")
        made = Decision(**{name: cells.get(name, "") for name in ("index", "id", *HEADER[3:])})
        if word == SKIP or not made.label:
            continue
        if not made.key:
            raise ValueError(f"{path} has a label for no sample: fill in its index or id.")
        if found.setdefault(made.key, made).label != made.label:
            raise ValueError(
                f"{path} decides sample {made.key} as {found[made.key].label!r} and as "
                f"{made.label!r}: keep one of the two rows."
            )
    return list(found.values())


def marked(
    given: Sequence[str], marks: Sequence[str], label: str, clean: str, path: Path | str
) -> dict[int, str]:
    """The checked labels that a column beside the labels tells, by the sample's place.

    Numbers are compared by value and words without case: a program that writes a column with
    gaps makes 1.0 of 1.

    Args:
        given: label of each sample.
        marks: what the column of checked samples holds there: yes or no, or the right label.
        label: name of the column of labels, for messages.
        clean: name of the column of marks.
        path: of the table.

    Raises:
        ValueError: if the marks are neither, or could be both.
    """
    known, spelt = set(given), _spellings(set(given))
    read = [mark if mark in known else spelt.get(_alike(mark), "") for mark in marks]
    strange = {mark for mark, name in zip(marks, read, strict=True) if mark and not name}
    as_flags = {mark.lower() for mark in marks} <= YES | NO
    flagged = {k: given[k] for k, mark in enumerate(marks) if mark.lower() in YES}
    labelled = {k: name for k, name in enumerate(read) if name}
    if not strange and as_flags and flagged != labelled:
        taken = {_alike(name) for name in given}
        free = (pair for pair in FLAGS if taken.isdisjoint(map(_alike, pair)))
        yes, no = next(free, FLAGS[0])
        raise ValueError(
            f"Column {clean!r} of {path} could hold checked labels or yes and no: write {yes} and "
            f"{no} where it tells which samples were checked, and give the classes other names, "
            "in both columns, where it holds labels."
        )
    if strange and not as_flags:
        worst = min(strange, key=lambda mark: (mark.lower() in YES | NO, mark))
        raise ValueError(
            f"Column {clean!r} of {path} must hold yes or no (1/0, true/false), or checked labels "
            f"that also occur in {label!r}, got {worst!r}."
        )
    return flagged if as_flags else labelled


def _spellings(names: set[str]) -> dict[str | float, str]:
    """The class by what is `_alike` in all of its spellings, where that is no other class's."""
    times = Counter(map(_alike, names))
    return {_alike(name): name for name in names if times[_alike(name)] == 1}


def _alike(cell: str) -> str | float:
    """The same for all spellings of a number, or of a word."""
    value = number(cell)
    return value if math.isfinite(value) else cell.casefold()

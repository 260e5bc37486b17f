"""What a person decided about labels: the file that the audit's page exports."""

from dataclasses import dataclass
from pathlib import Path

from l2b.catalog import unknown
from l2b.tables import TableFile, armed

KEEP, ACCEPT, SKIP = "keep", "accept", "skip"
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

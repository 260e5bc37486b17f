"""Which labels should a person check next?"""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from l2b.audit.table import AuditTable
from l2b.tables import TableFile, defused, write_csv

HEADER = ("index", "id", "label", "observed", "suggested", "quality")


def next_to_check(table: AuditTable, count: int) -> np.ndarray:
    """The labels that are worth most to check, as rows of the table.

    Checked samples steer the whole training, so they must cover the classes; and a check
    tells most where the run is least sure. The classes (as suggested) take turns, and each
    gives the sample whose label is most in doubt.

    Args:
        table: the audit.
        count: how many to propose.

    Raises:
        ValueError: if there are not that many samples.
    """
    if not 1 <= count <= len(table):
        raise ValueError(
            f"--next must lie in [1, {len(table):,}], the number of audited labels, got {count}."
        )
    doubt = 1 - np.abs(2 * table.quality - 1)
    order = np.lexsort((table.confidence, -doubt))
    turn = np.empty(len(table), dtype=np.int64)
    for k in range(len(table.classes)):
        own = order[table.suggested[order] == k]
        turn[own] = np.arange(len(own))
    return order[np.argsort(turn[order], kind="stable")][:count]


def write_next(folder: Path, table: AuditTable, rows: np.ndarray) -> Path:
    """Write the proposals with an empty column ``label`` for a person to fill in.

    What somebody has filled in stays: it is ``next.csv``, or the first of ``next-2.csv``,
    ``next-3.csv``, … that is not there or still empty.

    Args:
        folder: the audit's.
        table: the audit.
        rows: of it, to be proposed.

    Returns:
        The file.
    """
    numbered = (folder / f"next-{number}.csv" for number in itertools.count(2))
    paths = itertools.chain([folder / "next.csv"], numbered)
    path = next(path for path in paths if not _filled_in(path))
    write_csv(path, HEADER, _cells(table, rows))
    return path


def _filled_in(path: Path) -> bool:
    """Whether there is such a file, and not one that is as it was written."""
    if not path.is_file():
        return False
    try:
        return any(label.strip() for (label,) in TableFile(path).rows(["label"]))
    except ValueError:
        return True  # not what was written, so somebody's


def _cells(table: AuditTable, rows: np.ndarray) -> Iterator[tuple[object, ...]]:
    for row in rows.tolist():
        names = (table.classes[table.observed[row]], table.classes[table.suggested[row]])
        sample = table.ids[row] if table.ids else ""
        quality = f"{table.quality[row]:.3f}"
        yield (int(table.index[row]), defused(sample), "", *map(defused, names), quality)

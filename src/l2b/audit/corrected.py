"""A user's own table, written once more with other labels in it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from l2b.files import write_atomically
from l2b.tables import TableFile, write_csv

MOVED = (
    "\n  Note: rows have moved up where others were left out, so decisions by position do not fit "
    "this file. Name a column of ids (--id) to take some back in."
)


@dataclass(frozen=True, kw_only=True)
class Corrected:
    """What was written.

    Attributes:
        path: the corrected file.
        changed: number of labels that differ from those as given.
        confirmed: number of labels that a person found to be right.
        left_out: number of samples that are not in the file, since their labels seem wrong and
            no other is sure enough.
        moved: whether rows have moved up into the places of those left out, and no ids tell
            which is which.
    """

    path: Path
    changed: int
    confirmed: int = 0
    left_out: int = 0
    moved: bool = False

    def __str__(self) -> str:
        """A line or two for a terminal."""
        counts = [f"{self.changed:,} labels changed"]
        counts += [f"{self.confirmed:,} confirmed"] if self.confirmed else []
        counts += [f"{self.left_out:,} left out"] if self.left_out else []
        line = f"{', '.join(counts)}: {self.path}"
        return line + MOVED if self.moved else line


def write_corrected(
    path: Path,
    target: Path,
    changes: Mapping[str, Mapping[int, str]],
    left_out: frozenset[int] = frozenset(),
) -> None:
    """Write a copy of a table in the format of the file to write.

    Args:
        path: the table.
        target: the file to write, whole or not at all.
        changes: of each column that changes, the new cells by row.
        left_out: rows that the copy does not have.
    """
    table = TableFile(path)
    if table.is_parquet:
        _write_parquet(table, changes, target, left_out)
        return
    columns = table.columns
    places = {columns.index(name): cells for name, cells in changes.items()}
    rows = _corrected(table.rows(columns), places, left_out)
    write_csv(target, columns, rows, table.delimiter, told=table.tells_delimiter)


def _corrected(
    rows: Iterator[tuple[str, ...]],
    changes: Mapping[int, Mapping[int, str]],
    left_out: frozenset[int],
) -> Iterator[tuple[str, ...]]:
    for index, row in enumerate(rows):
        if index not in left_out:
            cells = list(row)
            for column, chosen in changes.items():
                if index in chosen:
                    cells[column] = _in_place_of(cells[column], chosen[index])
            yield tuple(cells)


def _in_place_of(cell: object, label: str) -> str:
    """The label with the spaces that are around the one in the cell, and are no part of it."""
    text = cell if isinstance(cell, str) else ""
    old = text.strip()
    before, _, after = text.partition(old) if old else ("", "", "")
    return f"{before}{label}{after}"


def _write_parquet(
    table: TableFile,
    changes: Mapping[str, Mapping[int, str]],
    target: Path,
    left_out: frozenset[int],
) -> None:
    """The same columns and types, a batch at a time."""
    import pyarrow as arrow
    from pyarrow.parquet import ParquetFile, ParquetWriter

    source = ParquetFile(table.path)
    schema = source.schema_arrow

    def write(temporary: Path) -> None:
        start = 0
        with ParquetWriter(temporary, schema) as writer:
            for batch in source.iter_batches():
                rows = range(start, start + len(batch))
                for name, chosen in changes.items():
                    place = schema.get_field_index(name)
                    cells = zip(rows, batch.column(place).to_pylist(), strict=True)
                    fixed = [_text(cell, chosen.get(row)) for row, cell in cells]
                    texts = arrow.array(fixed, arrow.string())
                    field = schema.field(place)
                    batch = batch.set_column(place, field, texts.cast(field.type))
                kept = arrow.array([row not in left_out for row in rows])
                writer.write_batch(batch.filter(kept))
                start += len(rows)

    write_atomically(target, write)


def _text(cell: object, label: str | None) -> str | None:
    """What a column of any type is cast from: the cell, or a label; where that is empty, null."""
    if label is not None:
        return _in_place_of(cell, label) or None
    return None if cell is None else str(cell)

"""Rows of a user's own CSV or Parquet file as strings, a few at a time."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from l2b.catalog import unknown
from l2b.files import named_if_not_utf8, write_atomically

LONGEST_CELL = 16 * 2**20  # characters; an unclosed quote must not swallow the whole file
PARQUET_ROWS = 2048  # read at a time
DELIMITERS = ",;\t|"
TOLD = re.compile(r"sep=([,;\t|])", re.IGNORECASE)  # Excel's own line, above the header
JSON = re.compile(r'\s*\[?\s*\{\s*"')  # how its first line begins
JSON_ENDINGS = (".json", ".jsonl", ".ndjson")
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


@dataclass(frozen=True)
class TableFile:
    """A table on disk; nothing is kept in memory but the names of its columns.

    Attributes:
        path: a CSV file (UTF-8, with or without BOM; comma, semicolon, tab or bar) with a
            header line, or a file that ends in ``.parquet``. A line ``sep=;`` above the header,
            as Excel reads and writes it, says what parts the cells.
    """

    path: Path

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns, in order.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is JSON, has no header, or one with a name twice.
        """
        if not self.path.is_file():
            raise FileNotFoundError(f"There is no file {self.path}: give a CSV or Parquet file.")
        names = _parquet_columns(self.path) if self.is_parquet else _header(self.path)
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(
                f"{self.path} has two columns called {twice[0]!r}: rename one, so that it is "
                "clear which is meant."
            )
        return names

    @property
    def delimiter(self) -> str:
        """What stands between the cells of a CSV file; nothing in a Parquet file."""
        if self.is_parquet:
            return ""
        with named_if_not_utf8(self.path), self.path.open(encoding="utf-8-sig", newline="") as file:
            return _delimiter(self.path, file)

    @property
    def tells_delimiter(self) -> bool:
        """Whether a line above the header says what parts the cells of a CSV file."""
        with named_if_not_utf8(self.path), self.path.open(encoding="utf-8-sig", newline="") as file:
            return TOLD.fullmatch(_first_line(file)) is not None

    @property
    def is_parquet(self) -> bool:
        """Whether the name says Parquet."""
        return self.path.suffix.lower() in (".parquet", ".pq")

    def check_columns(self, wanted: Sequence[str]) -> None:
        """Refuse columns that the file does not have.

        Raises:
            ValueError: naming the nearest column there is.
        """
        columns = self.columns
        for name in wanted:
            if name not in columns:
                raise ValueError(f"In {self.path}: {unknown('column', name, list(columns))}")

    def rows(self, wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
        """The cells of these columns, row by row; a missing value is an empty string.

        Raises:
            ValueError: if a column is unknown or the file is damaged; the message says where.
        """
        self.check_columns(wanted)
        if self.is_parquet:
            return _parquet_rows(self.path, list(wanted))
        columns = self.columns
        places = [columns.index(name) for name in wanted]
        return (tuple(row[k] for k in places) for row in _csv_rows(self.path))


def write_csv(
    path: Path,
    header: Sequence[str],
    rows: Iterator[Sequence[Any]],
    delimiter: str = ",",
    *,
    told: bool = False,
) -> None:
    """Write a CSV file, whole or not at all, a row at a time, with exactly these cells.

    Args:
        path: the file.
        header: names of the columns.
        rows: their cells.
        delimiter: what parts them.
        told: begin with Excel's own line that says so.
    """

    def write(temporary: Path) -> None:
        with temporary.open("w", encoding="utf-8", newline="") as file:
            file.write(f"sep={delimiter}\r\n" if told else "")
            writer = csv.writer(file, delimiter=delimiter)
            writer.writerow(header)
            writer.writerows(rows)

    write_atomically(path, write)


def told_apart(heads: Sequence[str]) -> list[str]:
    """Names of columns, of which a later one that is there already gets "_" at its end."""
    found: list[str] = []
    for head in heads:
        while head in found:
            head = f"{head}_"
        found.append(head)
    return found


def defused(cell: str) -> str:
    """A text that no spreadsheet runs as a formula; plain numbers stay as they are."""
    return f"'{cell}" if _like_a_formula(cell) and not _is_number(cell) else cell


def armed(cell: str) -> str:
    """The text that `defused` was given."""
    return cell[1:] if cell.startswith("'") and _like_a_formula(cell) else cell


def _like_a_formula(cell: str) -> bool:
    """Also behind quotes, so that a text with one of its own comes back with it."""
    return cell.lstrip("'").startswith(FORMULA_STARTS)


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _csv_rows(path: Path) -> Iterator[list[str]]:
    """Rows below the header, each with as many cells as it."""
    with _reader(path) as reader:
        width = len(_first(reader))
        for row in reader:
            if len(row) != width:
                if _is_empty(row):
                    continue
                raise ValueError(
                    f"{path}, line {reader.line_num}, must have {width} cells as the header "
                    f"does, got {len(row)}: quote cells that hold commas, quotes or line breaks."
                )
            yield row


@contextmanager
def _reader(path: Path) -> Iterator[Any]:
    before = csv.field_size_limit(LONGEST_CELL)
    try:
        with named_if_not_utf8(path), path.open(encoding="utf-8-sig", newline="") as file:
            yield csv.reader(file, strict=True, delimiter=_delimiter(path, file))
    except csv.Error as error:
        raise ValueError(
            f"{path} is damaged as CSV ({error}): look for a quote that is never closed."
        ) from error
    finally:
        csv.field_size_limit(before)


def _delimiter(path: Path, file: io.TextIOBase) -> str:
    """A tab by the file's name, or the likeliest of the header line; comma if there is none.

    Raises:
        ValueError: if the file is JSON.
    """
    line = _first_line(file)
    file.seek(0)
    if JSON.match(line) or path.suffix.lower() in JSON_ENDINGS:
        raise ValueError(
            f"{path} must be CSV or Parquet, got JSON: JSON lines are not read, save as CSV or "
            "Parquet."
        )
    told = TOLD.fullmatch(line)
    if told or path.suffix.lower() == ".tsv":
        return told.group(1) if told else "\t"
    outside = "".join(line.split('"')[::2])
    return max(DELIMITERS, key=outside.count)


def _first_line(file: io.TextIOBase) -> str:
    """The first line that is not blank, without its end."""
    lines = iter(lambda: file.readline(LONGEST_CELL), "")
    return next(filter(str.strip, lines), "").rstrip("\r\n")


def _header(path: Path) -> tuple[str, ...]:
    with _reader(path) as reader:
        names = _first(reader)
    if not names:
        raise ValueError(f"{path} is empty: its first line must name the columns.")
    return tuple(name.strip() for name in names)


def _first(reader: Iterator[list[str]]) -> list[str]:
    """The first line with names of columns; no cells if there is none."""
    return next((row for row in reader if not (_is_empty(row) or _tells_separator(row))), [])


def _tells_separator(row: list[str]) -> bool:
    """Whether a line is Excel's, such as sep=; — which itself parts it in two."""
    return [cell.lower() for cell in row] == ["sep=", ""]


def _is_empty(row: list[str]) -> bool:
    """Whether a line has no cells but blank ones."""
    return not any(map(str.strip, row))


def _parquet_columns(path: Path) -> tuple[str, ...]:
    return tuple(parquet_file(path).schema_arrow.names)


def _parquet_rows(path: Path, wanted: list[str]) -> Iterator[tuple[str, ...]]:
    for batch in parquet_file(path).iter_batches(batch_size=PARQUET_ROWS, columns=wanted):
        cells = [
            [_text(value, name, path) for value in batch.column(name).to_pylist()]
            for name in wanted
        ]
        yield from zip(*cells, strict=True)


def as_text(value: object) -> str:
    """A cell as a CSV file would hold it; a missing value is an empty string."""
    try:
        return "" if value is None or value != value else str(value)  # NaN differs from itself
    except TypeError:  # the NA of pandas neither does nor does not
        return ""


def _text(value: object, column: str, path: Path) -> str:
    if isinstance(value, bytes | dict | list):
        raise ValueError(
            f"Column {column!r} of {path} must hold text, numbers or truth values, got "
            f"{type(value).__name__}: name a column of image paths or of plain text, or leave "
            "this one out of the file."
        )
    return as_text(value)


def parquet_file(path: Path) -> Any:
    """The file, opened; nothing but its footer is read.

    Raises:
        ImportError: without pyarrow.
        ValueError: if it is damaged.
    """
    try:
        import pyarrow as arrow
        from pyarrow.parquet import ParquetFile
    except ImportError as error:
        raise ImportError(
            "Reading Parquet needs pyarrow, which is not installed: pip install 'l2b[vision]'."
        ) from error
    try:
        return ParquetFile(path)
    except (arrow.ArrowInvalid, OSError) as error:
        raise ValueError(f"{path} cannot be read as Parquet ({error}): it is damaged.") from error

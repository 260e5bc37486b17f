"""Files of checked labels: people move and edit theirs, so a run keeps a copy of each."""

from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from l2b.datasets import Dataset
from l2b.datasets.table import Table
from l2b.datasets.tags import Tags
from l2b.files import write_atomically
from l2b.folder import CHECKED

Data = TypeVar("Data", bound=Dataset)


def read_checked(data: Dataset) -> dict[str, bytes]:
    """Where the copies of a data set's files of checked labels go in a run, and their content.

    Args:
        data: settings of the data set.

    Raises:
        OSError: if one cannot be read.
    """
    return {place: Path(file).read_bytes() for file, place in _places(data)}


def keep_checked(run: Path, content: dict[str, bytes]) -> None:
    """Write the copies that are not there, each whole or not at all.

    Args:
        run: folder of the run.
        content: as from `read_checked`.
    """
    for place, found in content.items():
        copy = run / place
        if copy.is_file():
            continue
        copy.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(copy, lambda temporary, found=found: temporary.write_bytes(found))


def as_kept(data: Data, run: Path, *, gone: bool = False) -> Data:
    """The data set with a run's copies in the place of the files of checked labels.

    Args:
        data: its settings.
        run: folder of the run; older ones have no copies.
        gone: take a copy only where the file itself is gone.
    """
    if not isinstance(data, Table | Tags):
        return data
    files = [
        str((run / place).resolve())
        if (run / place).is_file() and not (gone and Path(file).is_file())
        else file
        for file, place in _places(data)
    ]
    return replace(data, checked=tuple(files))


def _places(data: Dataset) -> list[tuple[str, str]]:
    """Each file, and where its copy lies in a run: under its own name, in order."""
    files = data.checked if isinstance(data, Table | Tags) else ()
    return [(file, f"{CHECKED}/{k}/{Path(file).name}") for k, file in enumerate(files, 1)]

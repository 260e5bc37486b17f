"""What a reader must know to repeat a result."""

import platform
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

PLACES = ("root", "path", "folder")  # settings of data sets that say where their files are


def provenance(command: str) -> dict[str, Any]:
    """What made a table: the command, and this process; the runs' own records say what made them.

    Args:
        command: what a reader types to get the same.
    """
    versions = {name: version(name) for name in ("l2b", "numpy", "scipy")}
    return {
        "command": command,
        "written": datetime.now(UTC).date().isoformat(),
        "written_with": versions | {"python": platform.python_version()},
    }


def typed(words: Sequence[str]) -> str:
    """The words of a command line as one would type them."""
    return shlex.join(["l2b", *words])


@contextmanager
def started_elsewhere(data: object, run: Path | None) -> Iterator[None]:
    """Data that are not found inside may have a path that begins where a run was started: say so.

    Args:
        data: settings of the data set.
        run: folder of the run; where there is none, errors stay as they are.

    Raises:
        FileNotFoundError: if they are not found.
    """
    try:
        yield
    except FileNotFoundError as error:
        places = [Path(value) for name, value in vars(data).items() if name in PLACES and value]
        lacking = [place for place in places if not place.is_absolute() and not place.exists()]
        if run is None or not (run / "run.yaml").is_file() or not lacking:
            raise
        above = (folder for folder in run.resolve().parents if (folder / lacking[0]).exists())
        found = next((f", such as {folder}" for folder in above), "")
        raise FileNotFoundError(
            f"{run} learns from {lacking[0]}, a path relative to the directory that it was started "
            f"in, and there is none in {Path.cwd()}: give the command where there is one{found}, "
            "or put it back."
        ) from error

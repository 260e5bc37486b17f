"""What a reader must know to repeat a result."""

import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any


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

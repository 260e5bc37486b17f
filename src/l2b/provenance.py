"""What a reader must know to repeat a result."""

import platform
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from typing import Any

import torch


def provenance(command: str) -> dict[str, Any]:
    """Command, versions and machine of this process.

    Args:
        command: what a reader types to get the same.
    """
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("l2b", "torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }


def typed(words: Sequence[str]) -> str:
    """The words of a command line as one would type them."""
    return shlex.join(["l2b", *words])

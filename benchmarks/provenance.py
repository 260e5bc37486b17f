"""What a reader must know to repeat a measurement."""

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "results"


def _commit() -> str:
    found = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return found.stdout.strip() or "unknown"


COMMIT = _commit()  # when the process began: the sources may change under a long one


def provenance() -> dict[str, Any]:
    """Command, commit, versions, threads and machine of this process."""
    command = " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]])
    return {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("l2b", "torch", "numpy", "scipy")}
        | {"python": platform.python_version()},
        "machine": platform.machine(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
        "commit": COMMIT,
        "threads": torch.get_num_threads(),
    }


def rows_left(path: Path, settings: tuple[float | str, ...]) -> list[dict[str, Any]]:
    """Rows that an earlier call with these settings has left in a file of results.

    Raises:
        ValueError: if the file holds rows of other settings.
    """
    if not path.is_file():
        return []
    found = json.loads(path.read_text())
    if found.get("settings") != list(settings):
        raise ValueError(f"{path} holds other settings: choose another --out, or remove it.")
    return found["rows"]

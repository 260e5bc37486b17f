"""What a reader must know to repeat a measurement."""

import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import torch

RESULTS = Path(__file__).parent / "results"


def _commit() -> str:
    described = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        capture_output=True,
        text=True,
        check=False,
        cwd=Path(__file__).parent,
    )
    return described.stdout.strip() or "unknown"


COMMIT = _commit()  # when the process began: the sources may change under a long one


def provenance() -> dict[str, object]:
    """Command, commit, versions and machine of this process."""
    return {
        "command": " ".join(["python", "benchmarks/" + Path(sys.argv[0]).name, *sys.argv[1:]]),
        "commit": COMMIT,
        "date": datetime.now(UTC).date().isoformat(),
        "versions": {name: version(name) for name in ("l2b", "torch", "numpy")}
        | {"python": platform.python_version()},
        "machine": platform.machine(),
        "threads": torch.get_num_threads(),
        "device": torch.cuda.get_device_name() if torch.cuda.is_available() else "cpu",
    }

"""Several processes of this program on one machine, watched until the last one ends."""

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from l2b.collectives import MEETING

LOOK_EVERY = 0.05  # seconds
GRACE = 20.0  # seconds from asking a process to end to ending it
MISTAKE = 2  # exit status of what the user got wrong, which every process finds for itself


def launch(words: Sequence[str], processes: int) -> int:
    """Run this program so many times at once, as one run.

    They meet through a file and speak over the loopback interface, so nothing listens to the
    network. SIGTERM is passed on to all; if one fails, the others are ended.

    Args:
        words: of the command line; ``--launch`` is removed.
        processes: how many.

    Returns:
        The exit status of the first process that ended with another than 0; else 0.

    Raises:
        ValueError: if they are none, or a launcher runs this program already.
    """
    if processes < 1:
        raise ValueError(f"--launch must be at least 1 process, got {processes}.")
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise ValueError(
            "--launch starts processes of its own, but a launcher has started this one already "
            "(WORLD_SIZE is set): leave one of the two away."
        )
    own = _without_launch(words)
    with tempfile.TemporaryDirectory(prefix="l2b-") as folder:
        errors = [Path(folder) / f"errors-{rank}" for rank in range(processes)]
        with _started(own, errors, Path(folder) / "meeting") as running:
            first = _first_failure(running)
        if first is None:
            return 0
        rank, status = first
        if rank:
            lines = errors[rank].read_text(encoding="utf-8", errors="replace").splitlines()
            print(f"l2b: process {rank} of {processes} ended with status {status}"
                  f"{f': {lines[-1]}' if lines else ''}", file=sys.stderr)  # fmt: skip
        return status if status > 0 else 128 - status


@contextmanager
def _started(
    words: Sequence[str], errors: list[Path], meeting: Path
) -> Iterator[list[subprocess.Popen]]:
    """The processes; all of them have ended on leaving."""
    running: list[subprocess.Popen] = []
    files: list[IO[bytes]] = []

    def ask_all(*_: object) -> None:
        for process in running:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, ask_all)
    try:
        for rank, path in enumerate(errors):
            files.append(path.open("wb"))
            running.append(
                subprocess.Popen(
                    [sys.executable, "-m", "l2b", *words],
                    env=_environment(rank, len(errors), meeting),
                    stdout=None if rank == 0 else subprocess.DEVNULL,
                    stderr=None if rank == 0 else files[-1],
                )
            )
        yield running
    finally:
        ask_all()
        _end(running)
        for file in files:
            file.close()
        signal.signal(signal.SIGTERM, before)


def _first_failure(running: list[subprocess.Popen]) -> tuple[int, int] | None:
    """Number and status of the first process that fails; None if all end well."""
    while True:
        statuses = [process.poll() for process in running]
        failed = [(rank, status) for rank, status in enumerate(statuses) if status]
        if failed:
            return _culprit(running, failed[0])
        if all(status == 0 for status in statuses):
            return None
        time.sleep(LOOK_EVERY)


def _culprit(running: list[subprocess.Popen], seen: tuple[int, int]) -> tuple[int, int]:
    """The first process's own failure if it has one too, for its message was shown already.

    It is waited for: on a busy machine it may come seconds after the others to what they all find.
    """
    deadline = time.monotonic() + (GRACE if seen[1] == MISTAKE else 1)
    while running[0].poll() is None and time.monotonic() < deadline:
        time.sleep(LOOK_EVERY)
    status = running[0].poll()
    return (0, status) if status and status > 0 else seen


def _end(running: list[subprocess.Popen]) -> None:
    deadline = time.monotonic() + GRACE
    for process in running:
        try:
            process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _environment(rank: int, processes: int, meeting: Path) -> dict[str, str]:
    threads = max(1, (os.cpu_count() or 1) // processes)
    given = {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        MEETING: str(meeting),
        "GLOO_SOCKET_IFNAME": "lo",
        "NCCL_SOCKET_IFNAME": "lo",
    }
    return {"OMP_NUM_THREADS": str(threads), **os.environ, **given}


def _without_launch(words: Sequence[str]) -> list[str]:
    kept, skip = [], False
    for word in words:
        if skip:
            skip = False
        elif word == "--launch":
            skip = True
        elif not word.startswith("--launch="):
            kept.append(word)
    return kept

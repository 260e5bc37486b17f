"""Take one run, do it, and say what came of it; safe among any number of processes."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from l2b.datasets import Dataset, Source
from l2b.experiment import Run
from l2b.files import write_json
from l2b.folder import RunFolder
from l2b.signals import Stopped

FAILURE = "failure.json"


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of one run.

    Attributes:
        name: of the run's folder.
        state: ``done`` before, ``finished`` now, ``failed``, or ``busy`` in another process.
        error: in one line, if it failed.
    """

    name: str
    state: Literal["done", "finished", "failed", "busy"]
    error: str = ""


def attempt(run: Run, folder: Path) -> Report:
    """Execute a run if nobody has and nobody is; go on where it was interrupted.

    Whatever the run raises is written into its folder and returned, not raised, unless it was
    asked to stop.

    Args:
        run: what to execute.
        folder: where it lives; its parent exists.

    Raises:
        Stopped: if SIGTERM came; everything is saved.
    """
    if finished(folder):
        return Report(name=folder.name, state="done")
    with claimed(folder) as mine:
        if not mine:
            return Report(name=folder.name, state="busy")
        if finished(folder):  # while the claim was being made
            return Report(name=folder.name, state="done")
        try:
            data = run.prepare_from(loaded(run.data))
            run.execute(folder, resume=True, progress=False, figures=False, data=data)
        except Stopped:
            raise  # saved as asked: no failure
        except Exception as error:
            return fail(folder, error)
        (folder / FAILURE).unlink(missing_ok=True)
        # A finished run is never resumed, and its checkpoints are most of its size.
        RunFolder(folder).checkpoints.remove()
        return Report(name=folder.name, state="finished")


@lru_cache(maxsize=1)
def loaded(data: Dataset) -> Source:
    """A data set as read from disk; the last one is kept for the runs that follow."""
    return data.load()


def finished(folder: Path) -> bool:
    """Whether the run in the folder has ended."""
    return RunFolder(folder).read_result() is not None


@contextmanager
def claimed(folder: Path) -> Iterator[bool]:
    """Hold a run's claim for a while; False if another process holds it.

    The claim is a lock of the operating system, so a process that dies gives it up.
    """
    path = folder.with_name(f".{folder.name}.lock")
    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    try:
        yield True
        if finished(folder):  # whoever takes the claim from now on sees that
            path.unlink(missing_ok=True)
    finally:
        lock.release()


def fail(folder: Path, error: BaseException) -> Report:
    """Write down why a run failed."""
    line = " ".join(f"{type(error).__name__}: {error}".split())
    folder.mkdir(exist_ok=True)
    trace = "".join(traceback.format_exception(error))
    write_json(folder / FAILURE, {"error": line, "traceback": trace})
    return Report(name=folder.name, state="failed", error=line)

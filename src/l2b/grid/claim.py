"""Take one run, do it, and say what came of it; safe among any number of processes."""

import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout

from l2b.config import dump
from l2b.datasets import Dataset, Source
from l2b.experiment import Run
from l2b.files import spelled_out, write_json
from l2b.folder import RunFolder
from l2b.signals import Stopped

FAILURE = "failure.json"
LARGE = 1 << 28  # bytes of inputs that are not kept beside what a run makes of them


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came of one run.

    Attributes:
        name: of the run's folder.
        state: ``done`` before, ``finished`` now, ``failed``, or ``busy`` in another process.
        error: in one line, if it failed.
        stuck: whether the process that tried it can compute nothing more on its GPU.
    """

    name: str
    state: Literal["done", "finished", "failed", "busy"]
    error: str = ""
    stuck: bool = False


def attempt(
    run: Run, folder: Path, read: Callable[[Dataset], Source] = lambda data: data.load()
) -> Report:
    """Execute a run if nobody has and nobody is; go on where it was interrupted.

    Whatever the run raises, what is damaged of it, and that its folder or lock cannot be opened, is
    returned, not raised, unless it was asked to stop; and written into its folder, if that can be.

    Args:
        run: what to execute.
        folder: where it lives; its parent exists.
        read: gives the data set.

    Raises:
        Stopped: if SIGTERM came; everything is saved.
    """
    try:
        if finished(folder):
            return _done(folder, "done")
        with claimed(folder) as mine:
            if not mine:
                return Report(name=folder.name, state="busy")
            if finished(folder):  # while the claim was being made
                return _done(folder, "done")
            return _executed(run, folder, read)
    except Stopped:
        raise
    except Exception as error:  # what is there already is damaged, or of another user
        return fail(folder, error)


def _executed(run: Run, folder: Path, read: Callable[[Dataset], Source]) -> Report:
    """Do it, with the claim in hand."""
    try:
        RunFolder(folder).open(resume=True, overwrite=False)  # `begun`, should this process die
        data = run.prepare_from(read(run.data))
        run.execute(folder, resume=True, progress=False, figures=False, data=data)
    except Stopped:
        raise  # saved as asked: no failure
    except Exception as error:
        return fail(folder, error)
    return _done(folder, "finished")


def _done(folder: Path, state: Literal["done", "finished"]) -> Report:
    """The report of a run that has ended, without what it needs no more."""
    (folder / FAILURE).unlink(missing_ok=True)
    # A finished run is never resumed, and its checkpoints are most of its size.
    RunFolder(folder).checkpoints.remove()
    return Report(name=folder.name, state=state)


class Shelf:
    """The data set that was read last, for the runs of one process that follow; if it is small."""

    def __init__(self) -> None:
        """Nothing was read yet."""
        self.kept: tuple[str, Source] | None = None

    def __call__(self, data: Dataset) -> Source:
        """The data set as it was read from disk."""
        text = dump(data)
        if self.kept is None or self.kept[0] != text:
            self.kept = None  # before another one is read: both might not fit
            source = data.load()
            if source.train.inputs.nbytes > LARGE:
                return source
            self.kept = text, source
        return self.kept[1]


def finished(folder: Path) -> bool:
    """Whether the run in the folder has ended."""
    return RunFolder(folder).read_result() is not None


def begun(folder: Path) -> bool:
    """Whether the run in the folder was started and has not ended, or cannot be looked at."""
    try:
        return folder.exists() and not finished(folder)
    except (OSError, ValueError):
        return True


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
    """Write down why a run failed; where that cannot be, the report alone says it."""
    line = spelled_out(" ".join(f"{type(error).__name__}: {error}".split()))
    trace = spelled_out("".join(traceback.format_exception(error)))
    try:
        folder.mkdir(exist_ok=True)
        write_json(folder / FAILURE, {"error": line, "traceback": trace})
    except OSError as unwritten:
        line += f" (which could not be written into {folder}: {unwritten.strerror or unwritten})"
    return Report(name=folder.name, state="failed", error=line)

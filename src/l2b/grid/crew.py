"""Processes that work through a list of runs; one that dies, or loses its GPU, is replaced."""

import multiprocessing
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path

import torch

from l2b.config import dump, load
from l2b.experiment import Run
from l2b.grid.claim import Report, Shelf, attempt, begun, fail
from l2b.signals import STOPPED, Stopped, stop_requests
from l2b.threads import cpu_threads

ASKED = "stopped as asked; the runs in progress are saved"
PAUSE = 0.5  # seconds between looks at a run that another process holds


def alone(runs: Mapping[str, Run], folder: Path, threads: int) -> Iterator[Report]:
    """Execute runs one after the other in this process.

    Those that were begun and have not ended come last: one of them may be what stopped the process
    before, such as for a lack of memory, and would keep the others from ever being done.

    Args:
        runs: by the name of their folders.
        folder: where these lie.
        threads: CPU threads of a run, unless its settings say.

    Yields:
        A report for every run, once it is done or has failed.
    """
    waiting, refused = _in_turn(runs, folder), 0
    while waiting:
        name = waiting.popleft()
        with cpu_threads(threads):
            report = attempt(runs[name], folder / name)
        if report.state != "busy":
            refused = 0
            yield report
            continue
        waiting.append(name)
        refused += 1
        if refused >= len(waiting):
            time.sleep(PAUSE)


def crew(runs: Mapping[str, Run], folder: Path, threads: int, workers: int) -> Iterator[Report]:
    """Execute runs in processes of their own; order, arguments and reports as for `alone`.

    Raises:
        Stopped: if SIGTERM came; the runs in progress have saved everything.
    """
    with stop_requests() as asked:
        yield from _crew(runs, folder, threads, workers, asked)


def _in_turn(runs: Mapping[str, Run], folder: Path) -> deque[str]:
    return deque(sorted(runs, key=lambda name: begun(folder / name)))


def _crew(
    runs: Mapping[str, Run], folder: Path, threads: int, workers: int, asked: Callable[[], bool]
) -> Iterator[Report]:
    waiting, resume_at = _in_turn(runs, folder), 0.0
    hands: list[Hand] = []
    try:
        for _ in range(min(workers, len(runs))):
            hands.append(Hand(threads))  # one by one, so that those which started are ended
        while waiting or any(hand.name for hand in hands):
            if asked():
                raise Stopped(ASKED)
            for hand in hands:
                if not hand.name and waiting and time.monotonic() >= resume_at:
                    name = waiting.popleft()
                    hand.give(name, runs[name], folder / name)
            busy = {hand.line: hand for hand in hands if hand.name}
            for line in wait(list(busy), timeout=PAUSE) if busy else _nap():
                hand = busy[line]  # pyright: ignore[reportArgumentType]
                report = hand.take(folder)
                if report.state == "busy":
                    waiting.append(report.name)
                    resume_at = time.monotonic() + PAUSE
                else:
                    yield report
    finally:
        for hand in hands:
            hand.ask_to_end()
        for hand in hands:
            hand.process.join()


class Hand:
    """One worker process and the line to it."""

    line: Connection
    process: SpawnProcess

    def __init__(self, threads: int) -> None:
        """Start the process."""
        self.threads, self.name = threads, ""
        self._start()

    def give(self, name: str, run: Run, folder: Path) -> None:
        """Hand over a run."""
        self.name, order = name, (dump(run), str(folder))
        try:
            self.line.send(order)
        except OSError:  # it died while it had nothing to do
            self._restart()
            self.line.send(order)

    def take(self, folder: Path) -> Report:
        """The report of the run that was handed over; a failure if the process died.

        A process that can use its GPU no more is replaced, or every later run would fail in it.

        Raises:
            Stopped: if the process was told to stop; what it had of the run is saved.
        """
        name, self.name = self.name, ""
        try:
            report = self.line.recv()
        except (EOFError, OSError):
            self.process.join()
            status = self.process.exitcode
            # As when a whole process group is told to stop: by saving, or while there is nothing
            # to save yet.
            if status in (STOPPED, -signal.SIGTERM):
                raise Stopped(ASKED) from None
            died = RuntimeError(
                f"The process died with exit status {status} (negative: killed by that signal; "
                "−9 is often a lack of memory)."
            )
            self._restart()
            return fail(folder / name, died)
        if report.stuck:
            self.process.kill()
            self.process.join()
            self._restart()
        return report

    def ask_to_end(self) -> None:
        """Let the process end; a run in progress is saved and can be resumed."""
        self.line.close()
        if self.name:
            self.process.terminate()

    def _restart(self) -> None:
        self.line.close()
        self._start()

    def _start(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.line, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, self.threads), daemon=True)
        with _deaf():
            self.process.start()
        theirs.close()


def _serve(line: Connection, threads: int) -> None:
    torch.set_num_threads(threads)
    shelf = Shelf()
    try:
        while True:
            text, folder = line.recv()
            report = attempt(load(Run, text), Path(folder), shelf)
            line.send(replace(report, stuck=report.state == "failed" and not _gpu_answers()))
    except (EOFError, OSError):
        return  # whoever gave the work is gone
    except Stopped:
        sys.exit(STOPPED)


def _gpu_answers() -> bool:
    """Whether this process can go on with its GPU: after an error on the device itself, never."""
    if not torch.cuda.is_initialized():
        return True
    try:
        torch.cuda.synchronize()
    except RuntimeError:
        return False
    return True


@contextmanager
def _deaf() -> Iterator[None]:
    """Processes that start inside do not hear Ctrl-C: whoever started them does, and ends them."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _nap() -> list[Connection]:
    time.sleep(PAUSE)
    return []

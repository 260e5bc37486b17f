"""A request to stop, answered where nothing is lost."""

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

STOPPED = 75  # exit status of a run that saved and stopped: "try again", as in sysexits.h


class Stopped(Exception):
    """A run was asked to stop, has saved everything, and can go on later."""


@contextmanager
def stop_requests() -> Iterator[Callable[[], bool]]:
    """Take note of SIGTERM instead of dying of it, so that work can be saved first.

    Cluster schedulers send it before they take a machine away. Only the main thread of a
    program may listen to signals; in others nothing changes.

    Yields:
        A function that says whether somebody asked to stop.
    """
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    asked = threading.Event()
    before = signal.signal(signal.SIGTERM, lambda *_: asked.set())
    try:
        yield asked.is_set
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL if before is None else before)

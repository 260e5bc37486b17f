"""Things that a user should know and that do not end the run, each in one line."""

import inspect
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO


class Notice(UserWarning):
    """A warning of this library: what happened, and what to do."""


_quiet: ContextVar[bool] = ContextVar("quiet", default=False)


def notice(text: str) -> None:
    """Warn in one line: what happened, and what to do; at the user's line, not at one of ours."""
    if _quiet.get():
        return
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == "l2b":
        level, frame = level + 1, frame.f_back
    warnings.warn(text, Notice, stacklevel=level)


@contextmanager
def no_notices() -> Iterator[None]:
    """Say nothing inside, where many trainings make up one answer; records keep it all."""
    token = _quiet.set(True)
    try:
        yield
    finally:
        _quiet.reset(token)


@contextmanager
def plain_notices(stream: TextIO) -> Iterator[None]:
    """Print every notice once, in one line, without the place in the code that it comes from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        usual, told = warnings.showwarning, set[str]()

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            text = " ".join(str(message).split())
            if not issubclass(category, Notice):
                usual(message, category, *place, **more)
            elif text not in told:
                told.add(text)
                print(f"l2b: note: {text}", file=stream)

        warnings.showwarning = show
        yield

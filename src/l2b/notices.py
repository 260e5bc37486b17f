"""Things that a user should know and that do not end the run, each in one line."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO


class Notice(UserWarning):
    """A warning of this library: what happened, and what to do."""


def notice(text: str) -> None:
    """Warn in one line: what happened, and what to do."""
    warnings.warn(text, Notice, stacklevel=3)


@contextmanager
def plain_notices(stream: TextIO) -> Iterator[None]:
    """Print notices as one line each, without the place in the code that they come from."""
    with warnings.catch_warnings():
        warnings.simplefilter("always", Notice)
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if issubclass(category, Notice):
                print(f"l2b: note: {' '.join(str(message).split())}", file=stream)
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        yield

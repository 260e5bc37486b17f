"""Long work in several processes, whose results are there as soon as they are found."""

import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any, TypeVar

from tqdm import tqdm

R = TypeVar("R")


def results(work: Callable[..., R], tasks: Iterable[tuple[Any, ...]], workers: int) -> Iterator[R]:
    """What each task gives, in the order in which they end, under a progress bar.

    A task that fails is told, and takes nothing from the others.

    Args:
        work: to be called in a process of its own.
        tasks: its arguments.
        workers: processes.
    """
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        waiting = {pool.submit(work, *task): task for task in tasks}
        for future in tqdm(as_completed(waiting), total=len(waiting), disable=None):
            if error := future.exception():
                print(f"{waiting[future]} failed: {error!r}", file=sys.stderr)
            else:
                yield future.result()

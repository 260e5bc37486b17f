"""Trainings side by side, in processes of their own."""

import heapq
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from pickle import PicklingError
from typing import Any, TypeVar

import torch
from joblib import Parallel, delayed
from joblib.externals.loky import BrokenProcessPool
from joblib.externals.loky.backend.reduction import dumps
from joblib.externals.loky.process_executor import TerminatedWorkerError
from joblib.parallel import LokyBackend, get_active_backend
from rich.progress import track

from l2b.notices import Notice, notice

Found = TypeVar("Found")


def each(
    work: Callable[..., Found],
    tasks: Iterable[Sequence[Any]],
    jobs: int,
    *,
    told: str = "",
    total: int | None = None,
) -> Iterator[Found]:
    """What ``work`` finds for the arguments of every task, in their order.

    A task is asked for when there is room for it, so an iterator may end for want of time. With
    one job everything happens in this process.

    Args:
        work: a function of a module.
        tasks: arguments of each call.
        jobs: most calls at a time.
        told: what a progress bar over several jobs says; no bar for nothing.
        total: number of tasks, for the bar.

    Raises:
        ValueError: if something cannot be sent to another process, or back.
        RuntimeError: if a process dies.
    """
    if jobs == 1:
        yield from (work(*task) for task in tasks)
        return
    asked: dict[str, Any] = {"return_as": "generator", "pre_dispatch": jobs, "batch_size": 1}
    side_by_side: Any = Parallel(n_jobs=jobs, backend="loky", **asked)
    try:
        found = side_by_side(delayed(_sent)(work, *task) for task in tasks)
        for answer, told_there in track(found, told, total=total, transient=True, disable=not told):
            for text in told_there:
                notice(text)
            yield answer
    except TerminatedWorkerError as error:
        raise RuntimeError(
            f"One of the {jobs} processes that n_jobs asked for was killed, most likely for want "
            "of memory: ask for fewer."
        ) from error
    except (PicklingError, BrokenProcessPool) as error:
        raise ValueError(
            f"Parameter n_jobs trains in {jobs} processes, and the model or the method cannot be "
            f"sent to them and back: set n_jobs=1. {error.__cause__ or error}"
        ) from error


def _sent(work: Callable[..., Found], *task: Any) -> tuple[Found, list[str]]:
    """What another process finds, which must come back, and the notices that it had to give."""
    with warnings.catch_warnings(record=True) as raised:
        warnings.simplefilter("always", Notice)
        found = work(*task)
    try:
        dumps(found)
    except Exception as error:
        raise PicklingError(str(error)) from None
    return found, [str(one.message) for one in raised if issubclass(one.category, Notice)]


def together(seconds: Iterable[float], jobs: int) -> float:
    """How long trainings of so many seconds take side by side, each begun when one has ended."""
    free = [0.0] * jobs
    for alone in seconds:
        heapq.heappush(free, heapq.heappop(free) + alone)
    return max(free)


def processes(wanted: int | None, most: int, *, cpu: bool) -> int:
    """How many processes an ``n_jobs`` of scikit-learn asks for.

    One for None, on a GPU, in a process that is one of several itself, and beside others that
    scikit-learn has started where all cores are asked for.

    Args:
        wanted: number; −1 for one per core, −2 for one less.
        most: as there is no more to do at a time.
        cpu: whether GPUs are left alone.
    """
    backend: Any = get_active_backend()[0]
    on_gpu = not cpu and (torch.cuda.is_available() or torch.backends.mps.is_available())
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1
    if wanted is None or on_gpu or launched or (backend.nesting_level and wanted < 0):
        return 1
    return min(most, LokyBackend(nesting_level=0).effective_n_jobs(wanted))

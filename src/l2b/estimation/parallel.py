"""Trainings side by side, in processes of their own."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from pickle import PicklingError
from typing import Any, TypeVar

from joblib import Parallel, delayed, effective_n_jobs
from joblib.externals.loky.process_executor import TerminatedWorkerError
from rich.progress import track

from l2b.estimation.learn import usual_device

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
        ValueError: if arguments cannot be sent to another process.
        RuntimeError: if a process dies.
    """
    if jobs == 1:
        yield from (work(*task) for task in tasks)
        return
    asked: dict[str, Any] = {"return_as": "generator", "pre_dispatch": jobs, "batch_size": 1}
    side_by_side: Any = Parallel(n_jobs=jobs, backend="loky", **asked)
    try:
        found = side_by_side(delayed(work)(*task) for task in tasks)
        yield from track(found, told, total=total, transient=True, disable=not told)
    except PicklingError as error:
        raise ValueError(
            f"Parameter n_jobs trains in {jobs} processes, and the model or the method cannot be "
            f"sent to them: set n_jobs=1. {error.__cause__ or error}"
        ) from error
    except TerminatedWorkerError as error:
        raise RuntimeError(
            f"One of the {jobs} processes that n_jobs asked for was killed, most likely for want "
            "of memory: ask for fewer."
        ) from error


def together(seconds: Iterable[float], jobs: int) -> float:
    """How long trainings of so many seconds take side by side."""
    alone = list(seconds)
    return max(math.fsum(alone) / jobs, *alone, 0.0)


def processes(wanted: int | None, *, cpu: bool) -> int:
    """How many processes an ``n_jobs`` of scikit-learn asks for: one for None, and on a GPU.

    Args:
        wanted: number; −1 for one per core, −2 for one less.
        cpu: whether a GPU is left alone.
    """
    on_gpu = usual_device(cpu=cpu).type != "cpu"
    return 1 if wanted is None or on_gpu else effective_n_jobs(wanted)

"""Work through a grid: skip what is done, resume what was interrupted, report what fails."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch
from joblib import cpu_count
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from l2b.experiment import Run
from l2b.files import write_json
from l2b.grid.claim import Report
from l2b.grid.crew import alone, crew
from l2b.grid.results import PLAN, RUNS, Results, read_results
from l2b.grid.trials import Grid, folder_name


def execute(
    grid: Grid,
    folder: Path,
    *,
    workers: int | None = None,
    threads: int = 1,
    progress: bool = True,
) -> Results:
    """Execute every run of a grid that is not done yet.

    Each run is claimed by a lock before it starts, so several processes, also on the same
    grid or on grids that share runs, never do the same work twice. A failed run stops
    nothing; it is tried again the next time.

    Args:
        grid: what to execute.
        folder: gets ``grid.json`` and the runs' folders; made if missing.
        workers: processes; None takes one per CPU core, or one where there is a GPU. With
            more than one, or a GPU, a script needs ``if __name__ == "__main__":``; one without
            a GPU is this process itself.
        threads: CPU threads of each run whose settings do not say.
        progress: show a progress bar on a terminal.

    Returns:
        Everything found so far, failures included.

    Raises:
        ValueError: if there is no worker or no thread.
        OSError: if the folder cannot be written.
    """
    if threads < 1 or (workers is not None and workers < 1):
        raise ValueError(f"A grid needs workers >= 1 and threads >= 1, got {workers}, {threads}.")
    runs = {folder_name(trial.run): trial.run for trial in grid.trials}
    home = folder / RUNS
    home.mkdir(parents=True, exist_ok=True)
    write_json(folder / PLAN, plan(grid))
    count = min(workers or _usual_workers(), len(runs))
    here = count == 1 and not any(map(_on_gpu, runs.values()))
    reports = alone(runs, home, threads) if here else crew(runs, home, threads, count)
    failed = {}
    with _bar(len(runs), show=progress) as seen:
        for report in reports:
            seen(report)
            if report.state == "failed":
                failed[report.name] = report.error
    return _with_unwritten(read_results(grid, folder), failed)


def _with_unwritten(results: Results, failed: Mapping[str, str]) -> Results:
    """The results with the failures that could not be written into the folders of their runs."""
    found = {row.folder.name for row in results.rows} | results.failures.keys()
    unwritten = {name: error for name, error in failed.items() if name not in found}
    return replace(
        results,
        failures={**results.failures, **unwritten},
        missing=results.missing - len(unwritten),
    )


def plan(grid: Grid) -> dict[str, object]:
    """The grid as plain values: what a reader of the folder needs to label its runs."""
    return {
        "compare": grid.compare,
        "reference": grid.against,
        "trials": [
            {"labels": dict(trial.labels), "run": folder_name(trial.run)} for trial in grid.trials
        ],
    }


def _usual_workers() -> int:
    return 1 if torch.cuda.is_available() else cpu_count()


def _on_gpu(run: Run) -> bool:
    """Whether an error of a GPU, or a lack of its memory, can end the process that does the run."""
    return run.training.device != "cpu" and torch.cuda.is_available()


@contextmanager
def _bar(total: int, *, show: bool) -> Iterator:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[failed]}", style="red"),
    )
    with Progress(*columns, transient=True, disable=not show) as progress:
        task = progress.add_task("runs", total=total, failed="")
        failed = 0

        def seen(report: Report) -> None:
            nonlocal failed
            failed += report.state == "failed"
            progress.update(task, advance=1, failed=f"{failed} failed" if failed else "")
            if report.state == "failed":
                progress.console.print(f"{report.name}: {report.error}", markup=False)

        yield seen

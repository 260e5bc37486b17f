"""The demonstration: six ways to learn from digits of which two in five labels are redrawn."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.table import Table

from l2b.catalog import default
from l2b.experiment import Result, Run
from l2b.files import write_json
from l2b.methods import Method
from l2b.report import accuracy_figure, suspects, suspects_figure, weights_figure

METHODS = ("cross_entropy", "clean_only", "pooled", "fine_tune", "l2rw", "l2b")


def demo(out: Path, *, seed: int = 0, progress: bool = True) -> dict[str, Result]:
    """Train every method on the same noisy digits; print a table, draw three pictures.

    Args:
        out: folder for ``summary.json`` and the pictures; made if missing.
        seed: of noise, splits and initialisation.
        progress: show progress bars on a terminal.

    Returns:
        What each method found, by name.
    """
    out.mkdir(parents=True, exist_ok=True)
    console = Console()
    base = Run(seed=seed)
    data = base.prepare()
    console.print(
        f"Digits: {len(data.train)} training samples, {data.noise_rate:.0%} of their labels "
        f"wrong; {base.clean} checked samples; {len(data.test or ())} test samples."
    )
    results = {}
    for name in METHODS:
        run = replace(base, method=default(Method, name))
        results[name] = run.execute(data=data, progress=progress)
    console.print(result_table(results))
    write_json(out / "summary.json", summary(results))
    for path in _pictures(out, results):
        console.print(f"  {path}")
    return results


def summary(results: dict[str, Result]) -> dict[str, object]:
    """The figures of all methods as plain values, accuracies as fractions."""
    first = next(iter(results.values()))
    keys = ("data", "noise", "noise_rate", "noise_hash", "seed", "clean_samples")
    methods = {
        name: {
            **{key: result.record[f"{key}_accuracy"] for key in ("last", "best", "chosen")},
            "seconds": result.record["seconds"],
        }
        for name, result in results.items()
    }
    return {**{key: first.record[key] for key in keys}, "methods": methods}


def result_table(results: dict[str, Result]) -> Table:
    """Test accuracy of every method at the last, the chosen and the best epoch."""
    table = Table(title="Test accuracy (%)")
    table.add_column("method")
    columns: tuple[tuple[str, Callable[[Result], str]], ...] = (
        ("last epoch", lambda r: f"{r.record['last_accuracy']:.1%}"),
        ("chosen on clean validation", lambda r: f"{r.record['chosen_accuracy']:.1%}"),
        ("best (looks at the test set)", lambda r: f"{r.record['best_accuracy']:.1%}"),
        ("seconds", lambda r: f"{r.record['seconds']:.1f}"),
    )
    for title, _ in columns:
        table.add_column(title, justify="right")
    for name, result in results.items():
        cells = [cell(result) for _, cell in columns]
        table.add_row(name, *cells, style="bold" if name == "l2b" else None)
    return table


def _pictures(out: Path, results: dict[str, Result]) -> list[Path]:
    paths = [out / f"{name}.png" for name in ("accuracy", "weights", "suspects")]
    ours = results["l2b"]
    curves = {
        name: [row["test_accuracy"] for row in result.outcome.history]
        for name, result in results.items()
    }
    accuracy_figure(paths[0], curves, f"Test accuracy with {ours.data.noise_rate:.0%} wrong labels")
    weights_figure(paths[1], ours.data, ours.outcome)
    suspects_figure(paths[2], ours.data, suspects(ours.outcome, 24))
    return paths

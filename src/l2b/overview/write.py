"""From folders of runs to the page."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from l2b.files import write_text
from l2b.grid import Results
from l2b.grid.markdown import (
    VALIDATION,
    devices_of,
    heading,
    measures,
    nothing,
    p_value,
    percent,
    remark,
    untested,
)
from l2b.grid.pairing import warning
from l2b.grid.results import judged_by
from l2b.overview.collect import Batch, Entry, collect
from l2b.overview.plots import BOTTOM, HEIGHT, LEFT, RIGHT, WIDTH, Plot, plot
from l2b.page import rendered
from l2b.provenance import typed
from l2b.scoring import WORDS

COLOURS, DASHES = 12, 3  # that the style sheet has
CURVES = {
    "test_dice": "Dice of test cases (%)",
    "validation_dice": "Dice on clean validation (%)",
    "test_accuracy": "Test accuracy (%)",
    "validation_accuracy": "Accuracy on clean validation (%)",
    "train_loss": "Training loss towards observed labels (nats)",
}
ALIKE = {
    key.replace("accuracy", "balanced_accuracy"): title.replace(" (%)", ", classes alike (%)")
    for key, title in CURVES.items()
}
RANKED = {
    "test_auroc": "AUROC of test samples (%)",
    "validation_auroc": "AUROC on clean validation (%)",
    **CURVES,
}
WEIGHTS = {
    "alpha_share": "Share of all weight on observed labels, α (%)",
    "beta_share": "Share of all weight on pseudo-labels, β (%)",
    "weight_on_wrong": "Share of α on wrong labels (%)",
    "pseudo_accuracy": "Pseudo-labels that are right (%)",
    "effective_samples": "Effective sample size of a batch (%)",
    "silent_batches": "Batches in which no label helped (%)",
    "clean_loss_rose": "Steps that raised the clean loss (%)",
}
NATS = {"train_loss"}


def write_overview(folders: Sequence[Path], out: Path | None = None) -> Path:
    """Write one HTML page about all runs in these folders.

    Args:
        folders: of runs, of grids, or above them.
        out: the file; None for ``report.html`` in the first folder.

    Returns:
        The file.

    Raises:
        FileNotFoundError: if a folder is missing or holds no run.
        OSError: if the file cannot be written.
        ValueError: if it is not called like a page.
    """
    path = folders[0] / "report.html" if out is None else out
    if path.suffix.lower() not in (".html", ".htm"):
        raise ValueError(f"--out {path} must name a page, such as report.html.")
    batches = collect(folders)
    entries = [entry for batch in batches for entry in batch.entries]
    text = rendered(
        "l2b.overview",
        "overview.html.j2",
        styles=("overview.css",),
        title=", ".join(folder.resolve().name for folder in folders),
        counts=_counts(batches),
        batches=[_shown(batch) for batch in batches],
        versions=_versions(entries),
        box={"width": WIDTH, "height": HEIGHT, "left": LEFT, "right": RIGHT, "bottom": BOTTOM},
        looks={"colours": COLOURS, "dashes": DASHES},
    )
    write_text(path, text)
    return path


def _counts(batches: Sequence[Batch]) -> dict[str, int]:
    entries = {entry.path: entry for batch in batches for entry in batch.entries}.values()
    done = sum(entry.record is not None for entry in entries)
    failed = sum(bool(entry.error) for entry in entries)
    waiting = len(entries) - done - failed + sum(batch.waiting for batch in batches)
    return {"finished": done, "failed": failed, "unfinished": waiting}


def _shown(batch: Batch) -> dict[str, Any]:
    return {
        "title": batch.title,
        "provenance": batch.provenance,
        "devices": devices_of([entry.record for entry in batch.entries if entry.record]),
        "axes": list(batch.entries[0].labels) if batch.entries else [],
        "runs": [_run(entry) for entry in batch.entries],
        **({} if batch.results is None else _compared(batch.results)),
    }


def _compared(results: Results) -> dict[str, Any]:
    grid = results.grid
    labels = grid.labels(grid.compare)
    colour = {label: place for place, label in enumerate(labels)}
    curves = {"balanced_accuracy": ALIKE, "auroc": RANKED}.get(results.judged, CURVES)
    return {
        "compare": grid.compare,
        "against": grid.against,
        "legend": list(colour.items()),
        "settings": [" / ".join(setting.values()) or "all runs" for setting in grid.settings],
        "tables": [_table(results, measure) for measure in measures(results)],
        "nothing": nothing(results),
        "tests": [test for measure in measures(results) for test in _tests(results, measure)],
        "curves": _plots(results, curves, colour, labels),
        "weights": _plots(results, WEIGHTS, colour, _weighing(results, labels)),
        "hashes": _hashes(results),
        "warning": warning(results),
    }


def _table(results: Results, measure: str) -> dict[str, Any]:
    grid = results.grid
    rows = []
    for label in grid.labels(grid.compare):
        places = [{**setting, grid.compare: label} for setting in grid.settings]
        found = [list(results.values(place, measure).values()) for place in places]
        rows.append({"label": label, "cells": [(percent(v), len(v)) for v in found],
                     "means": [sum(v) / len(v) if v else -1.0 for v in found]})  # fmt: skip
    best = [max(column) for column in zip(*(row["means"] for row in rows), strict=True)]
    for row in rows:
        row["best"] = [m == b and m >= 0 for m, b in zip(row["means"], best, strict=True)]
    return {
        "title": heading(results, measure),
        "remark": remark(results, measure),
        "rows": rows,
    }


def _tests(results: Results, measure: str) -> list[dict[str, Any]]:
    return [
        {
            "measure": "last" if measure.startswith("last") else "chosen",
            "validation": measure == VALIDATION,
            "counted": _counted(measure),
            "setting": " / ".join(test.setting.values()) or "all runs",
            "other": test.other,
            "seeds": test.found.pairs,
            "difference": "–" if test.found.difference is None
            else f"{100 * test.found.difference:+.1f}",
            "score": f"{test.found.wins}–{test.found.losses}",
            "p": [p_value(p) for p in (test.found.t, test.adjusted, test.found.wilcoxon,
                                       test.found.sign)],
            "sure": test.adjusted is not None and test.adjusted < 0.05,
        }
        for test in results.comparisons(measure)
        if test.found.pairs
    ]  # fmt: skip


def _counted(measure: str) -> str:
    """What a figure is of, where that is not plain accuracy."""
    named = measure.partition("_")[2]
    return WORDS.get(named, "") if named != "accuracy" else ""


def _plots(
    results: Results, keys: Mapping[str, str], colour: Mapping[str, int], labels: Sequence[str]
) -> list[dict[str, Any]]:
    """For each metric that was recorded, one plot per setting."""
    grid = results.grid
    found = []
    for key, title in keys.items():
        panels: list[Plot] = []
        for setting in grid.settings:
            lines = {k: _curves(results, {**setting, grid.compare: k}, key) for k in labels}
            name = " / ".join(setting.values()) or "all runs"
            made = plot(name, lines, colour, percent=key not in NATS)
            panels += [] if made is None else [made]
        if panels:
            found.append({"title": title, "panels": panels})
    if len(grid.settings) > 1 or not found:
        return found
    # One setting: all metrics side by side instead of one drawing under each heading.
    alone = [replace(group["panels"][0], title=group["title"]) for group in found]
    return [{"title": "By epoch", "panels": alone}]


def _curves(results: Results, labels: Mapping[str, str], key: str) -> Any:
    """Curves that all seeds have, cut to the shortest."""
    rows = [curve for row in results.of(labels) if (curve := row.curve(key))]
    length = min(map(len, rows), default=0)

    return np.array([curve[:length] for curve in rows], dtype=float).reshape(len(rows), length)


def _weighing(results: Results, labels: Sequence[str]) -> list[str]:
    """Labels whose runs weigh samples differently: plain training trusts all or none."""
    axis = results.grid.compare
    weighed = {row.labels[axis] for row in results.rows if row.weighing}
    return [label for label in labels if label in weighed]


def _hashes(results: Results) -> dict[str, int]:
    """Draws of noise, and those which not every compared run saw."""
    seen: dict[tuple[object, ...], set[str]] = {}
    for row in results.rows:
        others = tuple(v for k, v in row.labels.items() if k != results.grid.compare)
        seen.setdefault((*others, row.seed), set()).add(row.record.get("noise_hash", ""))
    return {"draws": len(seen), "differ": sum(len(hashes) > 1 for hashes in seen.values())}


def _run(entry: Entry) -> dict[str, Any]:
    record = entry.record or {}
    state = "finished" if entry.record else "failed" if entry.error else "unfinished"
    judged = judged_by(record)
    aside = untested(record) and record.get(VALIDATION) is not None
    return {
        "labels": list(entry.labels.values()),
        "seed": entry.run.seed if entry.run else "?",
        "state": state,
        "last": _one(record.get(f"last_{judged}")),
        "chosen": _one(record.get(VALIDATION if aside else f"chosen_{judged}")),
        "validation": aside,
        "epoch": record.get("chosen_epoch") or "–",
        "noise_rate": _one(record.get("noise_rate")),
        "noise_hash": record.get("noise_hash") or "",
        "seconds": f"{record['seconds']:.1f}" if "seconds" in record else "–",
        "device": _device(record),
        "remark": record.get("remark") or "",
        "command": _command(entry),
        "settings": entry.settings,
        "error": entry.error,
        "traceback": entry.traceback,
    }


def _device(record: Mapping[str, Any]) -> str:
    """Where a run ran, with the number of CPU threads, on which its last digits may depend."""
    device, threads = record.get("device") or "–", record.get("threads")
    return device if threads is None else f"{device} ({threads} thread{'s' * (threads > 1)})"


def _command(entry: Entry) -> str:
    """What repeats a run from the working directory; empty where no settings can be read."""
    if entry.run is None:
        return ""
    settings = Path(os.path.relpath(entry.path)) / "run.yaml"
    return typed(["run", "--config", str(settings), "--out", "NEW"])


def _one(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f} %"


def _versions(entries: Sequence[Entry]) -> list[str]:
    found = [entry.record.get("versions", {}) for entry in entries if entry.record]
    said = [", ".join(f"{k} {v}" for k, v in versions.items()) for versions in found]
    return list(dict.fromkeys(filter(None, said)))

"""Learning curves of a grid over noise and methods, finished or not, as figures and a picture.

python benchmarks/curves.py GRID.yaml FOLDER --out benchmarks/results/NAME

FOLDER is what `l2b grid GRID.yaml --out FOLDER` left. Writes NAME.json (test and validation
accuracy of every epoch, device, settings) and NAME.png.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from provenance import provenance

from l2b.files import write_json
from l2b.folder import RunFolder
from l2b.grid import Trial, read_grid
from l2b.grid.pictures import Panel, curves_picture
from l2b.grid.trials import folder_name

KEPT = (
    "test_accuracy", "validation_accuracy", "clean_accuracy", "clean_loss", "weight_on_wrong",
    "effective_samples",
)  # fmt: skip


def one(trial: Trial, folder: Path) -> dict[str, Any] | None:
    """Labels and curves of one run; None if it never ended an epoch."""
    path = folder / "runs" / folder_name(trial.run)
    metrics = path / "metrics.jsonl"
    if not metrics.is_file():
        return None
    rows = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines()]
    record = RunFolder(path).read_result() or {}
    curves = {key: [row.get(key) for row in rows] for key in KEPT}
    asked = {"epochs": len(rows), "epochs_asked": trial.run.training.epochs}
    return {**trial.labels, "seed": trial.run.seed, **asked, "seconds": record.get("seconds"),
            "device": record.get("device"), **curves}  # fmt: skip


def panels(rows: list[dict[str, Any]]) -> list[Panel]:
    """One panel for each kind of noise, one line for each method."""
    found = []
    for noise in dict.fromkeys(row["noise"] for row in rows):
        lines: dict[str, np.ndarray] = {}
        for method in dict.fromkeys(row["method"] for row in rows):
            of = [r["test_accuracy"] for r in rows if (r["noise"], r["method"]) == (noise, method)]
            if of:
                shortest = min(map(len, of))
                lines[method] = np.array([curve[:shortest] for curve in of])
        found.append(Panel(title=noise, lines=lines))
    return found


def main() -> None:
    """Read, keep, draw, and print the last, the best and the chosen epoch."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("grid", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--title", default="Test accuracy by epoch")
    parser.add_argument("--note", default="")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    grid = read_grid(options.grid)
    rows = [row for trial in grid.trials if (row := one(trial, options.folder))]
    settings = yaml.safe_load(options.grid.read_text(encoding="utf-8"))
    write_json(options.out.with_suffix(".json"), {**provenance(), "grid": settings, "rows": rows})
    curves_picture(options.out.with_suffix(".png"), options.title, panels(rows), note=options.note)
    for row in rows:
        test, judged = (np.array(row[f"{pool}_accuracy"]) for pool in ("test", "validation"))
        print(
            f"{row['noise']:16} {row['method']:16} "
            f"{row['epochs']:3} of {row['epochs_asked']} epochs: "
            f"last {100 * test[-1]:.1f}, chosen {100 * test[judged.argmax()]:.1f}, "
            f"best {100 * test.max():.1f}"
        )


if __name__ == "__main__":
    main()

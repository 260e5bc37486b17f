"""Grids over data without a test set: judged by the clean samples kept aside."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet

from l2b.cli import main
from l2b.experiment import Run
from l2b.grid import cross
from l2b.grid.markdown import VALIDATION, document, measures
from l2b.grid.results import Results, Row
from l2b.methods.clean_only import CleanOnly
from l2b.methods.cross_entropy import CrossEntropy
from l2b.provenance import provenance

METHODS = {"cross_entropy": {"method": CrossEntropy()}, "clean_only": {"method": CleanOnly()}}
UNTESTED = {"last_accuracy": None, "chosen_accuracy": None, VALIDATION: 0.8}


def grid_file(folder, validation):
    draw, y = np.random.default_rng(0), np.arange(90) % 3
    np.savez(folder / "a.npz", x_train=draw.normal(size=(90, 4)) + y[:, None], y_train=y,
             clean_index=np.arange(30))  # fmt: skip
    file = folder / "grid.yaml"
    file.write_text(
        f"base: {{data: {{name: arrays, path: {folder / 'a.npz'}}}, noise: {{name: none}}, "
        f"clean: 30, validation: {validation}, model: {{name: mlp}}, "
        "training: {epochs: 2, batch: 16}}\nseeds: 2\nmethod: [cross_entropy, fine_tune]\n"
    )
    return file


def grid_of(folder, validation):
    file, out = grid_file(folder, validation), folder / "out"
    assert main(["grid", str(file), "--out", str(out), "--workers", "1", "--quiet"]) == 0
    assert main(["report", str(out), "--quiet"]) == 0
    text = (out / "results.md").read_text(encoding="utf-8")
    return text, (out / "report.html").read_text(encoding="utf-8"), out


def test_without_a_test_set_clean_samples_kept_aside_are_tabulated_and_tested(tmp_path):
    text, page, out = grid_of(tmp_path, 0.2)
    title = "Accuracy on clean samples kept aside, at the epoch chosen by them"
    remark = "the same 6 clean samples by which the epoch was chosen, so it flatters."
    assert f"## {title} (%)" in text and remark in text
    assert "| chosen validation | – | cross_entropy | 2 |" in text
    assert f"{title} (%)" in page and remark in page
    assert page.count(" % (validation)</td>") == 4
    assert ">chosen, validation</td>" in page
    rows = pyarrow.parquet.read_table(out / "results.parquet").to_pylist()
    assert all(0 <= row[VALIDATION] <= 1 for row in rows)
    tests = json.loads((out / "results.json").read_text())["comparisons"]
    assert [test["found"]["pairs"] for test in tests if test["measure"] == VALIDATION] == [2]


def test_where_nothing_judges_the_documents_say_so(tmp_path):
    text, page, _ = grid_of(tmp_path, 0)
    said = "the data has no test set, and no clean sample was kept aside"
    assert said in text and said in page
    assert "Paired tests" not in text and "Mean ±" not in page


def told(*records):
    grid = cross(Run(), {"method": METHODS}, range(len(records) // 2))
    rows = tuple(
        Row(labels=trial.labels, seed=trial.run.seed, folder=Path("nowhere"), record=record)
        for trial, record in zip(grid.trials, records, strict=True)
    )
    return Results(grid=grid, folder=Path("nowhere"), rows=rows, failures={}, missing=0)


def test_runs_with_and_without_a_test_set_are_both_tabulated():
    tested = {"last_accuracy": 0.9, "chosen_accuracy": 0.9, VALIDATION: 0.95}
    assert measures(told(tested, tested)) == ["last_accuracy", "chosen_accuracy"]
    mixed = ["last_accuracy", "chosen_accuracy", VALIDATION]
    assert measures(told(tested, UNTESTED)) == mixed
    assert measures(told(UNTESTED, UNTESTED)) == [VALIDATION]


def test_a_grid_of_which_no_run_has_ended_says_so():
    empty = Results(grid=cross(Run(), {"method": METHODS}, (0,)), folder=Path(), rows=(),
                    failures={}, missing=2)  # fmt: skip
    assert "no run has ended" in document(empty, "t", provenance("c"))

"""Grids: resumed after a kill, claimed once, failures reported, results in tables."""

import html
import json
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet
import pytest
import torch
import yaml

from l2b.catalog import name_of
from l2b.cli import main
from l2b.config import dump
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.experiment import Run
from l2b.folder import RunFolder
from l2b.grid import Grid, Trial, claim, cross, execute, read_results
from l2b.grid.claim import Shelf, attempt, claimed, finished
from l2b.grid.crew import Hand
from l2b.grid.markdown import document, measures
from l2b.grid.pictures import curve_panels, dots_picture
from l2b.grid.results import Results, Row, flat
from l2b.grid.trials import folder_name
from l2b.grid.written import parse_grid
from l2b.methods.clean_only import CleanOnly
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.l2b import L2B
from l2b.models.mlp import Mlp
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric
from l2b.notices import Notice
from l2b.optimise import Steps
from l2b.provenance import provenance
from l2b.signals import STOPPED, Stopped
from l2b.train import Training

TINY = Run(model=Mlp(hidden=(8,)), training=Training(epochs=2, batch=256), method=CrossEntropy())
METHODS = {"clean_only": {"method": CleanOnly()}, "l2b": {"method": L2B()}}
NOISES = {"some": {"noise": Symmetric(rate=0.4)}, "pairs": {"noise": PairFlip(rate=0.3)}}


def small(seeds=2, **changes):
    return cross(replace(TINY, **changes), {"noise": NOISES, "method": METHODS}, range(seeds))


def test_a_grid_has_every_combination():
    grid = small()
    assert len(grid.trials) == 8
    assert grid.axes == ["noise", "method"]
    assert grid.settings == [{"noise": "some"}, {"noise": "pairs"}]
    assert grid.against == "l2b"
    assert len({folder_name(trial.run) for trial in grid.trials}) == 8
    assert folder_name(TINY).startswith("digits-symmetric-cross_entropy-seed0-")
    assert folder_name(TINY) == folder_name(replace(TINY))
    assert folder_name(TINY) != folder_name(replace(TINY, clean=60))


def test_grids_that_no_table_can_hold_are_refused():
    with pytest.raises(ValueError, match="at least one run"):
        Grid(trials=())
    with pytest.raises(ValueError, match="same axes"):
        Grid(trials=(Trial(labels={"method": "a"}, run=TINY), Trial(labels={}, run=TINY)))
    with pytest.raises(ValueError, match="No axis is called 'methods'; did you mean 'method'"):
        Grid(trials=(Trial(labels={"method": "a"}, run=TINY),), compare="methods")
    with pytest.raises(ValueError, match="No label is called 'l2c'; did you mean 'l2b'"):
        replace(small(), reference="l2c")
    other = replace(TINY, clean=60)
    with pytest.raises(ValueError, match="Two different runs are labelled a with seed 0"):
        Grid(trials=tuple(Trial(labels={"method": "a"}, run=run) for run in (TINY, other)))


def test_a_grid_is_executed_once_and_put_into_tables(tmp_path):
    results = execute(small(), tmp_path, workers=1, progress=False)
    assert (len(results.rows), results.failures, results.missing) == (8, {}, 0)
    stamps = {row.folder: (row.folder / "result.json").stat().st_mtime_ns for row in results.rows}
    assert not list((tmp_path / "runs").glob(".*.lock"))
    again = execute(small(), tmp_path, workers=1, progress=False)
    assert stamps == {r.folder: (r.folder / "result.json").stat().st_mtime_ns for r in again.rows}

    written = results.write("a | title <b>", provenance("l2b grid x"))
    assert [path.name for path in written] == ["results.md", "results.json", "results.parquet"]
    text = written[0].read_text(encoding="utf-8")
    assert "# a \\| title &lt;b&gt;" in text
    assert "| method | some | pairs |" in text
    rows = pyarrow.parquet.read_table(written[2]).to_pylist()
    assert rows == json.loads(written[1].read_text())["rows"]
    assert {(row["noise"], row["method"], row["seed"]) for row in rows} == {
        (n, m, s) for n in NOISES for m in METHODS for s in (0, 1)
    }
    first = results.values({"noise": "some", "method": "l2b"}, "last_accuracy")
    second = results.values({"noise": "some", "method": "clean_only"}, "last_accuracy")
    tests = results.comparisons("last_accuracy")
    assert [(test.setting["noise"], test.other) for test in tests] == [
        ("some", "clean_only"), ("pairs", "clean_only"),
    ]  # fmt: skip
    expected = sum(first.values()) / 2 - sum(second.values()) / 2
    assert tests[0].found.difference == pytest.approx(expected)
    assert f"{100 * expected:+.1f}" in text
    mean = 50 * sum(first.values())
    assert f"{mean:.1f} ±" in text
    curves = results.curves({"noise": "some", "method": "l2b"}, "test_accuracy")
    assert curves.shape == (2, 2)
    assert curves[:, -1].tolist() == pytest.approx([first[0], first[1]])


@pytest.mark.parametrize("masks", [False, True])
def test_grids_on_masks_are_judged_by_dice(masks, tmp_path):
    (tmp_path / "metrics.jsonl").write_text('{"test_dice": 0.7, "test_accuracy": 0.95}\n')
    grid = small(seeds=1)
    record = {"last_accuracy": 0.95, "chosen_accuracy": 0.9, "last_balanced_accuracy": 0.5,
              "chosen_balanced_accuracy": 0.5}  # fmt: skip
    record |= {"last_dice": 0.7, "chosen_dice": 0.6} if masks else {}
    rows = tuple(Row(labels=t.labels, seed=0, folder=tmp_path, record=record) for t in grid.trials)
    found = Results(grid=grid, folder=tmp_path, rows=rows, failures={}, missing=0)
    text = document(found, "t", provenance("x"))
    assert ("Dice of test cases" in text, "accuracy" in text) == (masks, not masks)
    assert ("last_dice" in flat(rows[0])) == masks
    dots_picture(tmp_path / "dots.png", "t", found)
    drawn = {line.item() for panel in curve_panels(found) for line in panel.lines.values()}
    assert drawn == {0.7 if masks else 0.95}
    shown = measures(found)
    assert shown[:2] == (
        ["last_dice", "chosen_dice"] if masks else ["last_accuracy", "chosen_accuracy"]
    )
    assert len(shown) == (2 if masks else 4)  # balanced accuracy says something else


def test_grids_whose_classes_count_alike_are_judged_so(tmp_path):
    grid = small(seeds=1)
    record = {"last_accuracy": 0.95, "chosen_accuracy": 0.9, "last_balanced_accuracy": 0.5,
              "chosen_balanced_accuracy": 0.4, "judged_by": "balanced_accuracy"}  # fmt: skip
    rows = [Row(labels=t.labels, seed=0, folder=tmp_path, record=record) for t in grid.trials]
    found = Results(grid=grid, folder=tmp_path, rows=tuple(rows), failures={}, missing=0)
    assert found.headline == ("last_balanced_accuracy", "chosen_balanced_accuracy")
    assert measures(found) == [*found.headline, "last_accuracy", "chosen_accuracy"]
    (tmp_path / "metrics.jsonl").write_text(
        '{"test_balanced_accuracy": 0.5, "test_accuracy": 0.9}\n'
    )
    drawn = {line.item() for panel in curve_panels(found) for line in panel.lines.values()}
    assert drawn == {0.5}
    dots_picture(tmp_path / "dots.png", "t", found)
    found.write("t", provenance("x"))
    tests = json.loads((tmp_path / "results.json").read_text())["comparisons"]
    assert {test["measure"] for test in tests} == set(found.headline)
    plain = {k: v for k, v in record.items() if k != "judged_by"}
    mixed = replace(found, rows=(replace(rows[0], record=plain), *rows[1:]))
    assert mixed.judged == "accuracy"


def test_a_failing_run_is_reported_and_stops_nothing(tmp_path):
    broken = replace(TINY, clean=5)  # fewer than there are classes
    trials = [Trial(labels={"method": "bad"}, run=broken), Trial(labels={"method": "ok"}, run=TINY)]
    results = execute(Grid(trials=tuple(trials)), tmp_path, workers=1, progress=False)
    assert [row.labels["method"] for row in results.rows] == ["ok"]
    assert "clean must lie in" in results.failures[folder_name(broken)]
    results.write("t", provenance("c"))
    assert "## Runs that failed" in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert "–" in (tmp_path / "results.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("damaged", ["result.json", "failure.json"])
def test_damaged_files_of_one_run_stop_nothing(damaged, tmp_path):
    broken = replace(TINY, clean=5)
    trials = [Trial(labels={"method": "bad"}, run=broken), Trial(labels={"method": "ok"}, run=TINY)]
    grid = Grid(trials=tuple(trials))
    bad = tmp_path / "runs" / folder_name(trials[0].run)
    bad.mkdir(parents=True)
    (bad / damaged).write_text('{"last_acc')
    assert f"{bad / damaged} is damaged" in read_results(grid, tmp_path).failures[bad.name]
    results = execute(grid, tmp_path, workers=1, progress=False)
    assert [row.labels["method"] for row in results.rows] == ["ok"]
    said = "is damaged" if damaged == "result.json" else "clean must lie in"  # it was tried again
    assert said in results.failures[bad.name]
    results.write("t", provenance("c"))


def test_a_damaged_record_of_epochs_costs_its_own_curve_alone(tmp_path):
    results = execute(small(), tmp_path, workers=1, progress=False)
    labels = {"noise": "some", "method": "l2b"}
    first, second = results.of(labels)
    (first.folder / "metrics.jsonl").write_text('{"test_acc')
    with pytest.warns(Notice, match="metrics.jsonl is missing or damaged"):
        found = results.curves(labels, "test_accuracy")
    assert found.tolist() == [second.curve("test_accuracy")]


def test_a_record_that_lacks_epochs_costs_its_own_curve_alone(tmp_path):
    results = execute(small(), tmp_path, workers=1, progress=False)
    labels = {"noise": "some", "method": "l2b"}
    first, second = results.of(labels)
    path = first.folder / "metrics.jsonl"
    path.write_text(path.read_text().partition("\n")[0] + "\n")
    with pytest.warns(Notice, match="metrics.jsonl is missing or damaged"):
        found = read_results(results.grid, tmp_path).curves(labels, "test_accuracy")
    assert found.tolist() == [second.curve("test_accuracy")]


def test_resuming_a_finished_run_of_a_grid_gives_what_it_found(tmp_path, capsys):
    run, folder = replace(TINY, method=L2B(warmup=1)), tmp_path / "run"
    whole = run.execute(tmp_path / "whole", progress=False, figures=False)
    assert attempt(run, folder).state == "finished"
    before = {path: path.read_bytes() for path in folder.iterdir()}
    words = ["run", "--config", str(folder / "run.yaml"), "--out", str(folder), "--quiet"]
    assert main([*words, "--resume"]) == 0
    record = json.loads(before[folder / "result.json"])
    assert f"last epoch    {record['last_accuracy']:.2%}" in capsys.readouterr().out
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before
    assert (folder / "figures" / "accuracy.png").exists()

    found = run.execute(folder, resume=True, progress=False, figures=False)
    assert (found.record, found.outcome.history) == (record, whole.outcome.history)
    assert found.outcome.chosen_epoch == whole.outcome.chosen_epoch
    for name, entries in whole.outcome.ledger.state_dict().items():
        torch.testing.assert_close(getattr(found.outcome.ledger, name), entries, equal_nan=True)
    inputs = whole.data.standardise(whole.data.test.inputs)
    said = [result.outcome.learner.predict(inputs) for result in (whole, found)]
    assert torch.equal(*said)

    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows[0]["validation_loss"] = None  # as one that is infinite is written
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    found = run.execute(folder, resume=True, progress=False, figures=False, data=whole.data)
    assert found.outcome.history[0]["validation_loss"] == math.inf

    with pytest.raises(ValueError, match="learned from other data than its data set gives now"):
        run.execute(folder, resume=True, data=replace(whole.data, noise_hash="0"))
    (folder / "metrics.jsonl").write_bytes(b"{}\n")
    with pytest.raises(ValueError, match="must have a row for each of 2 epochs, got 1"):
        run.execute(folder, resume=True, data=whole.data)


def test_a_document_says_what_weights_did_after_the_warm_up(tmp_path):
    grid, shares = small(seeds=2), {}
    plain = {"effective_samples": 1.0, "alpha_share": 1.0, "weight_on_wrong": 0.35}
    rows = []
    for trial in grid.trials:
        weighed = {"effective_samples": 0.25, "alpha_share": 0.5, "weight_on_wrong": 0.2}
        other = {**weighed, "effective_samples": 0.35 + 0.2 * trial.run.seed}
        epochs = [plain, weighed, other] if trial.labels["method"] == "l2b" else [plain, plain]
        folder = tmp_path / f"{len(rows)}"
        folder.mkdir()
        (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, epochs)))
        record = {"last_accuracy": 0.5}
        rows.append(Row(labels=trial.labels, seed=trial.run.seed, folder=folder, record=record))
        shares[trial.labels["noise"], trial.labels["method"]] = rows[-1].weights
    found = Results(grid=grid, folder=tmp_path, rows=tuple(rows), failures={}, missing=0)
    text = document(found, "t", provenance("x"))
    assert "| setting | method | samples in effect | α of all weight | α on wrong labels |" in text
    assert "| pairs | l2b | 35.0 ± 7.1 | 50.0 ± 0.0 | 20.0 ± 0.0 |" in text
    assert "| some | clean_only | 100.0 ± 0.0 | 100.0 ± 0.0 | 35.0 ± 0.0 |" in text
    assert shares["some", "l2b"]["mean_effective_samples"] == pytest.approx(0.4)
    _, listed, *_ = found.write("t", provenance("x"))
    kept = [row["mean_weight_on_wrong"] for row in json.loads(listed.read_text())["rows"]]
    assert kept == [pytest.approx(0.2 if row.labels["method"] == "l2b" else 0.35) for row in rows]
    alone = replace(found, rows=tuple(row for row in rows if row.labels["method"] != "l2b"))
    assert "## Weights" not in document(alone, "t", provenance("x"))
    never = replace(rows[0], record={"last_accuracy": 0.5, "plain_throughout": True})
    text = document(replace(alone, rows=(never, *alone.rows[1:])), "t", provenance("x"))
    assert f"took all epochs: {never.labels['method']} (1)." in text


PLAIN = {"effective_samples": 1.0, "alpha_share": 1.0, "weight_on_wrong": 0.35}
SILENT = {"effective_samples": 0.0, "alpha_share": 0.0, "weight_on_wrong": 0.0}
SHARED = {"effective_samples": 1.0, "alpha_share": 0.4, "weight_on_wrong": 0.1}  # α + β = 1


@pytest.mark.parametrize(
    ("epochs", "found"),
    [
        ([PLAIN, PLAIN, SHARED, SHARED], (1.0, 0.4, 0.1)),
        ([PLAIN, SILENT, SHARED], (1.0, 0.4, 0.1)),  # noisy labels, clean ones alone, then both
        ([PLAIN, SHARED, SILENT], (0.5, 0.4, 0.1)),  # no label helped in the last
        ([PLAIN, SILENT], (0.5, 1.0, 0.35)),
        ([SILENT], (0.0, 0.0, 0.0)),
    ],
)
def test_weights_are_told_from_where_samples_have_some(epochs, found, tmp_path):
    (tmp_path / "metrics.jsonl").write_text("\n".join(map(json.dumps, epochs)))
    row = Row(labels={}, seed=0, folder=tmp_path, record={})
    assert tuple(row.weights.values()) == pytest.approx(found)
    assert bool(row.weighing) == (SHARED in epochs)


def test_tables_keep_what_only_some_runs_have(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    grid = small(seeds=1)
    records = [{"last_accuracy": 0.5}, *({"last_accuracy": 0.5, "last_dice": 0.7} for _ in "abc")]
    rows = tuple(
        Row(labels=trial.labels, seed=0, folder=tmp_path, record=record)
        for trial, record in zip(grid.trials, records, strict=True)
    )
    found = Results(grid=grid, folder=tmp_path, rows=rows, failures={}, missing=0)
    *_, table = found.write("t", provenance("x"))
    kept = pyarrow.parquet.read_table(table)["last_dice"].to_pylist()
    assert kept == [None, 0.7, 0.7, 0.7]


def test_a_document_names_what_its_runs_were_made_with(tmp_path):
    (tmp_path / "metrics.jsonl").write_text("")
    grid = small(seeds=1)
    made = [("cpu", "2.13.0"), ("NVIDIA H100", "2.13.0"), ("cpu", "2.12.0"), ("cpu", "2.13.0")]
    rows = tuple(
        Row(labels=trial.labels, seed=0, folder=tmp_path,
            record={"last_accuracy": 0.5, "device": device, "versions": {"torch": torch}})
        for trial, (device, torch) in zip(grid.trials, made, strict=True)
    )  # fmt: skip
    found = Results(grid=grid, folder=tmp_path, rows=rows, failures={}, missing=0)
    text = document(found, "t", provenance("x"))
    assert "Run on NVIDIA H100 and cpu: torch 2.12.0 and 2.13.0." in text
    _, listed, *_ = found.write("t", provenance("x"))
    told = json.loads(listed.read_text())
    assert told["device"] == "NVIDIA H100 and cpu"
    assert told["versions"] == {"torch": "2.12.0 and 2.13.0"}
    assert {"command", "written", "written_with"} < set(told) and "date" not in told
    nothing = replace(found, rows=(), missing=4)
    assert "Run on" not in document(nothing, "t", provenance("x"))


def test_a_failure_is_forgotten_once_the_run_succeeds(tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "failure.json").write_text('{"error": "x", "traceback": "y"}')
    assert attempt(TINY, folder).state == "finished"
    assert not (folder / "failure.json").exists()
    assert not RunFolder(folder).checkpoints.path.exists()
    RunFolder(folder).checkpoints.path.mkdir()  # as after a kill just before they are removed
    assert attempt(TINY, folder).state == "done"
    assert not RunFolder(folder).checkpoints.path.exists()


def waited(condition, seconds=200):  # a test ends after 300
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)


def test_a_run_is_claimed_once_and_a_dead_process_gives_it_up(tmp_path):
    folder = tmp_path / "run"
    code = (
        "import sys, time; from pathlib import Path; from l2b.grid.claim import claimed\n"
        "with claimed(Path(sys.argv[1])) as mine: print(mine, flush=True); time.sleep(600)"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout.readline() == "True\n"
        with claimed(folder) as mine:
            assert not mine
        assert attempt(TINY, folder).state == "busy"
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
    with claimed(folder) as mine:
        assert mine


def test_a_killed_grid_goes_on_where_it_was(tmp_path):
    slow = replace(TINY, training=Training(epochs=15, batch=64), method=L2B())
    base = yaml.safe_load(dump(slow))
    del base["seed"], base["method"]
    tree = {"base": base, "seeds": 2, "method": ["cross_entropy", "l2b"]}
    file = tmp_path / "two.yaml"
    file.write_text(yaml.safe_dump(tree))
    grid = parse_grid(file.read_text())
    words = ["grid", str(file), "--out", str(tmp_path / "killed"), "--quiet"]
    process = subprocess.Popen([sys.executable, "-m", "l2b", *words, "--workers", "1"])
    runs = [tmp_path / "killed" / "runs" / folder_name(t.run) for t in grid.trials]
    metrics = runs[1] / "metrics.jsonl"
    waited(lambda: metrics.exists() and metrics.read_text().count("\n") >= 3)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert finished(runs[0])
    assert not finished(runs[1])
    before = (runs[0] / "result.json").read_bytes()
    epochs = metrics.read_text().count("\n")
    assert 3 <= epochs < 15

    assert main(words) == 0
    assert (runs[0] / "result.json").read_bytes() == before
    whole = tmp_path / "whole"
    grid.trials[1].run.execute(whole, progress=False, figures=False)
    for name in ("metrics.jsonl", "model.safetensors", "ledger.safetensors", "run.yaml"):
        assert (runs[1] / name).read_bytes() == (whole / name).read_bytes()
    for name in ("results.md", "results.json", "results.parquet", "curves.png", "accuracy.png"):
        assert (tmp_path / "killed" / name).exists()


@pytest.mark.slow
def test_several_processes_and_one_that_dies(tmp_path):
    endless = replace(TINY, training=Training(epochs=100_000, batch=256))
    hand = Hand(threads=1)
    try:
        hand.give("lost", endless, tmp_path / "lost")
        waited((tmp_path / "lost" / "metrics.jsonl").exists)
        os.kill(hand.process.pid, signal.SIGKILL)
        report = hand.take(tmp_path)
        assert report.state == "failed"
        assert "exit status -9" in report.error
        hand.give("next", TINY, tmp_path / "next")  # by its successor
        assert hand.take(tmp_path).state == "finished"
        os.kill(hand.process.pid, signal.SIGKILL)  # while it has nothing to do
        hand.process.join()
        hand.give("idle", replace(TINY, seed=1), tmp_path / "idle")
        assert hand.take(tmp_path).state == "finished"
    finally:
        hand.ask_to_end()
        hand.process.join()


@pytest.mark.slow
@pytest.mark.parametrize("early", [False, True])
def test_a_process_that_is_told_to_stop_has_not_failed(early, tmp_path):
    endless = replace(TINY, training=Training(epochs=100_000, batch=256))
    hand = Hand(threads=1)
    try:
        hand.give("asked", endless, tmp_path / "asked")
        if not early:  # before there is anything to save
            waited((tmp_path / "asked" / "metrics.jsonl").exists)
        hand.process.terminate()  # as by a scheduler that tells every process of a group
        with pytest.raises(Stopped, match="saved"):
            hand.take(tmp_path)
        assert (tmp_path / "asked").exists() != early
        assert not (tmp_path / "asked" / "failure.json").exists()
    finally:
        hand.ask_to_end()
        hand.process.join()


@pytest.mark.slow
def test_a_crew_goes_on_when_a_run_fails_and_a_process_dies(tmp_path):
    broken, endless = replace(TINY, clean=5), replace(TINY, training=Training(epochs=100_000))
    runs = [broken, endless, TINY, replace(TINY, seed=1)]
    grid = Grid(trials=tuple(Trial(labels={"method": str(i)}, run=r) for i, r in enumerate(runs)))
    folders = [tmp_path / "runs" / folder_name(run) for run in runs]

    def kill():
        waited(lambda: (folders[1] / "metrics.jsonl").exists() and all(map(finished, folders[2:])))
        for worker in multiprocessing.active_children():  # one of them has nothing left to do
            worker.kill()

    killer = threading.Thread(target=kill)
    killer.start()
    results = execute(grid, tmp_path, workers=2, progress=False)
    killer.join()
    assert [row.labels["method"] for row in results.rows] == ["2", "3"]
    assert "clean must lie in" in results.failures[folder_name(broken)]
    assert "exit status -9" in results.failures[folder_name(endless)]


@pytest.mark.slow
def test_workers_find_what_one_process_finds(tmp_path):
    alone = execute(small(), tmp_path / "one", workers=1, progress=False)
    crew = execute(small(), tmp_path / "two", workers=2, progress=False)
    for first, second in zip(alone.rows, crew.rows, strict=True):
        assert (first.labels, first.seed) == (second.labels, second.seed)
        name = "metrics.jsonl"
        assert (first.folder / name).read_bytes() == (second.folder / name).read_bytes()


WRITTEN = """
base: {clean: 60, training: {epochs: 3, batch: 256}}
seeds: [4, 7]
noise:
  - {name: symmetric, rate: 0.4}
  - {name: pair_flip, rate: 0.3, label: pairs}
method: [cross_entropy, {name: l2b, pseudo: {name: self_labels}}]
training: [{clip: 0.5, label: clipped}]
"""


def test_a_grid_file():
    grid = parse_grid(WRITTEN)
    assert [t.run.seed for t in grid.trials] == [4] * 4 + [7] * 4
    assert grid.labels("noise") == ["symmetric rate 0.4", "pairs"]
    assert grid.labels("method") == ["cross_entropy", "l2b pseudo self_labels"]
    run = grid.trials[3].run
    assert (run.clean, run.training.epochs, run.training.clip) == (60, 3, 0.5)
    assert run.noise == PairFlip(rate=0.3)
    assert type(run.method.pseudo).__name__ == "SelfLabels"


def test_a_table_keeps_its_column_of_labels():
    table = "{name: table, path: %s.csv, label: topic}"
    grid = parse_grid(f"data: [{table % 'a'}, {table % 'b'}]\nmethod: [l2b]")
    assert [t.run.data.label for t in grid.trials] == ["topic", "topic"]
    assert grid.labels("data") == [f"table path {n}.csv, label topic" for n in "ab"]


def test_another_choice_replaces_that_of_the_base_whole():
    base = "base: {training: {epochs: 3, schedule: {name: steps, factor: 0.5}}}"
    axis = "training: [{schedule: {name: cosine}}, {schedule: {factor: 0.2}}]"
    first, second = parse_grid(f"{base}\n{axis}\nmethod: [l2b]").trials
    assert name_of(first.run.training.schedule) == "cosine"
    assert second.run.training.schedule == Steps(factor=0.2)
    assert first.run.training.epochs == 3


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "base: {rate: 0.2}\nmethod: [l2b]\n"
            "noise: [{name: symmetric, rate: 0.4}, {name: symmetric, rate: 0.6}, symmetric]",
            {"rate": [0.4, 0.6, 0.2]},
        ),
        (
            "base: {method.warmup: 2}\nmethod: [l2b, {name: l2b, warmup: 5, label: late}]",
            {"warmup": [2, 5]},
        ),
        (
            "base: {training.epochs: 20, training: {clip: 0.5}}\nmethod: [l2b]\n"
            "training: [{epochs: 5}, {epochs: 8}, {batch: 32}]",
            {"epochs": [5, 8, 20], "clip": [0.5, 0.5, 0.5]},
        ),
        ("base: {optimiser.lr: 0.5}\nmethod: [l2b]\ntraining: [{optimiser: {lr: 0.1}}]",
         {"lr": [0.1]}),
        (
            "base: {training: {optimiser: {options: {momentum: 0.5}}}}\nmethod: [l2b]\n"
            "training: [{optimiser: {options: {nesterov: true}}}]",
            {"options": [{"momentum": 0.5, "nesterov": True}]},
        ),
    ],
)  # fmt: skip
def test_an_entry_counts_whatever_the_base_says(text, found):
    runs = [trial.run for trial in parse_grid(text).trials]
    places = [part for run in runs for part in (run.noise, run.method, run.training.optimiser)]
    for name, values in found.items():
        holders = [*places, *(run.training for run in runs)]
        assert [getattr(h, name) for h in holders if hasattr(h, name)] == values


MISTAKES = {
    "seeds: 0\nmethod: [l2b]": "a number from 1 on",
    "seeds: [1, 1]\nmethod: [l2b]": "different integers",
    "method: l2b": "must be a list of entries",
    "method: [l2c]": "did you mean 'l2b'",
    "methods: [l2b]": "did you mean 'method'",
    "noise: [none]": "needs a list of methods",
    "method: [l2b, l2b]": "Two entries of `method` are called 'l2b'",
    "- l2b": "YAML mapping of lists",
    "method: [": "not YAML",
    "base: 3\nmethod: [l2b]": "`base` in a grid file must be a mapping",
    "base: {clean: lots}\nmethod: [l2b]": "clean",
}


@pytest.mark.parametrize("text", sorted(MISTAKES))
def test_mistakes_in_a_grid_file_get_one_clear_line(text, tmp_path, capsys):
    file = tmp_path / "grid.yaml"
    file.write_text(text)
    assert main(["grid", str(file), "--out", str(tmp_path / "out"), "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert MISTAKES[text] in said
    assert not (tmp_path / "out").exists()


def test_a_missing_grid_file(tmp_path, capsys):
    assert main(["grid", str(Path(tmp_path) / "no.yaml"), "--quiet"]) == 2
    assert "There is no grid file" in capsys.readouterr().err


def test_a_worker_reads_a_data_set_once_if_it_is_small(monkeypatch):
    read, shelf, few, many = [], Shelf(), FashionMnist(limit=5), FashionMnist(limit=6)
    monkeypatch.setattr(FashionMnist, "load", lambda self: read.append(self) or Digits().load())
    first = shelf(few)
    assert shelf(FashionMnist(limit=5)) is first and read == [few]
    assert shelf(many) is not first and shelf(few) is not first and read == [few, many, few]
    monkeypatch.setattr(claim, "LARGE", 0)
    shelf(many)
    shelf(many)
    assert shelf.kept is None and read[3:] == [many, many]


def test_a_label_whose_runs_all_failed_stops_nothing(tmp_path, capsys):
    file = tmp_path / "grid.yaml"
    file.write_text(
        "base: {model: {name: mlp}, training: {epochs: 1}}\nclean: [5, 50]\n"
        "method: [cross_entropy]\n"
    )
    words = ["grid", str(file), "--out", str(tmp_path / "out"), "--workers", "1", "--quiet"]
    assert main(words) == 1
    assert "1 runs done, 1 failed." in capsys.readouterr().out
    assert (tmp_path / "out" / "curves.png").exists()
    assert (tmp_path / "out" / "accuracy.png").exists()


def _lives(session):
    """Whether a process of it, such as a worker, is left."""
    try:
        os.killpg(session, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("workers", [pytest.param("1", marks=pytest.mark.slow), "2"])
def test_a_grid_that_is_asked_to_stop_saves_and_leaves_nobody_behind(tmp_path, workers):
    file = tmp_path / "grid.yaml"
    file.write_text(
        "base: {model: {name: mlp}, training: {epochs: 100000}}\nmethod: [cross_entropy, l2b]\n"
    )
    words = ["grid", str(file), "--out", str(tmp_path / "out"), "--workers", workers, "--quiet"]
    process = subprocess.Popen(
        [sys.executable, "-m", "l2b", *words],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip
    runs = tmp_path / "out" / "runs"
    waited(lambda: len(list(runs.glob("*/metrics.jsonl"))) == int(workers))
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == STOPPED
    assert said.startswith("l2b: stopped")
    assert said.endswith("the same command goes on\n") and said.count("\n") == 1
    waited(lambda: not _lives(process.pid), seconds=10)
    for run in runs.iterdir():
        if run.is_dir():
            with claimed(run) as mine:
                assert mine


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("compare: [method]\nmethod: [l2b]", "`compare` in a grid file must be one word"),
        ("reference: {a: b}\nmethod: [l2b]", "`reference` in a grid file must be one word"),
        ("base: {seed: 7}\nmethod: [l2b]", r"seeds: \[7\]"),
        ("method: [l2b]\nmethod: [l2rw]", "says method twice"),
        ("base: {clean: 40, clean: 50}\nmethod: [l2b]", "says clean twice"),
        ("base: {method: {name: l2b}}\nmethod: [l2rw]", "`base` .* must not speak of `method`"),
        ("base: {method.name: l2b}\nmethod: [l2rw]", "`base` .* must not speak of `method`"),
        (
            "method: [l2b, {name: l2b, clean_weight: 0.2, label: twin}]",
            r"same settings for 'l2b' and 'twin' \(seed 0\): change one",
        ),
    ],
)
def test_what_a_grid_file_cannot_mean_is_refused(text, message):
    with pytest.raises(ValueError, match=message):
        parse_grid(text)


def test_numbers_are_labels_too():
    grid = parse_grid("compare: clean\nreference: 100\nclean: [50, 100]\nmethod: [l2b]")
    assert (grid.compare, grid.against) == ("clean", "100")
    named = parse_grid("noise: [{name: symmetric, rate: 0.2, label: 0}]\nmethod: [l2b]")
    assert named.labels("noise") == ["0"]


def test_damaged_files_are_named(tmp_path, capsys):
    words = ["--out", str(tmp_path / "out"), "--workers", "1", "--quiet"]
    file = tmp_path / "grid.yaml"
    file.write_text("base: {model: {name: mlp}, training: {epochs: 1}}\nmethod: [l2rw, l2b]\n")
    assert main(["grid", str(file), *words]) == 0
    plan = tmp_path / "out" / "grid.json"
    whole = plan.read_text()
    for path, text, message in (
        (plan, "", "is damaged"),
        (plan, "[]", "must hold a mapping"),
        (plan, '{"trials": [], "reference": "l2b"}', "it lacks compare"),
    ):
        path.write_text(text)
        capsys.readouterr()
        assert main(["report", str(tmp_path / "out"), "--quiet"]) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert str(path) in said and message in said
        plan.write_text(whole)
    record = next((tmp_path / "out" / "runs").glob("*/result.json"))
    record.write_text("")  # one run of several: the page shows it as failed
    assert main(["report", str(tmp_path / "out"), "--quiet"]) == 0
    page = html.unescape((tmp_path / "out" / "report.html").read_text(encoding="utf-8"))
    assert str(record) in page and "is damaged" in page

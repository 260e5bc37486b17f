"""Who does the runs of a grid: in which order, and what happens where one of them goes wrong."""

import importlib
import json
import threading
from dataclasses import replace

import pytest
import torch
from filelock import FileLock

from l2b.experiment import Run
from l2b.folder import RunFolder
from l2b.grid import Grid, Trial, crew, execute
from l2b.grid.claim import Report, attempt
from l2b.grid.crew import Hand, _serve, alone
from l2b.grid.trials import folder_name
from l2b.methods.cross_entropy import CrossEntropy
from l2b.models.mlp import Mlp
from l2b.provenance import provenance
from l2b.train import Training

TINY = Run(model=Mlp(hidden=(8,)), training=Training(epochs=1, batch=256), method=CrossEntropy())
RUNS = {name: replace(TINY, seed=seed) for seed, name in enumerate("abc")}


class Killed(BaseException):
    """Stands in for the end of a process."""


class Servant(threading.Thread):
    """Stands in for the process of a worker."""

    exitcode = 0

    def __init__(self, line):
        super().__init__(target=_serve, args=(line, 1), daemon=True)
        self.start()

    def kill(self):
        """The line is closed next, which ends it."""

    def join(self, timeout=0):
        super().join(timeout)


class Stand(Hand):
    """A hand whose worker is a thread of this process."""

    started = 0

    def _start(self):
        Stand.started += 1
        self.line, theirs = crew.multiprocessing.Pipe()
        self.process = Servant(theirs)


def test_what_may_have_ended_a_process_comes_last(tmp_path, monkeypatch):
    tried = []

    def load(self):
        tried.append(self)
        raise Killed

    monkeypatch.setattr(type(TINY.data), "load", load)
    with pytest.raises(Killed):
        list(alone(RUNS, tmp_path, threads=1))
    with pytest.raises(Killed):
        list(alone(RUNS, tmp_path, threads=1))
    assert len(tried) == 2 and not (tmp_path / "c").exists()
    monkeypatch.undo()
    assert attempt(RUNS["b"], tmp_path / "b").state == "finished"
    states = {report.name: report.state for report in alone(RUNS, tmp_path, threads=1)}
    assert list(states.items()) == [("b", "done"), ("c", "finished"), ("a", "finished")]


def test_a_worker_that_lost_its_gpu_is_replaced(tmp_path, monkeypatch):
    def lost():
        raise RuntimeError("CUDA error: device-side assert triggered")

    broken = {"a"}

    def tried(run, folder, read):
        if folder.name not in broken:
            return Report(name=folder.name, state="finished")
        return Report(name=folder.name, state="failed", error="RuntimeError: CUDA error")

    monkeypatch.setattr(crew, "attempt", tried)
    monkeypatch.setattr(crew, "Hand", Stand)
    monkeypatch.setattr(Stand, "started", 0)
    reports = list(crew.crew(RUNS, tmp_path, 1, 1))
    assert reports[0] == Report(name="a", state="failed", error="RuntimeError: CUDA error")
    assert Stand.started == 1  # the run alone is to blame
    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "synchronize", lost)
    reports = list(crew.crew(RUNS, tmp_path, 1, 1))
    assert [(r.name, r.state) for r in reports] == [
        ("a", "failed"), ("b", "finished"), ("c", "finished"),
    ]  # fmt: skip
    assert Stand.started == 3


def test_a_run_whose_folder_cannot_be_opened_stops_nothing(tmp_path, monkeypatch):
    trials = tuple(Trial(labels={"method": name}, run=run) for name, run in RUNS.items())
    file, locked, fine = (tmp_path / "runs" / folder_name(run) for run in RUNS.values())
    file.parent.mkdir()
    file.write_text("mine")  # where the folder of a run should be
    acquire, read = FileLock.acquire, RunFolder.read_result

    def refused(lock, **options):
        if locked.name in lock.lock_file:
            raise PermissionError(13, "Permission denied", lock.lock_file)
        return acquire(lock, **options)

    monkeypatch.setattr(FileLock, "acquire", refused)
    results = execute(Grid(trials=trials), tmp_path, workers=1, progress=False)
    assert [row.folder for row in results.rows] == [fine] and results.missing == 0
    assert results.failures[locked.name].startswith("PermissionError: ")
    assert f"which could not be written into {file}: File exists" in results.failures[file.name]
    assert file.read_text() == "mine"

    def hidden(folder):
        if folder.path == locked:
            raise PermissionError(13, "Permission denied", str(locked))
        return read(folder)

    monkeypatch.setattr(RunFolder, "read_result", hidden)  # of another user
    results = execute(Grid(trials=trials), tmp_path, workers=1, progress=False)
    assert [row.folder for row in results.rows] == [fine] and results.missing == 0
    assert "Permission denied" in results.failures[locked.name]


def test_a_failure_may_name_a_file_that_is_not_utf_8(tmp_path, monkeypatch, capsys):
    def load(self):
        raise ValueError("bad \udcff.png is no picture")

    monkeypatch.setattr(type(TINY.data), "load", load)
    grid = Grid(trials=(Trial(labels={"method": "x"}, run=TINY),))
    results = execute(grid, tmp_path, workers=1, progress=False)
    said = "ValueError: bad \\udcff.png is no picture"
    assert list(results.failures.values()) == [said]
    assert "\\udcff.png" in capsys.readouterr().out
    written = results.write("one \udcff", provenance("l2b grid \udcff"))
    assert said in written[0].read_text(encoding="utf-8")
    assert said in json.loads(written[1].read_text())["failures"].values()


@pytest.mark.parametrize(("device", "apart"), [("auto", True), ("cpu", False)])
def test_runs_on_a_gpu_have_a_process_of_their_own(device, apart, tmp_path, monkeypatch):
    taken = []
    module = importlib.import_module("l2b.grid.execute")
    monkeypatch.setattr(module, "crew", lambda *a: taken.append(a[3]) or iter(()))
    monkeypatch.setattr(module, "alone", lambda *_: iter(()))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    run = replace(TINY, training=replace(TINY.training, device=device))
    grid = Grid(trials=(Trial(labels={"method": "x"}, run=run),))
    execute(grid, tmp_path, progress=False)
    assert taken == ([1] if apart else [])

"""Stops, kills, damage, full disks, broken numbers: nothing is lost and nothing surprises."""

import itertools
import json
import math
import os
import random
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from conftest import stop_after, weighing
from l2b import files
from l2b.amortise import Amortisation
from l2b.candidates import Triple
from l2b.checkpoint import Checkpoints, Place
from l2b.cli import main
from l2b.experiment import Run
from l2b.files import read_tree, write_atomically, write_tree
from l2b.folder import RunFolder
from l2b.guards import CleanSetGuard, Guards
from l2b.methods.co_teaching import CoTeaching
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.elr import Elr
from l2b.methods.fine_tune import FineTune
from l2b.methods.l2b import L2B
from l2b.methods.mlc import Mlc
from l2b.methods.mw_net import MwNet
from l2b.models.mlp import Mlp
from l2b.notices import Notice
from l2b.optimise import Optimiser
from l2b.pseudo import Temporal
from l2b.signals import STOPPED, Stopped, stop_requests
from l2b.train import Training

SHORT = Run(training=Training(epochs=4, batch=64, clean_batch=40), model=Mlp(hidden=(16,)))
RESULTS = ("model.safetensors", "ledger.safetensors", "metrics.jsonl", "chosen.safetensors")


@pytest.fixture(scope="module")
def data():
    return SHORT.prepare()


@pytest.fixture(autouse=True)
def no_pictures(monkeypatch):
    """Drawing takes longer than training here."""
    monkeypatch.setattr("l2b.report.run_figures", lambda *_: None)


def same_results(left, right):
    for name in RESULTS:
        assert (left / name).read_bytes() == (right / name).read_bytes(), name


# --- stopping -------------------------------------------------------------------------------


VARIANTS = {
    "l2b": weighing(),
    "temporal": weighing(pseudo=Temporal()),
    "amortised": weighing(
        amortise=Amortisation(gradient_every=3, gradient_memory=0.5, weights_every=2)
    ),
    "fine_tune": FineTune(),
    "auto": L2B(warmup="auto"),
    "cross_fit": L2B(start="clean", clean_weight=0.5, cross_fit=True, candidates=Triple()),
    "mw_net": MwNet(),
    "co_teaching": CoTeaching(),
    "elr": Elr(),
}


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_stopped_within_epochs_ends_as_if_never_stopped(name, data, tmp_path, monkeypatch):
    run = replace(SHORT, method=VARIANTS[name], model=Mlp(hidden=(16,), dropout=0.2))
    run.execute(tmp_path / "whole", progress=False, data=data)
    for stop, resume in ((7, False), (18, True), (19, True), (30, True)):
        with monkeypatch.context() as patch:
            terminate_at(patch, type(run.method.build(_task(data))), stop)
            with pytest.raises(Stopped, match="everything is saved"):
                run.execute(tmp_path / "parts", progress=False, data=data, resume=resume)
        torch.manual_seed(99)
    run.execute(tmp_path / "parts", progress=False, data=data, resume=True)
    same_results(tmp_path / "parts", tmp_path / "whole")


def terminate_at(patch, learner, step):
    """Send SIGTERM to this very process while it takes so many steps."""
    steps, taken = itertools.count(1), learner.step

    def terminated(self, batch, clean):
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)
        return taken(self, batch, clean)

    patch.setattr(learner, "step", terminated)


def _task(data):
    from l2b.loop import Loop
    from l2b.methods import Task

    loop = Loop(data, SHORT.model, CrossEntropy(), SHORT.training, 0, None)
    return Task(data=data, epochs=4, network=loop._network_maker(SHORT.model))


def test_sigterm_is_noted_inside_and_put_back_afterwards():
    before = signal.getsignal(signal.SIGTERM)
    with stop_requests() as asked:
        assert not asked()
        os.kill(os.getpid(), signal.SIGTERM)
        assert asked()
    assert signal.getsignal(signal.SIGTERM) is before


def program(*words):
    return [sys.executable, "-m", "l2b", "run", "--quiet", "--model", "mlp", *map(str, words)]


def started(*words):
    return subprocess.Popen(
        program(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )


def wait_for(path, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not list(path.parent.glob(path.name)) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_stopped_program_says_how_to_go_on(tmp_path):
    words = ["--epochs", 200, "--batch", 64, "--out", tmp_path / "run"]
    process = started(*words)
    wait_for(tmp_path / "run" / "checkpoints" / "epoch-*", process)
    process.terminate()
    _, said = process.communicate(timeout=60)
    assert process.returncode == STOPPED == 75
    assert said.startswith("l2b: stopped")
    assert said.endswith("go on with --resume\n")
    assert said.count("\n") == 1
    assert not (tmp_path / "run" / "result.json").exists()


QUICK = ["--epochs", 12, "--batch", 64, "--checkpoint_every", 5]


class Forked:
    """A copy of this very process, with two of the methods of one that was started anew."""

    def __init__(self, process):
        self.process = process

    def kill(self):
        os.kill(self.process, signal.SIGKILL)

    def communicate(self):
        os.waitpid(self.process, 0)


def kill_at_random(start, out, moments):
    """Kill with SIGKILL after so many seconds, again and again; the folder stays readable."""
    for seconds in moments:
        process = start(out)
        time.sleep(seconds)
        process.kill()
        process.communicate()
        RunFolder(out).checkpoints.newest()
        (out / "result.json").unlink(missing_ok=True)  # so that there is something left to do


def test_killed_three_times_ends_bit_identical(data, tmp_path):
    training = replace(SHORT.training, epochs=15, checkpoint_every=5)
    run = replace(SHORT, training=training)

    def start(out):
        process = os.fork()
        if process == 0:
            try:
                run.execute(out, progress=False, data=data, resume=True)
            finally:
                os._exit(0)
        return Forked(process)

    begun = time.monotonic()
    run.execute(tmp_path / "whole", progress=False, data=data)
    length = time.monotonic() - begun
    draw = random.Random(1)
    kill_at_random(start, tmp_path / "parts", [draw.uniform(0, length / 2) for _ in range(3)])
    run.execute(tmp_path / "parts", progress=False, data=data, resume=True)
    same_results(tmp_path / "parts", tmp_path / "whole")
    assert not [p for p in (tmp_path / "parts").rglob("*") if files.PARTIAL in p.name]


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_program_killed_fifty_times_ends_bit_identical(tmp_path):
    words = [*QUICK, "--epochs", 150]

    def seconds(*words):
        begun = time.monotonic()
        subprocess.run(program(*words), check=True, capture_output=True)
        return time.monotonic() - begun

    start = seconds(*QUICK, "--epochs", 1, "--out", tmp_path / "start")
    length = seconds(*words, "--out", tmp_path / "whole")
    draw, out = random.Random(0), tmp_path / "parts"
    # From half-way through the start to a tenth of the training: kills hit all of its parts.
    latest = start + max(0, length - start) / 10
    moments = [draw.uniform(start / 2, latest) for _ in range(50)]
    kill_at_random(lambda out: started(*words, "--resume", "--out", out), out, moments)
    last = subprocess.run(
        program(*words, "--resume", "--out", out), check=True, capture_output=True, text=True
    )
    assert last.stderr == ""
    same_results(out, tmp_path / "whole")


# --- damage ---------------------------------------------------------------------------------


def tree():
    return {
        "t": torch.arange(6.0).view(2, 3),
        "b": torch.tensor([True, False]),
        "e": torch.zeros(0),
        "x": [1, "a", None, {"y": 2.5}],
    }


@pytest.mark.parametrize("every", [8, pytest.param(1, marks=pytest.mark.slow)])
def test_flipped_bits_and_cuts_are_noticed(every, tmp_path):
    path = tmp_path / "x.safetensors"
    write_tree(path, tree())
    whole = path.read_bytes()
    assert str(read_tree(path)) == str(tree())
    for bit in range(0, 8 * len(whole), every):
        damaged = bytearray(whole)
        damaged[bit // 8] ^= 1 << (bit // 8 + bit) % 8
        path.write_bytes(damaged)
        with pytest.raises(ValueError, match="is damaged"):
            read_tree(path)
    for length in range(0, len(whole), every):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="is damaged"):
            read_tree(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(ValueError, match="is damaged"):
        read_tree(path)


def damage(path):
    content = bytearray(path.read_bytes())
    content[-3] ^= 4
    path.write_bytes(content)


def test_the_newest_intact_checkpoint_is_used(data, tmp_path, capsys):
    SHORT.execute(tmp_path / "whole", progress=False, data=data)
    SHORT.execute(tmp_path / "run", progress=False, data=data)
    folder = tmp_path / "run" / "checkpoints"
    assert sorted(p.name for p in folder.glob("epoch*")) == [
        f"epoch-0000{k}.safetensors" for k in (2, 3, 4)
    ]
    damage(folder / "epoch-00004.safetensors")
    damage(folder / "epoch-00003.safetensors")
    with pytest.warns(Notice, match=r"newer file .* is damaged: going on .* after epoch 2\."):
        SHORT.execute(tmp_path / "run", progress=False, data=data, resume=True)
    same_results(tmp_path / "run", tmp_path / "whole")
    damage(folder / "ledger-00003.safetensors")
    with pytest.warns(Notice, match="after epoch 3"):
        SHORT.execute(tmp_path / "run", progress=False, data=data, resume=True)
    same_results(tmp_path / "run", tmp_path / "whole")
    damage(folder / "ledger-00000.safetensors")
    with pytest.warns(Notice, match=r"ledger of epoch 1 .* counts as unseen"):
        again = SHORT.execute(tmp_path / "run", progress=False, data=data, resume=True)
    assert again.outcome.ledger.alpha[0].isnan().all()
    assert not again.outcome.ledger.alpha[1].isnan().all()
    for path in folder.glob("epoch*"):
        damage(path)
    with pytest.raises(ValueError, match=r"All 3 checkpoints .* damaged: .* --overwrite"):
        SHORT.execute(tmp_path / "run", progress=False, data=data, resume=True)


def test_a_damaged_step_costs_only_the_steps_since_its_epoch(tmp_path):
    checkpoints = Checkpoints(tmp_path / "c")
    checkpoints.write(Place(0, 5), {"x": 1}, keep=2)
    assert checkpoints.newest() == (0, 5)
    for epoch in range(1, 5):
        checkpoints.write_row(epoch - 1, {"loss": torch.zeros(2)})
        checkpoints.write(Place(epoch, 0), {"x": epoch}, keep=2)
    checkpoints.write(Place(4, 3), {"x": 43}, keep=2)
    checkpoints.write(Place(4, 6), {"x": 46}, keep=2)
    assert checkpoints.places() == [(4, 6), (4, 0), (3, 0)]
    assert checkpoints.read(checkpoints.newest()) == {"x": 46}
    damage(tmp_path / "c" / "epoch-00004.safetensors")  # which the steps build upon
    with pytest.warns(Notice, match=r"after epoch 3\."):
        assert checkpoints.newest() == (3, 0)
    (tmp_path / "c" / ".epoch-00009.77.partial.safetensors").write_text("half")
    with pytest.warns(Notice):
        checkpoints.newest()
    assert not list((tmp_path / "c").glob(".*"))


# --- disks ----------------------------------------------------------------------------------


def test_a_full_disk_ends_in_one_line_and_harms_nothing(data, tmp_path, capfd):
    out = tmp_path / "run"
    with pytest.raises(Stopped):
        stopped_after_two_epochs(data, out)
    before = {p: p.read_bytes() for p in out.rglob("*.safetensors")}
    words = ["--config", str(out / "run.yaml"), "--out", str(out), "--resume", "--quiet"]
    process = os.fork()
    if process == 0:
        try:
            signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
            resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
            os._exit(main(["run", *words]))
        finally:
            os._exit(99)
    assert os.waitstatus_to_exitcode(os.waitpid(process, 0)[1]) == 2
    said = capfd.readouterr().err
    assert said.count("\n") == 1
    assert "Could not write" in said
    assert "what was written before is intact" in said
    assert {p: p.read_bytes() for p in out.rglob("*.safetensors")} == before
    assert main(["run", *words]) == 0


def stopped_after_two_epochs(data, out):
    written = RunFolder.write_metrics

    def stopping(self, history):
        written(self, history)
        if len(history) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunFolder, "write_metrics", stopping)
        SHORT.execute(out, progress=False, data=data)


def test_a_failed_write_names_the_file_and_the_reason(tmp_path):
    def full(path):
        path.write_text("half")
        raise OSError(28, "No space left on device")

    target = tmp_path / "x.json"
    target.write_text("old")
    with pytest.raises(OSError, match=r"Could not write .*x.json \(No space left on device\)"):
        write_atomically(target, full)
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["x.json"]


def test_a_read_only_folder_is_refused_before_training(data, tmp_path, monkeypatch, capsys):
    def refuse(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "touch", refuse)
    assert main(["run", "--out", str(tmp_path / "run"), "--epochs", "1", "--quiet"]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"l2b: Cannot write into the folder {tmp_path / 'run'} (Permission denied): choose "
        "another --out.\n"
    )


def test_what_cannot_begin_removes_nothing(data, tmp_path, capsys):
    import numpy as np

    y = np.arange(90) % 3
    x = np.random.default_rng(0).normal(size=(90, 4)) + y[:, None]
    mine = tmp_path / "mine.npz"
    np.savez(mine, x_train=x, y_train=y, clean_index=np.arange(30))
    words = ["--data", "arrays", "--path", str(mine), "--noise", "none", "--model", "mlp",
             "--clean", "12", "--batch", "16", "--epochs", "2", "--quiet", "--out",
             str(tmp_path / "run")]  # fmt: skip
    assert main(["run", *words]) == 0
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    assert main(["run", *words, "--overwrite", "--batch", "500"]) == 2
    assert main(["run", *words, "--overwrite", "--model", "conv_net"]) == 2
    assert main(["run", *words, "--overwrite", "--augment", "crop_flip"]) == 2  # in the first step
    mine.unlink()
    assert main(["run", *words, "--overwrite"]) == 2
    assert main(["run", *words, "--resume"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 5
    assert "There is no file" in said
    assert {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()} == before


def test_overwriting_leaves_what_is_no_run_and_what_people_made(data, tmp_path):
    figures = tmp_path / "figures"
    figures.mkdir()
    (figures / "thesis.png").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"holds figures and no run \(run\.yaml\)"):
        SHORT.execute(tmp_path, progress=False, data=data, overwrite=True)
    assert (figures / "thesis.png").read_bytes() == b"mine"
    figures.rename(tmp_path / "audit")
    with pytest.raises(FileExistsError, match=r"holds audit and no run"):
        SHORT.execute(tmp_path, progress=False, data=data, overwrite=True)
    assert (tmp_path / "audit" / "thesis.png").exists()
    out, short = tmp_path / "run", replace(SHORT, training=replace(SHORT.training, epochs=1))
    short.execute(out, progress=False, data=data, figures=False)
    for number in (1, 2):
        (out / "audit").mkdir()
        (out / "audit" / "next.csv").write_text(f"decided {number}")
        with pytest.warns(
            Notice, match=rf"audit of the run that is replaced is in .*audit-{number}"
        ):
            short.execute(out, progress=False, data=data, overwrite=True, figures=False)
        assert (out / f"audit-{number}" / "next.csv").read_text() == f"decided {number}"
    assert not (out / "audit").exists()


def test_nothing_goes_on_from_other_samples_or_from_what_nobody_knows(data, tmp_path, monkeypatch):
    stop_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        SHORT.execute(tmp_path, progress=False, data=data)
    monkeypatch.undo()
    with pytest.raises(ValueError, match="made with other samples than this data set gives now"):
        SHORT.execute(tmp_path, progress=False, data=replace(data, std=2 * data.std), resume=True)
    with pytest.raises(ValueError, match="made with other samples than this data set gives now"):
        SHORT.execute(tmp_path, progress=False, data=replace(data, data_hash="0"), resume=True)
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state = checkpoints.read(Place(2, 0))
    del state["watch"]
    checkpoints.write(Place(2, 0), state, keep=3)
    with pytest.raises(ValueError, match="made by another version of l2b"):
        SHORT.execute(tmp_path, progress=False, data=data, resume=True)
    (tmp_path / "run.yaml").unlink()
    with pytest.raises(ValueError, match=r"holds checkpoints and no run\.yaml"):
        SHORT.execute(tmp_path, progress=False, data=data, resume=True)


def test_the_time_of_a_run_is_that_of_all_its_processes(data, tmp_path, monkeypatch):
    stop_after(monkeypatch, 2)
    with pytest.raises(KeyboardInterrupt):
        SHORT.execute(tmp_path, progress=False, data=data)
    monkeypatch.undo()
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    state = checkpoints.read(Place(2, 0))
    checkpoints.write(Place(2, 0), {**state, "seconds": 1000.0}, keep=3)
    again = SHORT.execute(tmp_path, progress=False, data=data, resume=True)
    assert 1000 < again.record["seconds"] < 1500
    assert checkpoints.read(Place(4, 0))["seconds"] > 1000


def test_what_was_told_is_not_told_again_after_an_interruption(data, tmp_path, monkeypatch):
    wrong = replace(data.clean, labels=(data.clean.labels + 1) % 10)
    data = replace(data, clean=wrong)
    run = replace(SHORT, method=CrossEntropy(), training=replace(SHORT.training, epochs=8))
    with pytest.warns(Notice, match="clean set looks wrong"):
        run.execute(tmp_path / "whole", progress=False, data=data)
    stop_after(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt), pytest.warns(Notice, match="clean set looks wrong"):
        run.execute(tmp_path / "parts", progress=False, data=data)
    monkeypatch.undo()
    run.execute(tmp_path / "parts", progress=False, data=data, resume=True)
    rows = [(tmp_path / name / "metrics.jsonl").read_bytes() for name in ("whole", "parts")]
    assert rows[0] == rows[1]


# --- numbers --------------------------------------------------------------------------------


def spoiled(data, rows):
    """The same data with inputs that overflow in float32 at these rows of the training pool."""
    inputs = data.train.inputs.clone().float()
    inputs[rows] = torch.finfo(torch.float32).max
    return replace(data, train=replace(data.train, inputs=inputs))


@pytest.mark.parametrize("method", [CrossEntropy(), weighing()], ids=["cross_entropy", "l2b"])
def test_broken_batches_are_skipped_and_their_samples_named(method, data):
    run = replace(SHORT, method=method)
    with pytest.warns(Notice, match=r"of 19 steps had a loss or gradient .* look at sample"):
        found = run.execute(progress=False, data=spoiled(data, [5])).outcome
    position = data.train.index[5].item()
    named = [row["skipped_samples"] for row in found.history if "skipped_samples" in row]
    assert named
    assert all(samples == [position] for samples in named)
    assert all(row["skipped_steps"] == 1 for row in found.history if "skipped_steps" in row)
    for row in found.history:  # L2B soon learns to give such a sample no weight at all
        assert found.ledger.loss[row["epoch"], 5].isnan() == ("skipped_steps" in row)
    assert found.history[-1]["test_loss"] < found.history[0]["test_loss"]
    assert found.history[-1]["test_accuracy"] > 0.5
    assert all(p.isfinite().all() for p in found.learner.network.module.parameters())


@pytest.mark.parametrize("method", [MwNet(warmup=0), Mlc(warmup=0)], ids=["mw_net", "mlc"])
def test_broken_batches_leave_what_is_taught_beside_the_model_alone(method, data):
    run = replace(SHORT, method=method)
    with pytest.warns(Notice, match=r"of 19 steps had a loss or gradient .* look at sample"):
        found = run.execute(progress=False, data=spoiled(data, [5])).outcome
    assert any("skipped_steps" in row for row in found.history)
    taught = found.learner.taught
    assert all(p.isfinite().all() for p in taught.module.parameters())
    assert all(v.isfinite().all() for s in taught.optimiser.state.values() for v in s.values())
    assert all(p.isfinite().all() for p in found.learner.network.module.parameters())
    assert found.history[-1]["test_loss"] < found.history[0]["test_loss"]


def test_broken_batches_stop_a_run_that_says_so(data, tmp_path):
    training = replace(SHORT.training, guards=Guards(non_finite="stop"))
    run = replace(SHORT, method=CrossEntropy(), training=training)
    position = data.train.index[5].item()
    with pytest.raises(FloatingPointError, match=rf"sample {position} \(positions in the data set"):
        run.execute(tmp_path / "run", progress=False, data=spoiled(data, [5]))


def test_a_loss_that_is_infinite_ends_nothing(data, tmp_path, monkeypatch):
    run = replace(SHORT, method=CrossEntropy(), training=replace(SHORT.training, epochs=2))
    far = spoiled(replace(data, train=data.test), range(60)).train
    bad = replace(data, test=far)
    with pytest.warns(Notice, match=r"Epoch [12]: the test loss is infinite.* look there"):
        with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
            stop_after(patch, 1)
            run.execute(tmp_path / "run", progress=False, data=bad)
        found = run.execute(tmp_path / "run", progress=False, data=bad, resume=True).outcome
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["test_loss"] for line in lines] == [None, None]
    assert [row["test_loss"] for row in found.history] == [math.inf, math.inf]
    sound = run.execute(progress=False, data=data).outcome.history
    for row, same in zip(found.history, sound, strict=True):
        assert row["test_accuracy"] == pytest.approx(same["test_accuracy"], abs=60 / len(far))
        assert row["train_loss"] == same["train_loss"]


def test_patience_ends(data):
    training = replace(SHORT.training, guards=Guards(patience=3), clip=None,
                       optimiser=Optimiser(lr=1e30))  # fmt: skip
    run = replace(SHORT, method=CrossEntropy(), training=training)
    with pytest.raises(FloatingPointError, match=r"in epoch 1, for 3 steps in a row: lower"):
        run.execute(progress=False, data=data)
    with pytest.raises(ValueError, match="patience must be at least 1 step, got 0"):
        Guards(patience=0)


def test_silent_weights_are_reported_with_advice(data):
    from l2b.normalise import ObservedOnly, PositiveShare

    class Silent(PositiveShare):
        def __call__(self, scores):
            return torch.zeros_like(scores)

    run = replace(SHORT, method=weighing(normalise=ObservedOnly(then=Silent())))
    with pytest.warns(Notice, match=r"in 19 of 19 batches all weights were zero.*Enlarge"):
        history = run.execute(progress=False, data=data).outcome.history
    assert "notices" not in history[0]
    assert "notices" in history[1]


def test_a_clean_set_with_wrong_labels_is_reported(data):
    wrong = (data.clean.labels + 1) % 10
    clean = replace(data.clean, labels=wrong)
    run = replace(SHORT, training=replace(SHORT.training, epochs=8), method=CrossEntropy())
    with pytest.warns(Notice, match=r"The clean set looks wrong: after epoch 4 .* of its labels"):
        run.execute(progress=False, data=replace(data, clean=clean))


def test_a_clean_set_is_judged_by_what_classes_count():
    labels = torch.tensor([0, 0, 1, 2, -1])
    assert CleanSetGuard(labels, "balanced").chance == pytest.approx(1 / 3)
    assert CleanSetGuard(labels, (1.0, 6.0, 0.0)).chance == pytest.approx(6 / 8)


def test_a_clean_set_is_judged_seldom_and_once():
    guard = CleanSetGuard(torch.tensor([0, 0, 1, 2]))
    assert guard.chance == 0.5
    assert [e for e in range(20) if guard.due(e, 20)] == [0, 1, 3, 7, 15, 19]
    guard.start = 1.0
    assert guard.judge(1, 0.0, 9.0, steers=True) is None  # too early
    assert guard.judge(3, 0.6, 0.9, steers=True) is None
    assert guard.judge(3, 0.6, 1.1, steers=False) is None  # overfitting is not its fault
    assert "went from 1 to 1.1" in guard.judge(3, 0.6, 1.1, steers=True)
    assert not guard.due(7, 20)

"""Several processes equal one: weights, parameters, ledger, stops."""

import itertools
import os
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from torch import nn

import l2b
from conftest import weighing
from l2b import collectives
from l2b.amortise import Amortisation
from l2b.augment import CropFlip, Identity
from l2b.candidates import Triple
from l2b.cli import main
from l2b.data import prepare
from l2b.datasets.base import Source, Split
from l2b.engines import LastLayer
from l2b.experiment import Run
from l2b.feed import Feed
from l2b.files import read_tree, write_tree
from l2b.folder import RunFolder
from l2b.launch import launch
from l2b.lookahead import OptimiserStep
from l2b.methods.bootstrap import Bootstrap
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.fine_tune import FineTune
from l2b.methods.gold_correction import GoldCorrection
from l2b.methods.l2b import L2B
from l2b.methods.mw_net import MwNet
from l2b.methods.pooled import Pooled
from l2b.models.base import Model
from l2b.models.mlp import Mlp
from l2b.noise.mask import Mask
from l2b.normalise import PerClass, PerRegion, PerSample, Softmax
from l2b.optimise import Optimiser
from l2b.overlap import Dice
from l2b.pseudo import MovingAverage, SelfLabels, Temporal
from l2b.train import Training, check, fit
from l2b.types import Cases

HERE = Path(__file__)


@dataclass(frozen=True, kw_only=True)
class Wide(Model):
    """A model whose numbers are float64."""

    model: Model

    def build(self, shape, classes):
        return self.model.build(shape, classes).double()

    def suited(self, *, masks):
        return self


TRAINING = Training(
    epochs=3, batch=48, clean_batch=40, clip=0.5, device="cpu", threads=1,
    optimiser=Optimiser(lr=0.05),
)  # fmt: skip
METHODS = {
    "l2b": weighing(),
    "published": L2B(pseudo=SelfLabels(), lookahead=OptimiserStep(), warmup=0),
    "softmax_temporal": weighing(
        normalise=Softmax(temperature=0.5), pseudo=Temporal(), engine=LastLayer()
    ),
    "amortised": weighing(
        normalise=PerSample(), amortise=Amortisation(gradient_every=2, weights_every=2)
    ),
    "cross_entropy": CrossEntropy(),
    "bootstrap": Bootstrap(),
    "pooled": Pooled(),
    "fine_tune": FineTune(),
    "gold_correction": GoldCorrection(),
    "per_class": weighing(normalise=PerClass(balanced=True), candidates=Triple(), clean_weight=0.5),
    "clean_start": L2B(start="clean", clean_weight=0.0, cross_fit=False),
    "cross_fit": L2B(warmup=1, clean_weight=0.5),
    "mixup": L2B(warmup=1, mixup=1.0),
    "cross_fit_start": L2B(start="clean", clean_weight=0.2, cross_fit=True),
    "masks": weighing(normalise=PerRegion()),
}


@dataclass(frozen=True, kw_only=True)
class Fields(Model):
    """A model of masks whose images do not touch each other: no batch statistics."""

    def build(self, shape, classes):
        wide = nn.Conv2d(shape[0], 8, 3, padding=1)
        return nn.Sequential(wide, nn.Tanh(), nn.Conv2d(8, classes, 3, padding=1))

    def suited(self, *, masks):
        return self


def masks():
    """Bright squares, two slices a patient, masks with noise."""
    draw = torch.Generator().manual_seed(0)
    true = torch.zeros(24, 12, 12, dtype=torch.int64)
    for mask in true:
        y, x = torch.randint(0, 6, (2,), generator=draw).tolist()
        mask[y : y + 5, x : x + 6] = 1
    inputs = true.unsqueeze(1) + 0.3 * torch.randn(24, 1, 12, 12, generator=draw)
    cases = Cases(
        of=torch.arange(24) // 2,
        names=tuple(f"patient {k}" for k in range(12)),
        spacing=torch.ones(12, 3),
        patient=torch.arange(12),
    )
    source = Source(
        train=Split(inputs, true, cases), test=None, classes=("nothing", "square"),
        mean=inputs.mean(), std=inputs.std(),
    )  # fmt: skip
    return prepare(source, Mask(dice=None), clean=5, validation=0.2, seed=0)


def trained(name, out, dtype):
    """One run, in this process or as one of several."""
    method, _, variant = name.partition("+")
    changes = {
        "": {},
        "long": {"epochs": 8},  # 200 steps
        "gentle": {"epochs": 8, "optimiser": Optimiser(lr=0.005)},
        "augmented": {"augment": CropFlip(padding=1)},
        # One process takes the whole batch, several take their shares in pieces.
        "pieces": {"accumulate": 3 if collectives.ranks() > 1 else 1},
    }
    training = replace(TRAINING, **changes[variant])
    if method == "masks":
        data, model = masks(), Fields()
        changed = {"batch": 4, "clean_batch": 4, "overlap": Dice(), "extra_clean_step": True}
        training = replace(training, **changed)
    else:
        data, model = Run(seed=1).prepare(), Mlp(hidden=(24,))
    if dtype == "float64":
        mean, std = data.mean.double().reshape(-1), data.std.double().reshape(-1)
        data, model = replace(data, mean=mean, std=std), Wide(model=model)
    out.mkdir(parents=True, exist_ok=True)
    outcome = fit(
        data, model, METHODS[method], training, seed=1, folder=RunFolder(out), progress=False
    )
    if collectives.rank() == 0:
        found = {
            "state": outcome.learner.network.module.state_dict(),
            "ledger": outcome.ledger.state_dict(),
            "history": outcome.history,
        }
        write_tree(out / "all", found)


def together(count, code, *words, tmp_path):
    """Run code in so many processes that meet through a file; all have to end well."""
    running = []
    for rank in range(count):
        own = {
            "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
            "LOCAL_WORLD_SIZE": str(count), "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1",
            collectives.MEETING: str(tmp_path / "meeting"),
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *sys.path]),
        }  # fmt: skip
        words_of_program = [sys.executable, "-c", code, *map(str, words)]
        running.append(
            subprocess.Popen(
                words_of_program, env={**os.environ, **own}, stderr=subprocess.PIPE, text=True
            )
        )
    said = [process.communicate(timeout=280)[1] for process in running]
    assert [process.returncode for process in running] == [0] * count, "\n".join(said)


TRAIN = """
import sys
from pathlib import Path
import test_processes
from l2b import collectives
collectives.start(cpu=True)
if collectives.ranks() == 2:
    test_processes.check_the_drop_in()
    test_processes.check_the_teacher()
for name in sys.argv[3:]:
    test_processes.trained(name, Path(sys.argv[1]) / name, sys.argv[2])
collectives.stop()
assert not test_processes.threads_of_the_group(), "an abort at the end of the process may follow"
"""


def threads_of_the_group():
    """Names of this process's threads that serve the other processes; on Linux."""
    names = [task.joinpath("comm").read_text() for task in Path("/proc/self/task").glob("*")]
    return [name for name in names if "gloo" in name]


def check_the_drop_in():
    """In one of two processes: unequal parts of a batch are weighed like the whole."""
    model, inputs, labels, clean, clean_labels = drop_in_problem()
    rank = collectives.rank()
    own, clean_own = (slice(*cuts[rank:][:2]) for cuts in ([0, 5, 12], [0, 2, 9]))
    w = l2b.weigh(model, inputs[own], labels[own], clean[clean_own], clean_labels[clean_own])
    with collectives.alone():
        whole = l2b.weigh(model, inputs, labels, clean, clean_labels)
    assert torch.allclose(w.alpha, whole.alpha[own], rtol=1e-12)
    assert torch.allclose(w.beta, whole.beta[own], rtol=1e-12)
    total = collectives.total(w.alpha.sum() + w.beta.sum())
    assert abs(total.item() - 1) < 1e-12
    assert collectives.anywhere(rank == 1)
    assert collectives.from_first([3 + rank, 4]) == [3, 4]
    memory = Temporal().build(model, samples=12)
    memory.update(model, model(inputs[own]), torch.arange(12)[own])
    assert memory.visits.tolist() == [1] * 12
    unused, used = nn.Parameter(torch.ones(2)), nn.Parameter(torch.zeros(3))
    used.grad = torch.full((3,), float(rank))
    collectives.average_gradients([used, unused])
    assert used.grad.tolist() == [0.5] * 3
    assert unused.grad is None


def check_the_teacher():
    """In one of two processes: running statistics of the average are those of the first."""
    inputs = drop_in_problem()[1].float()
    with torch.random.fork_rng():
        torch.manual_seed(2)
        module = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3))
    teacher, own = (MovingAverage().build(module) for _ in range(2))
    for step in range(3):
        z = module(inputs + step + 5 * collectives.rank())
        teacher.update(module, z, None)
        with collectives.alone():
            own.update(module, z, None)
    one, other = (torch.cat([b.flatten() for b in t.average.buffers()]) for t in (teacher, own))
    first, second = collectives.gathered(one).tensor_split(2)
    assert torch.equal(first, second)
    assert torch.equal(one, other) == (collectives.rank() == 0)


def compare(count, names, dtype, limit, tmp_path):
    """Train in one process and in several; parameters, weights and metrics have to agree."""
    together(count, TRAIN, tmp_path / "many", dtype, *names, tmp_path=tmp_path)
    for name in names:
        trained(name, tmp_path / "one" / name, dtype)
        one, many = (read_tree(tmp_path / side / name / "all") for side in ("one", "many"))
        for key, value in one["state"].items():
            off = (many["state"][key] - value).abs().max() / value.abs().max()
            assert off < limit, f"{name}: {key} is off by {off:.1e}"
        for key, entries in one["ledger"].items():
            # The entries are float16: a rounding may fall on the other side.
            torch.testing.assert_close(
                many["ledger"][key], entries, rtol=2e-3, atol=1e-4, equal_nan=True
            )
        for row, same in zip(many["history"], one["history"], strict=True):
            assert row.keys() == same.keys()
            assert row == pytest.approx(same, rel=1e-4)


def test_two_processes_equal_one_in_double_precision(tmp_path):
    names = ["l2b+long", "softmax_temporal", "cross_entropy+augmented", "per_class+pieces", "masks",
             "cross_fit", "mixup+pieces"]  # fmt: skip
    compare(2, names, "float64", 1e-10, tmp_path)


@pytest.mark.slow
def test_two_processes_equal_one_in_single_precision(tmp_path):
    compare(2, ["l2b+gentle"], "float32", 1e-5, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("count", [2, 4])
def test_every_method_is_the_same_on_several_processes(count, tmp_path):
    compare(count, [*METHODS, "l2b+long"], "float64", 1e-10, tmp_path)


@pytest.mark.slow
def test_four_processes_equal_one_in_single_precision(tmp_path):
    compare(4, ["l2b+gentle"], "float32", 1e-5, tmp_path)


def drop_in_problem():
    """A model with a noisy and a clean batch, in float64, the same in every process."""
    draw = torch.Generator().manual_seed(0)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 3)).double()
    inputs = torch.randn(12, 4, generator=draw, dtype=torch.float64)
    clean = torch.randn(9, 4, generator=draw, dtype=torch.float64)
    labels, clean_labels = (torch.randint(3, (n,), generator=draw) for n in (12, 9))
    return model, inputs, labels, clean, clean_labels


WORDS = ["run", "--model", "mlp", "--batch", "64", "--clean_batch", "40", "--quiet"]


def launched(out, *more, model="mlp", epochs=12):
    """A program of two processes, under way."""
    words = [model if word == "mlp" else word for word in WORDS]
    words += ["--epochs", str(epochs), "--out", str(out), "--launch", "2", *more]
    return subprocess.Popen(
        [sys.executable, "-m", "l2b", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def stop_under_way(process, out):
    """Send SIGTERM once there is a checkpoint; the whole program has to end as one."""
    deadline = time.monotonic() + 120
    while not list(out.glob("checkpoints/epoch-*")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    open_to_others = listening(process.pid)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 75, said
    assert re.fullmatch(r"l2b: stopped .*; go on with --resume\n", said)
    assert not open_to_others


def listening(parent):
    """Addresses other than loopback at which the children of a process listen."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    if not children.exists():
        pytest.skip("this system does not tell which sockets a process has")
    inodes = set()
    for pid in children.read_text().split():
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with suppress(FileNotFoundError):  # closed since
                held = os.readlink(link)  # noqa: PTH115
                inodes |= {held[8:-1]} if held.startswith("socket:[") else set()
    rows = [row.split() for name in ("tcp", "tcp6")
            for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]  # fmt: skip
    local = ("0100007F", "00000000000000000000000001000000", "0000000000000000FFFF00000100007F")
    return [row[1] for row in rows
            if row[3] == "0A" and row[9] in inodes and not row[1].startswith(local)]  # fmt: skip


@pytest.mark.slow
def test_two_stop_and_one_goes_on(tmp_path):
    out = tmp_path / "run"
    stop_under_way(launched(out), out)
    assert main([*WORDS, "--epochs", "12", "--out", str(out), "--resume"]) == 0
    assert len((out / "metrics.jsonl").read_text().splitlines()) == 12
    ledger = read_tree(out / "ledger.safetensors")
    assert ((~ledger["alpha"].isnan()).sum(dim=1) == 19 * 64).all()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "words", "epochs"),
    [("mlp", [], 12), ("conv_net", ["--model.width", "4", "--warmup", "1"], 4)],
    ids=["without_batch_norm", "batch_norm"],
)
def test_two_stopped_and_resumed_are_as_if_never_stopped(model, words, epochs, tmp_path):
    for name in ("whole", "parts"):
        process = launched(tmp_path / name, *words, model=model, epochs=epochs)
        if name == "parts":
            stop_under_way(process, tmp_path / name)
            process = launched(tmp_path / name, *words, "--resume", model=model, epochs=epochs)
        said = process.communicate(timeout=200)[1]
        assert process.returncode == 0, said
    for name in ("model.safetensors", "ledger.safetensors", "metrics.jsonl"):
        whole, parts = ((tmp_path / side / name).read_bytes() for side in ("whole", "parts"))
        assert whole == parts, name


@pytest.mark.slow
def test_a_launched_mistake_is_told_once(tmp_path, capfd):
    odd = [*WORDS, "--batch", "63", "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main([*odd, "--launch", "2"]) == 2
    said = capfd.readouterr().err
    assert said == (
        "l2b: training.batch must be a multiple of the 2 processes, got 63: each takes an equal "
        "part of it. Set it to 62.\n"
    )


def test_a_mistake_that_the_first_process_finds_late_is_told_once(tmp_path, capfd, monkeypatch):
    program = tmp_path / "python"
    program.write_text('#!/bin/sh\n[ "$RANK" = 0 ] && sleep 2\necho "l2b: no." >&2\nexit 2\n')
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert launch([], 2) == 2
    assert capfd.readouterr().err == "l2b: no.\n"


def test_shares_of_a_batch_make_up_the_whole():
    settings = {"data": Run().prepare(), "batch": 48, "clean_batch": 40, "seed": 3}
    balanced = Run(imbalance=5, class_weight="balanced").prepare()
    sets = (settings, {**settings, "data": balanced, "clean_batch": 24})
    for of, augment in itertools.product(sets, (Identity(), CropFlip(padding=1))):
        whole = next(Feed(**of, augment=augment).epoch(1))
        shares = [next(Feed(**of, augment=augment, ranks=4, rank=r).epoch(1)) for r in range(4)]
        for name in ("index", "inputs", "labels"):
            for k, pair in enumerate(zip(*shares, strict=True)):
                joined = torch.cat([getattr(share, name) for share in pair])
                assert torch.equal(joined, getattr(whole[k], name))
    with pytest.raises(ValueError, match=r"multiple of the 5 processes, got 48.* Set it to 45\."):
        Feed(**settings, augment=Identity(), ranks=5)
    with pytest.raises(ValueError, match=r"clean_batch must be a multiple of the 16 .* to 32"):
        Feed(**settings, augment=Identity(), ranks=16)
    with pytest.raises(ValueError, match="Start fewer processes"):
        Feed(**settings, augment=Identity(), ranks=64)


def test_methods_not_known_to_agree_are_refused(tmp_path, monkeypatch):
    data = Run().prepare()
    monkeypatch.setattr(collectives, "ranks", lambda: 2)
    monkeypatch.setattr(collectives, "rank", lambda: 0)
    with pytest.raises(ValueError, match=r"Learner is not known to give on several processes"):
        fit(data, Mlp(), MwNet(), TRAINING, seed=0, folder=RunFolder(tmp_path), progress=False)


def test_synchronised_batch_statistics_are_refused(tmp_path, monkeypatch):
    @dataclass(frozen=True, kw_only=True)
    class Synchronised(Model):
        def build(self, shape, classes):
            layers = nn.Flatten(), nn.SyncBatchNorm(64), nn.Linear(64, classes)
            return nn.Sequential(*layers)

    data = Run().prepare()
    words = data, Synchronised(), L2B(), replace(TRAINING, epochs=1)
    fit(*words, seed=0, progress=False)  # alone it is plain BatchNorm
    monkeypatch.setattr(collectives, "ranks", lambda: 2)
    monkeypatch.setattr(collectives, "rank", lambda: 0)
    with pytest.raises(ValueError, match=r"batch statistics of '1' .* Use nn.GroupNorm"):
        fit(*words, seed=0, folder=RunFolder(tmp_path), progress=False)


def test_what_replaces_a_run_is_checked_without_its_folder(monkeypatch):
    words = Run().prepare(), Mlp(), L2B(), TRAINING
    monkeypatch.setattr(collectives, "ranks", lambda: 2)
    monkeypatch.setattr(collectives, "rank", lambda: 0)
    check(*words, seed=0)  # as --overwrite does, before the folder is cleared
    with pytest.raises(ValueError, match=r"batch must be a multiple of the 2 processes, got 47"):
        check(*words[:3], replace(TRAINING, batch=47), seed=0)
    with pytest.raises(ValueError, match="Several processes need a run folder"):
        fit(*words, seed=0, progress=False)


def test_what_cannot_be_launched_is_refused_in_one_line(tmp_path, capsys, monkeypatch):
    words = [*WORDS, "--epochs", "1", "--out", str(tmp_path / "run")]
    assert main([*words, "--launch", "0"]) == 2
    assert "--launch must be at least 1 process, got 0" in capsys.readouterr().err
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert main([*words, "--launch", "2"]) == 2
    assert "a launcher has started this one already" in capsys.readouterr().err
    assert main(words) == 2
    said = capsys.readouterr().err
    assert "RANK must be the number of this process, from 0, where WORLD_SIZE is set, got " in said
    with monkeypatch.context() as patch:
        patch.setenv("RANK", "0")
        patch.setenv("LOCAL_WORLD_SIZE", "2")
        patch.setattr(torch.cuda, "is_available", lambda: True)
        patch.setattr(torch.cuda, "device_count", lambda: 1)
        assert main(words) == 2
        said = capsys.readouterr().err
        assert "must be at most its GPUs, 1, got 2" in said and "--device cpu" in said
    for name in ("FSDP", "DeepSpeed"):
        with monkeypatch.context() as patch:
            patch.setenv(f"ACCELERATE_USE_{name.upper()}", "true")
            for processes in ("1", "2"):
                patch.setenv("WORLD_SIZE", processes)
                assert main(words) == 2
                assert f"Sharded parameters ({name}) are not" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()

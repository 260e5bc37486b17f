"""Samples that stay on disk: the same results, bounded memory, damage told in one line."""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2b.audit.subject import read_subject
from l2b.cli import main
from l2b.datasets.array_folder import ArrayFolder
from l2b.datasets.arrays import Arrays
from l2b.datasets.base import moments
from l2b.experiment import Run
from l2b.methods.l2b import L2B
from l2b.models.conv_net import ConvNet
from l2b.models.mlp import Mlp
from l2b.noise.instance_dependent import InstanceDependent
from l2b.noise.none import NoNoise
from l2b.on_disk import RowsOnDisk
from l2b.train import Training


def problem(shape=(6,), dtype=np.float32):
    """Samples of three classes, the first 60 of them checked, by name of their array."""
    draw = np.random.default_rng(0)
    y = draw.integers(0, 3, 400)
    x = draw.normal(100, 20, (400, *shape)) + 30 * y.reshape(-1, *[1] * len(shape))
    x = x.clip(0, 255).astype(dtype)
    observed = np.where(draw.random(400) < 0.3, (y + 1) % 3, y)
    return {
        "x_train": x[:300], "y_train": observed[:300], "y_true": y[:300],
        "x_test": x[300:], "y_test": y[300:], "clean_index": np.arange(60),
    }  # fmt: skip


def written(root, arrays):
    root.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(root / f"{name}.npy", array)
    return root


RUN = Run(noise=InstanceDependent(rate=0.2), clean=30, method=L2B(warmup=1, clean_weight=1.0),
          training=Training(epochs=3, batch=64, clean_batch=10, device="cpu"))  # fmt: skip


@pytest.mark.parametrize(
    ("shape", "dtype", "model"),
    [((6,), np.float32, Mlp()), ((3, 8, 8), np.uint8, ConvNet(width=4)), ((6,), ">f8", Mlp())],
)
def test_streamed_training_is_that_in_memory_bit_for_bit(shape, dtype, model, tmp_path):
    arrays = problem(shape, dtype)
    whole = {n: a.astype(np.float32) if a.dtype.kind == "f" else a for n, a in arrays.items()}
    np.savez(tmp_path / "a.npz", **whole)
    run = replace(RUN, model=model)
    for name, data in (
        ("memory", Arrays(path=tmp_path / "a.npz")),
        ("disk", ArrayFolder(root=written(tmp_path / "a", arrays))),
    ):
        replace(run, data=data).execute(tmp_path / name, progress=False)
    for file in ("model.safetensors", "ledger.safetensors", "metrics.jsonl"):
        disk, memory = ((tmp_path / side / file).read_bytes() for side in ("disk", "memory"))
        assert disk == memory, file


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A file of samples, and the tensor that it holds."""
    path = tmp_path_factory.mktemp("stored") / "x.npy"
    array = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    np.save(path, array)
    return path, torch.from_numpy(array)


CHOICE = st.one_of(
    st.tuples(st.just("rows"), st.lists(st.integers(0, 10**6), max_size=60)),
    st.tuples(st.just("mask"), st.integers(0, 2**50)),
    st.tuples(st.just("slice"), st.tuples(st.integers(-60, 60), st.integers(-60, 60),
                                         st.integers(1, 4))),
    st.tuples(st.just("piece"), st.tuples(st.integers(1, 60), st.integers(0, 10**6))),
)  # fmt: skip


def chosen(tensor, kind, value):
    size = len(tensor)
    if kind == "rows":
        return tensor[torch.tensor([v % size for v in value] if size else [], dtype=torch.int64)]
    if kind == "mask":
        return tensor[torch.tensor([bool(value >> k & 1) for k in range(size)], dtype=torch.bool)]
    if kind == "slice":
        return tensor[slice(*value)]
    parts = tensor.split(value[0])
    return parts[value[1] % len(parts)] if parts else tensor


@given(choices=st.lists(CHOICE, max_size=4))
def test_taking_rows_reads_nothing_and_gives_what_a_tensor_gives(stored, choices):
    path, expected = stored
    rows = RowsOnDisk(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RowsOnDisk, "read", lambda _: pytest.fail("rows were read"))
        for choice in choices:
            rows, expected = chosen(rows, *choice), chosen(expected, *choice)
        assert rows.shape == expected.shape
        assert isinstance(rows, RowsOnDisk)
        assert f"({len(expected)}, 3)" in repr(rows)
    assert torch.equal(rows.read(), expected)


def test_computing_with_rows_gives_ordinary_tensors(stored):
    path, tensor = stored
    rows = RowsOnDisk(path)
    for found, expected in [
        (rows.double(), tensor.double()),
        (rows - tensor.mean(0), tensor - tensor.mean(0)),
        (rows[7], tensor[7]),
        (rows[-1], tensor[-1]),
        (rows[:, 1], tensor[:, 1]),
        (rows[2:5, None], tensor[2:5, None]),
        (torch.cat([rows, rows]), torch.cat([tensor, tensor])),
        (torch.stack(list(rows)), tensor),
        (torch.from_numpy(rows.numpy()), tensor),
        (torch.tensor(rows[:, :9].tolist()), tensor),
    ]:
        assert type(found) is torch.Tensor
        assert torch.equal(found, expected)
    assert all(map(torch.equal, moments(rows), moments(tensor)))
    for wrong in (torch.tensor([50]), torch.tensor([-1])):
        with pytest.raises(IndexError):
            rows[wrong]
    with pytest.raises(IndexError):
        rows[50]


def test_a_run_on_files_is_told_audited_and_resumed(tmp_path, capsys):
    root = written(tmp_path / "a", problem())
    words = ["run", "--data", "array_folder", "--root", str(root), "--noise", "existing",
             "--clean", "30", "--model", "mlp", "--batch", "64", "--quiet",
             "--annotation", "observed", "--method", "as_published",
             "--out", str(tmp_path / "run")]  # fmt: skip
    assert main([*words, "--epochs", "2"]) == 0
    assert main([*words, "--epochs", "2", "--resume"]) == 0
    assert isinstance(read_subject(tmp_path / "run").source.train.inputs, RowsOnDisk)
    assert main(["audit", str(tmp_path / "run")]) == 0
    capsys.readouterr()
    with (root / "x_train.npy").open("r+b") as file:
        file.truncate(2000)
    assert main([*words, "--epochs", "2", "--resume"]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "x_train.npy cannot be read as .npy" in said


GROWTH = """
import sys, threading, time
from pathlib import Path
from l2b.datasets.array_folder import ArrayFolder
from l2b.datasets.arrays import Arrays
from l2b.experiment import Run
from l2b.models.mlp import Mlp
from l2b.noise.none import NoNoise
from l2b.train import Training
place, most = Path(sys.argv[1]), 0

def watch():
    global most
    while True:
        with open("/proc/self/status") as status:
            own = next(line for line in status if line.startswith("RssAnon"))
        most = max(most, int(own.split()[1]))
        time.sleep(0.002)

threading.Thread(target=watch, daemon=True).start()
data = ArrayFolder(root=place) if place.is_dir() else Arrays(path=place)
training = Training(epochs=2, batch=500, clean_batch=50, device="cpu", threads=1)
Run(data=data, noise=NoNoise(), model=Mlp(hidden=(8,)), clean=50, training=training).execute(
    Path(sys.argv[2]), progress=False, figures=False
)
print(most)
"""


def peak(place, out):
    """MiB that a run holds at most in a process of its own, without pages of mapped files.

    Large blocks go back to the system when they are freed. Without a fixed threshold, glibc raises
    it as it learns sizes, keeps what is free, and the same run differs by up to 50 MiB.
    """
    found = subprocess.run(
        [sys.executable, "-c", GROWTH, str(place), str(out)],
        capture_output=True, text=True, check=True,
        env=os.environ | {"MALLOC_MMAP_THRESHOLD_": "131072"},
    )  # fmt: skip
    return int(found.stdout) / 1024


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc on this system")
def test_memory_does_not_grow_with_the_samples_on_disk(tmp_path):
    width, few, many = 1024, 5_000, 45_000
    data = (many - few) * width * 4 / 2**20  # MiB
    peaks = {}
    for rows in (few, many):
        y = np.arange(rows) % 4
        x = np.zeros((rows, width), np.float32)
        x[np.arange(rows), y] = 1
        arrays = {"x_train": x, "y_train": y, "clean_index": np.arange(400)}
        place = written(tmp_path / str(rows), arrays)
        np.savez(tmp_path / f"{rows}.npz", **arrays)
        peaks[rows] = peak(place, tmp_path / f"disk{rows}")
    in_memory = [peak(tmp_path / f"{rows}.npz", tmp_path / f"memory{rows}") for rows in peaks]
    assert in_memory[1] - in_memory[0] > data  # that is what the test would see
    assert peaks[many] - peaks[few] < data / 16


def folder(**changes):
    """Load a folder in which these files are changed: another array, bytes, or None for none."""

    def load(root):
        for name, made in {**problem(), **changes}.items():
            if isinstance(made, bytes):
                (root / f"{name}.npy").write_bytes(made)
            elif made is not None:
                np.save(root / f"{name}.npy", made, allow_pickle=True)
        replace(RUN, data=ArrayFolder(root=root), noise=NoNoise()).prepare()

    return load


def spoiled(row, value=np.nan, dtype=np.float32):
    x = problem(dtype=dtype)["x_train"]
    x[row, 1] = value
    return x


HEADER = b"\x93NUMPY\x01\x00\x76\x00{'descr': '<f4', 'fortran_order': False, 'shape': (%s, 6), }"
WRONG = {
    "no folder": (
        lambda t: ArrayFolder(root=t / "none").load(), "There is no folder", "np.save"
    ),
    "no samples": (folder(x_train=None), "x_train.npy is missing", "must hold x_train.npy"),
    "no test labels": (folder(y_test=None), "y_test.npy is missing", "both of x_test and y_test"),
    "unknown file": (folder(z=np.zeros(3)), "z.npy is unknown", "may hold x_test.npy"),
    "no array": (folder(x_train=b"hello"), "x_train.npy cannot be read as .npy", "Write it with"),
    "empty": (folder(x_train=b""), "x_train.npy cannot be read as .npy", "Write it with"),
    "cut off": (
        folder(x_train=(HEADER % b"300").ljust(128) + bytes(100)), "x_train.npy cannot be", "cut"
    ),
    "lying": (
        folder(x_train=(HEADER % str(2**62).encode()).ljust(128)), "x_train.npy cannot be", "cut"
    ),
    "objects": (folder(x_train=np.array([{}] * 300)), "Python objects, which are refused", "Write"),
    "label objects": (folder(y_train=np.array([{}] * 300)), "y_train.npy cannot", "are refused"),
    "flat": (folder(x_train=np.zeros(300)), "got the shape (300,)", "one row per sample"),
    "channels last": (
        folder(x_train=np.zeros((300, 8, 8, 3), np.uint8)), "channels come second", "x.transpose(0,"
    ),
    "integers": (folder(x_train=np.zeros((300, 6), int)), "got int64", ".astype('float32')"),
    "too few labels": (folder(y_train=np.arange(299) % 3), "299 labels", "exactly one"),
    "other test": (folder(x_test=np.zeros((100, 5), np.float32)), "got (5,)", "look like x_train"),
    "nan": (folder(x_train=spoiled(299)), "sample 299, column 1, which is nan", "fill or drop"),
    "too large": (
        folder(x_train=spoiled(7, 1e60, float), x_test=np.zeros((100, 6))),
        "first in sample 7, column 1, which is 1e+60", "float32"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", WRONG)
def test_damage_is_told_in_one_line(name, tmp_path):
    provoke, came, todo = WRONG[name]
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        provoke(tmp_path)
    said = str(caught.value)
    assert "\n" not in said
    assert came in said
    assert todo in said


def test_a_file_that_changes_under_a_run_is_told(tmp_path):
    path = written(tmp_path, problem()) / "x_train.npy"
    rows = RowsOnDisk(path)[torch.arange(5)]
    np.save(path, np.zeros((300, 7), np.float32))
    with pytest.raises(ValueError, match=r"x_train.npy was replaced .* \(6,\) .* now holds \(7,\)"):
        rows.read()
    path.unlink()
    with pytest.raises(FileNotFoundError, match="There is no file"):
        rows.read()

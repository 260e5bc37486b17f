"""Files from elsewhere run nothing, read and write nothing outside, and nothing listens."""

import csv
import gzip
import io
import pickle
import re
import socket
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from l2b.checkpoint import Checkpoints
from l2b.cli import main
from l2b.config import parse
from l2b.datasets.arrays import Arrays
from l2b.datasets.table import Table
from l2b.experiment import Run
from l2b.files import read_tree, write_tree
from l2b.folder import RunFolder, read_module
from l2b.models.mlp import Mlp
from l2b.noise.matrix import Matrix
from l2b.volumes import read_nifti

SOURCE = Path(__file__).parents[1] / "src" / "l2b"


class Evil:
    """Leaves a file behind when it is unpickled."""

    def __init__(self, mark):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


@pytest.fixture
def mark(tmp_path):
    """A file that exists once something was executed."""
    path = tmp_path / "executed"
    yield path
    assert not path.exists(), "something in a file was executed"


def object_npz(path, mark):
    np.savez(path, x_train=np.array([Evil(mark)] * 3, dtype=object), y_train=np.arange(3))


def test_pickles_are_never_opened(tmp_path, mark):
    evil = pickle.dumps(Evil(mark))
    object_npz(tmp_path / "a.npz", mark)
    np.save(tmp_path / "m.npy", np.array([[Evil(mark)]], dtype=object), allow_pickle=True)
    torch.save({"x": Evil(mark)}, tmp_path / "t.safetensors")
    (tmp_path / "p.safetensors").write_bytes(evil)
    with pytest.raises(ValueError, match="Python objects, which are refused"):
        Arrays(path=tmp_path / "a.npz").load()
    with pytest.raises(ValueError, match="cannot be read as a matrix"):
        Matrix(path=tmp_path / "m.npy").transition(2)
    for name in ("t", "p"):
        path = tmp_path / f"{name}.safetensors"
        with pytest.raises(ValueError, match="is damaged"):
            read_tree(path)
        with pytest.raises(ValueError, match="does not hold the parameters"):
            read_module(Mlp().build((4,), 2), path)
    folder = RunFolder(tmp_path / "run")
    folder.checkpoints.path.mkdir(parents=True)
    (folder.checkpoints.path / "epoch-00001.safetensors").write_bytes(evil)
    with pytest.raises(ValueError, match="damaged"):
        folder.checkpoints.newest()


def test_no_source_opens_pickles():
    for path in SOURCE.rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"allow_pickle=True|pickle\.load|yaml\.(unsafe_|full_)?load\(", text
        ), path
        assert not re.search(r"\b(eval|exec)\(", text.replace(".eval(", "")), path
        for call in re.findall(r"torch\.load\([^)]*\)", text):
            assert "weights_only=True" in call, path


def test_settings_run_nothing(tmp_path, mark):
    for tag in ("!!python/object/apply:os.system", "!!python/name:os.system", "!!python/module:os"):
        with pytest.raises(ValueError, match="plain YAML"):
            parse(Run, [], f"seed: {tag} ['touch {mark}']")
    bomb = "a0: &a0 [x, x]\n" + "".join(
        f"a{k}: &a{k} [{', '.join([f'*a{k - 1}'] * 9)}]\n" for k in range(1, 30)
    )
    with pytest.raises(ValueError, match="alias"):
        parse(Run, [], bomb)


def test_archives_that_would_fill_the_memory_are_refused(tmp_path):
    path = tmp_path / "bomb.npz"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x_train.npy", b"")
    content = bytearray(path.read_bytes())
    at = content.rindex(b"PK\x01\x02")  # the directory announces what the entry unpacks to
    content[at + 24 : at + 28] = (2**32 - 2).to_bytes(4, "little")
    path.write_bytes(content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("l2b.datasets.arrays.physical_memory", lambda: 2**31)
        with pytest.raises(ValueError, match=r"to 4\.0 GiB, more than the 2\.0 GiB of memory"):
            Arrays(path=path).load()


def nifti(path, shape, voxels):
    """A NIfTI file whose header announces a shape, and which holds so many bytes of voxels."""
    header = pytest.importorskip("nibabel").Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(shape)
    header["magic"], header["vox_offset"] = b"n+1", 352
    with gzip.open(path, "wb") as file:
        file.write(header.binaryblock + bytes(4) + bytes(voxels))
    return path


def test_volumes_that_would_fill_the_memory_are_refused(tmp_path):
    assert read_nifti(nifti(tmp_path / "a.nii.gz", (4, 5, 6), 120)).voxels.shape == (4, 5, 6)
    for name, shape, voxels, said in [
        ("wide", (2000, 2000, 2000), 10, r"at most 536,870,912 voxels, got 2000 × 2000 × 2000: .*"),
        ("deep", (4, 5, 6), 2**24, r"to the 472 bytes that its header announces, got more: .*"),
        ("cut", (4, 5, 6), 119, r"cannot be read as NIfTI .* damaged or cut off"),
    ]:
        path = nifti(tmp_path / f"{name}.nii.gz", shape, voxels)
        with pytest.raises(ValueError, match=rf"{name}\.nii\.gz .*{said}") as caught:
            read_nifti(path)
        assert "\n" not in str(caught.value)


def test_archives_cannot_write_outside(tmp_path):
    path = tmp_path / "in" / "slip.npz"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        file = io.BytesIO()
        np.save(file, np.zeros((3, 2)))
        archive.writestr("../../escaped.npy", file.getvalue())
    with pytest.raises(ValueError, match="escaped is unknown"):
        Arrays(path=path).load()
    assert [p.name for p in tmp_path.rglob("*")] == ["in", "slip.npz"]


@pytest.mark.parametrize("name", ["../secret.png", "{}/secret.png", "a/../../secret.png"])
def test_tables_cannot_name_images_outside_their_folder(name, tmp_path):
    inside = tmp_path / "photos"
    (inside / "a").mkdir(parents=True)
    for path in (tmp_path / "secret.png", inside / "a" / "own.png"):
        Image.new("RGB", (4, 4)).save(path)
    listed = [name.format(tmp_path), "a/own.png"]
    (inside / "t.csv").write_text(
        "image,label\n" + "".join(f"{n},{k}\n" for k, n in enumerate(listed))
    )
    table = Table(path=inside / "t.csv", label="label", image="image", size=4)
    with pytest.raises(ValueError, match="lies outside the folder"):
        table.load()


def test_links_in_a_run_folder_are_not_followed_when_it_is_replaced(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    out = tmp_path / "run"
    out.mkdir()
    (out / "figures").symlink_to(tmp_path / "mine")
    (out / "run.yaml").write_text("seed: 0")
    RunFolder(out).open(resume=False, overwrite=True)
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    assert not (out / "figures").exists()


FORMULAS = ("=1+1", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "<script>alert(1)</script>",
            "</script><img src=x onerror=alert(1)>", '"><b>')  # fmt: skip


def test_names_from_a_table_run_neither_in_a_spreadsheet_nor_in_a_page(tmp_path, capsys):
    rows = [(f"{FORMULAS[k % 8]} {k}", FORMULAS[k % 2], k % 2, k % 3 == 0) for k in range(60)]
    with (tmp_path / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("name", "label", "x", "checked"), *rows])
    words = ["audit", "--csv", str(tmp_path / "t.csv"), "--label", "label", "--clean", "checked",
             "--id", "name", "--out", str(tmp_path / "run"), "--epochs", "2",
             "--quiet"]  # fmt: skip
    assert main(words) == 0, capsys.readouterr().err
    written = list((tmp_path / "run").rglob("*.csv"))
    assert written
    for path in written:
        with path.open(newline="") as file:
            for row in csv.reader(file):
                assert not any(cell.startswith(("=", "+1", "@", "\t")) for cell in row), (path, row)
    page = (tmp_path / "run" / "audit" / "audit.html").read_text(encoding="utf-8")
    for text in ("<script>alert", "<img src=x", "onerror=alert(1)>", '"><b> '):
        assert text not in page


def test_a_run_opens_no_socket(tmp_path, monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("a socket was used")

    for name in ("bind", "connect", "connect_ex", "listen", "sendto"):
        monkeypatch.setattr(socket.socket, name, refuse)
    words = ["--model", "mlp", "--epochs", "1", "--batch", "256", "--quiet"]
    assert main(["run", *words, "--out", str(tmp_path / "run")]) == 0
    assert main(["audit", str(tmp_path / "run")]) == 0


def test_checkpoints_are_found_by_their_exact_names_only(tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoints = Checkpoints(folder)
    folder.mkdir()
    for name in ("epoch-../../x.safetensors".replace("/", "_"), "epoch-1e9.safetensors", "epoch-1"):
        write_tree(folder / "x.safetensors", {"x": 1})
        (folder / "x.safetensors").replace(folder / name)
    assert checkpoints.places() == []

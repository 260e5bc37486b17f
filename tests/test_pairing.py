"""What compared runs of a grid have in common, and what they learned from."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from l2b.data import prepare
from l2b.datasets.array_folder import ArrayFolder
from l2b.datasets.arrays import Arrays
from l2b.datasets.digits import Digits
from l2b.experiment import Run
from l2b.fingerprint import data_hash
from l2b.grid import cross, execute
from l2b.grid.markdown import document
from l2b.grid.pairing import in_common, mixtures, warning
from l2b.grid.results import Results, Row
from l2b.methods.clean_only import CleanOnly
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.gold_correction import GoldCorrection
from l2b.models.mlp import Mlp
from l2b.models.resnet import Resnet
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.notices import Notice
from l2b.overview import write_overview
from l2b.provenance import provenance
from l2b.train import Training

PAIRED = "paired by seed (equal noise, split and initial values)"
METHODS = {"cross_entropy": {"method": CrossEntropy()}, "clean_only": {"method": CleanOnly()}}


def arrays(path: Path, shift: float = 0.0) -> Arrays:
    draw, y = np.random.default_rng(0), np.arange(80) % 2
    x = draw.normal(size=(80, 3)) + y[:, None] + shift
    np.savez(path, x_train=x[:60], y_train=y[:60], clean_index=np.arange(20), x_test=x[60:],
             y_test=y[60:])  # fmt: skip
    return Arrays(path=path)


def test_runs_of_other_data_are_not_paired_and_it_is_said(tmp_path):
    base = Run(data=arrays(tmp_path / "a.npz"), noise=NoNoise(), clean=20, model=Mlp(hidden=(4,)),
               training=Training(epochs=1, batch=8))  # fmt: skip
    home = tmp_path / "grid"
    both = cross(base, {"method": METHODS}, (0, 1))
    first = cross(base, {"method": {"clean_only": METHODS["clean_only"]}}, (0, 1))
    execute(first, home, workers=1, progress=False)
    same = execute(replace(both, trials=both.trials[:2]), home, workers=1, progress=False)
    same.write("t", provenance("c"))
    assert PAIRED in (home / "results.md").read_text(encoding="utf-8")

    arrays(tmp_path / "a.npz", shift=0.1)  # the same labels
    mixed = execute(both, home, workers=1, progress=False)
    with pytest.warns(Notice, match=r"learned from different data, .* clean_only \(seeds 0, 1\)"):
        mixed.write("t", provenance("c"))
    text = (home / "results.md").read_text(encoding="utf-8")
    assert "**Warning:** Runs with the same settings learned from different data" in text
    assert "cross_entropy (seed 1) from" in text
    assert "paired by seed (equal initial values)." in text
    rows = json.loads((home / "results.json").read_text())["rows"]
    assert len({row["data_hash"] for row in rows}) == 2
    assert len({row["noise_hash"] for row in rows}) == 1
    page = write_overview([home]).read_text(encoding="utf-8")
    assert "learned from different data" in page


def told(axis, entries, **record):
    """Results of made-up runs, which differ on one axis."""
    grid = cross(Run(), {axis: entries}, (0, 1), compare=axis)
    rows = tuple(
        Row(
            labels=t.labels, seed=t.run.seed, folder=Path(), record={"last_accuracy": 0.5, **record}
        )
        for t in grid.trials
    )
    return Results(grid=grid, folder=Path(), rows=rows, failures={}, missing=0)


@pytest.mark.parametrize(
    ("axis", "entries", "common"),
    [
        ("method", METHODS, ["noise", "split", "initial values"]),
        ("method", {**METHODS, "gold": {"method": GoldCorrection()}}, ["noise", "split"]),
        ("method",
         {str(w): {"method": GoldCorrection(clean_weight=w)} for w in (1, 2)},
         ["noise", "split", "initial values"]),
        ("clean", {"50": {"clean": 50}, "60": {"clean": 60}}, ["noise", "initial values"]),
        ("noise", {"a": {"noise": NoNoise()}, "b": {"noise": Symmetric(rate=0.2)}},
         ["split", "initial values"]),
        ("model", {"a": {"model": Mlp()}, "b": {"model": Resnet()}}, ["noise", "split"]),
        ("data", {"a": {"data": Digits()}, "b": {"data": Arrays(path=Path("x"))}}, []),
    ],
)  # fmt: skip
def test_only_what_is_equal_is_called_so(axis, entries, common, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("metrics.jsonl").write_text("")
    results = told(axis, entries)
    assert in_common(results) == common
    text = document(results, "t", provenance("c"))
    said = {3: " (equal noise, split and initial values)", 0: ""}
    two = f" (equal {' and '.join(common)})"
    assert f"paired by seed{said.get(len(common), two)}." in text


def test_draws_of_records_without_a_hash_of_the_data_are_compared_by_their_labels():
    results = told("method", METHODS, noise_hash="a" * 64)
    assert warning(results) == ""
    first, *others = results.rows
    other = replace(first, record={**first.record, "noise_hash": "b" * 64})
    (group,) = mixtures(replace(results, rows=(other, *others)))
    assert {found[0]: len(rows) for found, rows in group.items()} == {"a": 1, "b": 1}  # of seed 0
    noises = told("noise", {"a": {"noise": NoNoise()}, "b": {"noise": Symmetric(rate=0.2)}})
    first, *others = noises.rows
    drawn = replace(first, record={**first.record, "noise_hash": "b" * 64})
    assert warning(replace(noises, rows=(drawn, *others))) == ""


def test_a_hash_tells_data_apart_and_nothing_else():
    source = Digits().load()
    found = data_hash(source)
    assert found == data_hash(Digits().load())
    for seed, clean in ((0, 50), (1, 60)):
        data = prepare(source, Symmetric(rate=0.4), clean=clean, validation=0.2, seed=seed)
        assert data.data_hash == found
    inputs, labels = source.train.inputs.clone(), source.test.labels.clone()
    inputs[3, 0, 4, 4] += 1
    labels[7] = (labels[7] + 1) % 10
    others = [
        replace(source, train=source.train._replace(inputs=inputs)),
        replace(source, test=source.test._replace(labels=labels)),
        replace(source, test=None),
        replace(source, trusted=torch.arange(60)),
        replace(source, classes=(*source.classes[:-1], "nine")),
        replace(source, annotations={"weak": source.train.labels}),
    ]
    assert len({found, *map(data_hash, others)}) == 1 + len(others)


def test_samples_in_a_file_are_known_by_some_of_them_and_by_their_moments(tmp_path, monkeypatch):
    y = np.arange(60) % 3
    x = np.random.default_rng(0).normal(size=(60, 4)).astype("float32")
    np.save(tmp_path / "y_train.npy", y)
    found = []
    monkeypatch.setattr("l2b.fingerprint.WHOLE", 500)
    monkeypatch.setattr("l2b.fingerprint.NUMBERS", 40)  # every sixth row
    for row in (None, 6, 7):
        changed = x.copy()
        if row is not None:
            changed[row] += 1
        np.save(tmp_path / "x_train.npy", changed)
        found.append(data_hash(ArrayFolder(root=tmp_path).load()))
    assert len(set(found)) == 3

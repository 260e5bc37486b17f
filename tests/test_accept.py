"""Suggestions that are accepted unseen: what is sure is changed, what is not is left out."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from l2b.audit import accept_suggestions, apply
from l2b.audit.own import audit_own
from l2b.audit.subject import Subject
from l2b.cli import main
from l2b.datasets.table import Table
from l2b.experiment import Run
from l2b.train import Training
from test_audit import audited_parquet


@pytest.fixture
def judged(monkeypatch):
    """Suggests the other of two classes for rows 20 (sure), 21 and 22 (not sure)."""
    original = Subject.table

    def made(self):
        table = original(self)
        suggested, confidence = table.observed.copy(), np.full(len(table), 0.9)
        for row, sure in ((20, 0.5), (21, 0.49), (22, 0.1)):
            place = int(np.flatnonzero(table.index == row)[0])
            suggested[place] = 1 - suggested[place]
            confidence[place] = sure
        return replace(table, suggested=suggested, confidence=confidence)

    monkeypatch.setattr(apply.Subject, "table", made)


def rows_of(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.usefixtures("judged")
def test_a_table_comes_back_without_what_is_not_sure(tmp_path, capsys):
    lines = ["x,kind,ok", *(f"{k % 2 + 0.5},{'ab'[k % 2]},{k < 20}" for k in range(40))]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    table = Table(path=str(tmp_path / "t.csv"), label="kind", clean="ok")
    audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    assert main(["audit", str(tmp_path / "run"), "--apply", "suggestions"]) == 0
    target = tmp_path / "run" / "audit" / "suggested.csv"
    said, note = capsys.readouterr().out.splitlines()
    assert said == f"1 labels changed, 2 left out: {target}"
    assert "rows have moved up where others were left out" in note
    kinds = [row["kind"] for row in rows_of(target)]
    assert kinds == [*"ab" * 10, "b", "b", *"ab" * 8]


@pytest.mark.usefixtures("judged")
def test_so_does_parquet(tmp_path):
    parquet, made, _ = audited_parquet(tmp_path)
    done = accept_suggestions(tmp_path / "run")
    after = parquet.read_table(done.path)
    assert after.schema == made.schema
    assert after["kind"].to_pylist() == [*[0, 1] * 10, 1, 1, *[0, 1] * 8]


def test_suggestions_make_the_labels_of_a_run_better(tmp_path):
    run = Run(training=Training(epochs=12))
    run.execute(tmp_path / "run", progress=False)
    done = accept_suggestions(tmp_path / "run", tmp_path / "there" / "s.csv")
    rows = rows_of(done.path)
    true = run.prepare().train
    right = {int(k): str(int(y)) for k, y in zip(true.index, true.true, strict=True)}
    assert done.changed > 300 and len(rows) == len(true) - done.left_out
    assert np.mean([right[int(row["index"])] == row["label"] for row in rows]) > 0.95


def test_a_run_that_is_not_there(tmp_path, capsys):
    assert main(["audit", str(tmp_path / "none"), "--apply", "suggestions"]) == 2
    assert "holds no finished run" in capsys.readouterr().err

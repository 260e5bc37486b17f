"""The audit: rows and summary, a user's own file in all its states, decisions, the bridge."""

import csv
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from conftest import stop_after
from l2b.audit import (
    apply_decisions,
    audit_own,
    audit_run,
    audit_table,
    for_cleanlab,
    issues_for_cleanlab,
    next_to_check,
)
from l2b.audit.apply import accept_suggestions
from l2b.audit.neighbours import neighbour_agreement
from l2b.audit.summary import (
    against_truth,
    joint_counts,
    summarise,
    transition,
    wrong_probability,
)
from l2b.audit.table import AuditTable, write_table
from l2b.audit.thumbnails import thumbnails
from l2b.cli import main
from l2b.config import dump, load
from l2b.datasets.table import Table
from l2b.decisions import read_decisions
from l2b.engines import LastLayer
from l2b.experiment import Run
from l2b.features import column_features, encoding_from, text_encoding
from l2b.files import read_tree
from l2b.folder import RunFolder
from l2b.methods.as_published import AsPublished
from l2b.methods.clean_only import CleanOnly
from l2b.methods.l2b import L2B
from l2b.models.mlp import Mlp
from l2b.pseudo import Temporal
from l2b.quality import judged_by_checked, knowing_epochs, label_quality
from l2b.tables import TableFile, armed, defused
from l2b.train import Training

WORDS = {
    "sport": "match goal team win player league coach season",
    "food": "bread soup salt oven cook taste butter recipe",
    "=law": "court judge law trial appeal lawyer case verdict",
}
QUICK = ["--epochs", "25"]


def ledger(**changes):
    """Two epochs of four samples: right, wrong, unseen at first, never seen."""
    nan = float("nan")
    made = {
        "alpha": torch.tensor([[1.0, 0.0, nan, nan], [2.0, 0.0, 1.0, nan]]),
        "beta": torch.tensor([[0.0, 1.0, nan, nan], [0.0, 3.0, 0.0, nan]]),
        "pseudo": torch.tensor([[0, 2, -1, -1], [0, 2, 1, -1]], dtype=torch.int16),
        "loss": torch.tensor([[0.1, 4.0, nan, nan], [0.1, 5.0, 0.2, nan]]),
        "observed": torch.tensor([0, 1, 1, 2]),
        "index": torch.tensor([3, 5, 7, 9]),
        "classes": ["a", "b", "c"],
    }
    return {**made, **changes}


def texts(path, *, samples=240, wrong=0.25, clean=45, seed=0, ids=True):
    """A file of short texts, a quarter of them mislabelled; returns which."""
    draw = np.random.default_rng(seed)
    names = list(WORDS)
    true = draw.integers(3, size=samples)
    given = true.copy()
    bad = draw.random(samples) < wrong
    bad[:clean] = False
    given[bad] = (true[bad] + draw.integers(1, 3, size=bad.sum())) % 3
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["key", "text", "topic", "checked"])
        for k in range(samples):
            words = draw.choice(WORDS[names[true[k]]].split(), size=6)
            text = f'{" ".join(words[:3])},\n"{" ".join(words[3:])}"'
            writer.writerow([f"n{k}", text, names[given[k]], "yes" if k < clean else ""])
    return true, given, names


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A user's own file, audited by the command line."""
    folder = tmp_path_factory.mktemp("own")
    true, given, names = texts(folder / "news.csv")
    words = ["audit", "--csv", folder / "news.csv", "--label", "topic", "--text", "text"]
    words += ["--clean", "checked", "--id", "key", "--out", folder / "run", "--quiet", *QUICK]
    assert main(list(map(str, words))) == 0
    return folder, true, given, names


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


# ---- from a ledger to rows


def test_the_reasons_are_those_of_the_ledger():
    table = audit_table(ledger())
    assert table.index.tolist() == [3, 5, 7, 9]
    assert table.suggested.tolist() == [0, 2, 1, 2]
    assert table.suspect.tolist() == [False, True, False, False]
    assert table.alpha.tolist() == [1.5, 0, 1, 0]
    assert table.beta.tolist() == [0, 2, 0, 0]
    assert table.rejected.tolist() == [0, 1, 0, 0]
    assert table.first_rejection.tolist() == [0, 1, 0, 0]
    assert np.isnan(table.neighbours).all()
    assert table.order()[0] == 1
    assert table.key(1) == "5"


def test_neighbours_are_others_that_look_alike():
    draw = torch.Generator().manual_seed(0)
    centres = torch.eye(40)[:2] * 50
    observed = np.array([0] * 30 + [1] * 30)
    inputs = torch.randn(60, 40, generator=draw) + centres[observed]
    observed[4] = 1
    share = neighbour_agreement(inputs, observed)
    assert share[4] == 0
    assert share[np.arange(60) != 4].min() >= 0.9
    assert np.isnan(neighbour_agreement(inputs[:1], observed[:1])).all()
    assert neighbour_agreement(inputs[:2], observed[:2]).tolist() == [1, 1]


def test_the_summary_counts(tmp_path):
    table = audit_table(ledger(true=torch.tensor([0, 2, 1, 2])))
    joint = joint_counts(table)
    assert joint.tolist() == [[1, 0, 0], [0, 1, 0], [0, 1, 1]]
    assert transition(joint).sum(axis=1).tolist() == [1, 1, 1]
    assert transition(np.zeros((2, 2), dtype=int)).tolist() == [[1, 0], [0, 1]]
    found = summarise(table, (np.array([0, 0, 1]), np.array([0, 1, 1])))
    assert 0.2 < found["noise_rate"] < 0.5  # never seen counts as one half
    assert wrong_probability(np.array([0.0, 0.5, 1.0])).tolist() == [1, 0.5, 0]
    assert found["checked"]["share"] == pytest.approx(1 / 3)
    assert found["checked"]["low"] < 1 / 3 < found["checked"]["high"]
    assert found["worst_classes"][0] == {"label": "b", "samples": 2, "suspects": 1, "share": 0.5}
    assert found["frequent_confusions"] == [{"observed": "b", "suggested": "c", "samples": 1}]
    assert found["against_truth"]["auroc"] == 1
    json.dumps(found, allow_nan=False)


def test_precision_is_of_suspects_and_recall_of_wrong_labels():
    """Four suspects, three of them wrong, among five wrong labels; two suggestions are right."""
    nothing = np.zeros(10)
    table = AuditTable(
        classes=("a", "b", "c"), ids=(), index=np.arange(10), observed=np.zeros(10, dtype=int),
        suggested=np.array([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]), quality=nothing, confidence=nothing,
        alpha=nothing, beta=nothing, rejected=nothing, first_rejection=nothing,
        neighbours=nothing, true=np.array([1, 1, 2, 0, 1, 2, 0, 0, 0, 0]),
    )  # fmt: skip
    found = against_truth(table, table.true)
    assert (found["precision"], found["recall"]) == (0.75, 0.6)
    assert (found["suggestions_right"], found["noise_rate"]) == (0.5, 0.5)


@pytest.mark.parametrize(
    ("wrong", "total", "low", "high"),
    [(10, 100, 0.0552, 0.1744), (0, 10, 0.0, 0.2775), (3, 4, 0.3006, 0.9544)],
)
def test_the_interval_of_a_share_is_that_of_the_books(wrong, total, low, high):
    """Wilson's score interval at 95 %, as tables and R's prop.test without correction have it."""
    right = np.zeros(total, dtype=int)
    observed = (np.arange(total) < wrong).astype(int)
    found = summarise(audit_table(ledger()), (observed, right))["checked"]
    assert (found["samples"], found["wrong"]) == (total, wrong)
    assert (found["low"], found["high"]) == (pytest.approx(low, abs=1e-4),
                                             pytest.approx(high, abs=1e-4))  # fmt: skip


@pytest.mark.parametrize(("column", "found"), [("right", (40, 12)), ("marks", None)])
def test_checked_labels_tell_how_many_are_wrong_and_marks_do_not(column, found, tmp_path):
    """Of forty checked rows twelve were labelled wrong; a mark says nothing of the others."""
    draw = np.random.default_rng(0)
    lines = ["x,y,right,marks"]
    for k in range(80):
        right, wrong = "ab"[k % 2], k % 10 in (0, 3, 6)
        given = "ba"[k % 2] if wrong else right
        mark = "yes" if k < 40 and not wrong else ""
        lines.append(f"{draw.normal() + 4 * (k % 2):.3f},{given},{right if k < 40 else ''},{mark}")
    (tmp_path / "t.csv").write_text("\n".join(lines) + "\n")
    table = Table(path=tmp_path / "t.csv", label="y", clean=column)
    audit = audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    checked = audit.summary.get("checked")
    assert (checked and (checked["samples"], checked["wrong"])) == found


def test_least_trusted_come_first_and_of_these_the_surest_suggestions():
    table = replace(
        audit_table(ledger()),
        quality=np.array([0.5, 0.1, 0.1, 0.1]),
        confidence=np.array([0.9, 0.2, 0.8, 0.2]),
    )
    assert table.order().tolist() == [2, 1, 3, 0]  # equal ones in the order of the table


def test_no_cell_is_run_by_a_spreadsheet(tmp_path):
    nasty = ["=1+1", "+cmd", "-2", "@x", "\tx", "plain"]
    assert [armed(defused(cell)) for cell in nasty] == nasty
    assert defused("-2") == "-2"
    quoted = ["'-y z", "'=x", "=x", "''=x", "'quoted'", "'-2"]
    assert [armed(defused(cell)) for cell in quoted] == quoted
    assert len({defused(cell) for cell in quoted}) == len(quoted)
    table = audit_table(ledger(classes=["=a", "@b", "-3"]), ids=("+x", "y", "z", "w"))
    write_table(tmp_path, table)
    found = {row["id"]: row for row in rows_of(tmp_path / "audit.csv")}
    assert found["'+x"]["observed"] == "'=a"
    assert found["y"]["suggested"] == "-3"
    for row in found.values():
        for cell in row.values():
            assert not cell.startswith(("=", "+", "@"))
    parquet = pytest.importorskip("pyarrow.parquet").read_table(tmp_path / "audit.parquet")
    assert set(parquet["observed"].to_pylist()) == {"=a", "@b", "-3"}


def test_thumbnails_are_pictures():
    image = pytest.importorskip("PIL.Image")
    import base64
    import io

    images = torch.randint(256, (3, 3, 100, 60), dtype=torch.uint8)
    images[2] = 255
    found = thumbnails(images, np.array([2, 0]), [0, 1], 0.0, 255.0)
    opened = image.open(io.BytesIO(base64.b64decode(found[0].partition(",")[2])))
    assert opened.size == (29, 48)
    assert opened.getpixel((3, 3)) == (255, 255, 255)


# ---- a run


@pytest.mark.parametrize(
    ("method", "validation", "judges", "extra"),
    [
        (L2B(clean_weight=0.0), 0.2, "clean", False),
        (AsPublished(), 0.2, "clean", False),
        (L2B(), 0.2, "validation", False),
        (L2B(start="clean", clean_weight=0.0), 0.2, "validation", False),
        (CleanOnly(), 0.2, "validation", False),
        (CleanOnly(), 0.0, None, False),
        (AsPublished(), 0.2, "validation", True),
    ],
    ids=repr,
)
def test_a_model_is_judged_only_by_checked_samples_that_it_was_not_trained_on(
    method, validation, judges, extra, tmp_path, monkeypatch
):
    asked = []
    monkeypatch.setattr("l2b.audit.subject.view_of", lambda data, _: asked.append(data.clean.index))
    training = Training(epochs=2, batch=256, extra_clean_step=extra)
    run = Run(training=training, method=method, model=Mlp(hidden=()), validation=validation)
    result = run.execute(tmp_path / "run", progress=False)
    notes = audit_run(tmp_path / "run").subject.notes
    assert any("trained on its clean samples" in n for n in notes) == (judges != "clean")
    ledger = RunFolder(tmp_path / "run").read_ledger()
    pool = getattr(result.data, judges) if judges else None
    assert len(asked) == (pool is not None) and ("clean_accuracy" in ledger) == (pool is not None)
    if pool is not None:
        assert torch.equal(asked[0], pool.index) and ledger["clean_samples"] == len(pool)
        known = torch.tensor([r[f"{judges}_accuracy"] for r in result.outcome.history])
        assert torch.equal(ledger["clean_accuracy"], known)


def test_a_run_is_audited_against_the_truth(tmp_path):
    Run(training=Training(epochs=8)).execute(tmp_path / "run", progress=False)
    found = audit_run(tmp_path / "run")
    assert found.summary["against_truth"]["auroc"] > 0.95
    assert "truth" in (tmp_path / "run/audit/audit.html").read_text()
    rows = rows_of(tmp_path / "run" / "audit" / "audit.csv")
    assert len(rows) == 1247
    quality = [float(row["quality"]) for row in rows]
    assert quality == sorted(quality)
    assert float(rows[0]["neighbours"]) + 1 > 0
    decisions = tmp_path / "decisions.csv"
    decisions.write_text(
        f"index,decision,label\n{rows[0]['index']},accept,{rows[0]['suggested']}\n"
    )
    made = apply_decisions(tmp_path / "run", decisions)
    assert made.changed == 1
    corrected = {row["index"]: row["label"] for row in rows_of(made.path)}
    assert corrected[rows[0]["index"]] == rows[0]["suggested"]
    assert corrected[rows[1]["index"]] == rows[1]["observed"]


def test_an_audit_trains_with_the_cheapest_engine_unless_told_otherwise(tmp_path):
    texts(tmp_path / "news.csv")
    table = Table(path=tmp_path / "news.csv", label="topic", text="text", clean="checked")
    for name, words in (("usual", []), ("told", ["--method=l2b"])):
        settings = [*words, "--epochs", "1"]
        audit_own(table, tmp_path / name, settings=settings, progress=False)
    method = audit_run(tmp_path / "usual").subject.run.method
    judged = {"engine": LastLayer(), "pseudo": Temporal(soft=False), "clean_weight": 0.0}
    assert method == L2B(**judged)
    assert audit_run(tmp_path / "told").subject.run.method == L2B()


def test_an_audit_draws_classes_alike_if_told(tmp_path):
    texts(tmp_path / "news.csv")
    table = Table(path=tmp_path / "news.csv", label="topic", text="text", clean="checked")
    for weight in ("none", "balanced"):
        settings = ["--epochs", "2", "--class_weight", weight]
        audit_own(table, tmp_path / weight, settings=settings, progress=False)
    seen = [read_tree(tmp_path / w / "ledger.safetensors")["alpha"] for w in ("none", "balanced")]
    missed = [alpha.isnan().sum().item() for alpha in seen]
    assert missed[1] > missed[0]  # more than what is left over of an epoch


def test_a_run_whose_data_is_gone_is_still_audited(tmp_path, capsys):
    texts(tmp_path / "news.csv")
    audit_own(
        Table(path=str(tmp_path / "news.csv"), label="topic", text="text", clean="checked"),
        tmp_path / "run", settings=["--epochs", "2"], progress=False,
    )  # fmt: skip
    (tmp_path / "news.csv").rename(tmp_path / "away.csv")
    before = (tmp_path / "run" / "audit" / "audit.csv").read_bytes()
    assert main(["audit", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "cannot be shown" in said and "audit-1 now" in said
    assert (tmp_path / "run" / "audit-1" / "audit.csv").read_bytes() == before
    assert (tmp_path / "run" / "audit" / "audit.csv").read_bytes() != before
    assert main(["audit", str(tmp_path / "run"), "--apply", str(tmp_path / "away.csv")]) == 2
    assert "There is no file" in capsys.readouterr().err


def test_an_audit_elsewhere_says_that_its_data_are_relative(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    texts(tmp_path / "news.csv")
    table = Table(path="news.csv", label="topic", text="text", clean="checked")
    audit_own(table, tmp_path / "run", settings=["--epochs", "1"], progress=False)
    (tmp_path / "else").mkdir()
    monkeypatch.chdir(tmp_path / "else")
    assert main(["audit", str(tmp_path / "run")]) == 0
    said = capsys.readouterr().out
    assert "learns from news.csv, a path relative to the directory that it was started in" in said
    assert f"such as {tmp_path}" in said


# ---- a user's own file


def test_wrong_labels_of_ones_own_texts_are_found(audited):
    folder, true, given, names = audited
    rows = rows_of(folder / "run" / "audit" / "audit.csv")
    assert len(rows) == 240 - 45
    suspect = {row["id"] for row in rows if row["suspect"] == "True"}
    wrong = {f"n{k}" for k in (true != given).nonzero()[0]}
    assert len(suspect & wrong) > 0.9 * len(wrong)
    assert len(suspect - wrong) < 0.1 * len(wrong)
    best = {row["id"]: armed(row["suggested"]) for row in rows}
    assert sum(best[key] == names[true[int(key[1:])]] for key in wrong) > 0.9 * len(wrong)
    assert (folder / "run/audit/audit.html").stat().st_size > 20_000
    summary = json.loads((folder / "run/audit/summary.json").read_text())
    assert abs(summary["noise_rate"] - (true != given)[45:].mean()) < 0.05


def test_checked_labels_are_proposed_and_taken_back_in(audited, capsys):
    folder, true, _, names = audited
    assert main(["audit", str(folder / "run"), "--next", "12"]) == 0
    assert "Fill in the column label" in capsys.readouterr().out
    file = folder / "run" / "audit" / "next.csv"
    rows = rows_of(file)
    assert len(rows) == 12
    assert len({row["suggested"] for row in rows}) == 3
    for row in rows:
        row["label"] = defused(names[true[int(row["id"][1:])]])
    with file.open("w", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    words = ["audit", folder / "run", "--clean", file, "--out", folder / "again", "--quiet", *QUICK]
    assert main(list(map(str, words))) == 0
    again = rows_of(folder / "again" / "audit" / "audit.csv")
    assert len(again) == 240 - 45 - 12
    assert not {row["id"] for row in rows} & {row["id"] for row in again}


def test_labels_that_were_filled_in_are_never_written_over(tmp_path, capsys):
    rows = [f"{k % 2},{k % 2 + k / 100},{k < 20}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["kind,x,ok", *rows]))
    table = Table(path=str(tmp_path / "t.csv"), label="kind", clean="ok")
    audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    first, second, third = (tmp_path / "run/audit" / f"next{n}.csv" for n in ("", "-2", "-3"))

    def propose():
        assert main(["audit", str(tmp_path / "run"), "--next", "3"]) == 0
        return capsys.readouterr().out

    assert f"column label of {first}," in propose()
    assert f"column label of {first}," in propose()  # nothing was filled in
    filled = first.read_text().replace(",,,", ",,1,", 1)
    assert filled != first.read_text()
    first.write_text(filled)
    second.write_text("notes of one's own\n")
    assert f"column label of {third}," in propose()
    assert first.read_text() == filled and second.read_text() == "notes of one's own\n"


def test_an_audit_that_was_stopped_goes_on(tmp_path, monkeypatch, capsys):
    texts(tmp_path / "news.csv", clean=0)  # with stand-ins, which the run's own file knows not of
    words = ["audit", "--csv", tmp_path / "news.csv", "--label", "topic", "--text", "text",
             "--epochs", "6", "--quiet"]  # fmt: skip
    words = list(map(str, words))
    assert main([*words, "--out", str(tmp_path / "whole")]) == 0
    out = ["--out", str(tmp_path / "stopped")]
    with monkeypatch.context() as patched:
        stop_after(patched, 3)
        assert main([*words, *out]) == 130
    assert "go on with --resume" in capsys.readouterr().err
    assert main([*words, *out]) == 2
    assert "--resume" in capsys.readouterr().err
    assert main([*words, *out, "--resume"]) == 0
    whole, again = (tmp_path / name / "audit" / "audit.csv" for name in ("whole", "stopped"))
    assert again.read_bytes() == whole.read_bytes()


@pytest.mark.parametrize("way", ["column", "file"])
def test_corrected_files_hold_what_was_checked_before(way, tmp_path):
    rows = [(k, k % 2, k % 2 + k / 100) for k in range(40)]
    wrong = {0: 0, 1: 1, 4: 0}  # row: its right label, where the other was given
    given = [1 - wrong[k] if k in wrong else kind for k, kind, _ in rows]
    names = "ant", "bee"
    lines = [f"{names[given[k]]},{x},{names[kind] if k < 20 else ''}" for k, kind, x in rows]
    (tmp_path / "t.csv").write_text("\n".join(["kind,x,ok", *lines]))
    checked = "".join(f"{k},{names[kind]}\n" for k, kind, _ in rows[:20])
    (tmp_path / "done.csv").write_text(f"index,label\n{checked}")
    how = {"clean": "ok"} if way == "column" else {"checked": (str(tmp_path / "done.csv"),)}
    table = Table(path=str(tmp_path / "t.csv"), label="kind", **how)
    audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    for done in (
        accept_suggestions(tmp_path / "run"),
        apply_decisions(tmp_path / "run", written(tmp_path / "d.csv", "index,label\n25,ant\n")),
    ):
        after = {k: row["kind"] for k, row in enumerate(rows_of(done.path))}
        assert {k: after[k] for k in wrong} == {k: names[v] for k, v in wrong.items()}
        assert done.changed >= 3
    assert after[25] == "ant" and done.changed == 4


def written(path, text):
    path.write_text(text)
    return path


@pytest.mark.parametrize("more", [(), ("--clean_weight", "1")])  # clean samples only judge, or not
def test_a_table_that_was_edited_since_is_not_corrected(more, tmp_path, capsys):
    rows = [f"{k % 2},{k % 2 + k / 100},{k < 20}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["kind,x,ok", *rows]))
    table = Table(path=str(tmp_path / "t.csv"), label="kind", clean="ok")
    audit_own(table, tmp_path / "run", settings=["--epochs", "2", *more], progress=False)
    moved = [*rows[:20], *rows[21:], rows[20]]
    (tmp_path / "t.csv").write_text("\n".join(["kind,x,ok", *moved]))
    checked = str(written(tmp_path / "d.csv", "index,label\n25,0\n"))
    for words in (["--apply", "suggestions"], ["--clean", checked, "--out", str(tmp_path / "new")]):
        assert main(["audit", str(tmp_path / "run"), *words]) == 2
        assert "the data set has changed since the run" in capsys.readouterr().err


def test_rows_that_change_places_within_a_class_are_noticed(tmp_path, capsys):
    """A file sorted by label, then by text: the labels are where they were, the texts are not."""
    texts(tmp_path / "news.csv", samples=60, clean=0, ids=False)
    rows = sorted(rows_of(tmp_path / "news.csv"), key=lambda row: row["topic"])

    def write(rows):
        with (tmp_path / "t.csv").open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["text", "topic"])
            writer.writerows([row["text"], row["topic"]] for row in rows)

    write(rows)
    table = Table(path=str(tmp_path / "t.csv"), label="topic", text="text")
    audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    assert main(["audit", str(tmp_path / "run"), "--apply", "suggestions"]) == 0
    write(sorted(rows, key=lambda row: (row["topic"], row["text"])))
    capsys.readouterr()
    assert main(["audit", str(tmp_path / "run"), "--apply", "suggestions"]) == 2
    assert "the data set has changed since the run" in capsys.readouterr().err
    older = RunFolder(tmp_path / "run")
    older.write_ledger({k: v for k, v in older.read_ledger().items() if k != "inputs_sha256"})
    assert main(["audit", str(tmp_path / "run"), "--apply", "suggestions"]) == 0


def test_checked_labels_that_were_seen_on_other_rows_are_refused(tmp_path):
    (tmp_path / "t.csv").write_text("key,x,y\nk,1,a\nl,2,b\nm,3,b\nn,4,a\n")

    def checked(rows, **more):
        (tmp_path / "d.csv").write_text(f"{rows}\n")
        made = Table(path=tmp_path / "t.csv", label="y", checked=(str(tmp_path / "d.csv"),), **more)
        return made.labels().checked.tolist()

    assert checked("index,label,observed\n1,a,b\n3,a,b") == [-1, 0, -1, 0]  # one applied, one not
    assert checked("index,label\n2,a") == [-1, -1, 0, -1]
    with pytest.raises(ValueError, match=r"saw sample '0' labelled 'b', but .* labels it 'a'"):
        checked("index,label,observed\n0,b,b")
    with pytest.raises(ValueError, match=r"labelled 'b', .*: give the file that was audited\.$"):
        checked("id,label,observed\nn,b,b", id="key")
    (tmp_path / "first.csv").write_text("index,label\n2,a\n")  # once applied, audited and checked
    (tmp_path / "d.csv").write_text("index,label,observed\n2,c,a\n")
    (tmp_path / "t.csv").write_text("x,y\n1,a\n2,b\n3,b\n4,a\n5,c\n6,c\n")
    files = tuple(str(tmp_path / name) for name in ("first.csv", "d.csv"))
    made = Table(path=tmp_path / "t.csv", label="y", checked=files)
    assert made.labels().checked.tolist() == [-1, -1, 2, -1, -1, -1]


def test_rows_that_moved_up_are_told(tmp_path, monkeypatch, capsys):
    texts(tmp_path / "news.csv", samples=90)
    monkeypatch.setattr("l2b.audit.apply.CONFIDENT", 1.1)  # so that suspects are left out
    for key, told in (("", True), ("key", False)):
        run = tmp_path / f"run{key}"
        file, columns = str(tmp_path / "news.csv"), {"text": "text", "clean": "checked", "id": key}
        audit_own(Table(path=file, label="topic", **columns), run, settings=QUICK, progress=False)
        assert main(["audit", str(run), "--apply", "suggestions"]) == 0
        said = capsys.readouterr().out
        assert "left out" in said and ("rows have moved up" in said) == told


def test_a_folder_of_images_that_was_not_named_stays_that_of_the_file(tmp_path):
    table = Table(path=tmp_path / "t.csv", label="y", image="file")
    assert load(Run, dump(Run(data=table))).data == table


SCANS = "file,y\nd/0.png,a\nd/1.png,b\nd/2.png,a\nd/3.png,b\n"


def scans(tmp_path, text=SCANS, **settings):
    (tmp_path / "scans.csv").write_text(text)
    return Table(path=tmp_path / "scans.csv", label="y", image="file", **settings)


def test_images_go_by_their_files_where_these_differ(tmp_path):
    assert scans(tmp_path).labels().ids == ("d/0.png", "d/1.png", "d/2.png", "d/3.png")
    for other in (SCANS + "d/0.png,a\n", SCANS + ",a\n"):  # one twice, one without
        assert scans(tmp_path, other).labels().ids == ()
    named = SCANS.replace("file,y", "file,y,key").replace(",a\n", ",a,k{}\n")
    numbered = named.format(0, 1).replace(",b\n", ",b,k2\n", 1).replace(",b\n", ",b,k3\n")
    assert scans(tmp_path, numbered, id="key").labels().ids == ("k0", "k2", "k1", "k3")


def test_decisions_about_images_find_them_where_rows_have_moved(tmp_path):
    head, *rows = SCANS.splitlines()
    moved = "\n".join([head, *rows[2:], *rows[:2]]) + "\n"
    decided = tmp_path / "decided.csv"
    decided.write_text("index,id,label,observed\n1,d/1.png,a,b\n")
    found = scans(tmp_path, moved, checked=(str(decided),)).labels()
    assert found.checked.tolist() == [-1, -1, -1, 0]
    decided.write_text("index,label,observed\n1,a,b\n")  # from where they go by row
    assert scans(tmp_path, checked=(str(decided),)).labels().checked.tolist() == [-1, 0, -1, -1]
    for text in ("1,d/9.png,a", "1,d/0.png,a"):  # one that is not there, one that is there twice
        decided.write_text(f"index,id,label\n{text}\n")
        with pytest.raises(ValueError, match=r"names sample 'd/\d\.png', which .* does not have"):
            scans(tmp_path, SCANS + "d/0.png,a\n", checked=(str(decided),)).labels()
    decided.write_text("index,id,label\n0,d/1.png,a\n")  # though another image is there twice
    found = scans(tmp_path, SCANS + "d/0.png,a\n", checked=(str(decided),)).labels()
    assert found.ids == () and found.checked.tolist() == [-1, 0, -1, -1, -1]


def test_corrections_are_not_written_over_what_they_come_from(audited, tmp_path, capsys):
    folder = audited[0]
    decisions = tmp_path / "decisions.csv"
    first = rows_of(folder / "run" / "audit" / "audit.csv")[0]
    decisions.write_text(f"index,label\n{first['index']},{first['suggested']}\n")
    run, mine = str(folder / "run"), folder / "news.csv"
    before = mine.read_bytes(), decisions.read_bytes()
    for words in ([str(decisions), "--out", str(mine)], [str(decisions), "--out", str(decisions)],
                  ["suggestions", "--out", str(mine)]):  # fmt: skip
        assert main(["audit", run, "--apply", *words]) == 2
        assert "is what the labels are corrected from" in capsys.readouterr().err
    assert (mine.read_bytes(), decisions.read_bytes()) == before


def test_decisions_give_a_corrected_file(audited, tmp_path, capsys):
    folder = audited[0]
    rows = rows_of(folder / "run" / "audit" / "audit.csv")
    first, second, third = rows[:3]
    header = "index,id,decision,label,observed\n"
    lines = [
        f"{first['index']},{first['id']},accept,{first['suggested']},{first['observed']}",
        f"{second['index']},{second['id']},keep,{second['observed']},{second['observed']}",
        f"{third['index']},{third['id']},skip,,{third['observed']}",
    ]
    (tmp_path / "decisions.csv").write_text("\ufeff" + header + "\n".join(lines))
    words = ["audit", folder / "run", "--apply", tmp_path / "decisions.csv",
             "--out", tmp_path / "new" / "corrected.csv"]  # fmt: skip
    assert main(list(map(str, words))) == 0
    assert "1 labels changed, 1 confirmed" in capsys.readouterr().out
    before, after = rows_of(folder / "news.csv"), rows_of(tmp_path / "new" / "corrected.csv")
    for old, new in zip(before, after, strict=True):
        assert {k: v for k, v in old.items() if k != "topic"} == {
            k: v for k, v in new.items() if k != "topic"
        }
        expected = armed(first["suggested"]) if old["key"] == first["id"] else old["topic"]
        assert new["topic"] == expected
    for bad, message in {
        "n9999,accept,sport,": "did not audit",
        f"{first['id']},accept,spord,": "did you mean 'sport'",
        f"{first['id']},accept,sport,nothing": "saw sample",
        f"{first['id']},acept,sport,": "did you mean 'accept'",
        f"{first['id']},accept,sport,\n{first['id']},accept,food,": "keep one of the two",
        ",accept,sport,": "label for no sample",
    }.items():
        (tmp_path / "bad.csv").write_text("id,decision,label,observed\n" + bad)
        words = ["audit", folder / "run", "--apply", tmp_path / "bad.csv"]
        assert main(list(map(str, words))) == 2
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert message in said


def test_without_checked_labels_others_stand_in(tmp_path, capsys):
    true, given, _ = texts(tmp_path / "news.csv", clean=0)
    words = ["audit", "--csv", tmp_path / "news.csv", "--label", "topic", "--text", "text",
             "--out", tmp_path / "run", "--quiet", *QUICK]  # fmt: skip
    assert main(list(map(str, words))) == 0
    assert "No label was checked" in capsys.readouterr().out
    rows = rows_of(tmp_path / "run" / "audit" / "audit.csv")
    assert len(rows) == 240
    suspect = {int(row["index"]) for row in rows if row["suspect"] == "True"}
    wrong = set((true != given).nonzero()[0].tolist())
    assert len(suspect & wrong) > 0.8 * len(wrong)


def test_a_run_that_is_stopped_before_its_audit_still_knows_its_stand_ins(
    tmp_path, monkeypatch, capsys
):
    texts(tmp_path / "news.csv", clean=0)
    table = Table(path=str(tmp_path / "news.csv"), label="topic", text="text")
    execute = Run.execute

    def stopped(*words, **options):
        execute(*words, **options)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Run, "execute", stopped)
        audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    assert main(["audit", str(tmp_path / "run")]) == 0
    assert "No label was checked" in capsys.readouterr().out
    assert "clean_accuracy" not in RunFolder(tmp_path / "run").read_ledger()


def test_tables_and_images_train_too(tmp_path):
    draw = np.random.default_rng(0)
    kinds = draw.integers(2, size=120)
    with (tmp_path / "t.csv").open("w", newline="") as file:
        writer = csv.writer(file, delimiter=";")
        writer.writerow(["size", "colour", "name", "label", "ok"])
        for k, kind in enumerate(kinds):
            size = "" if k % 10 == 0 else f"{draw.normal() + 4 * kind:.3f}"
            flag = int(k < 30)
            writer.writerow([size, "red" if kind else "blue", f"nr {k}", f"class {kind}", flag])
    table = Table(path=str(tmp_path / "t.csv"), label="label", clean="ok")
    found = audit_own(table, tmp_path / "a", settings=["--epochs", "4"], progress=False)
    said = "Columns used (2): size, colour. Columns not used: name."
    assert found.subject.notes == (said,)
    assert "colour red" in (tmp_path / "a/audit/audit.html").read_text()
    image = pytest.importorskip("PIL.Image")
    (tmp_path / "photos").mkdir()
    lines = ["file,kind,ok"]
    for k in range(60):
        image.new("RGB", (20, 12), (200 * (k % 2), 90, k)).save(tmp_path / f"photos/{k}.png")
        lines.append(f"{k}.png,{'odd' if k % 2 else 'even'},{int(k < 20)}")
    (tmp_path / "i.csv").write_text("\n".join(lines))
    words = ["audit", "--csv", tmp_path / "i.csv", "--images", tmp_path / "photos", "--label",
             "kind", "--clean", "ok", "--out", tmp_path / "b", "--quiet", "--size", "8",
             "--epochs", "2"]  # fmt: skip
    assert main(list(map(str, words))) == 0
    assert "size: 8\n" in (tmp_path / "b/run.yaml").read_text()
    listed = rows_of(tmp_path / "b" / "audit" / "audit.csv")
    assert all(row["id"] == f"{row['index']}.png" for row in listed)
    assert "data:image/png" in (tmp_path / "b/audit/audit.html").read_text()


def test_images_of_a_folder_are_called_by_their_files(tmp_path, capsys):
    image, draw = pytest.importorskip("PIL.Image"), np.random.default_rng(0)
    for part, count in (("train", 12), ("clean", 5)):
        for level, name in ((40, "cat"), (200, "dog")):
            (tmp_path / "photos" / part / name).mkdir(parents=True)
            for k in range(count):
                pixels = (level + draw.integers(-30, 30, (8, 8, 3))).astype(np.uint8)
                image.fromarray(pixels).save(tmp_path / "photos" / part / name / f"{k}.png")
    out, photos = str(tmp_path / "run"), tmp_path / "photos"
    words = ["run", "--data", "image_folder", "--root", str(photos), "--size", "8", "--noise",
             "none", "--clean", "8", "--epochs", "2", "--batch", "8", "--clean_batch", "4",
             "--out", out, "--quiet"]  # fmt: skip
    assert main(words) == 0 and main(["audit", out, "--next", "3"]) == 0
    rows = rows_of(tmp_path / "run/audit/audit.csv")
    assert {row["id"] for row in rows} == {
        f"train/{name}/{k}.png" for name in ("cat", "dog") for k in range(12)
    }
    assert "image train/dog/7.png" in (tmp_path / "run/audit/audit.html").read_text()
    assert all(row["id"].endswith(".png") for row in rows_of(tmp_path / "run/audit/next.csv"))
    index = next(row["index"] for row in rows if row["id"] == "train/dog/3.png")
    decided = written(tmp_path / "d.csv", "index,id,label\n,train/dog/3.png,cat\n")
    after = rows_of(apply_decisions(tmp_path / "run", decided).path)
    assert {"index": index, "path": "train/dog/3.png", "label": "cat"} in after
    assert sum(row["path"].split("/")[1] != row["label"] for row in after) == 1
    written(decided, "id,label\nclean/dog/1.png,cat\n")
    with pytest.raises(ValueError, match=r"'clean/dog/1\.png', which .* did not audit"):
        apply_decisions(tmp_path / "run", decided)
    written(decided, f"index,id,label\n{index},train/dog/3.png,cat\n{index},,dog\n")
    with pytest.raises(ValueError, match=r"as 'cat' .* and as 'dog' .* keep one of the two rows"):
        apply_decisions(tmp_path / "run", decided)
    photos.rename(tmp_path / "elsewhere")
    written(decided, f"index,id,label\n{index},train/dog/3.png,cat\n")
    after = rows_of(apply_decisions(tmp_path / "run", decided).path)
    assert {"index": index, "label": "cat"} in after


def audited_parquet(folder):
    """A Parquet file with 40 rows of two kinds, audited; the first 20 are checked."""
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    kinds = [k % 2 for k in range(40)]
    made = arrow.table({"x": [k + 0.5 for k in kinds], "kind": arrow.array(kinds, arrow.int8()),
                        "ok": [k < 20 for k in range(40)]})  # fmt: skip
    parquet.write_table(made, folder / "t.parquet")
    table = Table(path=str(folder / "t.parquet"), label="kind", clean="ok")
    audit_own(table, folder / "run", settings=["--epochs", "2"], progress=False)
    return parquet, made, kinds


def test_parquet_goes_in_and_comes_out(tmp_path):
    parquet, made, kinds = audited_parquet(tmp_path)
    (tmp_path / "d.csv").write_text("index,label\n25,0\n")
    done = apply_decisions(tmp_path / "run", tmp_path / "d.csv")
    after = parquet.read_table(done.path)
    assert after.schema == made.schema
    assert after["kind"][25].as_py() == 0
    assert after["kind"].to_pylist()[:25] == kinds[:25]


BAD_FILES = {
    "unknown column": ("text,label\na,b\n", "No column is called 'lable'; did you mean", "lable"),
    "one class": ("text,topic\na,b\nc,b\n", "at least 2 different labels, got 1", "topic"),
    "no rows": ("text,topic\n", "got 0 in 0 rows", "topic"),
    "empty": ("", "is empty: its first line must name the columns", "topic"),
    "ragged": ("text,topic\na,b\nc,d,e\n", "line 3, must have 2 cells", "topic"),
    "open quote": ('text,topic\n"a,b\nc,d\n', "damaged as CSV", "topic"),
    "twice": ("text,text\na,b\n", "two columns called 'text'", "text"),
    "many labels": ("text,topic\n" + "".join(f"a,{k}\n" for k in range(99)), "classes", "topic"),
}


@pytest.mark.parametrize("name", sorted(BAD_FILES))
def test_bad_files_get_one_clear_line(name, tmp_path, capsys):
    content, message, label = BAD_FILES[name]
    (tmp_path / "f.csv").write_text(content)
    words = ["audit", "--csv", tmp_path / "f.csv", "--label", label, "--out", tmp_path / "run"]
    assert main(list(map(str, words))) == 2
    said = capsys.readouterr().err
    assert said.startswith("l2b: ")
    assert said.count("\n") == 1
    assert message in said
    assert not (tmp_path / "run").exists()


def test_repeated_ids_and_odd_bytes_are_refused(tmp_path):
    (tmp_path / "f.csv").write_text("id,x,y\n1,2,a\n1,3,b\n2,3,b\n4,2,a\n")
    with pytest.raises(ValueError, match="different id in every row, got '1' twice"):
        Table(path=tmp_path / "f.csv", label="y", id="id").labels()
    (tmp_path / "g.csv").write_bytes(b"x,y\n\xe9,a\n")
    with pytest.raises(ValueError, match="not UTF-8"):
        Table(path=tmp_path / "g.csv", label="y").labels()
    with pytest.raises(FileNotFoundError, match="There is no file"):
        Table(path=tmp_path / "h.csv", label="y").labels()
    (tmp_path / "i.parquet").write_text("no parquet")
    with pytest.raises(ValueError, match="cannot be read as Parquet"):
        Table(path=tmp_path / "i.parquet", label="y").labels()


MISUSE = {
    "": "needs the folder of a run or --csv",
    "RUN --csv f.csv": "one of the two",
    "--csv f.csv": "--label is required",
    "--csv f.csv --label y --apply d.csv": "--apply needs the folder",
    "RUN --epochs 3": "Nothing is trained here",
    "RUN --label y": "--label describes a file",
    "RUN --ignore x": "--ignore describes a file",
    "--csv f.csv --label y --ignore z": "No column is called 'z'",
    "RUN": "holds no finished run",
    "RUN --out o": "Nothing is trained here, so --out has no meaning",
    "RUN --overwrite": "Nothing is trained here, so --overwrite has no meaning",
    "RUN --apply suggestions --next 3": "leave --next away",
    "RUN --apply suggestions --clean x": "leave --clean away",
    "RUN --apply suggestions --overwrite": "leave --overwrite away",
    "--csv f.csv --label y --clean checked": "Every row of",
    "--csv f.csv --label y --clean z": "neither a column (x, y, checked) nor a file",
    "--csv f.csv --label y --images .": "No column of",
    "--csv f.csv --label y --images nowhere": "There is no folder nowhere",
    "--csv f.csv --label y --size 8": "--size is of images",
    "--csv f.csv --label y --noise symmetric": "settled by the table",
    "--csv f.csv --label y --imbalance 9": "--imbalance is settled by the table",
    "--csv f.csv --label y --text x --image x": "text or image, got both",
    "--csv f.csv --label y --next 0": "--next must lie in [1, 8]",
}


@pytest.mark.parametrize("words", sorted(MISUSE))
def test_misuse_gets_one_clear_line(words, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "f.csv").write_text("x,y,checked\n" + "1,a,yes\n2,b,yes\n" * 4)
    quick = ["--quiet", *(["--out", "out"] if "--csv" in words else [])]
    if "--csv" in words and "--label" in words and "--apply" not in words:
        quick += ["--epochs", "1"]
    assert main(["audit", *words.split(), *quick]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert MISUSE[words] in said


def test_what_clean_columns_may_hold(tmp_path):
    def read(cells):
        lines = [f"{k},{'abc'[k % 3]},{cell}" for k, cell in enumerate(cells)]
        (tmp_path / "f.csv").write_text("x,y,clean\n" + "\n".join(lines))
        return Table(path=tmp_path / "f.csv", label="y", clean="clean").labels().checked.tolist()

    assert read(["1", "0", "1", "0", "0", "0"]) == [0, -1, 2, -1, -1, -1]
    assert read(["True", "", "no", "YES", "", ""]) == [0, -1, -1, 0, -1, -1]
    assert read(["1.0", "0.0", "NA", "1.0", "nan", ""]) == [0, -1, -1, 0, -1, -1]
    assert read(["b", "N/A", "c", "NULL", "", ""]) == [1, -1, 2, -1, -1, -1]
    assert read(["b", "", "c", "", "", ""]) == [1, -1, 2, -1, -1, -1]
    with pytest.raises(ValueError, match="got 'maybe'"):
        read(["1", "0", "maybe", "0", "0", "0"])


@pytest.mark.parametrize(
    ("classes", "marks", "advice"),
    [
        ("01", ["1", "", "0", "1"], "write true and false"),
        ("01", ["0", "0", "1", "1"], "write true and false"),  # every label checked
        ("01", ["1", "1", "1", "1"], "write true and false"),
        ("01", ["1.0", "0.0", "", "1.0"], "write true and false"),  # as pandas fills a gap
        (["True", "False"], ["True", "False", "False", "True"], "write yes and no"),
        (["True", "False"], ["true", "false", "false", "true"], "write yes and no"),
        ("xy", ["x", "x", "y", "y"], "write true and false"),
    ],
)
def test_a_clean_column_with_two_meanings_is_refused(classes, marks, advice, tmp_path):
    lines = [f"{k},{classes[k % 2]},{mark}" for k, mark in enumerate(marks)]
    (tmp_path / "f.csv").write_text("x,y,clean\n" + "\n".join(lines))
    with pytest.raises(ValueError, match=f"could hold checked labels or yes and no: {advice}"):
        Table(path=tmp_path / "f.csv", label="y", clean="clean").labels()


def test_checked_labels_may_be_spelt_another_way_than_the_labels(tmp_path):
    def checked(classes, marks):
        rows = [f"{k},{classes[k % len(classes)]},{mark}" for k, mark in enumerate(marks)]
        (tmp_path / "f.csv").write_text("x,y,clean\n" + "\n".join(rows))
        found = Table(path=tmp_path / "f.csv", label="y", clean="clean").labels()
        assert found.classes == tuple(classes)
        return found.checked.tolist()

    assert checked(["1", "2", "3"], ["2.0", "", "3.0", "", "", "1"]) == [1, -1, 2, -1, -1, 0]
    assert checked(["Cat", "dog"], ["DOG", "", "cat", ""]) == [1, -1, 0, -1]
    assert checked(["Cat", "cat"], ["cat", "", "Cat", ""]) == [1, -1, 0, -1]
    with pytest.raises(ValueError, match="got 'CAT'"):
        checked(["Cat", "cat"], ["CAT", "", "Cat", ""])


def test_where_both_meanings_agree_none_is_asked_for(tmp_path):
    lines = [f"{k},{'xy'[k % 2]},{'' if k else 'x'}" for k in range(4)]
    (tmp_path / "f.csv").write_text("f,y,clean\n" + "\n".join(lines))
    found = Table(path=tmp_path / "f.csv", label="y", clean="clean").labels()
    assert found.checked.tolist() == [0, -1, -1, -1]


def test_missing_values_are_filled_and_marked():
    rows = [("1", "a", "x1"), ("", "b", "x2"), ("3", "NA", "x3"), ("5", "a", "")]
    names = ["number", "kind", "text"]
    found = column_features(names, lambda: iter(rows))
    assert found.used == ("number", "kind", "text")
    assert found.values[:, :2].tolist() == [[1, 0], [3, 1], [3, 0], [5, 0]]
    assert found.values[:, 2:4].tolist() == [[1, 0], [0, 1], [0, 0], [1, 0]]
    with pytest.raises(ValueError, match="name the column of texts"):
        column_features(["t"], lambda: iter([(f"word {k}",) for k in range(60)]))


@pytest.mark.parametrize(
    ("separator", "cells", "numbers"),
    [
        (";", ["1,05", "-0,5", "2"], [1.05, -0.5, 2]),
        ("\t", ["1,05", "+,5", "1,5E-1"], [1.05, 0.5, 0.15]),
        (",", ["1,05", "0,5", "2"], [1.05, 0.5, 2]),
        (",", ["1,234", "0,125", "2"], [1.234, 0.125, 2]),
        (";", ["1,234", "2,345", "987"], [1.234, 2.345, 987]),
        (",", ["1,234", "2,345", "987"], None),  # thousands or decimals
        (";", ["1,5", "1.5", "2"], None),
        (";", ["1,234,567", "1,5", "2"], None),
    ],
)
def test_commas_are_decimal_where_that_is_sure(separator, cells, numbers, tmp_path):
    with (tmp_path / "f.csv").open("w", newline="") as file:
        rows = [[cell, kind] for cell in cells for kind in "ab"]
        csv.writer(file, delimiter=separator).writerows([["size", "y"], *rows])
    source = Table(path=tmp_path / "f.csv", label="y").load()
    found, said = source.train.inputs, "Decimal commas read in: size." in source.remark
    assert said == (numbers is not None and any("," in cell for cell in cells))
    if numbers is None:
        assert found.tolist() == torch.eye(3).repeat_interleave(2, dim=0).tolist()  # categories
    else:
        torch.testing.assert_close(found[::2, 0], torch.tensor(numbers, dtype=torch.float32))


def test_empty_lines_of_a_table_are_left_out(tmp_path):
    for text in ("\n\nx;y\n1;a\n\n2;b\n   \n", ";\nx;y\n1;a\n2;b\n"):
        (tmp_path / "f.csv").write_text(text)
        assert list(TableFile(tmp_path / "f.csv").rows(["y", "x"])) == [("a", "1"), ("b", "2")]
    (tmp_path / "f.csv").write_text("x\n1\n \n\n2\n")
    assert list(TableFile(tmp_path / "f.csv").rows(["x"])) == [("1",), (" ",), ("2",)]


def test_tfidf_is_that_of_scikit_learn():
    from sklearn.feature_extraction.text import TfidfVectorizer

    documents = [f"{a} {b} {a}" for a in ["aa", "bb", "cc"] for b in ["dd", "ee", "ff"]]
    expected = TfidfVectorizer(sublinear_tf=True).fit(documents)
    _, found = text_encoding("t", lambda: iter(documents))
    usual = np.sort(expected.transform(documents).toarray(), axis=1)
    assert np.abs(np.sort(found, axis=1) - usual).max() < 1e-3
    with pytest.raises(ValueError, match="no words"):
        text_encoding("t", lambda: iter(["a", "b"]))


@pytest.mark.parametrize(
    ("documents", "characters"),
    [
        (["今天的足球比赛很精彩", "足球队赢了比赛", "法院今天宣判", "法院审理案件"], True),
        (["今天 的 足球 比赛 很 精彩", "足球 队 赢 了 比赛"], False),
        (["ผู้เล่นฟุตบอล", "ทีมฟุตบอลชนะ"], True),
        (["the match in 東京", "the court ruled"], False),
    ],
)
def test_texts_without_spaces_are_read_by_characters(documents, characters):
    words, found = text_encoding("t", lambda: iter(documents))
    assert words.characters is characters
    kept = encoding_from(json.loads(json.dumps(words.plain())))
    assert kept == words and np.array_equal(kept.encode([(t,) for t in documents]), found)
    if characters:  # texts of one subject have something in common
        assert (found[0] * found[1]).sum() > 0


def test_a_long_file_is_read_in_little_memory(tmp_path):
    import tracemalloc

    path = tmp_path / "long.csv"
    with path.open("w") as file:
        file.write("text,label\n")
        for k in range(20_000):
            file.write(f'"{"word " * 200}{k % 7}",{k % 2}\n')
    tracemalloc.start()
    assert sum(1 for _ in TableFile(path).rows(["label", "text"])) == 20_000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert path.stat().st_size > 2e7
    assert peak < 2e6


# ---- what to check next, and cleanlab


def test_what_to_check_next_is_doubtful_and_covers_the_classes():
    table = audit_table(ledger())
    assert next_to_check(table, 4).tolist()[0] in (2, 3)
    assert sorted(next_to_check(table, 4).tolist()) == [0, 1, 2, 3]
    assert len({table.suggested[row] for row in next_to_check(table, 3)}) == 3
    with pytest.raises(ValueError, match=re.escape("[1, 4]")):
        next_to_check(table, 5)


def test_cleanlab_takes_what_the_bridge_gives():
    filters = pytest.importorskip("cleanlab.filter")
    result = Run(training=Training(epochs=8)).execute(progress=False)
    from l2b.experiment import ledger_state

    state = ledger_state(result.data, result.outcome)
    given = for_cleanlab(state)
    assert np.allclose(given.pred_probs.sum(axis=1), 1)
    assert (given.pred_probs >= 0).all()
    issues = filters.find_label_issues(given.labels, given.pred_probs, n_jobs=1)
    wrong = (state["observed"] != state["true"]).numpy()
    assert wrong[issues].mean() > 0.9
    assert issues[wrong].mean() > 0.8
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(issues_for_cleanlab(audit_table(state)))
    assert list(frame) == ["is_label_issue", "label_quality", "given_label", "predicted_label"]


def test_decisions_may_come_without_observed_labels(tmp_path):
    (tmp_path / "d.csv").write_text("index,label\n3,a\n4,\n")
    assert [(d.index, d.label) for d in read_decisions(tmp_path / "d.csv")] == [("3", "a")]
    (tmp_path / "e.csv").write_text("row,label\n3,a\n")
    with pytest.raises(ValueError, match="must have the columns label and index"):
        read_decisions(tmp_path / "e.csv")


def test_those_judge_whom_no_step_was_taken_on():
    data = Run().prepare()  # of 40 clean samples, and 10 kept aside
    both = [{"clean_accuracy": 0.5, "validation_accuracy": 0.6}]
    assert judged_by_checked(both, data) == ([0.5], 40)
    aside = [{"validation_accuracy": 0.6}, {"validation_accuracy": 0.7}]
    assert judged_by_checked(aside, data) == ([0.6, 0.7], 10)
    assert judged_by_checked([{}], replace(data, validation=None)) == ([], 0)
    assert judged_by_checked([], data) == ([], 0)
    tailed = Run(imbalance=20, class_weight="balanced").prepare()
    rows = [{"clean_balanced_accuracy": 0.3, "clean_accuracy": 0.9}]
    counts = torch.bincount(tailed.clean.labels).double()
    assert judged_by_checked(rows, tailed) == ([0.3], round((100 / (1 / counts).sum()).item()))


def test_epochs_within_one_standard_error_of_the_best_are_heard():
    # The best of 100 samples is 0.8 ± 0.04.
    accuracy = torch.tensor([0.5, 0.77, 0.8, 0.75, 0.7])
    assert knowing_epochs(accuracy, 100).tolist() == [False, True, True, False, False]
    assert knowing_epochs(torch.zeros(3), 5).tolist() == [True] * 3


def test_samples_that_no_heard_epoch_saw_are_judged_by_all_that_did():
    pseudo = torch.tensor([[1, 0, -1], [-1, 0, -1], [1, 1, -1]])
    loss = torch.tensor([[0.0, 0.0, torch.nan], [torch.nan, 0.0, torch.nan], [0.0, 9.0, torch.nan]])
    weights = (torch.ones(3, 3), torch.zeros(3, 3))
    heard = torch.tensor([False, True, False])
    observed = torch.tensor([1, 0, 1])
    found = label_quality(*weights, pseudo, loss, observed, classes=2, heard=heard)
    assert found.quality.tolist() == [1.0, 1.0, 0.5]
    assert found.suggested.tolist() == [1, 0, 1]
    assert found.confidence.tolist() == [1.0, 1.0, 0.0]


def test_an_audit_listens_to_epochs_that_know():
    """Two epochs, of which the first guesses: with it, a wrong label passes for right."""
    ledger = {
        "alpha": torch.ones(2, 3), "beta": torch.zeros(2, 3), "loss": torch.tensor(
            [[2.0, 0.1, 0.1], [0.1, 0.1, 3.0]]), "pseudo": torch.tensor([[1, 0, 1], [0, 0, 0]]),
        "observed": torch.tensor([0, 0, 1]), "index": torch.arange(3), "classes": ["a", "b"],
    }  # fmt: skip
    plain = audit_table(ledger)
    known = {"clean_accuracy": torch.tensor([0.5, 0.9]), "clean_samples": 200}
    heard = audit_table(ledger | known)
    assert plain.quality[0] < 0.6 and heard.quality[0] > 0.9
    assert plain.quality[2] > 0.4 and heard.quality[2] < 0.1
    assert heard.suggested.tolist() == [0, 0, 0]


def test_spaces_around_labels_stay_and_make_no_new_class(tmp_path, capsys):
    texts(tmp_path / "plain.csv", clean=0)
    rows = rows_of(tmp_path / "plain.csv")
    with (tmp_path / "spaced.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "topic"])
        writer.writerows([row["text"].replace("\n", " "), f" {row['topic']} "] for row in rows)
    words = ["--csv", tmp_path / "spaced.csv", "--label", "topic", "--text", "text"]
    out = ["--out", tmp_path / "run", "--quiet", *QUICK]
    assert main(list(map(str, ["audit", *words, *out]))) == 0
    assert main(list(map(str, ["audit", *words, *out]))) == 2
    said = capsys.readouterr().err
    assert "--overwrite" in said and "--resume" in said
    assert main(["audit", str(tmp_path / "run"), "--apply", "suggestions"]) == 0
    after = rows_of(tmp_path / "run" / "audit" / "suggested.csv")
    assert {armed(row["topic"]) for row in after} == {f" {name} " for name in WORDS}
    for odd in ("fixed.parquet", "folder"):
        to = ["--apply", "suggestions", "--out", str(tmp_path / odd)]
        assert main(["audit", str(tmp_path / "run"), *to]) == 2
        assert "must name a file that ends in .csv" in capsys.readouterr().err
        assert not (tmp_path / odd).exists()


def test_spaces_around_labels_stay_in_parquet_too(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    kinds = [" a ", " b "] * 20
    kinds[30:32] = "", None  # neither is a label, and both stay what they are
    made = arrow.table({"x": [k % 2 + 0.5 for k in range(40)], "kind": kinds,
                        "ok": [k < 20 for k in range(40)]})  # fmt: skip
    parquet.write_table(made, tmp_path / "t.parquet")
    table = Table(path=str(tmp_path / "t.parquet"), label="kind", clean="ok")
    audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    (tmp_path / "d.csv").write_text("index,label\n25,a\n")
    after = parquet.read_table(apply_decisions(tmp_path / "run", tmp_path / "d.csv").path)
    assert after["kind"].to_pylist()[24:27] == [" a ", " a ", " a "]
    assert after["kind"].to_pylist()[30:32] == ["", None]


def test_an_audit_is_not_replaced_by_one_that_needs_it(tmp_path, capsys):
    rows = [f"{k % 2},{k % 2 + k / 100},{k < 20}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join(["kind,x,ok", *rows]))
    run = tmp_path / "run"
    words = ["--csv", tmp_path / "t.csv", "--label", "kind", "--clean", "ok", "--out", run]
    assert main(["audit", *map(str, words), "--quiet", *QUICK]) == 0
    (run / "audit" / "d.csv").write_text("index,label\n25,0\n")
    assert main(["audit", str(run), "--apply", str(run / "audit" / "d.csv")]) == 0
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    words[1] = run / "audit" / "corrected.csv"
    assert main(["audit", *map(str, words), "--quiet", "--overwrite", *QUICK]) == 2
    assert "is in the audit of" in capsys.readouterr().err
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


@pytest.mark.parametrize(("name", "written"), [("t.TSV", "tsv"), ("t.txt", "txt"), ("t", "csv")])
def test_corrected_tables_end_as_they_did(name, written, tmp_path, capsys):
    rows = [f"{k % 2}\t{k % 2 + k / 100}\t{k < 20}" for k in range(40)]
    (tmp_path / name).write_text("\n".join(["kind\tx\tok", *rows]))
    table = Table(path=str(tmp_path / name), label="kind", clean="ok")
    run = tmp_path / "run"
    audit_own(table, run, settings=["--epochs", "2"], progress=False)
    done = accept_suggestions(run)
    assert done.path == run / "audit" / f"suggested.{written}"
    assert TableFile(done.path).columns == ("kind", "x", "ok")
    again = accept_suggestions(run, tmp_path / "new.csv").path
    assert again.read_bytes() == done.path.read_bytes()
    assert TableFile(again).columns == ("kind", "x", "ok")
    assert main(["audit", str(run), "--apply", "suggestions", "--out", str(tmp_path / "a.pq")]) == 2
    told = "ends in .csv," if written == "csv" else f"ends in .{written} or .csv,"
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("head", [["kind;x;ok"], ["sep=;", "kind;x, in m, or so, as read;ok"]])
def test_corrected_tables_part_cells_as_they_did(head, tmp_path):
    rows = [f"{k % 2};4,{k:03};{k < 20}" for k in range(40)]
    (tmp_path / "t.csv").write_text("\n".join([*head, *rows]))
    table = Table(path=str(tmp_path / "t.csv"), label="kind", clean="ok")
    audit_own(table, tmp_path / "run", settings=["--epochs", "2"], progress=False)
    (tmp_path / "d.csv").write_text("index,label\n25,0\n")
    after = apply_decisions(tmp_path / "run", tmp_path / "d.csv").path.read_text().splitlines()
    assert after == [*head, *rows[:25], "0;4,025;False", *rows[26:]]


def test_a_class_called_like_nan_has_its_place(tmp_path):
    (tmp_path / "f.csv").write_text("x,y\n" + "1,-nan\n2,10\n3,9\n4,b\n5,inf\n6,+NaN\n" * 2)
    assert Table(path=tmp_path / "f.csv", label="y").labels().classes == (
        "9", "10", "inf", "+NaN", "-nan", "b",
    )  # fmt: skip

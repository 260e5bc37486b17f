"""Tables as people have them: row numbers, cells that stand for nothing, marks, odd first lines."""

import pandas as pd
import pytest
import torch

from l2b.audit.command import _named
from l2b.config import parse
from l2b.datasets.table import Table
from l2b.experiment import Run
from l2b.notices import Notice
from l2b.tables import TableFile


def written(tmp_path, text, name="f.csv"):
    (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / name


def test_row_numbers_are_not_learned_from(tmp_path):
    """Of rows sorted by class, the row number is the label."""
    frame = pd.DataFrame({"x": [4.5, 1.5, 3.5, 2.5], "y": list("abab")}).sort_values("y")
    frame.to_parquet(tmp_path / "f.parquet")
    frame.to_csv(tmp_path / "f.csv")
    pd.read_csv(tmp_path / "f.csv").to_csv(tmp_path / "g.csv", index=False)
    for old, new in ("gi", "ij"):  # written and read with their row numbers again
        pd.read_csv(tmp_path / f"{old}.csv").to_csv(tmp_path / f"{new}.csv")
        pd.read_csv(tmp_path / f"{new}.csv").to_csv(tmp_path / f"{new}.csv", index=False)
    frame.assign(k=list("1234"), ok=1).to_csv(tmp_path / "h.csv")
    for name, number, more in (
        ("f.parquet", "__index_level_0__", {}),
        ("f.csv", "(no name)", {}),
        ("g.csv", "Unnamed: 0", {}),
        ("i.csv", "Unnamed: 0.1, Unnamed: 0", {}),
        ("j.csv", "Unnamed: 0.2, Unnamed: 0.1, Unnamed: 0", {}),
        ("h.csv", "(no name)", {"clean": "ok", "id": "k"}),
    ):
        table = Table(path=tmp_path / name, label="y", **more)
        source = table.load()
        assert source.train.inputs.tolist() == [[4.5], [3.5], [1.5], [2.5]]
        assert source.remark == f"Columns used (1): x. Row numbers, not used: {number}."
        assert next(table.previews(table.labels().rows)) == "x 4.5"


def test_columns_may_be_left_out_and_those_used_are_told(tmp_path):
    names = ["y", *(f"c{k}" for k in range(8)), "a,b"]
    lines = [",".join([kind, *"12345678", "9"]) for kind in "abab"]
    path = written(tmp_path, "\n".join([",".join([*names[:-1], '"a,b"']), *lines]))
    assert "Columns used (9): c0, c1, c2, c3, c4, …." in Table(path=path, label="y").load().remark
    words = ["--data", "table", "--path", str(path), "--label", "y", "--ignore", "[c1, 'a,b']"]
    source = parse(Run, words).data.load()
    assert source.train.inputs.shape[1] == 7
    assert source.remark == "Columns used (7): c0, c2, c3, c4, c5, …."
    with pytest.raises(ValueError, match=r"No column is called 'c9'; did you mean 'c[0-9]'"):
        Table(path=path, label="y", ignore=("c9",)).labels()
    assert _named(["a,b", "c1, c2", "[c3,c4]"], names) == ("a,b", "c1", "c2", "c3", "c4")


def test_cells_that_say_there_is_no_label_are_no_class(tmp_path):
    labels = ["a", "b", "NA", "NaN", "n/a", "null", "", " "] * 2
    lines = [f"{k},{label}" for k, label in enumerate(labels)]
    table = Table(path=written(tmp_path, "\n".join(["x,y", *lines])), label="y")
    found = table.labels()
    assert found.classes == ("a", "b") and found.rows.tolist() == [0, 1, 8, 9]
    assert (found.skipped, found.blanks) == (12, ("NA", "NaN", "n/a", "null"))
    assert "12 rows without a label (NA, NaN, n/a, null) were left out." in table.load().remark


def test_what_may_be_a_class_is_told(tmp_path):
    path = written(tmp_path, "x,y\n1,a\n2,none\n3,?\n4,a\n5,none\n6,?\n")
    with pytest.warns(Notice, match="'y' of .* holds '\\?' and 'none', which counts as a class"):
        assert Table(path=path, label="y").load().classes == ("?", "a", "none")


def test_classes_that_differ_by_case_are_told(tmp_path):
    path = written(tmp_path, "x,y\n1,Cat\n2,cat\n3,dog\n4,Cat\n5,cat\n6,dog\n")
    with pytest.warns(
        Notice, match="'Cat' and 'cat', which count as two classes: write them alike"
    ):
        assert Table(path=path, label="y").load().classes == ("Cat", "cat", "dog")


def test_what_has_an_underscore_is_no_number(tmp_path):
    cells = ["3_1", "3_2", "4_1"]
    path = written(tmp_path, "visit,y\n" + "".join(f"{c},{k}\n" for c in cells for k in "ab"))
    table = Table(path=path, label="y").load()
    assert table.train.inputs.tolist() == torch.eye(3).repeat_interleave(2, dim=0).tolist()


@pytest.mark.parametrize("mark", ["sep=;", "SEP=,", "sep=\t", "sep=|", "\nsep=;"])
def test_the_line_that_tells_the_separator_is_no_header(mark, tmp_path):
    part = mark[-1]
    lines = [mark, f"a{part}b", f'1{part}"2,;x"', f"3{part}4"]
    for name in ("f.csv", "f.tsv"):
        table = TableFile(written(tmp_path, "\r\n".join(lines), name))
        assert table.columns == ("a", "b") and table.delimiter == part
        assert list(table.rows(["b", "a"])) == [("2,;x", "1"), ("4", "3")]
    plain = TableFile(written(tmp_path, f"sep={part}b\n1{part}2\n", "g.csv"))
    assert plain.columns == ("sep=", "b")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("f.csv", '{"x": 1, "y": "a"}\n{"x": 2, "y": "b"}\n'),
        ("f.csv", '[{"x": 1, "y": "a"}]'),
        ("f.jsonl", "x,y\n1,a\n"),
        ("f.json", '[\n{"x": 1}\n]'),
    ],
)
def test_json_is_refused_by_name(name, text, tmp_path):
    with pytest.raises(ValueError, match=r"f\.[a-z]+ must be CSV or Parquet, got JSON: JSON lines"):
        Table(path=written(tmp_path, text, name), label="y").load()

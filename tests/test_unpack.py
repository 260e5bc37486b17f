"""Parquet into arrays: the same numbers, in pieces, and one line for what cannot be unpacked."""

import shlex

import numpy as np
import pyarrow as arrow
import pytest
from pyarrow import parquet

from l2b import unpack
from l2b.cli import main
from l2b.datasets.array_folder import ArrayFolder
from l2b.unpack import Columns, unpack_parquet

COLUMNS = Columns(features=("a", "b"), label="y", checked="ok")


def table(rows=10, start=0):
    """Two columns of numbers, text labels, every third row checked."""
    k = np.arange(start, start + rows)
    return {
        "a": k / 2, "b": k * 3, "y": [("cat", "dog")[i % 2] for i in k], "ok": k % 3 == 0,
    }  # fmt: skip


def stored(path, columns):
    path.parent.mkdir(parents=True, exist_ok=True)
    parquet.write_table(arrow.table(columns), path)
    return path


def arrays(folder):
    return {p.stem: np.load(p, allow_pickle=False) for p in folder.glob("*.npy")}


def test_files_of_a_folder_follow_each_other_whatever_the_piece(tmp_path, monkeypatch):
    stored(tmp_path / "in" / "1.parquet", table(7))
    stored(tmp_path / "in" / "2.parquet", table(5, start=7))
    whole = table(12)
    for rows in (3, 100):
        monkeypatch.setattr(unpack, "ROWS", rows)
        out = tmp_path / f"out{rows}"
        assert unpack_parquet(tmp_path / "in", out, COLUMNS, progress=False) == 12
        found = arrays(out)
        assert found["x_train"].dtype == np.float32
        np.testing.assert_array_equal(found["x_train"], np.stack([whole["a"], whole["b"]], axis=1))
        assert found["y_train"].tolist() == whole["y"]
        assert found["clean_index"].tolist() == [0, 3, 6, 9]


@pytest.mark.parametrize("kind", [arrow.list_(arrow.float64()), arrow.list_(arrow.float32(), 3)])
def test_a_column_of_lists_is_a_matrix(kind, tmp_path):
    x = np.arange(12).reshape(4, 3)
    path = stored(tmp_path / "t.parquet", {"x": arrow.array(x.tolist(), kind), "y": [1, 0, 1, 2]})
    unpack_parquet(path, tmp_path / "out", Columns(features=("x",), label="y"), progress=False)
    found = arrays(tmp_path / "out")
    np.testing.assert_array_equal(found["x_train"], x)
    assert found["y_train"].tolist() == [1, 0, 1, 2] and "clean_index" not in found


def test_whole_numbers_that_do_not_count_from_0_keep_their_names(tmp_path):
    path = stored(
        tmp_path / "t.parquet", {"a": [1.0, 2, 3, 4], "y": [5, 1, 3, 5], "ok": [1, 0, 0, 1]}
    )
    columns = Columns(features=("a",), label="y", checked="ok")
    unpack_parquet(path, tmp_path / "out", columns, progress=False)
    source = ArrayFolder(root=tmp_path / "out").load()
    assert source.classes == ("1", "3", "5") and source.train.labels.tolist() == [2, 0, 1, 2]
    assert source.trusted.tolist() == [0, 3]


def test_unpacked_rows_are_trained_on(tmp_path, capsys):
    path = stored(tmp_path / "t.parquet", table(300))
    out = tmp_path / "my arrays"
    words = ["--features", "a,b", "--label", "y", "--checked", "ok", "--out", str(out), "--quiet"]
    assert main(["unpack", str(path), *words]) == 0
    said, _, command = capsys.readouterr().out.partition(": ")
    assert "300 rows in" in said
    l2b, *shown, more = shlex.split(command)  # to be pasted, with more settings
    assert (l2b, more) == ("l2b", "…")
    words = "--noise none --model mlp --clean 40 --quiet --epochs 1 --out"
    assert main([*shown, *words.split(), str(tmp_path / "run")]) == 0


BAD = {
    "text": ({"a": ["x", "y"]}, "column 'a' must hold numbers, and no missing ones, got string"),
    "missing": ({"a": [1.0, None]}, "column 'a' has missing values: fill or remove"),
    "nan": ({"a": [1.0, float("nan")]}, r"column 'a' holds NaN.*value 2 of these"),
    "huge": ({"a": [1.0, 1e300]}, "one beyond float32"),
    "no label": ({"y": ["cat", None]}, "column 'y' has missing labels"),
    "never checked": ({"ok": [False, False]}, "Column 'ok' is true nowhere"),
    "checked how": ({"ok": [1, 2]}, "column 'ok' must hold truth values, or 1 and 0, got 2"),
    "checked in words": ({"ok": ["yes", "no"]}, "must hold truth values, or 1 and 0, got string"),
    "two lists": ({"a": [[1.0], [2.0]]}, "has to be the only column of features, got a, b"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_cannot_be_unpacked_is_told_and_leaves_nothing(name, tmp_path):
    changed, said = BAD[name]
    path = stored(tmp_path / "t.parquet", {**table(2), **changed})
    with pytest.raises(ValueError, match=said):
        unpack_parquet(path, tmp_path / "out", COLUMNS, progress=False)
    assert [p.name for p in tmp_path.iterdir()] == ["t.parquet"]


def test_lists_of_unequal_length_are_refused(tmp_path):
    path = stored(tmp_path / "t.parquet", {"x": [[1.0], [1.0, 2.0]], "y": [0, 1]})
    with pytest.raises(ValueError, match="must have one length, got from 1 to 2: pad them"):
        unpack_parquet(path, tmp_path / "out", Columns(features=("x",), label="y"))


@pytest.mark.parametrize(
    ("features", "changes", "said"),
    [
        ((), {}, "at least one column of features, got none"),
        (("",), {}, "at least one column of features, got none"),
        (("a", "y"), {}, "got 'y' twice: a model must not learn from the answer"),
        (("a", "ok"), {"checked": "ok"}, "got 'ok' twice"),
        (("a",), {"checked": "y"}, "got 'y' twice"),
        (("a", "a"), {}, "got 'a' twice"),
    ],
)
def test_a_column_is_one_thing(features, changes, said):
    with pytest.raises(ValueError, match=said):
        Columns(features=features, label="y", **changes)


def test_folders_of_the_user_are_left_alone(tmp_path):
    path = stored(tmp_path / "t.parquet", table(4))
    mine = tmp_path / "out.part"
    mine.mkdir()
    (mine / "notes").write_text("mine")
    (tmp_path / ".out.partial").mkdir()  # left by a process that was killed
    (tmp_path / ".out.partial" / "x_train.npy").write_bytes(b"half")
    unpack_parquet(path, tmp_path / "out", COLUMNS, progress=False)
    assert (mine / "notes").read_text() == "mine"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["out", "out.part", "t.parquet"]


def test_files_and_columns_that_are_not_there_are_told_in_one_line(tmp_path, capsys):
    words = ["--features", "a,c", "--label", "y", "--out", str(tmp_path / "out")]
    assert main(["unpack", str(tmp_path / "none.parquet"), *words]) == 2
    assert "There is no Parquet file at" in capsys.readouterr().err
    path = stored(tmp_path / "t.parquet", table(2))
    assert main(["unpack", str(path), *words]) == 2
    assert "No column is called 'c'" in capsys.readouterr().err
    (tmp_path / "out").mkdir()
    assert main(["unpack", str(path), *words]) == 2
    assert "exists already: choose another --out" in capsys.readouterr().err
    path.write_bytes(path.read_bytes()[:-20])
    assert main(["unpack", str(path), *words[:-1], str(tmp_path / "other")]) == 2
    assert "cannot be read as Parquet" in capsys.readouterr().err
    stored(path, {name: column[:0] for name, column in table(2).items() if name != "ok"})
    assert main(["unpack", str(path), "--features", "a", "--label", "y", "--out", "x"]) == 2
    assert "holds no rows" in capsys.readouterr().err

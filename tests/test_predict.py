"""`l2b predict`: new samples get the labels that the run's model has for them."""

import csv
import json
import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

import l2b
from l2b.cli import main
from l2b.datasets.arrays import Arrays
from l2b.datasets.image_folder import ImageFolder
from l2b.datasets.table import Table
from l2b.experiment import Run
from l2b.features import Column, Columns, Words, column_features, encoding_from, text_encoding
from l2b.folder import RunFolder
from l2b.methods.cross_entropy import CrossEntropy
from l2b.models.mlp import Mlp
from l2b.noise.none import NoNoise
from l2b.notices import Notice
from l2b.predict import predict
from l2b.train import Training

RUN = Run(
    training=Training(epochs=15, batch=16, clean_batch=4),
    model=Mlp(hidden=(16,)),
    method=CrossEntropy(),
    noise=NoNoise(),
    clean=8,
    validation=0.5,
)


def write(path, rows):
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A run on texts whose words tell the class, with every third row checked."""
    home = tmp_path_factory.mktemp("texts")
    words = {"sport": "goal match team", "money": "bank share price"}
    rows = [
        [f"n{k}", f"{name} {said} number{k}", name, "yes" if k % 3 == 0 else "no"]
        for k in range(30)
        for name, said in words.items()
    ]
    rows = [[f"{place}", *row[1:]] for place, row in enumerate(rows)]
    path = write(home / "train.csv", [["id", "title", "topic", "checked"], *rows])
    data = Table(path=path, label="topic", text="title", clean="checked", id="id")
    found = replace(RUN, data=data).execute(home / "run", progress=False)
    return home / "run", found


@pytest.fixture(scope="module")
def columns(tmp_path_factory):
    """A run on columns: a number with a gap, one without, and a category."""
    home = tmp_path_factory.mktemp("columns")
    rows = [
        [
            "" if k == 7 else f"{k % 2}.5",
            f"{k}",
            "red" if k % 2 else "blue",
            "ab"[k % 2],
            str(int(k < 12)),
        ]
        for k in range(40)
    ]
    path = write(home / "train.csv", [["size", "age", "colour", "y", "checked"], *rows])
    data = Table(path=path, label="y", clean="checked")
    found = replace(RUN, data=data).execute(home / "run", progress=False)
    return home / "run", found


def test_texts_are_encoded_as_when_they_were_learned(texts):
    folder, found = texts
    model, pool = l2b.load_model(folder), found.data.train
    titles = [row["title"] for row in read(folder.parent / "train.csv")]
    encoded = model.encode([titles[k] for k in pool.index])
    assert torch.equal(encoded, pool.inputs) and encoded.dtype == torch.float16
    later = model.predict(model.encode(["the match of a team nobody knows", "price of a share"]))
    assert [model.classes[k] for k in later] == ["sport", "money"]


def test_a_table_of_texts_gets_its_labels(texts, tmp_path, capsys):
    folder, _ = texts
    rows = [["=A1", "sport", "a team and a goal"], ["b", "money", "match"], ["c", "", "bank share"]]
    path = write(tmp_path / "new.csv", [["id", "topic", "title"], *rows])
    assert main(["predict", str(folder), str(path), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "3 samples: sport 66.7%, money 33.3%" in said
    assert "agrees with 50.0% of the 2 labels there" in said
    found = read(folder / "predictions.csv")
    assert [row["predicted"] for row in found] == ["sport", "sport", "money"]
    assert [row["id"] for row in found] == ["'=A1", "b", "c"]
    assert [row["row"] for row in found] == ["0", "1", "2"]
    p = l2b.load_model(folder).encode([row[2] for row in rows])
    expected = l2b.load_model(folder).predict_proba(p).amax(dim=1)
    assert [float(row["probability"]) for row in found] == pytest.approx(
        expected.tolist(), abs=1e-4
    )
    write(tmp_path / "bare.csv", [["title"], ["goal"]])
    assert main(["predict", str(folder), str(tmp_path / "bare.csv"), "--quiet"]) == 0
    assert "agrees" not in capsys.readouterr().out


def test_cells_without_a_label_are_agreed_with_by_none(texts, tmp_path):
    rows = [["sport", "goal"], ["NA", "match"], ["", "bank"]]
    path = write(tmp_path / "new.csv", [["topic", "title"], *rows])
    found = predict(texts[0], path, tmp_path / "p.csv", progress=False)
    assert (found.labelled, found.agreed) == (1, 1.0)


@pytest.mark.parametrize("epoch", ["last", "chosen"])
def test_long_tables_go_a_chunk_at_a_time(texts, epoch, tmp_path, monkeypatch):
    folder, _ = texts
    rows = [[f"goal bank{k}"] if k % 2 else [f"price match{k}"] for k in range(23)]
    path = write(tmp_path / "new.csv", [["title"], *rows])
    args = ["predict", str(folder), str(path), "--epoch", epoch, "--quiet", "--out"]
    assert main([*args, str(tmp_path / "whole.csv")]) == 0
    monkeypatch.setattr("l2b.features.base.CHUNK", 5)
    assert main([*args, str(tmp_path / "parts.csv")]) == 0
    assert (tmp_path / "whole.csv").read_text() == (tmp_path / "parts.csv").read_text()
    model = l2b.load_model(folder, epoch)
    expected = model.predict(model.encode([row[0] for row in rows]))
    found = [row["predicted"] for row in read(tmp_path / "whole.csv")]
    assert found == [model.classes[k] for k in expected]


def test_columns_are_encoded_as_when_they_were_learned(columns):
    folder, found = columns
    model, pool = l2b.load_model(folder), found.data.train
    rows = read(folder.parent / "train.csv")
    encoded = model.encode([rows[k] for k in pool.index])
    assert torch.equal(encoded, pool.inputs)
    new = model.encode([{"size": None, "age": float("nan"), "colour": "red", "more": 1}])
    pd = pytest.importorskip("pandas")
    frame = pd.DataFrame({"colour": ["red"], "age": pd.array([None], dtype="Int64"), "size": None})
    assert torch.equal(model.encode(frame), new)
    assert new.tolist() == [[0.5, 1.0, 19.5, 0.0, 1.0]]  # medians of all rows; size was missing


def test_what_was_never_there_counts_as_missing_and_is_told(columns, tmp_path, capsys):
    folder, _ = columns
    rows = [["0.5", "3", "mauve"], ["1.5", "4", "blue"], ["1.5", "5", ""]]
    path = write(tmp_path / "new.csv", [["size", "age", "colour"], *rows])
    with pytest.warns(Notice, match=r"'colour' holds what it never held .* in 1 of rows 0 to 2"):
        l2b.load_model(folder).encode([dict(zip(read(path)[0], row, strict=True)) for row in rows])
    assert main(["predict", str(folder), str(path), "--quiet"]) == 0
    assert capsys.readouterr().err.count("'colour' holds what it never held") == 1
    assert len(read(folder / "predictions.csv")) == 3


def test_numbers_far_from_zero_keep_what_tells_them_apart(tmp_path):
    """Unix seconds: float32 knows them in steps of 128."""
    start = 1_700_000_000
    rows = [[str(start + 60 * (k % 2)), f"{k}", "ab"[k % 2], str(int(k < 12))] for k in range(40)]
    rows[7][0] = ""
    path = write(tmp_path / "t.csv", [["at", "age", "y", "ok"], *rows])
    data = Table(path=path, label="y", clean="ok", ignore=("age",))
    found = replace(RUN, data=data).execute(tmp_path / "run", progress=False)
    assert found.data.train.inputs[:, 0].unique().tolist() == [0, 60]
    model = l2b.load_model(tmp_path / "run")
    new = model.encode([{"at": start + 61}, {"at": ""}])
    assert new.tolist() == [[61, 0], [0, 1]]
    assert [model.classes[k] for k in model.predict(model.encode([{"at": start + 59}]))] == ["b"]
    older = json.loads(json.dumps(model.encoding.plain()))
    del older["columns"][0]["origin"]
    assert encoding_from(older).encode([(str(start),)])[0, 0] == np.float32(start)


@pytest.mark.parametrize(
    ("cells", "origin"),
    [
        (["1990", "2020", "2024.5"], 0),
        (["1700000000", "1720000000"], 0),
        (["1700000000.5", "1700000000", "NA"], 1700000000),
        (["-1e6", "-1000001"], -1000001),
        (["0.1", "0.30000000000000004"], 0),
        (["0.3", "0.30000000000000004"], 0),
        (["20240105", "20240105"], 0),
    ],
)
def test_only_such_numbers_are_counted_from_another_than_zero(cells, origin):
    found = column_features(["x"], lambda: ((cell,) for cell in cells))
    assert found.encoding.columns[0].origin == origin
    if not origin:
        expected = np.array([[float(cell)] for cell in cells], dtype=np.float32)
        assert np.array_equal(found.values, expected)


def test_a_column_that_was_constant_has_no_effect_later(tmp_path):
    """Such as the day of the export, and what it was exported by."""
    rows = [[f"{k % 2}.5", "20240105", "v1", "ab"[k % 2], str(int(k < 12))] for k in range(40)]
    path = write(tmp_path / "t.csv", [["size", "day", "by", "y", "ok"], *rows])
    data = Table(path=path, label="y", clean="ok")
    found = replace(RUN, data=data).execute(tmp_path / "run", progress=False)
    assert found.data.std.isfinite().all()
    model = l2b.load_model(tmp_path / "run")
    then = [{"size": f"{k}.5", "day": "20240105", "by": "v1"} for k in range(3)]
    expected = model.predict_proba(model.encode(then))
    own = torch.softmax(model.network(found.data.standardise(model.encode(then))), dim=1)
    torch.testing.assert_close(expected, own.detach())
    with pytest.warns(Notice, match="'by' holds what it never held"):
        now = model.encode([{**row, "day": "20261128", "by": "v2"} for row in then])
    assert torch.equal(model.predict_proba(now), expected)


@pytest.mark.parametrize(
    ("cells", "message"),
    [
        (["0.5", "old", "red"], r"'age' must hold numbers that fit float32, .* got 'old' in row 1"),
        (["0.5", "1e39", "red"], r"got '1e39' in row 1"),
        (["0,5", "3", "red"], r"'size' must hold numbers without commas .* got '0,5' in row 1"),
    ],
)
def test_cells_of_another_kind_are_refused(columns, cells, message, tmp_path, capsys):
    folder, _ = columns
    path = write(tmp_path / "new.csv", [["size", "age", "colour"], ["1.5", "2", "red"], cells])
    out = tmp_path / "out.csv"
    assert main(["predict", str(folder), str(path), "--out", str(out), "--quiet"]) == 2
    assert not list(tmp_path.glob("out*"))
    with pytest.raises(ValueError, match=message):
        raise ValueError(capsys.readouterr().err)


def test_decimal_commas_stay_decimal():
    column = Column(name="x", commas=True, median=2.0)
    assert column.encode("1,5", 0) == column.encode("1.5", 0) == [1.5]
    made = Columns(columns=(column, Column(name="c", categories=("a", "b"))))
    assert made.encode([("", "b"), ("3,25", "?")]).tolist() == [[2.0, 0.0, 1.0], [3.25, 0.0, 0.0]]
    assert made.unseen(("", "c")) == ["c"] and not made.unseen(("", "null"))


def test_encodings_survive_being_written():
    words, _ = text_encoding("t", lambda: iter(["one two", "two three", "three four four"]))
    columns = Columns(
        columns=(Column(name="x", gaps=True, median=0.1), Column(name="c", categories=("a",)))
    )
    for encoding in (words, columns):
        assert encoding_from(json.loads(json.dumps(encoding.plain()))) == encoding
    assert isinstance(words, Words) and words.names == ("t",)


def test_images_of_a_folder_and_of_a_table(tmp_path):
    paint = np.random.default_rng(0)
    for name, level in (("dark", 20), ("light", 220)):
        for split, count in (("train", 14), ("clean", 6)):
            folder = tmp_path / "data" / split / name
            folder.mkdir(parents=True)
            for k in range(count):
                pixels = (level + paint.integers(-15, 15, (8, 8, 3))).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{k}.png")
    run = replace(RUN, data=ImageFolder(root=tmp_path / "data", size=8))
    run.execute(tmp_path / "run", progress=False)
    new = tmp_path / "new"
    (new / "sub").mkdir(parents=True)
    for name, level in (("b.png", 240), ("sub/a.png", 5)):
        Image.fromarray(np.full((16, 16, 3), level, dtype=np.uint8)).save(new / name)
    assert main(["predict", str(tmp_path / "run"), str(new), "--quiet"]) == 0
    found = {row["image"]: row["predicted"] for row in read(tmp_path / "run" / "predictions.csv")}
    assert found == {"b.png": "light", "sub/a.png": "dark"}
    (new / "b.png").rename(new / os.fsdecode(b"caf\xe9.png"))
    predict(tmp_path / "run", new, progress=False)
    found = [row["image"] for row in read(tmp_path / "run" / "predictions.csv")]
    assert found == [r"caf\udce9.png", "sub/a.png"]
    (new / os.fsdecode(b"caf\xe9.png")).rename(new / "b.png")
    (new / ".thumbnails").mkdir()
    for name in ("._b.png", ".thumbnails/a.png"):
        (new / name).write_bytes(b"left by a file manager")
    predict(tmp_path / "run", new, progress=False)
    assert len(read(tmp_path / "run" / "predictions.csv")) == 2
    (new / "empty").mkdir()
    with pytest.raises(ValueError, match="empty must hold images"):
        predict(tmp_path / "run", new / "empty", progress=False)
    listed = [
        [f"data/train/{name}/{k}.png", name, str(int(k < 5))]
        for name in ("dark", "light")
        for k in range(14)
    ]
    path = write(tmp_path / "t.csv", [["file", "y", "ok"], *listed])
    data = Table(path=path, label="y", image="file", clean="ok", size=8)
    replace(RUN, data=data).execute(tmp_path / "listed", progress=False)
    write(new / "n.csv", [["file"], ["b.png"], ["sub/a.png"]])
    assert main(["predict", str(tmp_path / "listed"), str(new / "n.csv"), "--quiet"]) == 0
    found = [row["predicted"] for row in read(tmp_path / "listed" / "predictions.csv")]
    assert found == ["light", "dark"]


def test_the_images_of_a_new_table_are_not_those_learned_from(tmp_path, capsys):
    """File names such as 0.png occur in both folders, with other images."""
    for home, flip in (("old/pictures", 0), ("new", 1), ("more", 0)):
        (tmp_path / home).mkdir(parents=True)
        for k in range(40):
            pixels = np.full((8, 8, 3), 20 + 200 * ((k + flip) % 2), dtype=np.uint8)
            Image.fromarray(pixels).save(tmp_path / home / f"{k}.png")
    rows = [[f"{k}.png", ("dark", "light")[k % 2], "yes" if k < 16 else "no"] for k in range(40)]
    learned, new = tmp_path / "old" / "t.csv", tmp_path / "new" / "t.csv"
    for path in (learned, new):
        write(path, [["file", "y", "ok"], *rows])
    folder = str(tmp_path / "old" / "pictures")
    data = Table(path=learned, label="y", image="file", folder=folder, clean="ok", size=8)
    run = tmp_path / "run"
    replace(RUN, data=data).execute(run, progress=False)
    assert predict(run, learned, progress=False).agreed == 1
    assert predict(run, new, progress=False).agreed == 0
    words = ["predict", str(run), str(new), "--quiet", "--images"]
    assert main([*words, str(tmp_path / "more")]) == 0
    assert "agrees with 100.0%" in capsys.readouterr().out
    (tmp_path / "new" / "3.png").unlink()
    for source, more, message in (
        (new, [], r"set the folder in which the paths begin (--images;"),
        (tmp_path / "more", ["--images", folder], "--images tells where the paths of a table"),
    ):
        assert main(["predict", str(run), str(source), "--quiet", *more]) == 2
        assert message in capsys.readouterr().err


def test_arrays(tmp_path, capsys):
    draw = np.random.default_rng(0)
    y = np.arange(60) % 2
    x = draw.normal(size=(60, 3)) + 4 * y[:, None]
    np.savez(tmp_path / "a.npz", x_train=x, y_train=y, clean_index=np.arange(20))
    run = replace(RUN, data=Arrays(path=tmp_path / "a.npz"))
    run.execute(tmp_path / "run", progress=False)
    np.save(tmp_path / "x.npy", np.array([[4.0, 4, 4], [0, 0, 0]]))
    words = ["predict", str(tmp_path / "run"), "--quiet"]
    assert main([*words, str(tmp_path / "x.npy")]) == 0
    found = read(tmp_path / "run" / "predictions.csv")
    assert [row["predicted"] for row in found] == ["1", "0"]
    for dtype in (">f4", np.longdouble, "f2", ">i2", "u4"):
        np.save(tmp_path / "other.npy", np.load(tmp_path / "x.npy").astype(dtype))
        assert main([*words, str(tmp_path / "other.npy")]) == 0
        assert read(tmp_path / "run" / "predictions.csv") == found
    capsys.readouterr()
    np.save(tmp_path / "large.npy", np.array([[1e39, 0, 0]]))
    (tmp_path / "bad.npy").write_bytes(b"no array")
    np.save(tmp_path / "none.npy", np.empty((0, 3)))
    np.save(tmp_path / "four.npy", np.zeros((2, 4)))
    np.save(tmp_path / "words.npy", np.array([["a", "b", "c"]]))
    with (tmp_path / "pack.npy").open("wb") as file:
        np.savez(file, x=np.zeros((2, 3)))
    (tmp_path / "t.csv").write_text("a\n1\n")
    for name, message in {
        "bad.npy": "cannot be read as an array",
        "none.npy": "holds no samples",
        "large.npy": "takes finite samples",
        "words.npy": "words.npy must hold one array of numbers, got <U1: write it with np.save",
        "pack.npy": "pack.npy must hold one array of numbers, got several arrays",
        "four.npy": "samples of shape (3,), got a tensor of shape (2, 4)",
        "t.csv": "no table, got",
        "nothing.csv": "There is no",
        ".": "no colour images, got the folder",
    }.items():
        assert main([*words, str(tmp_path / name)]) == 2
        assert message in capsys.readouterr().err
    assert read(tmp_path / "run" / "predictions.csv") == found
    with pytest.raises(ValueError, match="did not learn from texts or columns"):
        l2b.load_model(tmp_path / "run").encode(["a text"])


@pytest.mark.parametrize("learned", [np.uint8, np.float32])
def test_samples_in_other_units_are_refused(learned, tmp_path, capsys):
    """Pictures hold bytes, and a run on floats in [0, 1] would take all of them for white."""
    y = np.arange(40) % 2
    pixels = (
        np.full((40, 3, 8, 8), 30, dtype=np.uint8) + (200 * y).astype("u1")[:, None, None, None]
    )
    pair = {np.uint8: pixels, np.float32: pixels.astype("f4") / 255}
    np.savez(tmp_path / "a.npz", x_train=pair[learned], y_train=y, clean_index=np.arange(20))
    run = tmp_path / "run"
    replace(RUN, data=Arrays(path=tmp_path / "a.npz")).execute(run, progress=False)
    (tmp_path / "pictures").mkdir()
    Image.fromarray(pixels[0].transpose(1, 2, 0)).save(tmp_path / "pictures" / "0.png")
    for name, values in (
        ("uint8", pixels), ("floats", pair[np.float32]), ("int", pixels.astype(int)),
    ):  # fmt: skip
        np.save(tmp_path / f"{name}.npy", values)
    told = {np.uint8: ["floats.npy"], np.float32: ["uint8.npy", "pictures"]}[learned]
    for name in ("uint8.npy", "floats.npy", "int.npy", "pictures"):
        words = ["predict", str(run), str(tmp_path / name), "--quiet"]
        assert main(words) == (2 if name in told else 0)
        said = capsys.readouterr().err
        assert ("got" in said and f"in {tmp_path / name}: give an array" in said) == (name in told)
    older = RunFolder(run)
    older.write_scale({k: v for k, v in older.read_scale().items() if k != "bytes"})
    assert main(["predict", str(run), str(tmp_path / told[0]), "--quiet"]) == 0


def test_nothing_but_predictions_is_written_over(texts, tmp_path, capsys):
    folder, _ = texts
    path = write(tmp_path / "new.csv", [["title"], ["goal"]])
    words = ["predict", str(folder), str(path), "--quiet", "--out"]
    for taken in (path, folder / "run.yaml", folder / "model.safetensors"):
        before = taken.read_bytes()
        assert main([*words, str(taken)]) == 2
        assert "holds no predictions, and would be lost" in capsys.readouterr().err
        assert taken.read_bytes() == before
    assert main([*words, str(tmp_path)]) == 2
    assert "is a folder: name the file to write" in capsys.readouterr().err
    for _ in range(2):
        assert main([*words, str(tmp_path / "p.csv")]) == 0


def test_rows_that_do_not_fit_are_named(texts, columns, tmp_path, capsys):
    with pytest.raises(ValueError, match="takes texts, got dict: give strings"):
        l2b.load_model(texts[0]).encode([{"title": "goal"}])
    model = l2b.load_model(columns[0])
    with pytest.raises(ValueError, match=r"mappings from size, age, colour to cells, got str"):
        model.encode(["red"])
    with pytest.raises(ValueError, match="must have the column 'colour'"):
        model.encode([{"size": 1, "age": 2}])
    for rows, message in (([["title"]], "holds no rows"), ([["titel"], ["x"]], "No column")):
        path = write(tmp_path / "new.csv", rows)
        assert main(["predict", str(texts[0]), str(path), "--quiet"]) == 2
        assert message in capsys.readouterr().err
    assert main(["predict", str(tmp_path), str(path)]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_a_run_on_masks_is_refused(texts, tmp_path, monkeypatch, capsys):
    class OfMasks(RunFolder):
        def read_scale(self):
            return {**super().read_scale(), "masks": True}

    monkeypatch.setattr("l2b.predict.RunFolder", OfMasks)
    path = write(tmp_path / "new.csv", [["title"], ["goal"]])
    assert main(["predict", str(texts[0]), str(path), "--quiet"]) == 2
    assert "is a run on masks" in capsys.readouterr().err

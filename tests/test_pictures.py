"""Pictures of many lines, in files and on the page: every one can be seen, and told from others."""

import html
import json
import re
from dataclasses import replace

import numpy as np
import pytest
import torch

from l2b import report
from l2b.catalog import names
from l2b.config import dump
from l2b.data import Pool
from l2b.datasets.digits import Digits
from l2b.experiment import Run
from l2b.grid import pictures
from l2b.grid.pictures import Panel, Stroke, curves_picture, numbers_picture, strokes
from l2b.methods import Method
from l2b.methods.l2b import L2B
from l2b.overview import write_overview
from l2b.report import COLOURS
from l2b.train import Training


def test_every_method_looks_different():
    found = strokes(names(Method))
    assert len(found) == len(set(found.values())) > len({look.colour for look in found.values()})
    assert all(found[name] == Stroke(colour, "-", "o") for name, colour in COLOURS.items())
    few = strokes(["l2b", "full", "other"])  # both would have the colour of l2b
    assert few["l2b"].colour == COLOURS["l2b"]
    assert len({look.colour for look in few.values()}) == 3


@pytest.mark.parametrize("many", [False, True])
def test_lines_of_one_colour_are_told_apart_by_a_legend(many, tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: drawn.append(figure))
    labels = names(Method)[: None if many else 5]
    lines = {label: np.full((1, 2), place / 20) for place, label in enumerate(labels)}
    panels = [Panel(title="t", lines=lines)]
    curves_picture(tmp_path / "a.png", "t", panels)
    numbers_picture(tmp_path / "b.png", "t", panels, [10, 30], "clean", log=True)
    for figure in drawn:
        legends = [[text.get_text() for text in legend.get_texts()] for legend in figure.legends]
        assert legends == ([labels] if many else [])
        dashes = {line.get_linestyle() for line in figure.axes[0].lines} - {"None"}  # caps of bars
        assert dashes == ({"-", "--"} if many else {"-"})


def run(warmup):
    return replace(Run(), method=L2B(warmup=warmup), training=Training(epochs=1))


@pytest.fixture
def page(tmp_path):
    """The page of more methods than the style sheet has colours, each with one epoch."""
    for warmup in range(14):
        folder = tmp_path / f"{warmup:02}"
        folder.mkdir()
        (folder / "run.yaml").write_text(dump(run(warmup)))
        (folder / "result.json").write_text('{"last_accuracy": 0.5, "versions": {}}')
        (folder / "metrics.jsonl").write_text(json.dumps({"test_accuracy": 0.5}) + "\n")
    return html.unescape(write_overview([tmp_path]).read_text(encoding="utf-8"))


def test_the_page_has_dashes_where_colours_end(page):
    looks = re.findall(r'<li><i class="(.*?)"></i>', page)
    assert len(set(looks)) == 14 and looks[0] == "c0 d0" and looks[-1] == "c1 d1"
    assert set(re.findall(r'<g class="line (.*?)">', page)) == set(looks)
    for look in " ".join(looks).split():
        assert look == "d0" or f".{look} " in page  # the style sheet knows it


def test_the_page_shows_a_single_epoch(page):
    dots = re.findall(r'<g class="line .*?"><circle cx="[\d.]+" cy="[\d.]+" r="4"/>', page)
    assert len(dots) == 14 and "<polyline" not in page


def test_names_with_dollars_are_no_mathematics(tmp_path):
    lines = {label: np.full((1, 2), 0.5) for label in ("a $x_$ b", "under_$5% → over_$5%")}
    curves_picture(tmp_path / "a.png", "$10_^ off $20_", [Panel(title="$^ $", lines=lines)])
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_a_picture_that_fails_costs_no_result(tmp_path, monkeypatch):
    def fail(*_):
        raise ValueError("no picture today")

    monkeypatch.setattr("l2b.report.run_figures", fail)
    tiny = replace(Run(), clean=50, training=Training(epochs=1, batch=256))
    with pytest.raises(ValueError, match="no picture today"):
        tiny.execute(tmp_path / "a", progress=False)
    assert json.loads((tmp_path / "a" / "result.json").read_text())["method"] == "l2b"
    monkeypatch.undo()
    tiny.execute(tmp_path / "a", resume=True, progress=False)
    assert any((tmp_path / "a" / "figures").iterdir())


@pytest.mark.parametrize("shape", [(1, 8, 4), (3, 4, 8)])
def test_least_trusted_images_keep_their_shape_and_long_names_their_cells(
    shape, tmp_path, monkeypatch
):
    drawn = []
    monkeypatch.setattr(report, "save", lambda figure, path: drawn.append(figure))
    labels = torch.tensor([0, 1, 0])
    pool = Pool(
        inputs=torch.rand(3, *shape), labels=labels, index=torch.arange(3),
        true=torch.tensor([1, 1, 0]),
    )  # fmt: skip
    data = replace(Run(data=Digits()).prepare(), train=pool, classes=("ankle boot", "T-shirt/top"))
    found = report.Suspects(torch.tensor([2, 0]), torch.tensor([1, 1]))
    report.suspects_figure(tmp_path / "s.png", data, found)
    (axes,) = drawn[0].axes
    said = [text.get_text() for text in axes.texts]
    assert said[1::2] == ["ankle boot →\nT-shirt/t…"] * 2  # two such names fill two cells
    assert said[2::2] == ["truth ankle boot", "truth T-shirt/t…"]
    first, second = (picture.get_extent() for picture in axes.images)
    for left, right, bottom, top in (first, second):
        assert (right - left) / (bottom - top) == pytest.approx(shape[2] / shape[1])
        assert max(right - left, bottom - top) == pytest.approx(report.PICTURE)
    assert first[1] < second[0]  # side by side, in the order in which they were found
    seen = axes.images[0].get_array()
    own = pool.inputs[2].permute(1, 2, 0).squeeze(2).numpy()
    own = (own - own.min()) / (own.max() - own.min())
    np.testing.assert_allclose(seen, 1 - own if shape[0] == 1 else own, atol=1e-6)

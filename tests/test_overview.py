"""The report about many runs: whole, escaped, without network, in a real browser."""

import html
import json
import re
import shlex
import shutil
from contextlib import chdir
from dataclasses import replace
from pathlib import Path

import pytest

from browser import Browser
from conftest import weighing
from l2b.cli import main
from l2b.engines import LastLayer
from l2b.experiment import Run
from l2b.grid import Grid, Trial, execute
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.l2b import L2B
from l2b.methods.mixup import Mixup
from l2b.models.mlp import Mlp
from l2b.overview import write_overview
from l2b.overview.collect import collect
from l2b.overview.plots import plot
from l2b.provenance import provenance
from l2b.train import Training

NASTY = "<script>window.ran = 1</script>"
IMAGE = '"><img src=x onerror="window.ran = 2">'
TINY = Run(model=Mlp(hidden=(8,)), training=Training(epochs=3, batch=256))


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    if shutil.which("chromedriver") is None:
        pytest.skip("no chromedriver on this machine: apt-get install chromium-driver")
    made = Browser(tmp_path_factory.mktemp("downloads"))
    yield made
    made.close()


@pytest.fixture(scope="module")
def nasty(tmp_path_factory):
    """A grid whose labels, title and failure hold markup."""
    folder = tmp_path_factory.mktemp("nasty") / "a <b> & c"
    entries = [
        (NASTY, replace(TINY, method=CrossEntropy())),
        (IMAGE, replace(TINY, method=weighing())),
        ("broken", replace(TINY, clean=5)),
    ]
    trials = tuple(
        Trial(labels={"<i>set</i>": "</script>", "method": label}, run=replace(run, seed=seed))
        for seed in (0, 1)
        for label, run in entries
    )
    results = execute(Grid(trials=trials), folder, workers=1, progress=False)
    results.write("t", provenance(f"l2b grid '{NASTY}'"))
    failure = next(folder.rglob("failure.json"))
    failure.write_text('{"error": "<img src=x onerror=window.ran=3>", "traceback": "</pre><b>"}')
    with chdir(folder):
        write_overview([folder], folder / "report.html")
    return folder


def test_content_is_shown_and_never_run(browser, nasty):
    browser.open(nasty / "report.html")
    assert browser.run("return window.ran ?? null") is None
    assert browser.texts("h1") == ["a <b> & c"]
    assert browser.texts("table tbody th")[:2] == [NASTY, IMAGE]
    assert browser.run("return document.scripts.length") == 0
    assert browser.run("return document.images.length") == 0
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    assert browser.log() == []
    assert "<img src=x onerror=window.ran=3>" in browser.texts(".error")
    assert NASTY in browser.texts("p.note code")[0]


def test_everything_is_on_the_page(browser, nasty):
    browser.open(nasty / "report.html")
    assert browser.texts(".card b") == ["4", "2"]
    assert len(browser.texts("table.runs tbody tr")) == 6
    states = browser.texts(".state")
    assert states.count("finished") == 4
    assert states.count("failed") == 2
    assert any("torch 2" in line for line in browser.texts("section p.note"))
    commands = browser.texts(".how p:not(.hint) code")
    assert len(commands) == 4  # those that failed have left no settings
    assert "l2b run --config runs/" in commands[0]
    assert any("noise:\n  name: symmetric" in text for text in browser.texts(".how pre"))
    lines = browser.run("return document.querySelectorAll('.line polyline').length")
    assert lines >= 2 * 3 + 4  # two methods in three curves, one of them in four of weights
    groups = browser.texts("summary")
    assert groups.count("By epoch") == 2  # of one setting, all metrics side by side
    titles = browser.texts("figcaption")
    assert titles[0] == "Test accuracy (%)"
    assert any("pseudo-labels" in text for text in titles)


def test_a_phone_can_read_it(browser, nasty):
    browser.call("POST", f"{browser.session}/window/rect", {"width": 500, "height": 900})
    try:
        browser.open(nasty / "report.html")
        wide = browser.run("return document.documentElement.scrollWidth - window.innerWidth")
        assert wide <= 0
    finally:
        browser.call("POST", f"{browser.session}/window/rect", {"width": 1500, "height": 1100})


def test_runs_of_no_grid_are_told_apart_by_their_settings(tmp_path):
    for seed in (0, 1):
        for clean in (50, 80):
            run = replace(TINY, clean=clean, seed=seed, method=L2B(warmup=seed and 1))
            run.execute(tmp_path / f"{clean}-{seed}", progress=False, figures=False)
    (batch,) = collect([tmp_path])
    assert [dict(entry.labels) for entry in batch.entries] == [
        {"clean": "50", "method": "l2b warmup 0"}, {"clean": "50", "method": "l2b warmup 1"},
        {"clean": "80", "method": "l2b warmup 0"}, {"clean": "80", "method": "l2b warmup 1"},
    ]  # fmt: skip
    assert batch.results.grid.settings == [{"clean": "50"}, {"clean": "80"}]
    assert main(["report", str(tmp_path), "--quiet"]) == 0
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "l2b warmup 1" in page
    assert " (1 thread)</td>" in page


def test_runs_of_several_methods_are_called_by_them(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    home = tmp_path / "here and there"
    for name, method in {"a": L2B(), "b": Mixup(), "c": L2B(engine=LastLayer())}.items():
        run = replace(TINY, method=method)
        run.execute(home / name, progress=False, figures=False)
    (batch,) = collect([home])
    labels = [entry.labels["method"] for entry in batch.entries]
    assert labels == ["l2b engine forward", "mixup", "l2b engine last_layer"]
    shutil.rmtree(home / "c")
    (batch,) = collect([home])
    assert [dict(entry.labels) for entry in batch.entries] == [
        {"method": "l2b"}, {"method": "mixup"},
    ]  # fmt: skip
    assert batch.results.grid.against == "l2b"
    page = write_overview([home], tmp_path / "report.html").read_text(encoding="utf-8")
    assert "l2b run --config 'here and there/a/run.yaml' --out NEW" in html.unescape(
        page.replace("\\u0027", "'")
    )


def test_the_page_names_the_devices_of_the_runs_not_of_whoever_wrote_the_tables(tmp_path):
    trials = tuple(Trial(labels={"method": name}, run=replace(TINY, method=found))
                   for name, found in {"l2b": L2B(), "mixup": Mixup()}.items())  # fmt: skip
    results = execute(Grid(trials=trials), tmp_path, workers=1, progress=False)
    results.write("t", provenance("l2b grid x"))
    path = results.rows[0].folder / "result.json"
    record = json.loads(path.read_text()) | {"device": "NVIDIA <b>H100"}
    path.write_text(json.dumps(record))
    other = json.loads((results.rows[1].folder / "result.json").read_text())["device"]
    page = write_overview([tmp_path]).read_text(encoding="utf-8")
    devices = html.escape(" and ".join(sorted(["NVIDIA <b>H100", other])))
    written = provenance("")["written"]
    assert f"<code>l2b grid x</code> on {devices}; tables written on {written}.</p>" in page


def test_a_command_works_where_the_report_was_asked_for(tmp_path, monkeypatch):
    """Wherever the page goes, and however the folder was named."""
    (tmp_path / "my work").mkdir()
    monkeypatch.chdir(tmp_path / "my work")
    home = Path("../some runs")
    run = replace(TINY, training=Training(epochs=1, batch=256), method=CrossEntropy())
    run.execute(home / "a", progress=False, figures=False)
    (home / "failed").mkdir()
    (home / "failed" / "failure.json").write_text('{"error": "e", "traceback": "t"}')
    for folder in (home, home.resolve()):
        text = write_overview([folder], tmp_path / "page.html").read_text(encoding="utf-8")
        (said,) = re.findall(r"<code>(l2b run .*?)</code>", html.unescape(text))
        assert main([*shlex.split(said)[1:-1], "out", "--quiet"]) == 0
        assert (Path("out") / "result.json").exists()
        shutil.rmtree("out")
        assert "for the folder in which <code>l2b report</code> was given" in text


def test_unfinished_and_foreign_runs_do_no_harm(tmp_path):
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / "run.yaml").write_text("something: else")
    (batch,) = collect([tmp_path])
    assert batch.results is None
    page = write_overview([tmp_path]).read_text(encoding="utf-8")
    assert "unfinished" in page
    assert "l2b run --config" not in page  # which would refuse those settings


def test_damaged_runs_are_shown_as_failed_beside_the_others(tmp_path):
    run = replace(TINY, training=Training(epochs=1, batch=256), method=CrossEntropy())
    for name in ("cut", "byte", "old", "whole"):
        run.execute(tmp_path / name, progress=False, figures=False)
    cut, old = (tmp_path / name / "result.json" for name in ("cut", "old"))
    cut.write_text(cut.read_text()[:40])
    record = json.loads(old.read_text())
    old.write_text(json.dumps({k: v for k, v in record.items() if k != "versions"}))
    with (tmp_path / "byte" / "run.yaml").open("ab") as file:
        file.write(b"\xff")
    errors = {
        entry.path.name: entry.error for batch in collect([tmp_path]) for entry in batch.entries
    }
    assert errors["whole"] == errors["old"] == ""
    assert "result.json" in errors["cut"] and "run.yaml" in errors["byte"]
    page = html.unescape(write_overview([tmp_path]).read_text(encoding="utf-8"))
    assert errors["cut"] in page and errors["byte"] in page


def test_a_report_is_written_over_no_other_kind_of_file(tmp_path, capsys):
    (tmp_path / "mine.npz").write_text("data")
    assert main(["report", str(tmp_path), "--out", str(tmp_path / "mine.npz")]) == 2
    assert "mine.npz must name a page, such as report.html" in capsys.readouterr().err
    assert (tmp_path / "mine.npz").read_text() == "data"


def test_folders_without_runs_are_refused(tmp_path, capsys):
    assert main(["report", str(tmp_path), "--quiet"]) == 2
    assert "There is no run in" in capsys.readouterr().err
    assert main(["report", str(tmp_path / "nowhere"), "--quiet"]) == 2
    assert "There is no folder" in capsys.readouterr().err


def test_a_plot_spans_its_curves():
    import numpy as np

    curves = {"a": np.array([[0.2, 0.8], [0.4, 1.0]]), "nothing": np.zeros((0, 0))}
    made = plot("t", curves, {"a": 3, "nothing": 4}, percent=True)
    (line,) = made.lines
    assert (line.name, line.colour, line.end) == ("a", 3, "90.0 %")
    assert line.band
    assert [text for _, text in made.across] == ["1", "2"]
    values = [float(text) for _, text in made.up]
    assert values[0] <= 100 * (0.3 - 0.1414)
    assert values[-1] == 100
    assert plot("t", {"nothing": np.zeros((0, 0))}, {}, percent=True) is None

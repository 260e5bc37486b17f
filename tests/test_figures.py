"""Every figure and table command on digits, with budgets that take no time."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.axes import Axes

from l2b import report
from l2b.augment import CropFlip
from l2b.catalog import default, find, name_of, names
from l2b.clean_split import most_clean
from l2b.cli import main
from l2b.datasets import Split
from l2b.datasets.digits import Digits
from l2b.engines import LastLayer
from l2b.figures import Figure, GridFigure, clean_size
from l2b.figures.base import method
from l2b.figures.clean_size import CleanSize
from l2b.grid import pictures
from l2b.grid.pictures import Panel, numbers_picture
from l2b.grid.results import Results, Row
from l2b.lookahead import OptimiserStep
from l2b.make_figure import make
from l2b.methods import Method
from l2b.methods.l2b import L2B
from l2b.models.resnet import Resnet
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.normalise import Sigmoid, Softmax
from l2b.notices import Notice
from l2b.presets import BUDGETS, PRESETS, base_run
from l2b.recipes import cifar10_recipe, cifar100_recipe, clothing1m_recipe, isic_recipe
from l2b.types import Cases

TINY = ["--model", "mlp", "--hidden", "[8]", "--epochs", "2", "--batch", "256", "--quiet"]
COMMANDS = {
    "figure normalisers": ["--temperature", "0.5", "--seeds", "2"],
    "figure overfitting": ["--rates", "[0.3]", "--seeds", "2"],
    "table ablation": ["--seeds", "1"],
    "table noise": ["--seeds", "1", "--symmetric", "[0.3]", "--methods", "[clean_only,l2b]"],
    "figure clean-size": ["--seeds", "1", "--sizes", "[10,60]", "--methods", "[fine_tune,l2b]"],
    "figure warmup": ["--seeds", "1"],
}
RUNS = {
    "figure normalisers": 8, "figure overfitting": 6, "table ablation": 14, "table noise": 8,
    "figure clean-size": 4, "figure warmup": 6,
}  # fmt: skip


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_a_command_makes_a_picture_and_a_table(command, tmp_path, capsys):
    words = [*command.split(), *COMMANDS[command], *TINY, "--workers", "1", "--out", str(tmp_path)]
    assert main(words) == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    assert f"{RUNS[command]} runs done, 0 failed" in said
    picture = tmp_path / f"{command.split()[1]}.png"
    assert picture.read_bytes()[:4] == b"\x89PNG"
    assert str(picture) in said
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found["rows"]) == RUNS[command]
    assert found["command"].startswith(f"l2b {command} ")
    assert f"`{found['command']}`" in (tmp_path / "results.md").read_text(encoding="utf-8")
    assert all(0 <= row["last_accuracy"] <= 1 for row in found["rows"])


def test_all_figures_have_a_command_above():
    found = {f"{find(Figure, n).kind} {n.replace('_', '-')}" for n in names(Figure)}
    grids = {f for f in found if issubclass(find(Figure, _module(f)), GridFigure)}
    assert grids == set(COMMANDS)


def _module(command):
    return command.split()[1].replace("-", "_")


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("name", names(Figure))
def test_every_preset_gives_a_grid(name, preset):
    figure = find(Figure, name)()
    if not isinstance(figure, GridFigure):
        pytest.skip(f"{name} is no grid of runs")
    base = base_run([], preset)
    grid = figure.grid(base, range(2))
    assert {trial.run.seed for trial in grid.trials} == {0, 1}
    assert figure.title(base)
    assert name_of(figure) == name


@pytest.mark.parametrize("data", sorted(set(BUDGETS) - {""}))
def test_presets_fit_their_data(data):
    for preset in PRESETS:
        run = base_run(["--data", data, "--noise", "pair_flip", "--rate", "0.2"], preset)
        assert name_of(run.data) == data
        assert name_of(run.noise) == "pair_flip"
        other = base_run(["--data", data, "--method", "l2rw", "--model", "mlp"], preset)
        assert name_of(other.method) == "l2rw"
        assert other.noise == (NoNoise() if data == "clothing1m" else Symmetric(rate=0.4))


RECIPES = {
    "cifar10": cifar10_recipe, "cifar100": cifar100_recipe, "isic": isic_recipe,
    "clothing1m": lambda _: clothing1m_recipe(None),
}  # fmt: skip


@pytest.mark.parametrize("data", sorted(RECIPES))
def test_the_longest_preset_is_the_published_one(data):
    published = RECIPES[data](Symmetric(rate=0.4))
    found = base_run(["--data", data], "paper")
    assert replace(found, method=published.method) == published
    ours, theirs = found.method, published.method
    assert (ours.warmup, ours.normalise) == (theirs.warmup, theirs.normalise)
    assert (ours.clean_weight, ours.cross_fit, ours.pseudo) == (0, False, L2B().pseudo)


def test_what_the_preset_chose_can_be_set():
    words = ["--data", "isic", "--model.width", "16", "--method.normalise.temperature", "5"]
    found = base_run([*words, "--training.augment.padding", "8"], "paper")
    assert found.model == Resnet(depth=50, width=16)
    assert found.method.normalise == Softmax(temperature=5)
    assert found.training.augment == CropFlip(padding=8)
    deep = base_run(["--data", "isic", "--model", "resnet", "--model.width", "16"], "paper")
    assert deep.model == found.model
    assert base_run(["--noise", "symmetric"], "quick").noise == Symmetric(rate=0.4)
    other = base_run(["--data", "isic", "--normalise", "sigmoid"], "paper").method
    assert other.normalise == Sigmoid() and other.clean_weight == 0
    with pytest.raises(ValueError, match="did you mean 'digits'"):
        base_run(["--data", "digit"], "quick")


def test_others_take_what_they_share_with_l2b():
    words = ["--data", "isic", "--engine", "last_layer"]
    base = base_run(words, "paper")
    base = replace(base, method=replace(base.method, warmup=7, warmup_patience=5))
    base = replace(base, method=replace(base.method, lookahead=OptimiserStep()))
    like = method(base, "l2rw")
    assert (like.warmup_patience, like.lookahead) == (5, OptimiserStep())
    for name in ("l2rw", "as_published"):
        found = method(base, name)
        assert (found.engine, found.normalise, found.warmup) == (
            LastLayer(), Softmax(temperature=10), 7,
        )  # fmt: skip
    for name in ("mw_net", "mlc"):
        assert (method(base, name).engine, method(base, name).warmup) == (LastLayer(), 7)
    assert method(base, "l2b") == base.method
    for name in ("l2b_masks", "generalised_cross_entropy", "cross_entropy"):
        assert method(base, name) == default(Method, name)
    auto = replace(base, method=replace(base.method, warmup="auto"))
    assert (method(auto, "l2rw").warmup, method(auto, "mw_net").warmup) == ("auto", 1)


def test_sizes_that_the_data_cannot_give_are_left_out():
    source, base = Digits().load(), base_run([], "quick")
    said = "Without 3, 1234 clean samples: this data can give 10 to 1233, so that 64 noisy ones"
    with pytest.warns(Notice, match=said):
        assert CleanSize(sizes=(3, 10, 50, 1234)).fitted(source, base).sizes == (10, 50)
    assert CleanSize().fitted(source, base).sizes == CleanSize().sizes
    with pytest.raises(ValueError, match=r"--sizes must hold .* in \[10, 1233\]"):
        CleanSize(sizes=(3,)).fitted(source, base)
    with pytest.warns(Notice, match="Without 300, 1000 clean samples"):  # of 362 samples
        few = CleanSize().fitted(source, replace(base, imbalance=50.0))
    assert few.sizes == (10, 30, 100)


@pytest.mark.parametrize("checked", [None, 100, 1250])
def test_the_largest_size_leaves_a_batch_of_noisy_samples(checked):
    source, base = Digits().load(), base_run([], "quick")
    if checked is not None:
        source = replace(source, trusted=torch.arange(checked))
    batch = base.training.batch
    if checked == 1250:  # what is checked and not drawn is no noisy sample
        with pytest.raises(ValueError, match=f"training.batch must be smaller .* got {batch}: "):
            CleanSize().fitted(source, base)
        return
    kept = torch.ones(len(source.train.labels), dtype=torch.bool)
    most = most_clean(source, kept, batch)
    assert most == (1297 - batch if checked is None else checked)
    data = replace(base, clean=most).prepare_from(source)
    assert len(data.train) == (batch if checked is None else 1297 - checked)


def test_of_masks_the_largest_size_leaves_a_batch_whoever_is_drawn():
    images = torch.zeros(12, 1, 2, 2)
    masks = torch.zeros(12, 2, 2, dtype=torch.int64)
    owner = torch.tensor([0] * 5 + [1] * 3 + [2] * 2 + [3, 4])
    cases = Cases(owner, names=tuple("abcde"), spacing=torch.ones(5, 3), patient=torch.arange(5))
    source = replace(
        Digits().load(), train=Split(images, masks, cases), classes=("a", "b"), trusted=None
    )
    kept = torch.ones(12, dtype=torch.bool)
    assert [most_clean(source, kept, batch) for batch in (1, 2, 3, 4, 5, 7, 8)] == [
        4, 3, 2, 2, 1, 1, 0,
    ]  # fmt: skip
    source = replace(source, trusted=torch.arange(8))  # two patients, of whom one may be drawn
    assert [most_clean(source, kept, batch) for batch in (1, 4, 5)] == [2, 2, 0]


def test_what_is_done_is_drawn_again_without_the_data(tmp_path, monkeypatch):
    words = ["figure", "warmup", "--seeds", "1", "--lengths", "[0]", *TINY, "--workers", "1"]
    assert main([*words, "--out", str(tmp_path)]) == 0
    (tmp_path / "warmup.png").unlink()
    monkeypatch.setattr(Digits, "load", lambda _: pytest.fail("the data was read"))
    assert main([*words, "--out", str(tmp_path)]) == 0
    assert (tmp_path / "warmup.png").exists()


def test_look_alikes_are_asked_for_where_they_are_known_alone():
    with pytest.raises(ValueError, match=r"--asymmetric has no effect .* digits look alike"):
        find(Figure, "noise")(asymmetric=(0.3,)).grid(base_run([], "quick"), [0])


@pytest.mark.parametrize(
    ("words", "way"),
    [
        ("figure warmup", "or --noise none"),
        ("figure overfitting", "choose other data."),
        ("table noise --noise none", "choose other data."),
    ],
)
def test_labels_that_may_be_wrong_already_are_not_corrupted(words, way, tmp_path, capsys):
    file, out = tmp_path / "mine.npz", tmp_path / "out"
    labels = np.arange(60) % 3
    np.savez(file, x_train=np.eye(60, 4), y_train=labels, clean_index=np.arange(9))
    given = ["--data", "arrays", "--path", str(file), "--clean", "6", *TINY, "--out", str(out)]
    assert main([*words.split(), *given]) == 2
    said = capsys.readouterr().err
    assert "needs true labels to corrupt" in said and way in said and said.count("\n") == 1
    assert not out.exists()


@pytest.mark.parametrize("words", ["figure normalisers", "figure clean-size", "figure warmup"])
def test_data_without_a_test_set_is_refused_before_anything_runs(words, tmp_path, capsys):
    file, out = tmp_path / "mine.npz", tmp_path / "out"
    np.savez(file, x_train=np.eye(60, 4), y_train=np.arange(60) % 3, clean_index=np.arange(12))
    given = ["--data", "arrays", "--path", str(file), "--noise", "none", *TINY, "--out", str(out)]
    assert main([*words.split(), *given]) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "arrays has no test set here" in said and said.startswith("l2b: Every figure")
    assert not out.exists()


def test_cifar_has_a_column_of_look_alikes():
    labels = [find(Figure, "noise")().grid(base_run(["--data", data], "quick"), [0]).labels("noise")
              for data in ("cifar10", "cifar100", "digits")]  # fmt: skip
    assert ["asymmetric 40 %" in found for found in labels] == [True, True, False]


def test_a_line_ends_at_its_last_point(tmp_path, monkeypatch):
    named = {}
    monkeypatch.setattr(pictures, "label_ends", lambda _, ends, __: named.update(ends))
    lines = {"a": np.array([[0.5, 0.6, np.nan]]), "b": np.full((1, 3), np.nan)}
    panels = [Panel(title="t", lines=lines)]
    numbers_picture(tmp_path / "a.png", "t", panels, [10, 30, 100], "clean", log=True)
    assert named == {"a": (30, pytest.approx(60))}


MISTAKES = {
    "figure normalizer": "did you mean 'normalisers'",
    "figure ablation": "ablation is a table: l2b table ablation",
    "table warmup": "warmup is a figure: l2b figure warmup",
    "figure warmup --preset fast": "--preset must be one of quick, cpu, paper",
    "figure warmup --seeds 0": "--seeds must be at least 1",
    "figure warmup --epoch 3": "did you mean --training.epochs",
    "figure clean-size --sizes 3": "sizes",
    "figure warmup --workers 0": "workers >= 1",
    "figure clean-size --methods []": "--methods must hold one name",
    "table noise --methods []": "--methods must hold one name",
}


@pytest.mark.parametrize("words", sorted(MISTAKES))
def test_mistakes_get_one_clear_line(words, tmp_path, capsys):
    assert main([*words.split(), "--quiet", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert MISTAKES[words] in said


@pytest.mark.parametrize("words", ["figure overfitting", "figure warmup", "table ablation"])
def test_nothing_but_the_name_need_be_said(words, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([*words.split(), "--preset", "fast"]) == 2
    assert "--preset must be one of quick, cpu, paper" in capsys.readouterr().err
    asked = []
    monkeypatch.setattr(GridFigure, "make", lambda _, request: asked.append(request))
    kind, name = words.split()
    make(kind, name, [], preset="cpu", seeds=None, out=None, workers=None, command="",
         progress=False)  # fmt: skip
    assert [request.out for request in asked] == [Path("runs") / f"{kind}-{name}-digits-cpu"]


def test_without_a_name_all_are_listed(capsys):
    assert main(["figure"]) == 0
    said = capsys.readouterr().out
    assert "clean-size" in said
    assert "ablation" not in said
    assert main(["table", "ablation", "--help"]) == 0
    assert "β = 0" in capsys.readouterr().out


def test_the_axis_of_curves_is_called_by_what_they_measure(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(report, "save", lambda figure, path: seen.append(figure.axes[0]))
    curves = {"cross_entropy": [0.5, 0.6], "l2b": [0.6, 0.9]}
    report.accuracy_figure(tmp_path / "a.png", curves, "Title")
    report.accuracy_figure(tmp_path / "b.png", curves, "Title", "dice")
    assert [axes.get_ylabel() for axes in seen] == ["accuracy (%)", "dice (%)"]
    assert all(axes.get_xlabel() == "epoch" for axes in seen)
    assert all(mark == round(mark) for axes in seen for mark in axes.get_xticks())


@pytest.mark.parametrize("data", ["digits", "cifar10", "isic"])
@pytest.mark.parametrize("preset", PRESETS)
def test_figures_vary_the_objective_of_the_paper_unless_told_otherwise(data, preset):
    method = base_run(["--data", data], preset).method
    assert isinstance(method, L2B) and method.clean_weight == 0 and method.warmup != "auto"
    assert base_run(["--data", data, "--method", "l2b"], preset).method == L2B()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("figure overfitting --noise pair_flip --rate 0.3", "--noise has no effect here"),
        ("figure overfitting --noise.rate 0.3", "--noise.rate has no effect here"),
        ("figure overfitting --seed 3", "--seeds N says how many"),
        ("figure overfitting --method mixup", "--method mixup has no effect here"),
        ("table ablation --normalise softmax", "--method.normalise has no effect here"),
        ("figure clean-size --clean 70", "--clean has no effect here"),
        ("figure warmup --warmup 3", "--method.warmup has no effect here"),
        ("figure warmup --lengths [3,4]", "--lengths must hold one below the 2 epochs"),
    ],
)
def test_nothing_that_is_said_is_without_effect(words, message, tmp_path, capsys):
    assert main([*words.split(), *TINY, "--workers", "1", "--out", str(tmp_path / "out")]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_rates_that_look_alike_are_told_apart():
    grid = find(Figure, "overfitting")(rates=(0.401, 0.404)).grid(base_run([], "quick"), [0])
    assert grid.labels("noise") == ["40.1 %", "40.4 %"]


def test_noise_that_differs_in_its_spread_is_a_column_of_its_own():
    words = ["--noise", "instance_dependent", "--rate", "0.4", "--noise.spread", "0.3"]
    grid = find(Figure, "noise")().grid(base_run(words, "quick"), [0])
    assert "instance dependent 40 %" in grid.labels("noise")
    assert "instance dependent 40 % (spread 0.3)" in grid.labels("noise")


def test_sizes_are_drawn_in_their_order(tmp_path, monkeypatch):
    drawn = {}
    monkeypatch.setattr(clean_size, "numbers_picture", lambda *a, **k: drawn.update(x=a[3], **k))
    words = ["--sizes", "[60,20,60]", "--methods", "[l2b]", "--seeds", "1", "--workers", "1"]
    weighed = ["--class_weight", "balanced", "--out", str(tmp_path)]
    assert main(["figure", "clean-size", *words, *TINY, *weighed]) == 0
    assert drawn["x"] == [20, 60]
    assert drawn["judged"] == "balanced_accuracy"


def test_without_records_of_epochs_there_are_tables_and_no_curves(tmp_path, capsys):
    words = ["figure", "overfitting", "--rates", "[0.3]", "--seeds", "1", "--workers", "1", *TINY]
    assert main([*words, "--out", str(tmp_path)]) == 0
    (tmp_path / "overfitting.png").unlink()
    for path in tmp_path.rglob("metrics.jsonl"):
        path.unlink()
    capsys.readouterr()
    assert main([*words, "--out", str(tmp_path)]) == 0
    found = capsys.readouterr()
    assert "overfitting.png is not drawn, since no run has kept what it shows" in found.err
    assert "overfitting.png" not in found.out and "results.md" in found.out
    assert not (tmp_path / "overfitting.png").exists()


@pytest.mark.parametrize("name", ["clean_size", "warmup"])
def test_without_figures_there_is_no_picture(name, tmp_path):
    figure, base = find(Figure, name)(), base_run([], "quick")
    grid = figure.grid(base, [0])
    rows = tuple(Row(labels=t.labels, seed=0, folder=tmp_path, record={}) for t in grid.trials)
    nothing = Results(grid=grid, folder=tmp_path, rows=rows, failures={}, missing=0)
    with pytest.warns(Notice, match="is not drawn"):
        assert figure.draw(nothing, base, tmp_path) == []


def test_curves_say_what_they_are_of(tmp_path, monkeypatch):
    drawn = []
    monkeypatch.setattr(Axes, "set_ylabel", lambda _, text, **__: drawn.append(text))
    words = ["--seeds", "1", "--workers", "1", "--class_weight", "balanced"]
    for name in ("overfitting", "normalisers"):
        assert main(["figure", name, *words, *TINY, "--out", str(tmp_path / name)]) == 0
    assert drawn.count("test balanced accuracy (%)") == 2
    assert "test accuracy (%)" not in drawn

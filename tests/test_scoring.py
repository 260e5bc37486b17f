"""What counts: the figure by which an epoch is chosen and runs are compared."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import logsumexp
from sklearn.metrics import roc_auc_score

from l2b.cli import main
from l2b.data import prepare
from l2b.datasets import Source, Split
from l2b.estimator import L2BClassifier
from l2b.evaluate import measure, share_right, tag_scores
from l2b.experiment import Run
from l2b.grid.trials import folder_name
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.fine_tune import FineTune
from l2b.models.mlp import Mlp
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.optimise import Optimiser
from l2b.overview import write_overview
from l2b.quality import judged_by_checked
from l2b.scoring import WORDS, check_scoring, mean_auroc
from l2b.train import Training, fit

TRAINING = Training(
    epochs=12, batch=32, clean_batch=16, optimiser=Optimiser(lr=0.3, options={"momentum": 0.9})
)


def source(*, tags=False, rare=0.1, seed=0):
    """Two classes, one of them rare and hard to tell; or three such labels."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(600, 6, generator=draw)
    hidden = x[:, :3] + 0.8 * torch.randn(600, 3, generator=draw)
    y = (hidden > hidden.quantile(1 - rare)).long()
    y = y if tags else y[:, 0]
    return Source(
        train=Split(x[:300], y[:300]), test=Split(x[300:], y[300:]), classes=("no", "yes"),
        mean=torch.zeros(6), std=torch.ones(6), tags=("edema", "mass", "nodule") if tags else (),
    )  # fmt: skip


def prepared(scoring="auroc", **settings):
    noise = Symmetric(rate=0.3)
    return prepare(source(**settings), noise, clean=120, validation=0.4, seed=0, scoring=scoring)


def trained(data, method=None):
    return fit(data, Mlp(hidden=(32,)), method or CrossEntropy(), TRAINING, seed=0)


@given(st.integers(0, 10**6), st.integers(2, 6), st.integers(2, 40), st.booleans())
def test_auroc_by_another_hand(seed, classes, samples, ties):
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, classes, samples)
    labels[:2] = 0, classes - 1
    z = 30 * draw.normal(size=(samples, classes))
    z = np.round(z, -1) if ties else z
    odds = [z[:, c] - logsumexp(np.delete(z, c, axis=1), axis=1) for c in range(classes)]
    each = [roc_auc_score(labels == c, odds[c]) for c in np.unique(labels)]
    found = mean_auroc(torch.tensor(z), torch.tensor(labels)).item()
    assert found == pytest.approx(np.mean(each), abs=1e-5)
    if classes == 2:
        assert found == pytest.approx(roc_auc_score(labels, z[:, 1] - z[:, 0]), abs=1e-5)


def test_networks_that_are_very_sure_are_ranked_too():
    gap = torch.tensor([40.0, 30.0, 25.0, -25.0, -30.0])
    z, labels = torch.stack([torch.zeros(5), gap], dim=1), torch.tensor([1, 1, 1, 0, 0])
    assert mean_auroc(z, labels).item() == 1
    labels = torch.tensor([1, 0, 1, 0, 0])
    assert mean_auroc(z, labels).item() == pytest.approx(5 / 6)
    (found,) = tag_scores(z.unsqueeze(2), labels.unsqueeze(1))
    assert found["auroc"] == pytest.approx(5 / 6)


def test_outputs_that_are_not_finite_rank_nothing():
    z = torch.full((6, 2), torch.nan)
    assert mean_auroc(z, torch.tensor([0, 1, 0, 1, 1, 0])).item() == 0.5
    assert mean_auroc(torch.randn(4, 2), torch.tensor([1, 1, 1, 1])).item() == 0.5


@pytest.mark.parametrize("tags", [False, True])
def test_an_epoch_is_chosen_by_what_counts(tags):
    chosen = {}
    for scoring in ("accuracy", "balanced_accuracy", "auroc"):
        outcome = trained(prepared(scoring, tags=tags))
        curve = [row[f"validation_{scoring}"] for row in outcome.history]
        assert curve[outcome.chosen_epoch] == max(curve)
        chosen[scoring] = outcome.chosen_epoch
    assert len(set(chosen.values())) > 1  # or nothing was shown


def test_what_counts_unless_something_else_is_asked_for():
    data = prepared("auto")
    assert measure(data) == share_right(data) == "accuracy"
    alike = replace(data, class_weights="balanced")
    assert measure(alike) == "balanced_accuracy"
    ranked = replace(alike, scoring="auroc")
    assert (measure(ranked), share_right(ranked)) == ("auroc", "balanced_accuracy")
    assert measure(replace(alike, scoring="accuracy")) == "accuracy"
    assert "test_auroc" not in trained(data).history[0]  # it costs time


def test_who_is_heard_in_an_audit_goes_by_shares_that_are_right():
    data = prepared()
    outcome = trained(data)
    known, judges = judged_by_checked(outcome.history, data)
    assert known == [row["clean_accuracy"] for row in outcome.history]
    assert judges == len(data.clean)
    assert all(0 < row["clean_auroc"] < 1 for row in outcome.history)


def test_fine_tuning_keeps_its_best_epoch_by_what_counts(monkeypatch):
    asked = []
    monkeypatch.setattr(
        "l2b.best_epoch.measure", lambda data: asked.append(measure(data)) or asked[-1]
    )
    trained(prepared(), FineTune())
    assert set(asked) == {"auroc"}


@pytest.mark.parametrize(
    ("labels", "masks", "scoring", "message"),
    [
        ([0, 0, 0], False, "auroc", "all 3 validation samples show the same class"),
        ([[0, 1], [0, -1], [-1, 1]], False, "auroc", "show one answer to each label"),
        ([[[0, 1], [1, 0]]], True, "auroc", "Masks are judged by Dice, not by AUROC"),
        ([[[0, 1], [1, 0]]], True, "accuracy", "Masks are judged by Dice, not by accuracy"),
        ([0, 1], False, "f1", "scoring must be one of auto, accuracy, .* got 'f1'"),
    ],
)
def test_what_cannot_be_measured_is_refused(labels, masks, scoring, message):
    with pytest.raises(ValueError, match=message):
        check_scoring(scoring, {"validation": torch.tensor(labels)}, masks=masks)


def test_what_can_be_measured_is_not():
    check_scoring("auroc", {"test": torch.tensor([[0, 1], [1, 1]])}, masks=False)
    check_scoring("accuracy", {"test": torch.tensor([0, 0])}, masks=False)
    check_scoring("auto", {"test": torch.tensor([[[0]]])}, masks=True)


def test_it_is_refused_before_a_run_begins():
    found = source()
    alone = replace(found, test=Split(found.test.inputs, torch.zeros_like(found.test.labels)))
    run = Run(noise=NoNoise(), clean=60, scoring="auroc")
    with pytest.raises(ValueError, match=r"all 300 test samples show the same class: take others"):
        run.prepare_from(alone)
    assert run.prepare_from(found).scoring == "auroc"


@pytest.mark.parametrize("tags", [False, True])
def test_folds_of_a_comparison_may_show_one_class_alone(tags):
    found = source(tags=tags, rare=0.05)
    x, y = found.train.inputs.numpy(), found.train.labels.numpy()
    yes = y.reshape(len(y), -1)
    first = np.unique([np.flatnonzero(column)[0] for column in yes.T])
    clean = np.concatenate([first, np.flatnonzero(~yes.any(axis=1))[:8]])
    model = L2BClassifier(epochs=2, scoring="auroc", random_state=0, time_budget=1e6)
    assert model.fit(x, y, clean=clean).comparison_.folds == 3


def test_an_audit_of_ones_own_table_goes_by_it(tmp_path):
    found = source()
    lines = [
        ",".join([*(f"{v:.3f}" for v in row), str(int(label))])
        for row, label in zip(found.train.inputs, found.train.labels, strict=True)
    ]
    (tmp_path / "own.csv").write_text("\n".join(["a,b,c,d,e,f,y", *lines]) + "\n")
    words = ["audit", "--csv", str(tmp_path / "own.csv"), "--label", "y", "--scoring", "auroc",
             "--epochs", "2", "--out", str(tmp_path / "own")]  # fmt: skip
    assert main(words) == 0
    assert json.loads((tmp_path / "own" / "result.json").read_text())["judged_by"] == "auroc"


def test_earlier_grids_go_on():
    assert folder_name(Run()) == "digits-symmetric-l2b-seed0-53079224f7"
    assert folder_name(Run()) != folder_name(Run(scoring="accuracy"))


def test_on_the_command_line(tmp_path, capsys):
    words = ["run", "--epochs", "3", "--method", "cross_entropy", "--model", "mlp"]
    assert main([*words, "--scoring", "auroc", "--out", str(tmp_path / "run")]) == 0
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["judged_by"] == "auroc"
    assert record["chosen_validation"] == pytest.approx(
        max(
            json.loads(line)["validation_auroc"]
            for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
        )
    )
    said = next(line for line in capsys.readouterr().out.splitlines() if "last epoch" in line)
    ranked, right = (100 * record[f"last_{name}"] for name in ("auroc", "accuracy"))
    assert said.split() == [
        "last", "epoch", f"{ranked:.2f}%", "(AUROC;", "accuracy", f"{right:.2f}%)",
    ]  # fmt: skip
    assert main([*words, "--scoring", "f1", "--out", str(tmp_path / "other")]) == 2
    assert "scoring" in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_grids_are_compared_by_it(tmp_path):
    (tmp_path / "grid.yaml").write_text(
        "base: {scoring: auroc, model: {name: mlp, hidden: [8]}, training: {epochs: 2}}\n"
        "seeds: 2\nmethod: [cross_entropy, pooled]\n"
    )
    assert main(["grid", str(tmp_path / "grid.yaml"), "--out", str(tmp_path / "grid")]) == 0
    said = (tmp_path / "grid" / "results.md").read_text()
    assert "## AUROC of test samples at the last epoch (%)" in said
    assert "## Test accuracy at the last epoch (%)" in said  # it differs
    page = write_overview([tmp_path / "grid"]).read_text()
    assert "AUROC on clean validation (%)" in page
    assert "last, AUROC" in page and "<td>last</td>" in page  # rows of the tests differ


def test_an_estimator_chooses_by_it():
    given = source()
    x, y = given.train.inputs.numpy(), given.train.labels.numpy()
    settings = {"method": "fine_tune", "epochs": 6, "validation": 0.3, "random_state": 0}
    found = L2BClassifier(**settings, scoring="auroc").fit(x, y, clean=np.arange(120))
    curve = [row["validation_auroc"] for row in found.history_]
    assert curve[found.chosen_epoch_] == max(curve)
    usual = L2BClassifier(**settings).fit(x, y, clean=np.arange(120))
    assert "validation_auroc" not in usual.history_[0]
    with pytest.raises(ValueError, match=r"Parameter scoring .* must be one of 'auto', .* 'f1'"):
        L2BClassifier(**settings, scoring="f1").fit(x, y, clean=np.arange(120))


def test_every_score_has_a_name():
    assert {"accuracy", "balanced_accuracy", "weighted_accuracy", "auroc", "dice"} == set(WORDS)

"""Several yes-or-no labels a sample: from the data to the audit, each answer by itself."""

import csv
import json
import re
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.multioutput import MultiOutputClassifier
from torch import nn

import l2b
from l2b.answers import Answer
from l2b.audit import audit_run
from l2b.audit.apply import accept_suggestions, apply_decisions
from l2b.audit.own import _prepared
from l2b.audit.tag_apply import _answers
from l2b.cli import main
from l2b.data import prepare
from l2b.datasets.arrays import Arrays
from l2b.datasets.base import Source, Split
from l2b.datasets.tags import Tags
from l2b.engines import LastLayer
from l2b.evaluate import evaluate, mean_tag_scores, tag_scores
from l2b.experiment import Run
from l2b.feed import Feed
from l2b.folder import RunFolder
from l2b.halves import Halves
from l2b.loop import Loop
from l2b.losses import cross_entropy
from l2b.methods.as_published import AsPublished
from l2b.methods.base import labelled_mean, made_up_for
from l2b.methods.bootstrap import Bootstrap
from l2b.methods.co_teaching import CoTeaching
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.elr import Elr
from l2b.methods.fine_tune import FineTune
from l2b.methods.gold_correction import corrected_loss, transition_matrix
from l2b.methods.gold_posterior import GoldPosterior
from l2b.methods.l2b import L2B
from l2b.methods.l2b_tags import L2BTags
from l2b.methods.l2rw import L2RW
from l2b.methods.mixup import Mixup
from l2b.methods.pooled import Pooled
from l2b.models.mlp import Mlp
from l2b.noise.existing import Existing
from l2b.noise.instance_dependent import InstanceDependent
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.normalise import PerSample, PositiveShare
from l2b.notices import Notice
from l2b.optimise import Optimiser
from l2b.overlap import Dice
from l2b.predict import predict
from l2b.report import suspects, suspects_figure
from l2b.shown import _print_tags
from l2b.tables import told_apart
from l2b.train import Training, fit
from l2b.trained import load_model
from l2b.types import Batch

TAGS = ("edema", "fracture", "mass")
FEATURES = 8


def answers(x):
    """What is so of each sample, [N, 3]."""
    return (x[:, :3] + 0.5 * x[:, 3:6] > torch.tensor([0.0, 0.5, -0.5])).long()


def source(samples=240, *, wrong=0.25, missing=0.15, seed=0):
    """Samples whose answers are turned round or missing, and a test set."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, FEATURES, generator=draw)
    y = answers(x)
    turned = torch.rand(y.shape, generator=draw) < wrong
    unknown = torch.rand(y.shape, generator=draw) < missing
    unknown[unknown.all(dim=1)] = False
    test = torch.randn(300, FEATURES, generator=draw)
    return Source(
        train=Split(x, y),
        test=Split(test, answers(test)),
        classes=("no", "yes"),
        mean=torch.zeros(FEATURES),
        std=torch.ones(FEATURES),
        annotations={"observed": torch.where(turned, 1 - y, y).masked_fill(unknown, -1)},
        tags=TAGS,
    )


def prepared(found=None, *, clean=40, validation=0.0, seed=0):
    """Ready to learn from."""
    noise = Existing(annotation="observed")
    return prepare(found or source(), noise, clean=clean, validation=validation, seed=seed)


TRAINING = Training(
    epochs=6, batch=32, clean_batch=20, optimiser=Optimiser(lr=0.1, options={"momentum": 0.9})
)


def trained(method, data=None, training=TRAINING, seed=0):
    """A run in memory."""
    return fit(data or prepared(), Mlp(hidden=(32,)), method, training, seed=seed)


@pytest.fixture(scope="module")
def arrays(tmp_path_factory):
    """The same samples as the user's own file."""
    found = source(320)
    path = tmp_path_factory.mktemp("tags") / "mine.npz"
    assert found.test is not None
    np.savez(
        path,
        x_train=found.train.inputs.numpy(),
        y_train=found.annotations["observed"].numpy(),
        y_true=found.train.labels.numpy(),
        x_test=found.test.inputs.numpy(),
        y_test=found.test.labels.numpy(),
        classes=np.array(TAGS),
    )
    return path


def run(arrays, **changes):
    """A whole experiment on them."""
    base = Run(
        data=Arrays(path=arrays),
        noise=Existing(annotation="observed"),
        method=L2BTags(),
        model=Mlp(hidden=(32,)),
        clean=50,
        training=replace(TRAINING, epochs=8),
    )
    return replace(base, **changes)


# ---- what is learned from


def test_noise_leaves_missing_answers_missing_and_is_counted_over_known_ones():
    found = source(missing=0.0)
    gone = torch.rand(found.train.labels.shape, generator=torch.Generator().manual_seed(5)) < 0.3
    gone[:, 2] = False
    train = found.train._replace(labels=found.train.labels.masked_fill(gone, -1))
    data = prepare(replace(found, train=train), Symmetric(rate=0.4), clean=30, validation=0, seed=0)
    assert torch.equal(data.train.labels == -1, gone[data.train.index])
    known = data.train.labels != -1
    assert data.train.true is not None
    wrong = (data.train.labels != data.train.true)[known].float().mean().item()
    assert data.noise_rate == pytest.approx(wrong)
    assert 0.1 < wrong < 0.3  # 40 % are drawn anew, of which half are right again


def test_the_clean_set_shows_both_answers_of_every_tag_however_rare():
    found = source(400)
    labels = found.train.labels.clone()
    labels[:, 1] = 0
    labels[[7, 311], 1] = 1
    rare = replace(found, train=found.train._replace(labels=labels))
    for seed in range(5):
        data = prepare(rare, NoNoise(), clean=12, validation=0.25, seed=seed)
        assert len(data.clean) == 9
        assert data.validation is not None
        assert len(data.validation) == 3
        assert (data.clean.labels == 0).any(dim=0).all()
        assert (data.clean.labels == 1).any(dim=0).all()
        parts = torch.cat([data.clean.index, data.validation.index, data.train.index])
        assert torch.equal(parts.sort().values, torch.arange(400))


def test_what_the_clean_set_cannot_show_is_named():
    found = source()
    none = replace(
        found, train=found.train._replace(labels=found.train.labels * torch.tensor([1, 0, 1]))
    )
    with pytest.raises(ValueError, match=r"No checked sample shows fracture: yes.*Check one"):
        prepare(none, NoNoise(), clean=30, validation=0, seed=0)
    with pytest.raises(ValueError, match=r"clean must lie in \[2, 240\]"):
        prepare(found, NoNoise(), clean=300, validation=0, seed=0)
    one_hot = torch.zeros(240, 3, dtype=torch.int64)
    one_hot[torch.arange(3), torch.arange(3)] = 1
    apart = replace(found, train=found.train._replace(labels=one_hot))
    with pytest.raises(ValueError, match=r"The 2 samples of the clean set show no .* Raise clean"):
        prepare(apart, NoNoise(), clean=2, validation=0, seed=0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"class_weights": "balanced"}, "class_weight needs one label per sample .*several labels"),
        ({"imbalance": 10.0}, "imbalance needs one true label .* several labels"),
        ({"noise": InstanceDependent(rate=0.2)}, "for several yes-or-no labels --noise symmetric"),
    ],
)
def test_what_needs_one_label_a_sample_is_refused(change, message):
    settings = {"noise": NoNoise(), "clean": 30, "validation": 0.0, "seed": 0} | change
    with pytest.raises(ValueError, match=message):
        prepare(source(), **settings)


def test_labels_of_another_width_are_refused():
    found = source()
    odd = replace(found, tags=("edema", "mass"))
    with pytest.raises(ValueError, match=r"must be \[N, 2\], one for each of edema, mass"):
        prepare(odd, NoNoise(), clean=30, validation=0, seed=0)


@pytest.mark.parametrize(
    ("method", "training", "message"),
    [
        (CoTeaching(), TRAINING, "co_teaching needs one label per sample, .* several labels"),
        (L2BTags(), replace(TRAINING, overlap=Dice()), "overlap dice is of masks"),
        (L2BTags(mixup=1.0), TRAINING, "mixup must be 0 for several labels"),
    ],
)
def test_methods_that_cannot_learn_several_labels_say_so(method, training, message):
    with pytest.raises(ValueError, match=message):
        trained(method, training=training)


# ---- how it is learned


def test_a_batch_is_weighed_as_in_a_loop_of_ones_own():
    data = prepared()
    method = AsPublished(warmup=0)
    loop = Loop(data, Mlp(hidden=(32,)), method, TRAINING, 3, None)
    batch, clean = next(iter(loop.feed.epoch(0)))
    module = loop.learner.network.module
    assert isinstance(module, l2b.YesNo)
    loop.learner.begin_epoch(0)
    expected = l2b.weigh(module, batch.inputs, batch.labels, clean.inputs, clean.labels)
    z = module(batch.inputs).detach()
    record = loop._step(batch, clean)
    known = batch.labels != -1
    place = (batch.index.unsqueeze(1) * 3 + torch.arange(3)).flatten()
    assert torch.equal(record.index, place)
    torch.testing.assert_close(record.alpha.view(-1, 3), expected.alpha * known.sum())
    torch.testing.assert_close(record.beta.view(-1, 3), expected.beta * known.sum())
    said = z.argmax(dim=1).masked_fill(~known, -1)
    assert torch.equal(record.pseudo.view(-1, 3), said)
    target = batch.labels.clamp_min(0).float()
    loss = nn.functional.binary_cross_entropy_with_logits(z[:, 1], target, reduction="none")
    torch.testing.assert_close(record.loss.view(-1, 3), loss.masked_fill(~known, 0))


@pytest.mark.parametrize(
    "method",
    [CrossEntropy(), Bootstrap(), Elr(), L2RW(), AsPublished(warmup=0), L2BTags(warmup=0)],
    ids=lambda method: type(method).__name__,
)
def test_missing_answers_teach_nothing(method):
    """A tag that no noisy sample has keeps the parameters that are its own."""
    found = source(missing=0.0)
    observed = found.annotations["observed"].clone()
    observed[:, 1] = -1
    data = prepared(replace(found, annotations={"observed": observed}))
    # Checked answers of it would be learned by a clean term.
    clean = replace(data.clean, labels=torch.where(torch.arange(3) == 1, -1, data.clean.labels))
    still = replace(TRAINING, optimiser=Optimiser(lr=0.1, options={"weight_decay": 0.0}))
    loop = Loop(replace(data, clean=clean), Mlp(hidden=(32,)), method, still, 0, None)
    loop.learner.begin_epoch(0)
    head = list(loop.learner.network.module.parameters())[-2:]
    before = [p.detach().clone() for p in head]
    for pair in loop.feed.epoch(0):
        loop._step(*pair)
    for p, was in zip(head, before, strict=True):
        assert torch.equal(p[1], was[1])
        assert not torch.equal(p[0], was[0])


def test_the_mean_is_over_known_answers():
    observed = torch.tensor([[0, 1, -1], [-1, -1, 1]])
    losses = torch.tensor([[1.0, 2.0, 0.0], [0.0, 0.0, 6.0]])
    assert labelled_mean(losses, observed).item() == pytest.approx(3.0)
    assert labelled_mean(losses[:, 0], observed[:, 0].clamp_min(0)).item() == pytest.approx(0.5)
    assert labelled_mean(torch.zeros(1, 2), torch.full((1, 2), -1)).item() == 0


def test_the_last_layer_is_found_behind_the_answers():
    training = replace(TRAINING, epochs=12)
    outcome = trained(L2BTags(engine=LastLayer(), warmup=2), prepared(source(600)), training)
    assert outcome.history[-1]["test_accuracy"] > 0.8


@pytest.mark.parametrize(
    "method",
    [L2BTags(), L2B(), L2RW(), FineTune(), Pooled(), GoldPosterior()],
    ids=lambda method: type(method).__name__,
)
def test_it_learns_more_than_plain_training_does(method):
    data = prepared(source(600, wrong=0.4))
    training = replace(TRAINING, epochs=12)
    plain = trained(CrossEntropy(), data, training).history[-1]["test_accuracy"]
    assert trained(method, data, training).history[-1]["test_accuracy"] > plain


def test_defaults_of_the_method():
    assert L2BTags() == L2BTags(normalise=PerSample())
    assert isinstance(L2B().normalise, PositiveShare)


# ---- how it is judged


def test_scores_are_those_of_scikit_learn():
    draw = torch.Generator().manual_seed(1)
    z = torch.randn(80, 2, 3, generator=draw)
    labels = torch.randint(-1, 2, (80, 3), generator=draw)
    labels[:, 2] = labels[:, 2].clamp_max(0)  # nobody has it
    scores, p = tag_scores(z, labels), z.softmax(dim=1)[:, 1]
    for k, found in enumerate(scores):
        known = labels[:, k] != -1
        given, said = labels[known, k].numpy(), z.argmax(dim=1)[known, k].numpy()
        assert found["accuracy"] == pytest.approx((given == said).mean())
        assert found["yes"] == pytest.approx(given.mean())
        if k == 2:
            assert "auroc" not in found
            assert found["balanced_accuracy"] == pytest.approx((said == 0).mean())
            continue
        assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(given, said))
        assert found["auroc"] == pytest.approx(roc_auc_score(given, p[known, k].numpy()))
    means = mean_tag_scores(z, labels)
    known = labels != -1
    right = (z.argmax(dim=1) == labels)[known].float().mean().item()
    assert means["accuracy"] == pytest.approx(right)
    assert means["auroc"] == pytest.approx(np.mean([found["auroc"] for found in scores[:2]]))
    unknown = tag_scores(z, torch.full((80, 3), -1))
    assert unknown == [{}, {}, {}]


def test_the_loss_is_binary_cross_entropy_of_known_answers():
    data = prepared()
    torch.manual_seed(0)
    module = Mlp(hidden=(8,)).network((FEATURES,), 2, tags=3)
    found = evaluate(module, data.train, data)["loss"]
    known = data.train.labels != -1
    z = module(data.train.inputs)[:, 1][known]
    target = data.train.labels[known].float()
    expected = nn.functional.binary_cross_entropy_with_logits(z, target).item()
    assert found == pytest.approx(expected, rel=1e-6)


def test_outputs_that_are_not_finite_are_judged_and_do_not_raise():
    z = torch.full((4, 2, 3), torch.nan)
    found = mean_tag_scores(z, torch.tensor([[0, 1, 1], [1, 0, 0]] * 2))
    assert found["auroc"] == 0.5


def test_a_run_tells_each_tag_and_ends_the_same_when_it_is_resumed(arrays, tmp_path):
    whole = run(arrays).execute(tmp_path / "whole", progress=False)
    record = json.loads((tmp_path / "whole" / "result.json").read_text())
    assert record["judged_by"] == "accuracy"
    assert set(record["tags"]) == set(TAGS)
    assert record["last_auroc"] > 0.9
    assert record["tags"]["edema"]["auroc"] > 0.9
    assert record["last_accuracy"] == whole.outcome.history[-1]["test_accuracy"]
    assert record["noise_rate"] == pytest.approx(0.25, abs=0.04)
    assert (tmp_path / "whole" / "figures" / "weights.png").is_file()

    class Enough(Exception):
        pass

    part = run(arrays, training=replace(TRAINING, epochs=8, checkpoint_every=2))
    steps = iter(range(13))
    original = Loop._after_step

    def stop(self, epoch, done):
        original(self, epoch, done)
        if next(steps, None) is None:
            raise Enough

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Loop, "_after_step", stop)
        with pytest.raises(Enough):
            part.execute(tmp_path / "part", progress=False)
    again = part.execute(tmp_path / "part", resume=True, progress=False)
    for name in ("alpha", "beta", "pseudo", "loss"):
        one, other = (getattr(found.outcome.ledger, name) for found in (whole, again))
        assert torch.equal(one.nan_to_num(7), other.nan_to_num(7)), name
    assert whole.outcome.history == again.outcome.history


def test_the_labels_that_are_told_worst_are_shown_first(capsys):
    scores = {
        f"t{k}": {"accuracy": 0.5 + k / 40, "auroc": 0.5 + k / 30, "yes": 0.2} for k in range(12)
    }
    _print_tags(scores | {"unknown": {}, "rare": {"accuracy": 0.1, "yes": 0.0}})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "  rare: accuracy 10.00%, 0.0% yes"
    assert lines[1] == "  t0: accuracy 50.00%, AUROC 0.500, 20.0% yes"
    assert lines[-1] == "  and 3 labels that are told better, in result.json"
    assert len(lines) == 11


def test_the_ledger_has_an_entry_for_every_answer(arrays, tmp_path):
    found = run(arrays).execute(tmp_path / "run", progress=False)
    ledger, labels = found.outcome.ledger, found.data.train.labels.flatten()
    assert ledger.alpha.shape == (8, len(labels))
    unknown = labels == -1
    assert (ledger.pseudo[:, unknown] == -1).all()
    assert (ledger.pseudo[-1, ~unknown] >= 0).float().mean() > 0.85  # what is left over in a pass
    telemetry = found.outcome.history[0]
    assert telemetry["effective_samples"] == pytest.approx(1)  # of known answers, while warming up
    assert telemetry["alpha_share"] == 1


def test_what_is_broken_is_named_by_its_sample():
    found = source()
    inputs = found.train.inputs.clone()
    data = prepared(replace(found, train=found.train._replace(inputs=inputs)))
    worst = 5
    data.train.inputs[worst] = torch.nan
    training = replace(TRAINING, epochs=1)
    with pytest.warns(Notice, match="skipped") as told:
        outcome = trained(CrossEntropy(), data, training)
    assert told
    assert outcome.history[0]["skipped_samples"] == [int(data.train.index[worst])]


# ---- what comes of it


def test_predictions_are_one_probability_a_tag(arrays, tmp_path, capsys):
    run(arrays).execute(tmp_path / "run", progress=False)
    model = load_model(tmp_path / "run")
    assert model.tags == TAGS
    new = torch.randn(20, FEATURES)
    p = model.predict_proba(new)
    assert p.shape == (20, 3)
    scaled = (new - model.mean) / model.std
    assert isinstance(model.network, l2b.YesNo)
    torch.testing.assert_close(p, model.network.network(scaled).sigmoid().detach())
    assert torch.equal(model.predict(new), (p > 0.5).long())
    np.save(tmp_path / "new.npy", new.numpy())
    out = tmp_path / "run" / "predictions.csv"
    for _ in range(2):  # its own file may be written again
        assert main(["predict", str(tmp_path / "run"), str(tmp_path / "new.npy"), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "20 samples: " in said
    assert "edema" in said
    with out.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        "row", "edema", "edema probability", "fracture", "fracture probability",
        "mass", "mass probability",
    ]  # fmt: skip
    for row, likely in zip(rows, p.tolist(), strict=True):
        for tag, q in zip(TAGS, likely, strict=True):
            assert row[tag] == ("yes" if q > 0.5 else "no")
            assert float(row[f"{tag} probability"]) == pytest.approx(q, abs=1e-4)
    (tmp_path / "mine.csv").write_text("row,predicted,probability\n")
    with pytest.raises(ValueError, match="holds no predictions"):
        predict(tmp_path / "run", tmp_path / "new.npy", tmp_path / "mine.csv", progress=False)


@pytest.fixture(scope="module")
def audited(arrays, tmp_path_factory):
    """A run, and its audit."""
    folder = tmp_path_factory.mktemp("audit") / "run"
    method = L2BTags(clean_weight=0.0, warmup=2)
    run(arrays, method=method).execute(folder, progress=False)
    return folder, audit_run(folder)


def test_answers_about_images_can_be_decided_by_file_and_by_row(tmp_path):
    (tmp_path / "t.csv").write_text("file,a,b\nx.png,1,1\ny.png,0,1\nz.png,1,0\n")
    files, rows = {"x.png/a", "y.png/a", "z.png/a"}, {"0/a", "1/a", "2/a"}
    for column, wanted in (("", files | rows), ("file", files)):
        own = Tags(path=tmp_path / "t.csv", tags=("a", "b"), image="file", id=column)
        subject = SimpleNamespace(labels=own.labels(), own=own, tags=own.tags)
        known = _answers(subject)
        assert {name for name in known if name.endswith("/a")} == wanted
        assert known["y.png/b"] == Answer(1, 1, 1)


def test_the_audit_finds_wrong_answers_tag_by_tag(audited, arrays):
    folder, found = audited
    table = found.table
    stored = np.load(arrays)
    observed, true = stored["y_train"][table.index], stored["y_true"][table.index]
    assert table.classes == tuple(f"{tag}: {word}" for tag in TAGS for word in ("no", "yes"))
    tag = table.observed // 2
    assert (table.suggested // 2 == tag).all()
    rows = np.arange(len(table))
    assert (observed[rows, tag] == table.observed % 2).all()
    assert table.true is not None
    assert (true[rows, tag] == table.true % 2).all()
    assert table.ids == tuple(f"{k}/{TAGS[t]}" for k, t in zip(table.index, tag, strict=True))
    assert len(set(table.ids)) == len(table)
    summary = found.summary
    assert summary["against_truth"]["auroc"] > 0.85
    assert summary["against_truth"]["suggestions_right"] > 0.7
    assert summary["samples"] == (observed[rows, tag] >= 0).sum()
    page = (folder / "audit" / "audit.html").read_text(encoding="utf-8")
    assert "fracture: yes" in page
    assert '"tagged":true' in page.replace(" ", "")


def test_suggestions_are_applied_answer_by_answer(audited, arrays, tmp_path):
    folder, found = audited
    done = accept_suggestions(folder, tmp_path / "fixed.csv")
    with (tmp_path / "fixed.csv").open(encoding="utf-8-sig") as file:
        rows = {int(row["index"]): row for row in csv.DictReader(file)}
    stored = np.load(arrays)
    observed, true = stored["y_train"], stored["y_true"]
    changed = wrong = 0
    for index, row in rows.items():
        for k, tag in enumerate(TAGS):
            given, now = observed[index, k], row[tag]
            if given == -1:
                assert now == ""
            else:
                changed += int(now) != given
                wrong += int(now) != true[index, k]
    assert done.changed == changed == found.table.suspect.sum()
    known = found.table.observed % 2 != found.table.true % 2
    assert wrong < 0.6 * known.sum()
    assert "labels changed" in str(done)


def test_decisions_are_applied_and_those_of_others_refused(audited, tmp_path):
    folder, found = audited
    table, file = found.table, tmp_path / "decisions.csv"
    name, given = table.ids[0], int(table.observed[0])
    tag, other = name.partition("/")[2], table.classes[given ^ 1]

    def decide(key, label, observed=""):
        file.write_text(f"index,id,decision,label,observed\n0,{key},accept,{label},{observed}\n")
        return apply_decisions(folder, file, tmp_path / "out.csv")

    done = decide(name, other, table.classes[given])
    assert (done.changed, done.confirmed) == (1, 0)
    with (tmp_path / "out.csv").open(encoding="utf-8-sig") as opened:
        row = next(r for r in csv.DictReader(opened) if r["index"] == str(table.index[0]))
    assert row[tag] == str((given ^ 1) % 2)
    assert decide(name, table.classes[given]).confirmed == 1
    with pytest.raises(ValueError, match=r"decides '99999/edema', which .* does not have"):
        decide("99999/edema", other)
    with pytest.raises(ValueError, match=r"No label is called 'mass: maybe'"):
        decide(name, "mass: maybe")
    with pytest.raises(ValueError, match=r"saw .* labelled .*: are the decisions of another run"):
        decide(name, other, other)


def test_what_to_check_next_goes_back_in_by_apply(audited, capsys):
    folder, _ = audited
    assert main(["audit", str(folder), "--next", "6"]) == 0
    assert "--apply" in capsys.readouterr().out
    with (folder / "audit" / "next.csv").open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    assert len({row["suggested"] for row in rows}) == 6  # each answer of each tag in turn
    again = ["--clean", str(folder / "audit" / "next.csv"), "--out", "x"]
    assert main(["audit", str(folder), *again]) == 2
    assert "into an audit of your own file (--csv)" in capsys.readouterr().err


def test_batches_are_deterministic_and_leave_samples_without_answers_out():
    found = source(missing=0.0)
    observed = found.annotations["observed"].clone()
    observed[10:20] = -1
    with pytest.warns(Notice, match=r"\d+ of 200 samples to learn from have no label"):
        data = prepared(replace(found, annotations={"observed": observed}))
    settings = {"batch": 10, "clean_batch": 5, "augment": TRAINING.augment, "seed": 0}
    feed = Feed(data=data, **settings)
    seen = torch.cat([batch.index for batch, _ in feed.epoch(0)])
    assert not torch.isin(data.train.index[seen], torch.arange(10, 20)).any()


# ---- a person's own table


FINDINGS = ("edema", "rib fracture", "mass")


def own_rows(samples=160, seed=1):
    """Columns of a table: samples, findings as a tired reader gave them, and what is so."""
    found = source(samples, wrong=0.2, missing=0.0, seed=seed)
    given = found.annotations["observed"].clone()
    checked = torch.arange(samples) < 40
    given[checked] = found.train.labels[checked]
    return found.train.inputs, given, found.train.labels, checked


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A CSV in which x marks what was found and nothing what was not."""
    x, given, _, checked = own_rows()
    path = tmp_path_factory.mktemp("own") / "scans.csv"
    lines = [["scan", *(f"v{k}" for k in range(FEATURES)), *FINDINGS, "seen twice"]]
    for k, (values, answers_, flag) in enumerate(
        zip(x.tolist(), given.tolist(), checked, strict=True)
    ):
        marks = ["x" if answer else "" for answer in answers_]
        lines.append([f"s{k}", *(f"{v:.5f}" for v in values), *marks, "yes" if flag else "no"])
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    return path


def words(path, out):
    """A command line that audits the table."""
    return [
        "audit", "--csv", str(path), "--label", ",".join(FINDINGS), "--blank", "no", "--id", "scan",
        "--clean", "seen twice", "--out", str(out), "--epochs", "25", "--quiet",
    ]  # fmt: skip


@pytest.fixture(scope="module")
def own(table, tmp_path_factory):
    """The folder of the audited table."""
    out = tmp_path_factory.mktemp("own run") / "run"
    assert main(words(table, out)) == 0
    return out


def rows_of(path):
    with path.open(encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def test_a_table_of_findings_is_audited_and_corrected_in_its_own_words(own, table, tmp_path):
    _, given, true, checked = own_rows()
    audit = rows_of(own / "audit" / "audit.csv")
    assert len(audit) == 120 * 3
    assert {row["id"].partition("/")[2] for row in audit} == set(FINDINGS)
    wrong = [row["observed"] != row["suggested"] for row in audit]
    truly = []
    for row in audit:
        scan, _, finding = row["id"].partition("/")
        k, tag = int(scan[1:]), FINDINGS.index(finding)
        assert row["observed"] == f"{finding}: {('no', 'yes')[int(given[k, tag])]}"
        assert int(row["index"]) == k
        assert not checked[k]
        truly.append(bool(given[k, tag] != true[k, tag]))
    assert roc_auc_score(truly, [1 - float(row["quality"]) for row in audit]) > 0.85
    assert sum(wrong) > 20
    done = accept_suggestions(own, tmp_path / "fixed.csv")
    before, after = rows_of(table), rows_of(tmp_path / "fixed.csv")
    cells = [(a[name], b[name]) for a, b in zip(before, after, strict=True) for name in FINDINGS]
    assert sum(a != b for a, b in cells) == done.changed == sum(wrong)
    assert {b for _, b in cells} == {"x", ""}
    others = [name for name in before[0] if name not in FINDINGS]
    assert all(a[name] == b[name] for a, b in zip(before, after, strict=True) for name in others)
    right = [
        after[k][name] == ("x" if true[k, t] else "")
        for k in range(160)
        for t, name in enumerate(FINDINGS)
    ]
    assert sum(right) > sum(
        before[k][name] == ("x" if true[k, t] else "")
        for k in range(160) for t, name in enumerate(FINDINGS)
    )  # fmt: skip


def test_a_person_may_answer_with_yes_and_no(own, table, tmp_path):
    decided = tmp_path / "next.csv"
    decided.write_text("index,id,label\n50,s50/mass,yes\n51,s51/mass,NO\n52,s52/rib fracture,\n")
    apply_decisions(own, decided, tmp_path / "out.csv")
    before, after = rows_of(table), rows_of(tmp_path / "out.csv")
    assert (after[50]["mass"], after[51]["mass"]) == ("x", "")
    changed = {k for k, pair in enumerate(zip(before, after, strict=True)) if pair[0] != pair[1]}
    assert changed <= {50, 51}
    decided.write_text("index,id,label\n50,s50/mass,perhaps\n")
    with pytest.raises(ValueError, match="No label is called 'perhaps'"):
        apply_decisions(own, decided, tmp_path / "out.csv")
    decided.write_text("index,label\n50,yes\n")
    with pytest.raises(ValueError, match=r"decides '50', which .* id tells both, such as 17/"):
        apply_decisions(own, decided, tmp_path / "out.csv")
    with pytest.raises(ValueError, match="would be lost"):
        apply_decisions(own, decided, table)


def test_columns_keep_the_words_that_they_mostly_use(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("a,b,x\nYes,1,0\nYes,0,1\n1,NA,2\nno,NA,3\n0,-1,4\nno,,5\n")
    assert Tags(path=path, tags=("a", "b")).spelled() == {
        "a": {1: "Yes", 0: "no", -1: ""}, "b": {1: "1", 0: "0", -1: "NA"},
    }  # fmt: skip
    noted = Tags(path=path, tags=("a", "b"), blank="no").spelled()
    assert noted["a"] == {1: "Yes", 0: "no", -1: "-1"}


def test_corrected_findings_of_parquet_keep_their_types(tmp_path):
    import pyarrow as arrow
    from pyarrow.parquet import read_table, write_table

    x, given, _, checked = own_rows(120)
    columns = {f"v{k}": x[:, k].numpy() for k in range(FEATURES)}
    columns |= {"a": given[:, 0].bool().numpy(), "b": given[:, 1].numpy().astype(np.int8)}
    columns |= {"c": given[:, 2].numpy().astype(np.float64), "ok": checked.numpy()}
    write_table(arrow.table(columns), tmp_path / "t.parquet")
    out = tmp_path / "run"
    said = ["audit", "--csv", str(tmp_path / "t.parquet"), "--label", "a,b,c", "--clean", "ok"]
    assert main([*said, "--out", str(out), "--epochs", "12", "--quiet"]) == 0
    done = accept_suggestions(out)
    assert done.path.suffix == ".parquet"
    assert done.changed > 0
    before, after = read_table(tmp_path / "t.parquet"), read_table(done.path)
    assert before.schema == after.schema
    pairs = zip(before.to_pylist(), after.to_pylist(), strict=True)
    assert sum(a[k] != b[k] for a, b in pairs for k in "abc") == done.changed


def test_new_rows_are_predicted_without_their_findings(own, tmp_path):
    x = own_rows(10, seed=9)[0]
    new = tmp_path / "new.csv"
    lines = [["scan", *(f"v{k}" for k in range(FEATURES))]]
    lines += [[f"n{k}", *row] for k, row in enumerate(x.tolist())]
    with new.open("w", newline="") as file:
        csv.writer(file).writerows(lines)
    found = predict(own, new, tmp_path / "said.csv", progress=False)
    assert found.samples == 10
    assert set(found.counts) == set(FINDINGS)
    rows = rows_of(tmp_path / "said.csv")
    assert [row["scan"] for row in rows] == [f"n{k}" for k in range(10)]
    assert found.counts["mass"] == sum(row["mass"] == "yes" for row in rows)
    assert 0.5 <= found.sureness <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("--blank", "no"), "only yes in .*say that empty cells mean no"),
    ],
)
def test_what_is_lacking_is_told(table, tmp_path, capsys, change, message):
    said = words(table, tmp_path / "run")
    place = said.index(change[0])
    assert main(said[:place] + said[place + 2 :]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_what_is_of_several_labels_is_refused_for_one(table, tmp_path, capsys):
    said = words(table, tmp_path / "run")
    said[said.index("--label") + 1] = "mass"
    assert main(said) == 2
    assert "--blank is of several labels a sample" in capsys.readouterr().err


def test_answers_that_were_decided_go_back_as_checked_ones(table, own, tmp_path, capsys):
    """Into a new audit of the run or of the file; the others of their samples stay doubtful."""
    _, given, true, _ = own_rows()
    wrong = [(k, tag) for k, tag in (given != true).nonzero().tolist()][:12]
    names = [f"s{k}/{FINDINGS[tag]}" for k, tag in wrong]
    spelled = [("no", "yes")[int(true[k, tag])] for k, tag in wrong]
    listed = tmp_path / "decided.csv"
    lines = [f"{name},{label}" for name, label in zip(names, spelled, strict=True)]
    listed.write_text("\n".join(["id,label", *lines]))
    again, anew = tmp_path / "again", tmp_path / "anew"
    settings = ["--epochs", "3", "--quiet"]
    assert main(["audit", str(own), "--clean", str(listed), "--out", str(again), *settings]) == 0
    assert main([*words(table, anew), "--clean", str(listed), *settings[:2]]) == 0
    capsys.readouterr()
    for run in (again, anew):
        subject = audit_run(run).subject
        audited = rows_of(run / "audit" / "audit.csv")
        assert len(audited) == 3 * 120 - 12 and not {row["id"] for row in audited} & set(names)
        part = {f"s{k}" for k, _ in wrong if sum(k == other for other, _ in wrong) < 3}
        assert part and {row["id"].split("/")[0] for row in audited} >= part
        data = subject.run.prepare_from(subject.source)
        assert len(data.clean) == subject.run.clean == 40 + len({k for k, _ in wrong})
        shown = dict(zip(data.clean.index.tolist(), data.clean.labels.tolist(), strict=True))
        for k, tag in wrong:
            assert shown[k][tag] == true[k, tag]
            assert sum(answer != -1 for answer in shown[k]) == sum(k == other for other, _ in wrong)
        # What was checked goes into the corrected file, beside what is decided now.
        more = tmp_path / f"{run.name}.csv"
        free = next(row for row in audited if row["observed"].endswith("no"))
        more.write_text(f"id,label\n{free['id']},yes\n")
        corrected = tmp_path / f"{run.name}-corrected.csv"
        assert main(["audit", str(run), "--apply", str(more), "--out", str(corrected)]) == 0
        assert "13 labels changed" in capsys.readouterr().out
        cells = {row["scan"]: row for row in rows_of(corrected)}
        for k, tag in wrong:
            assert cells[f"s{k}"][FINDINGS[tag]] == ("x" if true[k, tag] else "")
        scan, tag = free["id"].split("/")
        assert cells[scan][tag] == "x"
        # What was decided before may be decided anew, or said once more.
        assert main(["audit", str(run), "--apply", str(listed), "--out", str(corrected)]) == 0
        assert "12 labels changed" in capsys.readouterr().out
        k, tag = wrong[0]
        more.write_text(f"id,label\ns{k}/{FINDINGS[tag]},{('no', 'yes')[int(given[k, tag])]}\n")
        assert main(["audit", str(run), "--apply", str(more), "--out", str(corrected)]) == 0
        assert "11 labels changed, 1 confirmed" in capsys.readouterr().out
    assert main(["audit", str(run), "--apply", str(listed), "--out", str(corrected)]) == 0
    # The corrected file is decided likewise.
    fixed = words(corrected, tmp_path / "fixed")
    assert main([*fixed, "--clean", str(listed), *settings[:2]]) == 0


def test_what_to_check_next_of_an_own_file_goes_back_in_as_checked(own, tmp_path, capsys):
    assert main(["audit", str(own), "--next", "3"]) == 0
    assert "--clean" in capsys.readouterr().out.split("Fill in")[1]
    path = own / "audit" / "next.csv"
    with path.open(encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file))
    again = ["--out", str(tmp_path / "x"), "--quiet"]
    assert main(["audit", str(own), "--clean", str(path), *again]) == 2
    assert "next.csv decides nothing: fill in its column label" in capsys.readouterr().err
    filled = tmp_path / "filled.csv"
    with filled.open("w", newline="") as file:
        out = csv.DictWriter(file, rows[0].keys())
        out.writeheader()
        out.writerows(row | {"label": "yes"} for row in rows)
    again = tmp_path / "again"
    said = ["audit", str(own), "--clean", str(filled), "--out", str(again), "--epochs", "2"]
    assert main([*said, "--quiet"]) == 0
    assert len(rows_of(again / "audit" / "audit.csv")) == 3 * 120 - 3


def test_without_checked_answers_others_stand_in(table, tmp_path, capsys):
    said = words(table, tmp_path / "run")
    place = said.index("--clean")
    assert main(said[:place] + said[place + 2 : -1]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "No label was checked:" in out and "stood in" in out and "480 labels audited" in out
    _, given, true, _ = own_rows()
    rows = rows_of(tmp_path / "run" / "audit" / "audit.csv")
    wrong = {
        f"s{k}/{FINDINGS[tag]}": bool(given[k, tag] != true[k, tag])
        for k in range(160) for tag in range(3)
    }  # fmt: skip
    quality = [-float(row["quality"]) for row in rows]
    assert roc_auc_score([wrong[row["id"]] for row in rows], quality) > 0.8
    assert audit_run(tmp_path / "run").table.index.max() == 159  # found again
    # Every label has its own: a fifth of each answer, all of them in doubt as well.
    source = Tags(path=table, tags=FINDINGS, blank="no", id="scan", ignore=("seen twice",)).load()
    data = _prepared(source, Run())
    assert len(data.train) == 160 and (data.train.labels == source.train.labels).all()
    shares = (data.clean.labels != -1).sum(dim=0) / 160
    assert (abs(shares - 0.2) < 0.02).all() and data.stand_ins == len(data.clean) < 96


def test_the_estimator_learns_one_label_after_the_other_through_scikit_learn():
    x, given, true, checked = own_rows(120)
    one = l2b.L2BClassifier(method="fine_tune", epochs=12, random_state=0)
    several = MultiOutputClassifier(one).fit(x.numpy(), given.numpy(), clean=checked.numpy())
    assert (several.predict(x.numpy()) == true.numpy()).mean() > (given == true).double().mean()
    assert [model.clean_indices_.tolist() for model in several.estimators_] == [list(range(40))] * 3


def test_one_tag_that_nobody_knows_does_not_end_an_audit(tmp_path):
    """Neither of one with two answers, of which the other is never observed."""
    x, given, _, checked = own_rows(120)
    given[~checked, 1] = -1
    given[~checked, 2] = 0
    np.savez(
        tmp_path / "m.npz", x_train=x.numpy(), y_train=given.numpy(),
        clean_index=checked.nonzero().flatten().numpy(),
    )  # fmt: skip
    said = Run(
        data=Arrays(path=tmp_path / "m.npz"), noise=NoNoise(), method=L2BTags(clean_weight=0.0),
        model=Mlp(hidden=(8,)), clean=40, validation=0.0, training=replace(TRAINING, epochs=2),
    )  # fmt: skip
    said.execute(tmp_path / "run", progress=False)
    table = audit_run(tmp_path / "run").table
    assert np.bincount(table.observed // 2, minlength=3).tolist() == [80, 0, 80]
    assert table.classes[2:4] == ("1: no", "1: yes")


def test_other_tags_are_other_data(arrays, tmp_path):
    stored = dict(np.load(arrays))
    np.savez(tmp_path / "mine.npz", **stored)
    copy = replace(run(arrays), data=Arrays(path=tmp_path / "mine.npz"))
    copy.execute(tmp_path / "run", progress=False)
    note = "the data set has changed since the run"
    for change in ({"classes": stored["classes"][::-1]}, {k: v[:, :2] for k, v in stored.items()
                   if k.startswith("y_")} | {"classes": stored["classes"][:2]}):  # fmt: skip
        np.savez(tmp_path / "mine.npz", **{**stored, **change})
        found = audit_run(tmp_path / "run")
        assert any(note in text for text in found.subject.notes)
        assert len(found.table.classes) == 6


def test_tags_are_part_of_what_names_a_data_set():
    found = source()
    other = replace(found, tags=("edema", "fracture", "nodule"))
    assert prepared(found).data_hash != prepared(other).data_hash
    assert prepared(found).data_hash == prepared(source()).data_hash


def test_names_that_could_be_taken_for_one_another_are_refused(tmp_path):
    with pytest.raises(ValueError, match="'left/mass' and 'mass': rename one, or leave id away"):
        Tags(path=tmp_path / "t.csv", tags=("mass", "left/mass"), id="scan")
    Tags(path=tmp_path / "t.csv", tags=("mass", "left/mass"))
    assert told_apart(["row", "a", "a", "row", "a_"]) == ["row", "a", "a_", "row_", "a__"]


def test_every_tag_goes_wrong_in_its_own_way():
    """The matrices of gold loss correction, by hand."""
    matrix = torch.tensor([[[0.9, 0.1], [0.4, 0.6]], [[0.7, 0.3], [0.2, 0.8]]])
    observed = torch.tensor([[0, 1], [1, -1]])
    z = torch.randn(2, 2, 2, generator=torch.Generator().manual_seed(0))
    found, p = corrected_loss(z, observed, matrix), z.softmax(dim=1)
    for i, k in ((0, 0), (0, 1), (1, 0)):
        expected = -(p[i, :, k] @ matrix[k, :, observed[i, k]]).log()
        torch.testing.assert_close(found[i, k], expected)
    assert found[1, 1] == 0
    data = prepared(source(missing=0.0))
    module = Mlp(hidden=(8,)).network((FEATURES,), 2, tags=3)
    learner = SimpleNamespace(predict=lambda inputs: module(inputs).detach())
    measured = transition_matrix(learner, SimpleNamespace(data=data))
    p = module(data.clean.inputs).softmax(dim=1).detach()
    for k in range(3):
        for y in (0, 1):
            mean = p[data.clean.labels[:, k] == y, :, k].mean(dim=0)
            torch.testing.assert_close(measured[k, y], mean)


def test_blends_count_known_answers_alone():
    """Two thirds of unknown ones do not make the step a third."""
    found = source(missing=0.0)
    observed = found.annotations["observed"].clone()
    observed[:, 1:] = -1
    data = prepared(replace(found, annotations={"observed": observed}))
    learner = Loop(data, Mlp(hidden=(8,)), Mixup(), TRAINING, 0, None).learner
    batch = Batch(
        index=torch.arange(20), inputs=data.train.inputs[:20], labels=data.train.labels[:20]
    )
    losses = []
    learner.network.descend = losses.append
    torch.manual_seed(3)
    learner.step(batch, batch)
    torch.manual_seed(3)
    blend = learner.blends.draw(20, torch.device("cpu"))
    z, other = learner.network.logits(blend.inputs(batch.inputs)), batch.labels[blend.partner]
    own, others = (cross_entropy(z, y)[y != -1].mean() for y in (batch.labels, other))
    torch.testing.assert_close(losses[0], blend.share * own + (1 - blend.share) * others)
    plain = torch.tensor([2.0, 4.0])
    assert made_up_for(plain, torch.tensor([1, 0])) is plain


@pytest.mark.parametrize(
    ("observed", "batch", "message"),
    [
        (-1, 32, "No sample outside the clean set has a label"),
        (0, 500, r"the number of .* left after the clean set was removed"),
    ],
)
def test_batches_that_cannot_be_filled_are_told_in_words_of_samples(observed, batch, message):
    found = source()
    labels = (
        found.annotations["observed"].clamp_min(0) if observed == 0 else torch.full((240, 3), -1)
    )
    kept = replace(prepared(replace(found, annotations={"observed": found.train.labels})))
    train = replace(kept.train, labels=labels[kept.train.index])
    with pytest.raises(ValueError, match=message):
        trained(CrossEntropy(), replace(kept, train=train), replace(TRAINING, batch=batch))


@pytest.mark.slow
@pytest.mark.parametrize("method", ["l2b_tags", "pooled"])
def test_missing_answers_count_alike_on_two_processes(arrays, tmp_path, method):
    """Whose shares of a batch have different numbers of them."""
    said = ["run", "--data", "arrays", "--path", str(arrays), "--noise", "existing"]
    said += ["--annotation", "observed", "--method", method, "--model", "mlp", "--clean", "50"]
    said += ["--batch", "32", "--clean_batch", "20", "--epochs", "2", "--quiet"]
    said += ["--method.warmup", "1"] if method == "l2b_tags" else []
    for count in ("1", "2"):
        done = subprocess.run(
            [sys.executable, "-m", "l2b", *said, "--launch", count, "--out", str(tmp_path / count)],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, two = (RunFolder(tmp_path / count) for count in ("1", "2"))
    for name, values in one.read_ledger().items():
        if isinstance(values, torch.Tensor) and values.is_floating_point():
            torch.testing.assert_close(
                values, two.read_ledger()[name], equal_nan=True, atol=2e-3, rtol=2e-2
            )
    rows = [folder.read_metrics(2) for folder in (one, two)]
    for a, b in zip(*rows, strict=True):
        assert a["train_loss"] == pytest.approx(b["train_loss"], rel=1e-4)
        assert a["test_loss"] == pytest.approx(b["test_loss"], rel=1e-3)


def test_a_half_of_a_clean_batch_is_no_single_sample():
    """Of which batch norm has no variance; masks have their pixels."""
    clean = Batch(index=torch.arange(3), inputs=torch.randn(3, 4), labels=torch.ones(3, 2).long())
    halves = Halves(torch.ones(6, 2).long())
    assert halves.split(clean, 0).to_fit is clean
    four = Batch(index=torch.arange(4), inputs=torch.randn(4, 4), labels=torch.ones(4, 2).long())
    assert halves.split(four, 0).to_fit.index.tolist() == [0, 2]
    assert halves.split(four, 1).to_fit.index.tolist() == [1, 3]


def test_only_labels_that_somebody_gave_are_suspects(tmp_path):
    """Drawn under the names of their tags."""
    found = source(120, missing=0.5)
    image = found.train.inputs.view(120, 1, 2, 4)
    assert found.test is not None
    pictured = replace(
        found, train=found.train._replace(inputs=image), test=None,
        mean=torch.zeros(1, 1, 1), std=torch.ones(1, 1, 1),
    )  # fmt: skip
    data = prepared(pictured)
    outcome = trained(CrossEntropy(), data, replace(TRAINING, epochs=2))
    every = suspects(outcome, 10**6)
    known = (data.train.labels != -1).flatten()
    assert known[every.rows].all()
    assert len(every.rows) > 0.8 * known.sum()
    assert set(every.suggested.tolist()) <= {0, 1}
    suspects_figure(tmp_path / "s.png", data, suspects(outcome, 16))
    assert (tmp_path / "s.png").stat().st_size > 10_000

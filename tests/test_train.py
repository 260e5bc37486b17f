"""The loop: every method learns, resumes bit for bit, and records what happened."""

import itertools
import json
import math
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from accelerate.state import AcceleratorState
from safetensors.torch import load_file

from conftest import stop_after, weighing
from l2b import best_epoch
from l2b.amortise import Amortisation, CleanGradient, WeightMemory
from l2b.best_epoch import BestEpoch
from l2b.candidates import AllClasses, Triple
from l2b.catalog import find, names
from l2b.checkpoint import Place
from l2b.datasets.arrays import Arrays
from l2b.engines import LastLayer
from l2b.evaluate import evaluate
from l2b.experiment import Run
from l2b.files import read_tree, write_tree
from l2b.folder import RunFolder
from l2b.methods import Method
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.fine_tune import FineTune
from l2b.methods.l2b import L2B, L2BLearner
from l2b.models.conv_net import ConvNet
from l2b.models.mlp import Mlp
from l2b.noise.none import NoNoise
from l2b.normalise import ObservedOnly, PerClass, Shrinking
from l2b.notices import Notice
from l2b.optimise import Constant, Cosine, Hyperbolic, Optimiser, Schedule, Steps
from l2b.pseudo import MovingAverage, SelfLabels, Temporal
from l2b.result import accuracies
from l2b.train import Training, chosen_epoch

SHORT = Run(training=Training(epochs=4, batch=256, clean_batch=40), model=Mlp(hidden=(16,)))
VARIANTS = {
    **{name: find(Method, name)() for name in names(Method)},
    "l2b_temporal": weighing(pseudo=Temporal(), engine=LastLayer()),
    "l2b_moving_average": weighing(pseudo=MovingAverage()),
    "l2b_self": weighing(pseudo=SelfLabels()),
    "l2b_amortised": weighing(amortise=Amortisation(gradient_every=3, gradient_memory=0.5)),
    "l2b_seldom": weighing(amortise=Amortisation(weights_every=2)),
    "l2b_all_classes": weighing(candidates=AllClasses(), pseudo=Temporal(), normalise=PerClass()),
    "l2b_triple": weighing(candidates=Triple(), pseudo=MovingAverage(), normalise=Shrinking()),
    "l2b_mixup": weighing(mixup=1.0),
    "l2b_cross_fit": L2B(start="clean", clean_weight=1.0, cross_fit=True),
}


@pytest.fixture(scope="module")
def data():
    return SHORT.prepare()


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_resumed_equals_uninterrupted_bit_for_bit(name, data, tmp_path, monkeypatch):
    run = replace(SHORT, method=VARIANTS[name], model=Mlp(hidden=(16,), dropout=0.2))
    whole = run.execute(tmp_path / "whole", progress=False, data=data)
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run.execute(tmp_path / "parts", progress=False, data=data)
    torch.manual_seed(12345)  # whatever else the process did meanwhile
    parts = run.execute(tmp_path / "parts", progress=False, data=data, resume=True)
    assert parts.outcome.history == whole.outcome.history
    for file in ("model.safetensors", "ledger.safetensors", "metrics.jsonl", "run.yaml"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    left, right = (
        RunFolder(tmp_path / d).checkpoints.read(Place(4, 0)) for d in ("parts", "whole")
    )
    assert left.pop("seconds") > 0 and right.pop("seconds") > 0
    assert str(left) == str(right)


def test_runs_that_draw_classes_alike_resume_too(tmp_path, monkeypatch):
    run = replace(SHORT, class_weight="balanced", imbalance=10)
    data = run.prepare()
    whole = run.execute(tmp_path / "whole", progress=False, data=data)
    with monkeypatch.context() as patch:
        stop_after(patch, 2)
        with pytest.raises(KeyboardInterrupt):
            run.execute(tmp_path / "parts", progress=False, data=data)
    parts = run.execute(tmp_path / "parts", progress=False, data=data, resume=True)
    assert parts.outcome.history == whole.outcome.history
    for file in ("model.safetensors", "ledger.safetensors"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


@pytest.mark.parametrize("name", sorted(VARIANTS))
def test_every_method_learns_and_leaves_global_state_alone(name, data):
    random_state = torch.get_rng_state()
    training = replace(SHORT.training, epochs=8)
    result = replace(SHORT, method=VARIANTS[name], training=training).execute(
        progress=False, data=data
    )
    assert torch.equal(random_state, torch.get_rng_state())
    assert result.record["last_accuracy"] > 0.3  # chance: 0.1
    assert result.record["method"] in names(Method)
    assert result.outcome.ledger.alpha.shape == (8, len(data.train))
    if name.startswith("l2b_") and name not in ("l2b_masks", "l2b_tags"):  # no share is lost there
        assert result.outcome.history[-1]["effective_samples"] < 1


def test_what_a_launcher_says_of_precision_changes_nothing(data, monkeypatch):
    run = replace(SHORT, method=weighing(), training=replace(SHORT.training, epochs=2))
    expected = run.execute(progress=False, data=data).outcome.history
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "fp16")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    AcceleratorState._reset_state(reset_partial_state=True)
    try:
        assert run.execute(progress=False, data=data).outcome.history == expected
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)


def test_a_folder_holds_everything(data, tmp_path):
    result = SHORT.execute(tmp_path / "run", progress=False, data=data)
    found = {p.name for p in (tmp_path / "run").iterdir()}
    assert found == {
        "run.yaml", "metrics.jsonl", "result.json", "model.safetensors", "chosen.safetensors",
        "scale.safetensors", "ledger.safetensors", "checkpoints", "figures",
    }  # fmt: skip
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record == result.record
    rows = [json.loads(x) for x in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert [row["epoch"] for row in rows] == [0, 1, 2, 3]
    curve = [row["test_accuracy"] for row in rows]
    assert record["last_accuracy"] == curve[-1]
    assert record["best_accuracy"] == max(curve)
    assert record["chosen_accuracy"] == curve[record["chosen_epoch"] - 1]
    assert {"alpha_share", "beta_share", "effective_samples", "silent_batches",
            "weight_on_wrong", "pseudo_accuracy"} <= set(rows[0])  # fmt: skip
    ledger = read_tree(tmp_path / "run" / "ledger.safetensors")
    assert torch.equal(ledger["observed"], data.train.labels)
    assert torch.equal(ledger["index"], data.train.index)
    module = SHORT.model.build((1, 8, 8), 10)
    module.load_state_dict(load_file(tmp_path / "run" / "model.safetensors"))


def test_epochs_are_chosen_on_validation_never_on_test():
    rows = [
        {"epoch": 0, "validation_accuracy": 0.5, "validation_loss": 1.0, "test_accuracy": 0.9},
        {"epoch": 1, "validation_accuracy": 0.6, "validation_loss": 1.0, "test_accuracy": 0.1},
        {"epoch": 2, "validation_accuracy": 0.6, "validation_loss": 0.9, "test_accuracy": 0.0},
        {"epoch": 3, "validation_accuracy": 0.6, "validation_loss": 0.9, "test_accuracy": 1.0},
    ]
    assert chosen_epoch(rows, "accuracy") == 2
    assert chosen_epoch([{"epoch": 0, "test_accuracy": 1.0}], "accuracy") is None


def test_clean_gradients_are_taken_when_due_and_averaged():
    taken = iter(range(1, 100))

    def take():
        return {"w": torch.tensor(float(next(taken)))}

    reused = CleanGradient(Amortisation(gradient_every=3))
    assert [reused(take)["w"].item() for _ in range(7)] == [1, 1, 1, 2, 2, 2, 3]
    reused.forget()
    assert reused(take)["w"].item() == 4
    moved = CleanGradient(Amortisation(gradient_every=3))
    moved.load_state_dict(reused.state_dict(), torch.device("meta"))
    assert moved(take)["w"].device.type == "meta"  # checkpoints are read on the CPU
    averaged = CleanGradient(Amortisation(gradient_memory=0.5))
    assert [averaged(take)["w"].item() for _ in range(3)] == [5, 5.5, 6.25]
    with pytest.raises(ValueError, match=r"at least 1 step, got 0 and 1"):
        Amortisation(gradient_every=0)
    with pytest.raises(ValueError, match=r"gradient_memory must lie in \[0, 1\), got 1"):
        Amortisation(gradient_memory=1.0)


@pytest.mark.parametrize("bad", [torch.nan, torch.inf])
def test_a_broken_clean_gradient_spoils_its_own_step_alone(bad):
    def directions(settings, *values):
        gradient, given = CleanGradient(Amortisation(**settings)), iter(values)
        parts = range(len(values) * gradient.settings.gradient_every)
        seen = [
            gradient(lambda: {"w": torch.tensor([next(given), 1.0]), "b": torch.tensor(1.0)})
            for _ in parts
        ]
        return [direction["w"][0].item() for direction in seen]

    mixed = directions({"gradient_memory": 0.5}, 1.0, bad, 3.0, 4.0)
    assert not math.isfinite(mixed[1])  # the step is broken, and known to be
    assert [mixed[k] for k in (0, 2, 3)] == [1, 2, 3]
    reused = directions({"gradient_every": 3}, 1.0, bad, 3.0)
    assert not math.isfinite(reused[3])
    assert [*reused[:3], *reused[4:]] == [1, 1, 1, 1, 1, 3, 3, 3]
    first = directions({"gradient_every": 2, "gradient_memory": 0.5}, bad, 2.0, 4.0)
    assert first[1:] == [0, 1, 1, 2.5, 2.5]


def test_broken_weights_are_not_remembered():
    memory, index = WeightMemory(4), torch.tensor([2, 0])
    memory.keep(index, torch.tensor([0.0, 0.5]), torch.tensor([1.5, 0.0]))
    memory.keep(torch.tensor([0, 3]), torch.tensor([torch.nan, 1.0]), torch.zeros(2))
    again = memory.recall(torch.tensor([0, 2]), index)
    assert again.alpha.tolist() == [0.25, 0.0]
    assert memory.recall(torch.arange(4), torch.arange(4)).alpha.isfinite().all()


def test_remembered_weights_are_those_last_given():
    memory, index = WeightMemory(4), torch.tensor([2, 0])
    fresh = memory.recall(index, index)
    assert fresh.alpha.tolist() == [0.5, 0.5]
    memory.keep(index, torch.tensor([0.0, 0.5]), torch.tensor([1.5, 0.0]))
    again = memory.recall(torch.tensor([0, 2]), index)
    assert again.alpha.tolist() == [0.25, 0.0]
    assert again.beta.tolist() == [0.0, 0.75]
    memory.keep(
        index, torch.tensor([0.0, 0.1]), torch.tensor([0.3, 0.0])
    )  # braked: they sum to 0.2
    braked = memory.recall(torch.tensor([0, 2]), index)
    torch.testing.assert_close(braked.alpha, torch.tensor([0.05, 0.0]))
    torch.testing.assert_close(braked.beta, torch.tensor([0.0, 0.15]))
    memory.keep(torch.tensor([0]), torch.zeros(1), torch.zeros(1))  # silent: it has no say
    torch.testing.assert_close(memory.recall(index, index).beta, torch.tensor([0.2, 0.0]))
    memory.keep(index, torch.zeros(2), torch.zeros(2))
    assert memory.recall(index, index).alpha.sum() == 0


def test_wrong_labels_lose_weight(data):
    method = weighing(engine=LastLayer())
    run = replace(SHORT, training=Training(epochs=12), method=method)
    last = run.execute(progress=False, data=data).outcome.history[-1]
    assert last["weight_on_wrong"] < data.noise_rate / 2
    assert last["pseudo_accuracy"] > 0.85


def test_l2rw_is_l2b_without_pseudo_labels(data):
    l2rw = replace(SHORT, method=find(Method, "l2rw")()).execute(progress=False, data=data)
    engine = l2rw.run.method.engine
    method = weighing(engine=engine, pseudo=SelfLabels(), normalise=ObservedOnly())
    same = replace(SHORT, method=method)
    other = same.execute(progress=False, data=data)
    assert l2rw.outcome.history == other.outcome.history
    assert (l2rw.outcome.ledger.beta[1:].nan_to_num(0) == 0).all()


def test_warm_up_is_plain_cross_entropy(data):
    with pytest.warns(Notice, match="all of it is plain training"):
        warm = replace(SHORT, method=weighing(warmup=4)).execute(progress=False, data=data)
    plain = replace(SHORT, method=CrossEntropy()).execute(progress=False, data=data)
    assert warm.outcome.history == plain.outcome.history


def test_an_automatic_warm_up_ends_where_the_clean_samples_are_known_best(data, monkeypatch):
    """Scripted judgements: better, better, three times worse; then it weighs from the second."""
    judged = iter([0.5, 0.6, 0.6, 0.55, 0.5])
    seen = []

    def scripted(self, predict, module, data):
        seen.append({k: v.clone() for k, v in module.state_dict().items()})
        monkeypatch.setattr(
            best_epoch, "evaluate", lambda *_: {"accuracy": next(judged), "loss": 1.0}
        )
        judge(self, predict, module, data)

    def beginning(self, epoch):
        begin(self, epoch)
        if epoch == 5:
            weighed_from.update((k, v.clone()) for k, v in self.network.module.state_dict().items())

    judge, begin, weighed_from = BestEpoch.judge, L2BLearner.begin_epoch, {}
    monkeypatch.setattr(BestEpoch, "judge", scripted)
    monkeypatch.setattr(L2BLearner, "begin_epoch", beginning)
    training = replace(SHORT.training, epochs=8)
    auto = replace(SHORT, method=L2B(clean_weight=0.0), training=training)
    plain = replace(SHORT, method=CrossEntropy(), training=training)
    found, back = auto.execute(progress=False, data=data).outcome, []
    expected = plain.execute(progress=False, data=data).outcome
    assert found.history[:5] == expected.history[:5]
    assert found.history[5] != expected.history[5]
    assert len(seen) == 5 and (found.ledger.beta[:5].nan_to_num() == 0).all()
    assert (found.ledger.beta[5:] > 0).any(dim=1).all()
    assert weighed_from and all(torch.equal(weighed_from[k], v) for k, v in seen[1].items())

    monkeypatch.undo()
    stopped = BestEpoch()
    learner = replace(plain, seed=5).execute(progress=False, data=data).outcome.learner
    for state in seen:
        learner.network.module.load_state_dict(state)
        stopped.judge(learner.predict, learner.network.module, data)
        back.append(evaluate(learner.predict, data.clean, data)["accuracy"])
    stopped.bring_back(learner.network.module)
    assert evaluate(learner.predict, data.clean, data)["accuracy"] == max(back)


def test_judging_leaves_the_network_in_training_mode(data):
    model = ConvNet(width=4)
    runs = [replace(SHORT, method=L2B(warmup=w), model=model) for w in (3, "auto")]
    one, two = (run.execute(progress=False, data=data).outcome.history for run in runs)
    assert one[:3] == two[:3]  # of which the last two come after a judgement


def test_an_automatic_warm_up_that_starts_clean_takes_one_epoch(data):
    auto, one = (
        replace(SHORT, method=L2B(start="clean", warmup=w)).execute(progress=False, data=data)
        for w in ("auto", 1)
    )
    assert auto.outcome.history == one.outcome.history


@pytest.mark.parametrize("patience", [1, 2, 4])
def test_an_automatic_warm_up_waits_as_long_as_it_is_told(patience, data, monkeypatch):
    judged = iter([0.5, 0.6, *[0.4] * 5])
    judge = BestEpoch.judge

    def scripted(self, predict, module, data):
        monkeypatch.setattr(
            best_epoch, "evaluate", lambda *_: {"accuracy": next(judged), "loss": 1.0}
        )
        judge(self, predict, module, data)

    monkeypatch.setattr(BestEpoch, "judge", scripted)
    run = replace(
        SHORT, method=L2B(warmup_patience=patience), training=replace(SHORT.training, epochs=8)
    )
    shares = [row["beta_share"] for row in run.execute(progress=False, data=data).outcome.history]
    assert [share > 0 for share in shares] == [epoch >= 2 + patience for epoch in range(8)]


def test_a_warm_up_of_less_than_no_epoch_is_refused():
    with pytest.raises(ValueError, match=r"warmup must be 0 or more epochs or auto, got -1"):
        L2B(warmup=-1)
    with pytest.raises(ValueError, match=r"warmup_patience must be at least 1 epoch, got 0"):
        L2B(warmup_patience=0)


def test_every_epoch_says_how_well_it_knows_clean_samples_that_it_did_not_train_on(data):
    cases = (
        (L2B(clean_weight=0.0), True),
        (L2B(), False),
        (CrossEntropy(), True),
        (FineTune(), False),
    )
    for method, known in cases:
        history = replace(SHORT, method=method).execute(progress=False, data=data).outcome.history
        assert all(("clean_accuracy" in row) == known for row in history)


def test_fine_tuning_starts_from_the_best_noisy_epoch(data):
    plain = replace(SHORT, method=CrossEntropy()).execute(progress=False, data=data)
    tuned = replace(SHORT, method=FineTune(noisy_share=0.5)).execute(progress=False, data=data)
    for row, same in zip(tuned.outcome.history[:2], plain.outcome.history[:2], strict=True):
        # Samples that will be trained on tell nothing, so they are not judged.
        assert row == {k: v for k, v in same.items() if not k.startswith("clean_")}
    assert tuned.outcome.history[2] != plain.outcome.history[2]
    assert tuned.outcome.history[2]["alpha_share"] == 0


def test_mixed_precision_and_images(data):
    training = replace(SHORT.training, epochs=8, precision="bfloat16", batch=64)
    run = replace(SHORT, training=training, model=ConvNet(width=8))
    assert run.execute(progress=False, data=data).record["last_accuracy"] > 0.6


def test_a_diverging_run_stops_with_advice(data, tmp_path):
    training = Training(epochs=3, optimiser=Optimiser(lr=1e30), clip=None)
    run = replace(SHORT, training=training, method=CrossEntropy())
    with pytest.raises(FloatingPointError, match=r"loss became .* lower training.optimiser.lr"):
        run.execute(tmp_path / "run", progress=False, data=data)


def test_threads_suit_the_work_and_are_put_back(data, monkeypatch):
    seen = []
    monkeypatch.setattr(torch, "set_num_threads", seen.append)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 8)
    one = replace(SHORT, training=replace(SHORT.training, epochs=1))
    one.execute(progress=False, data=data)
    assert seen == [1, 8]
    replace(one, training=replace(one.training, threads=3)).execute(progress=False, data=data)
    assert seen[2:] == [3, 8]
    monkeypatch.setattr("l2b.train.SMALL_BATCH", 1)
    one.execute(progress=False, data=data)
    assert seen[4:] == [8, 8]
    with pytest.raises(ValueError, match="threads must be at least 1"):
        Training(threads=0)


def test_the_number_of_threads_is_in_the_record(data):
    one = replace(SHORT, training=replace(SHORT.training, epochs=1))
    assert one.execute(progress=False, data=data).record["threads"] == 1
    two = replace(one, training=replace(one.training, threads=2))
    assert two.execute(progress=False, data=data).record["threads"] == 2


def test_tensorboard_is_written_when_asked_for(data, tmp_path):
    training = replace(SHORT.training, epochs=1, tensorboard=True)
    replace(SHORT, training=training).execute(tmp_path / "run", progress=False, data=data)
    assert list((tmp_path / "run" / "tensorboard").rglob("events*"))
    with pytest.raises(ValueError, match="needs a run folder"):
        replace(SHORT, training=training).execute(progress=False, data=data)


def test_monitoring_descent_counts_rises_and_changes_nothing(data, tmp_path):
    watched = replace(SHORT, training=replace(SHORT.training, monitor="descent"))
    found = watched.execute(tmp_path / "run", progress=False, data=data).outcome.history
    plain = SHORT.execute(progress=False, data=data).outcome.history
    for row, same in zip(found, plain, strict=True):
        assert 0 <= row.pop("clean_loss_rose") <= 1
        assert row.pop("largest_rise") >= 0
        assert row == same
    assert (tmp_path / "run" / "figures" / "descent.png").exists()
    wild = replace(watched, training=Training(
        epochs=1, batch=256, monitor="descent", optimiser=Optimiser(lr=3.0), clip=None),
        method=CrossEntropy())  # fmt: skip
    assert wild.execute(progress=False, data=data).outcome.history[0]["clean_loss_rose"] > 0


def test_resuming_refuses_another_run_and_other_data(data, tmp_path):
    SHORT.execute(tmp_path / "run", progress=False, data=data)
    with pytest.raises(ValueError, match="holds a run with other settings"):
        replace(SHORT, seed=1).execute(tmp_path / "run", progress=False, resume=True)
    with pytest.raises(ValueError, match="made with other labels"):
        SHORT.execute(
            tmp_path / "run", progress=False, resume=True, data=replace(data, noise_hash="0")
        )


def test_a_path_given_as_text_is_the_same_path_on_resuming(tmp_path):
    draw = np.random.default_rng(0)
    y = np.arange(80) % 2
    np.savez(tmp_path / "a.npz", x_train=draw.normal(size=(80, 3)) + y[:, None], y_train=y,
             clean_index=np.arange(20))  # fmt: skip
    run = replace(SHORT, data=Arrays(path=str(tmp_path / "a.npz")), noise=NoNoise(), clean=20,
                  model=Mlp(hidden=(4,)), training=Training(epochs=1, batch=8))  # fmt: skip
    whole = run.execute(tmp_path / "run", progress=False)
    again = run.execute(tmp_path / "run", progress=False, resume=True)
    assert again.outcome.history == whole.outcome.history


def test_folders_are_not_overwritten_unasked(data, tmp_path):
    out = tmp_path / "run"
    SHORT.execute(out, progress=False, data=data)
    (out / "notes.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"is not empty.*--resume.*--overwrite"):
        SHORT.execute(out, progress=False, data=data)
    SHORT.execute(out, progress=False, data=data, overwrite=True)
    assert (out / "notes.txt").read_text() == "mine"


def test_checkpoints_hold_trees_exactly_and_refuse_damage(tmp_path):
    path = tmp_path / "x.safetensors"
    tree = {"a": [1, 2.5, None, True, "x"], 3: {"t": torch.arange(4), "e": torch.zeros(0)}}
    write_tree(path, tree)
    back = read_tree(path)
    assert back["a"] == tree["a"]
    assert torch.equal(back[3]["t"], tree[3]["t"])
    assert back[3]["e"].numel() == 0
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(ValueError, match="is damaged"):
        read_tree(path)
    with pytest.raises(TypeError, match="cannot hold a set"):
        write_tree(path, {"x": {1}})


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "x.safetensors"
    write_tree(path, {"x": 1})
    monkeypatch.setattr("l2b.files.save_file", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_tree(path, {"x": 2})
    assert read_tree(path) == {"x": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("name", names(Schedule))
def test_schedules_stay_between_zero_and_one(name):
    schedule = find(Schedule, name)()
    factors = [schedule(epoch, 40) for epoch in range(40)]
    assert factors[0] == 1
    assert all(0 < later <= sooner for sooner, later in itertools.pairwise(factors))


def test_schedules_by_hand():
    assert Constant()(39, 40) == 1
    assert abs(Cosine()(20, 40) - 0.5) < 1e-12
    assert Steps()(30, 40) == pytest.approx(0.01)
    assert Hyperbolic()(20, 100) == 0.5


def test_optimisers_are_checked_before_use():
    with pytest.raises(ValueError, match=r"No optimiser is called 'sdg'; did you mean 'SGD'"):
        Optimiser(kind="sdg")
    with pytest.raises(ValueError, match=r"No SGD option is called 'momentun'.*'momentum'"):
        Optimiser(options={"momentun": 0.9})
    with pytest.raises(ValueError, match="lr must be positive"):
        Optimiser(lr=-1)
    assert Optimiser(kind="AdamW", lr=1e-3).build(Mlp().build((2,), 2).parameters())


def test_masks_without_a_test_set_have_no_dice_but_say_so():
    outcome = SimpleNamespace(history=[{"epoch": 0, "train_loss": 1.0}], chosen_epoch=None)
    found = accuracies(outcome, SimpleNamespace(masks=True, tags=()))
    assert {key for key in found if key.endswith("dice")} == {
        "last_dice", "best_dice", "chosen_dice",
    }  # fmt: skip
    assert set(found.values()) == {None}
    assert "last_dice" not in accuracies(
        outcome, SimpleNamespace(masks=False, tags=(), scoring="auto")
    )

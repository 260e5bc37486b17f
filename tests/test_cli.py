"""The command line as people use it: one clear line and status 2 for every mistake."""

import io
import json
import re
import subprocess
import sys
import time
from importlib.metadata import version

import numpy as np
import pytest
import yaml

from l2b.catalog import names
from l2b.cli import main
from l2b.config import dump, load, parse
from l2b.datasets import Dataset
from l2b.engines import Engine, FiniteDifference
from l2b.experiment import Run
from l2b.methods import Method
from l2b.methods.fine_tune import FineTune
from l2b.methods.l2b import L2B
from l2b.models import Model
from l2b.noise import Noise
from l2b.noise.matrix import Matrix
from l2b.noise.pair_flip import PairFlip
from l2b.normalise import ObservedOnly, Softmax
from l2b.notices import notice, plain_notices
from l2b.pseudo import MovingAverage, PseudoLabels

QUICK = ["--epochs", "2", "--batch", "256", "--quiet"]


def run(*words):
    return main(["run", *map(str, words)])


def test_a_run_from_the_command_line(tmp_path, capsys):
    text = "--data digits --noise symmetric --rate 0.4 --method l2b --clean 50 --seed 3"
    words = text.split(" ")
    assert run(*words, *QUICK, "--out", tmp_path / "a") == 0
    said = capsys.readouterr().out
    assert "l2b on digits: seed 3" in said
    assert "last epoch" in said
    result = json.loads((tmp_path / "a" / "result.json").read_text())
    assert {"method", "data", "noise_rate", "seed", "last_accuracy", "best_accuracy",
            "chosen_accuracy", "seconds"} <= set(result)  # fmt: skip
    assert 0.3 < result["noise_rate"] < 0.42
    assert run("--config", tmp_path / "a" / "run.yaml", "--out", tmp_path / "b", "--quiet") == 0
    for file in ("metrics.jsonl", "model.safetensors", "ledger.safetensors", "run.yaml"):
        assert (tmp_path / "a" / file).read_bytes() == (tmp_path / "b" / file).read_bytes()
    assert run("--config", tmp_path / "a" / "run.yaml", "--out", tmp_path / "a", "--quiet") == 2
    assert "is not empty" in capsys.readouterr().err
    same = ["--config", tmp_path / "a" / "run.yaml", "--out", tmp_path / "a", "--quiet"]
    assert run(*same, "--resume") == 0
    assert run(*same, "--overwrite") == 0
    assert run(*same, "--seed", "4", "--resume") == 2
    said = capsys.readouterr().err
    assert "other settings" in said and "run.yaml --resume --out" in said


MISTAKES = {
    "--method l2c": r"No method is called 'l2c'; did you mean 'l2b'",
    "--data digit": r"No dataset is called 'digit'; did you mean 'digits'",
    "--noise symetric": r"No noise is called 'symetric'; did you mean 'symmetric'",
    "--engine finite-diference": r"No engine is called .*did you mean 'finite_difference'",
    "--model transformer": "No model is called 'transformer'; ",
    "--normalise positive": r"No normaliser is called .*did you mean 'positive_share'",
    "--pseudo self": r"No pseudo labels is called 'self'; did you mean 'self_labels'",
    "--epoch 3": r"There is no setting --epoch; did you mean --training.epochs",
    "--rate 1.5": r"got 1.5",
    "--rate lots": r"noise.rate must be a number, got .lots.",
    "--epochs 0": r"epochs must be at least 1, got 0",
    "--epochs 2.5": r"training.epochs must be a whole number, got .2.5.",
    "--lr 0": r"optimiser.lr must be positive",
    "--noise pair_flip --rate 0.5": r"PairFlip needs 0 <= rate < 0.5, got 0.5: from 0.5 on",
    "--noise pair_flip": r"--noise.rate is required",
    "--noise asymmetric --rate 0.3 --data arrays --path nowhere.npz": r"nowhere.npz",
    "--clean 5": r"clean must lie in \[10, 1297\].*got 5",
    "--clean 5000": r"got 5000",
    "--batch 5000": r"training.batch must lie in \[1, 1247\].*got 5000",
    "--soft true --pseudo self_labels": r"needs soft=False",
    "--decay 2 --pseudo moving_average": r"0 <= decay < 1, got 2",
    "--name x": r"There is no setting --name",
    "stray": r"Expected a setting such as --seed 0, got 'stray'",
    "--config nowhere.yaml": r"no settings file nowhere.yaml",
    "--precision half": r"precision",
    "--clip 0": r"clip must be positive or none",
    "--kind SGDD": r"No optimiser is called 'SGDD'; did you mean 'SGD'",
    "--options {momentun:0.9}": r"options",
    "--data fashion_mnist --root nowhere": r"nowhere",
    "--method fine_tune --noisy_share 1": r"noisy_share < 1",
    "--lookahead optimiser_step --kind Adam --lr 0.001": r"knows the step of torch.optim.SGD only",
}


@pytest.mark.parametrize("words", sorted(MISTAKES))
def test_mistakes_get_one_clear_line(words, tmp_path, capsys):
    quick = [] if "--epoch" in words else ["--epochs", "2"]
    status = run(*words.split(), *quick, "--quiet", "--out", tmp_path / "run")
    said = capsys.readouterr().err
    assert status == 2
    assert said.startswith("l2b: ")
    assert said.count("\n") == 1
    assert re.search(MISTAKES[words], said), said
    assert not (tmp_path / "run" / "result.json").exists()


def arrays(tmp_path, **changes):
    rng = np.random.default_rng(0)
    y = np.arange(90) % 3
    made = {
        "x_train": rng.normal(size=(90, 4)) + y[:, None], "y_train": y,
        "x_test": rng.normal(size=(9, 4)), "y_test": np.arange(9) % 3,
        "clean_index": np.arange(0, 30),
    }  # fmt: skip
    np.savez(tmp_path / "mine.npz", **{**made, **changes})
    return ["--data", "arrays", "--path", tmp_path / "mine.npz", "--noise", "none"]


def test_ones_own_arrays_train_without_known_truth(tmp_path, capsys):
    words = [*arrays(tmp_path), "--clean", "12", "--batch", "16", "--epochs", "2", "--quiet"]
    assert run(*words, "--out", tmp_path / "run") == 0, capsys.readouterr().err
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result["noise_rate"] is None
    assert result["last_accuracy"] is not None


def test_without_a_test_set_the_samples_kept_aside_are_reported(tmp_path, capsys):
    words = arrays(tmp_path)
    found = dict(np.load(tmp_path / "mine.npz"))
    np.savez(tmp_path / "mine.npz", **{k: v for k, v in found.items() if "test" not in k})
    words += ["--clean", "30", "--batch", "16", "--epochs", "2", "--quiet"]
    assert run(*words, "--out", tmp_path / "a") == 0
    said = capsys.readouterr().out
    record = json.loads((tmp_path / "a" / "result.json").read_text())
    share = record["chosen_validation"]
    assert share is not None and record["last_accuracy"] is None
    assert f"no test set; epoch {record['chosen_epoch']} is the best on the 6 clean" in said
    assert f"aside: accuracy {share:.2%}" in said and "–" not in said
    rows = (tmp_path / "a" / "metrics.jsonl").read_text().splitlines()
    assert share == json.loads(rows[record["chosen_epoch"] - 1])["validation_accuracy"]
    assert run(*words, "--validation", "0", "--out", tmp_path / "b") == 0
    assert "no test set, and no clean sample kept aside" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "plain"),
    [
        ("--epochs 2", True),
        ("--epochs 2 --warmup 1", False),
        ("--epochs 2 --method mixup", False),
        ("--epochs 2 --warmup 2 --method mlc --model mlp", True),
        ("--epochs 2 --warmup 2 --method mw_net", True),
        ("--epochs 2 --warmup 1 --method mw_net", False),
    ],
)
def test_a_run_that_learned_no_weights_says_so(words, plain, tmp_path, capsys):
    assert run("--data", "digits", *words.split(), "--quiet", "--out", tmp_path / "a") == 0
    assert ("no weights were learned" in capsys.readouterr().out) == plain
    assert json.loads((tmp_path / "a" / "result.json").read_text())["plain_throughout"] == plain


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"y_train": np.arange(90) % 4 - 1}, "got -1"),
        ({"x_train": np.full((90, 4), np.nan)}, "got nan in row 0"),
        ({"y_train": np.arange(80) % 3}, "80"),
        ({"y_train": np.arange(90) / 3}, "y_train"),
        ({"clean_index": np.array([0, 3, 6])}, r"no sample of"),
        ({"clean_index": np.array([], dtype=int)}, r"clean"),
        ({"clean_index": np.array([500])}, r"clean_index"),
        ({"y_train": np.zeros(90, dtype=int)}, r"class"),
    ],
)
def test_bad_arrays_get_one_clear_line(changes, message, tmp_path, capsys):
    words = [*arrays(tmp_path, **changes), "--clean", "12", "--batch", "16", "--quiet"]
    assert run(*words, "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(message, said), said


def test_an_unwritable_folder_is_refused(capsys):
    assert run(*QUICK, "--out", "/proc/l2b/run") == 2
    said = capsys.readouterr().err
    assert said.startswith("l2b: ")
    assert said.count("\n") == 1
    assert "/proc/l2b" in said


def test_an_impossible_folder_is_refused(tmp_path, capsys):
    (tmp_path / "file").write_text("mine")
    assert run(*QUICK, "--out", tmp_path / "file") == 2
    assert "is a file" in capsys.readouterr().err
    assert run(*QUICK, "--out", tmp_path / "file" / "below") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert (tmp_path / "file").read_text() == "mine"


def test_help_comes_at_once():
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "l2b", "--help"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "run" in done.stdout
    assert " torch" not in done.stderr
    assert " numpy" not in done.stderr
    assert time.perf_counter() - start < 5


def test_a_refusal_waits_for_nothing_that_it_does_not_need():
    names = "sklearn", "matplotlib", "torchmetrics", "pandas", "monai", "PIL"
    code = f"""
import sys
from l2b.cli import main
assert main(["audit", "not_there"]) == 2
assert main(["run", "--data", "digit"]) == 2
print([name for name in {names} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )  # fmt: skip
    assert done.stdout == "[]\n"
    assert "holds no finished run" in done.stderr
    assert "did you mean 'digits'" in done.stderr


def test_the_version_is_that_of_the_package(capsys):
    with pytest.raises(SystemExit) as done:
        main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out == f"l2b {version('l2b')}\n"


def test_run_help_shows_the_settings_of_what_was_chosen(capsys):
    assert run("--help", "--noise", "pair_flip", "--engine", "finite_difference") == 0
    said = capsys.readouterr().out
    for word in ("--noise.rate", "--method.engine.length", "--training.optimiser.lr", "--resume"):
        assert word in said


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("demo", ["six ways to learn from handwritten digits", "default: runs/demo"]),
        ("audit", ["labels or masks that a run learned from", "runs/audit-<name of the file>"]),
    ],
)  # fmt: skip
def test_help_says_what_a_command_does_and_where_it_writes(command, said, capsys):
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = " ".join(capsys.readouterr().out.split())
    assert [words for words in said if words not in shown] == []


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("--data fashion_mnist --root {}", "give its folder (root, --root)"),
        ("--data cifar10 --root {}", "(root, --root)"),
        ("--noise matrix", "rows or path (--noise.rows, --noise.path), got neither"),
    ],
)
def test_errors_name_settings_as_they_are_typed(words, advice, tmp_path, capsys):
    assert run(*words.format(tmp_path).split(), "--out", tmp_path / "run") == 2
    said = capsys.readouterr().err
    assert advice in said and "=…" not in said


def test_list_shows_everything_with_a_line_each(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for base in (Method, Engine, Noise, Dataset, Model, PseudoLabels):
        for name in names(base):
            assert name in said


def test_theory_passes_and_fails_by_its_status(monkeypatch, capsys, tmp_path):
    from l2b import theory

    quick = theory.run
    monkeypatch.setattr(theory, "run", lambda out, seed: quick(out, seed, effort=theory.QUICK))
    assert main(["theory", "--out", str(tmp_path)]) == 0
    assert (tmp_path / "theory.json").exists()
    monkeypatch.setattr("l2b.scores.candidate_score", lambda z, dz, target: dz.sum(dim=1))
    assert main(["theory"]) == 1
    assert "FAIL" in capsys.readouterr().out


def test_theory_advises_on_a_step_size(tmp_path, capsys):
    words = ["theory", "--data", "digits", "--model", "mlp", "--lr", "0.2"]
    assert main(words) == 0
    assert "lambda = 0.2, normalised weights, as l2b has: " in capsys.readouterr().out
    assert run("--model", "mlp", *QUICK, "--out", tmp_path / "run") == 0
    weights = str(tmp_path / "run" / "model.safetensors")
    assert main([*words, "--weights", weights]) == 0
    told = capsys.readouterr().out
    assert "times the guarantee" in told
    assert main([*words, "--weights", str(tmp_path / "run")]) == 0
    assert told.endswith(capsys.readouterr().out)
    assert main(["theory", "--data", "digits", "--model", "conv_net", "--weights", weights]) == 2
    assert "does not hold the parameters of this" in capsys.readouterr().err
    assert main([*words, "--weights", "nowhere.safetensors"]) == 2


def test_settings_survive_the_round_trip():
    made = Run(
        method=L2B(
            engine=FiniteDifference(length=1e-6),
            normalise=ObservedOnly(then=Softmax(temperature=0.25)),
            pseudo=MovingAverage(soft=False),
        ),
        noise=Matrix(rows=((0.9, 0.1), (0.2, 0.8))),
        seed=7,
    )
    assert load(Run, dump(made)) == made
    assert load(Run, dump(Run(method=FineTune()))) == Run(method=FineTune())
    assert yaml.safe_load(dump(made))["method"]["normalise"]["then"]["name"] == "softmax"


def test_words_win_over_the_file_and_endings_are_found():
    text = "seed: 5\ntraining: {epochs: 9}\nmethod: fine_tune\n"
    made = parse(Run, ["--training.epochs=3", "--lr_factor", "0.5"], text)
    assert (made.seed, made.training.epochs) == (5, 3)
    assert made.method == FineTune(lr_factor=0.5)
    with pytest.raises(ValueError, match=r"--soft could be|no setting --soft"):
        parse(Run, ["--method", "l2rw", "--soft", "true"])
    with pytest.raises(ValueError, match="not plain YAML"):
        parse(Run, [], "a: [")
    with pytest.raises(ValueError, match="a YAML mapping"):
        parse(Run, [], "- a")
    with pytest.raises(ValueError, match=r"no setting --training\.epoch;"):
        parse(Run, [], "training: {epoch: 3}")


def test_a_run_that_cannot_begin_leaves_no_folder(tmp_path, capsys):
    out = tmp_path / "run"
    words = ["run", "--data", "digits", "--model", "mlp", "--epochs", "1", "--quiet"]
    assert main([*words, "--batch", "99999", "--out", str(out)]) == 2
    assert "99999" in capsys.readouterr().err
    assert not out.exists()
    assert main([*words, "--out", str(out)]) == 0
    assert main([*words, "--out", str(out), "--resume", "--overwrite"]) == 2
    assert "choose one" in capsys.readouterr().err
    assert (out / "result.json").exists()


@pytest.mark.parametrize("path", ["[x]/n.npz", "{a}.npz", " [", "none", "null"])
def test_texts_that_look_like_yaml_come_back(path):
    made = parse(Run, ["--data", "arrays", f"--path={path}", "--noise", "none"])
    assert str(made.data.path) == path
    assert load(Run, dump(made)) == made


def test_another_method_replaces_that_of_a_file_as_a_whole():
    text = dump(Run(method=L2B(clean_weight=0.5), seed=7))
    found = parse(Run, ["--method", "mixup"], text)
    assert (type(found.method).__name__, found.seed) == ("Mixup", 7)
    assert parse(Run, ["--method", "l2b"], text).method.clean_weight == 0.5
    found = parse(Run, ["--normalise", "softmax"], text)
    assert found.method == L2B(clean_weight=0.5, normalise=Softmax())


@pytest.mark.parametrize("word", ["none", "None", "null"])
def test_none_can_be_written(word):
    found = parse(Run, ["--clip", word, "--threads", word])
    assert found.training.clip is None and found.training.threads is None
    assert parse(Run, ["--monitor", "none"]).training.monitor == "none"


def test_what_a_data_set_remarks_is_said(tmp_path, capsys):
    rows = [f"{k % 2},{k % 2 + k / 100},word{k}" for k in range(120)]
    (tmp_path / "mine.csv").write_text("\n".join(["label,x,y", *rows]))
    (tmp_path / "checked.csv").write_text(
        "\n".join(["index,label", *(f"{k},{k % 2}" for k in range(40))])
    )
    words = ["--data", "table", "--path", tmp_path / "mine.csv", "--label", "label", "--checked",
             f"[{tmp_path / 'checked.csv'}]", "--noise", "none", "--clean", "20"]  # fmt: skip
    assert run(*words, *QUICK, "--batch", "40", "--out", tmp_path / "run") == 0
    assert "Columns not used: y" in capsys.readouterr().out


def test_a_notice_is_said_once():
    said = io.StringIO()
    with plain_notices(said):
        for text in ("one\nthing", "another", "one thing"):
            notice(text)
    assert said.getvalue() == "l2b: note: one thing\nl2b: note: another\n"


def test_shortened_settings_of_another_noise_are_replaced_too():
    text = "noise: {name: symmetric}\nrate: 0.3\nseed: 4"
    found = parse(Run, ["--noise", "pair_flip", "--rate", "0.2"], text)
    assert (found.noise, found.seed) == (PairFlip(rate=0.2), 4)
    with pytest.raises(ValueError, match=r"--noise\.rate is required"):
        parse(Run, ["--noise", "pair_flip"], text)


def test_a_reader_who_leaves_is_no_mistake():
    words = [sys.executable, "-m", "l2b", "run", "--help"]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as found:
        assert found.stdout is not None and found.stderr is not None
        found.stdout.close()
        assert found.stderr.read() == ""
    assert found.returncode == 141

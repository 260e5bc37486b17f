"""Methods, models and noise from outside the library go where built-in ones go."""

import inspect
import re
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from l2b import catalog, load_model
from l2b.cli import main
from l2b.config import dump, load
from l2b.estimator import L2BClassifier
from l2b.experiment import Run
from l2b.grid import cross, execute
from l2b.methods import Learner, Method, NoisyOnly, Plain, Task
from l2b.methods.l2b import L2B
from l2b.models import Model
from l2b.models.mlp import Mlp
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.notices import Notice
from l2b.train import Training
from l2b.types import Batch

DOCUMENT = Path(__file__).parents[1] / "docs" / "methods.md"


@dataclass(frozen=True, kw_only=True)
class Doubled(NoisyOnly):
    """Cross-entropy, so many times over."""

    times: float = 2.0

    def build(self, task: Task) -> Learner:
        return DoubledLearner(self.times, task)


class DoubledLearner(Plain):
    """One loss, multiplied."""

    def __init__(self, times: float, task: Task):
        super().__init__(task)
        self.times = times

    def loss(self, losses: Tensor, overlap: Tensor, batch: Batch, clean: Batch) -> Tensor:
        del batch, clean
        return self.times * losses.mean() + overlap


@dataclass(frozen=True, kw_only=True)
class Narrow(Model):
    """A linear map."""

    bias: bool = True

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        return nn.Sequential(nn.Flatten(), nn.LazyLinear(classes, bias=self.bias)).eval()


@dataclass(frozen=True, kw_only=True)
class Quiet(NoNoise):
    """No noise by another name."""


class Undecorated(Doubled):
    """Keeps a setting that is no field."""

    def __init__(self, secret: float = 1.0):
        super().__init__()
        object.__setattr__(self, "secret", secret)


class Unmarked(Doubled):
    """Would have a setting, were it a dataclass."""

    strength: float = 1.0


class Unfinished(Method):
    """Says nothing of what it does."""


@dataclass(frozen=True, kw_only=True)
class Odd(Doubled):
    """Takes what no file holds."""

    what: object = 1.0


@dataclass(frozen=True, kw_only=True)
class Refusing(Doubled):
    """Refuses its own default when it is read back."""

    what: int | str = 3

    def __post_init__(self):
        if self.what == 3:
            raise RuntimeError("not again.")


@dataclass(frozen=True, kw_only=True)
class Untold(Doubled):
    """Has a type that is not there."""

    where: "Nowhere | None" = None  # noqa: F821


@dataclass(frozen=True, kw_only=True)
class Needy(Doubled):
    """Has a setting without default and documentation."""

    strength: float


TINY = Run(model=Mlp(hidden=(8,)), training=Training(epochs=2, batch=256))


@pytest.fixture
def trimmed(tmp_path, monkeypatch):
    """The method that the documents show, in a module that can be imported."""
    section = DOCUMENT.read_text().partition("## A method of your own")[2]
    code = re.search(r"```python\n(.*?)```", section, re.DOTALL)
    assert code is not None
    (tmp_path / "trimmed.py").write_text(code[1])
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "trimmed", raising=False)
    return catalog.find(Method, "trimmed:Trimmed")


def test_names_of_what_is_here_are_short_and_of_ones_own_are_where_it_is():
    assert catalog.name_of(L2B()) == "l2b"
    assert catalog.name_of(Doubled()) == f"{__name__}:Doubled"
    assert catalog.find(Method, f"{__name__}:Doubled") is Doubled
    assert catalog.find(Model, catalog.name_of(Narrow)) is Narrow
    assert "test_own:Doubled" not in catalog.names(Method)


def test_a_class_called_like_a_built_in_one_is_not_taken_for_it():
    module = type(sys)("l2b_named_alike.l2b")
    theirs = dataclass(frozen=True, kw_only=True)(
        type("L2B", (Doubled,), {"__module__": module.__name__, "__doc__": "Not L2B."})
    )
    assert catalog.name_of(theirs) == "l2b_named_alike.l2b:L2B"


def test_a_spawned_process_names_a_scripts_class_as_the_script_does():
    theirs = type("Mine", (Doubled,), {"__module__": "__mp_main__", "__qualname__": "Mine"})
    assert catalog.name_of(theirs) == "__main__:Mine"


def test_settings_of_ones_own_are_written_and_read_back():
    run = replace(TINY, method=Doubled(times=3.5), noise=Quiet(), model=Narrow(bias=False))
    assert load(Run, dump(run)) == run


def test_the_documented_method_runs_resumes_and_is_audited(trimmed, tmp_path, capsys):
    out = str(tmp_path / "run")
    words = ["--data", "digits", "--epochs", "2", "--quiet"]
    mine = ["--method", "trimmed:Trimmed", "--share", "0.4"]
    assert main(["run", *words, *mine, "--out", out]) == 0
    assert "trimmed:Trimmed on digits" in capsys.readouterr().out
    assert main(["run", *words, *mine, "--out", out, "--resume"]) == 0
    assert load_model(out).classes
    assert main(["audit", out, "--quiet"]) == 0
    assert trimmed(share=0.4).share == 0.4  # pyright: ignore


def test_the_documented_method_leaves_out_the_largest_losses(trimmed):
    learner = object.__new__(sys.modules["trimmed"].TrimmedLearner)
    learner.share = 0.4
    losses = torch.tensor([1.0, 9.0, 2.0, 8.0, 3.0])
    found = learner.loss(losses, torch.tensor(0.5), None, None)
    assert found.item() == pytest.approx(2.5)


def test_an_estimator_takes_the_name_and_the_object(trimmed):
    x, y = load_digits(return_X_y=True)
    clean = np.arange(len(y)) < 60
    found = [
        L2BClassifier(method=method, epochs=2, random_state=0).fit(x, y, clean=clean).predict(x)
        for method in ("trimmed:Trimmed", trimmed())
    ]
    assert (found[0] == found[1]).all()


def test_a_grid_takes_it_and_its_folder_says_so(tmp_path):
    grid = cross(TINY, {"method": {"mine": {"method": Doubled()}}}, [0])
    assert not execute(grid, tmp_path, workers=1).failures
    assert "test_own_Doubled" in str(list(tmp_path.rglob("run.yaml")))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_at_all:Mine", r"cannot be imported.*nowhere_at_all.*PYTHONPATH"),
        ("nowhere_at_all.py:Mine", r"cannot be imported.*without its ending, nowhere_at_all:Mine"),
        ("json.nowhere_at_all:Mine", r"cannot be imported.*PYTHONPATH"),
        ("json:Mine", r"^No method in json is called 'Mine'; known: none"),
        (f"{__name__}:Dubled", r"did you mean 'Doubled'\?"),
        ("json:loads", r"is no method: .*derives from l2b\.methods\.base\.Method"),
        ("pathlib:Path", r"is no method: .*derives from l2b\.methods\.base\.Method"),
        ("l2b.models.mlp:Mlp", r"is no method"),
        ("l2b.methods:Method", r"must define build"),
        (f"{__name__}:Unfinished", r"must define build"),
        (f"{__name__}:Undecorated", r"Undecorated has settings that are no fields.*@dataclass"),
        (f"{__name__}:Unmarked", r"Unmarked has settings that are no fields.*@dataclass"),
        (":Mine", r"cannot be found by its name"),
        ("json:", r"cannot be found by its name"),
        ("..json:Mine", r"cannot be found by its name"),
        ("a.b:f.<locals>.Mine", r"stands at the top of a module"),
        ("__main__:Mine", r"a script or a notebook"),
        ("json.Mine", r"^No method is called.*goes by package\.module:Class"),
    ],
)
def test_a_name_that_leads_nowhere_says_why(name, words):
    with pytest.raises(ValueError, match=words):
        catalog.find(Method, name)


def test_a_module_that_fails_is_named(tmp_path, monkeypatch):
    (tmp_path / "broken_mine.py").write_text("1 / 0")
    (tmp_path / "unread_mine.py").write_text("def")
    (tmp_path / "lacking_mine.py").write_text("import nowhere_at_all")
    monkeypatch.syspath_prepend(tmp_path)
    for module, error in (("broken", "ZeroDivision"), ("unread", "Syntax"), ("lacking", "Module")):
        with pytest.raises(ValueError, match=f"{error}.*mend its module {module}_mine"):
            catalog.find(Method, f"{module}_mine:Mine")


def test_a_class_that_cannot_be_found_again_is_told_before_the_run(tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Hidden(Doubled):
        """Within a function."""

    with pytest.warns(Notice, match=r"cannot be loaded.*stands at the top of a module"):
        replace(TINY, method=Hidden()).execute(tmp_path / "hidden")
    with pytest.raises(ValueError, match=r"hidden/run\.yaml cannot be read: .*Hidden"):
        load_model(tmp_path / "hidden")
    refusing = object.__new__(Refusing)
    object.__setattr__(refusing, "what", 3)
    object.__setattr__(refusing, "times", 2.0)
    with pytest.warns(Notice, match=r"cannot be loaded, resumed or audited: not again\.$"):
        replace(TINY, method=refusing).execute(tmp_path / "refusing")


def test_whole_numbers_in_the_place_of_others_are_no_reason_for_a_notice(tmp_path):
    noise, training = Symmetric(rate=0), replace(TINY.training, clip=5)
    Run(model=Mlp(hidden=[8]), noise=noise, training=training).execute(tmp_path)
    assert load_model(tmp_path).classes


@pytest.mark.parametrize("method", [Undecorated(3.0), Unmarked()])
def test_settings_that_are_no_fields_are_refused(method, tmp_path):
    run = replace(TINY, method=method)
    with pytest.raises(ValueError, match="has settings that are no fields"):
        run.execute(tmp_path / "a")
    with pytest.raises(ValueError, match="has settings that are no fields"):
        execute(cross(run, {"method": {"a": {}}}, [0]), tmp_path / "b", workers=1)
    assert not (tmp_path / "a" / "run.yaml").exists()


def test_settings_that_no_file_holds_are_refused(tmp_path):
    for value, kind in ((abs, "builtin_function"), (np.zeros(2), "ndarray"), ([abs], "builtin")):
        with pytest.raises(ValueError, match=rf"got {kind}.* as method\.what"):
            replace(TINY, method=Odd(what=value)).execute(tmp_path / "a")
    run = replace(TINY, method=Doubled(times=np.float32(0.5)), seed=np.int64(3))
    assert load(Run, dump(run)) == run


def test_types_that_are_not_there_are_told(capsys):
    assert main(["run", "--method", f"{__name__}:Untold"]) == 2
    assert "import them where the class is defined" in capsys.readouterr().err
    assert main(["run", "--method", f"{__name__}:Needy"]) == 2
    assert "--method.strength is required, got nothing: say it." in capsys.readouterr().err


SCRIPT = f"""
from pathlib import Path
from l2b.datasets.digits import Digits
from l2b.experiment import Run
from l2b.grid import cross, execute
from l2b.methods import Learner, NoisyOnly, Plain, Task
from l2b.train import Training
from dataclasses import dataclass
from torch import Tensor
from l2b.types import Batch
from l2b import load_model
import sys

{inspect.getsource(Doubled)}

{inspect.getsource(DoubledLearner)}

if __name__ == "__main__":
    out = Path(sys.argv[1])
    run = Run(data=Digits(), training=Training(epochs=1, batch=256), method=Doubled())
    run.execute(out / "one")
    assert len(load_model(out / "one").classes) == 10
    grid = cross(run, {{"method": {{"mine": {{"method": Doubled(times=3.0)}}}}}}, [0, 1])
    found = execute(grid, out / "many", workers=2)
    assert not found.failures and not found.missing
    print("done", *(out / "many").rglob("run.yaml"))
"""


@pytest.mark.slow
def test_a_method_of_a_script_runs_in_a_grid_of_several_processes(tmp_path):
    script = tmp_path / "experiment.py"
    script.write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("main_Doubled-seed") == 2
    assert "cannot be loaded" not in done.stderr

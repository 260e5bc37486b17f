"""Every example runs as a script would, and does what it says."""

import importlib.util
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
AT_LEAST = {
    "drop_in": 0.8,
    "own_data": 0.85,
    "table": 0.85,
    "text": 0.85,
    "image": 0.85,
    "several_labels": 0.88,
}


def load(name):
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


SHORTER = {"image": {"epochs": 8}}  # than for a reader, who has more time


@pytest.mark.parametrize("name", sorted(p.stem for p in EXAMPLES.glob("*.py")))
def test_examples_run_and_are_short(name, capsys):
    assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 100
    assert load(name).main(**SHORTER.get(name, {})) > AT_LEAST[name]
    assert "%" in capsys.readouterr().out

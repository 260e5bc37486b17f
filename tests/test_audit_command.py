"""The words of ``l2b audit``: where the run may stand, and commands that can be pasted back."""

import shlex

import pytest

from l2b.audit import audit_own
from l2b.cli import _folder_place, main
from l2b.datasets.table import Table


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A run with a blank in its path."""
    folder = tmp_path_factory.mktemp("own files")
    rows = [f"{k % 2},{k % 2 + k / 100},{k < 20}" for k in range(40)]
    (folder / "t.csv").write_text("\n".join(["kind,x,ok", *rows]))
    table = Table(path=str(folder / "t.csv"), label="kind", clean="ok")
    audit_own(table, folder / "first run", settings=["--epochs", "2"], progress=False)
    return folder


def test_commands_can_be_pasted_whatever_the_folder_is_called(audited, capsys):
    run = audited / "first run"
    assert main(["audit", str(run), "--next", "3"]) == 0
    command = capsys.readouterr().out.strip().rpartition("then: ")[2]
    file = run / "audit" / "next.csv"
    assert shlex.split(command) == ["l2b", "audit", str(run), "--clean", str(file), "--out", "NEW"]
    page = (run / "audit" / "audit.html").read_text(encoding="utf-8")
    shown = page.partition("<code>")[2].partition("</code>")[0].replace("&#39;", "'")
    assert shlex.split(shown) == ["l2b", "audit", str(run), "--apply", "decisions.csv"]


def test_settings_may_come_before_the_run(audited, capsys):
    decided = audited / "decided.csv"
    decided.write_text("index,label\n25,1\n26,0\n")
    out = audited / "again"
    words = ["--epochs", "2", audited / "first run", "--clean", decided, "--out", out, "--quiet"]
    assert main(["audit", *map(str, words)]) == 0
    assert "18 labels audited" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "place"),
    [
        ("", None),
        ("runs/first", 0),
        ("runs/first --epochs 3", 0),
        ("--epochs 3", None),
        ("--epochs 3 runs/first", 2),
        ("--epochs=3 runs/first", 1),
        ("--lr -1 runs/first --seed 2", 2),
        ("--nesterov --seed 2 runs/first", 3),
        ("--seed 2 --nesterov", None),
    ],
)
def test_no_value_of_a_setting_is_taken_for_a_run(words, place):
    assert _folder_place(words.split()) == place

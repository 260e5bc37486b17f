"""The words of ``l2b audit``: commands that can be pasted back."""

import shlex

import pytest

from l2b.audit import audit_own
from l2b.cli import main
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

"""Files of checked labels that are moved, edited or replaced when a run has learned from them."""

import shutil

import pytest

from l2b.audit import audit_own, audit_run
from l2b.cli import main
from l2b.datasets.table import Table
from l2b.datasets.tags import Tags
from l2b.experiment import Run
from l2b.folder import RunFolder
from l2b.noise.none import NoNoise
from l2b.train import Training

QUICK = ["--epochs", "2"]
DECIDED = "index,label\n25,0\n27,1\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A table of which the first half is checked, and a run into which decisions went."""
    place = tmp_path_factory.mktemp("made")
    rows = [f"{k % 2},{k % 2 + k / 100},{k < 20}" for k in range(40)]
    (place / "t.csv").write_text("\n".join(["kind,x,ok", *rows]))
    (place / "decisions.csv").write_text(DECIDED)
    audit_own(table(place, place / "decisions.csv"), place / "run", settings=QUICK, progress=False)
    return place


@pytest.fixture
def place(made):
    """The same, whatever the test before did to decisions and run."""
    aside = made.with_name("aside")
    shutil.copytree(made, aside)
    yield made
    shutil.rmtree(made)
    aside.rename(made)


def table(place, *checked):
    return Table(
        path=str(place / "t.csv"), label="kind", clean="ok", checked=tuple(map(str, checked))
    )


def checked(found):
    """How many samples are checked."""
    source = found.subject.source
    assert source is not None, found.subject.problem
    assert source.trusted is not None
    return len(source.trusted)


@pytest.mark.parametrize("change", ["gone", "edited"])
def test_a_run_is_audited_with_the_decisions_that_it_learned_from(place, change):
    before = (place / "run" / "audit" / "audit.csv").read_bytes()
    if change == "gone":
        (place / "decisions.csv").unlink()
    else:
        (place / "decisions.csv").write_text("index,label\n31,0\n")
    shutil.move(place / "run", place / "elsewhere")  # the copies go with it
    again = audit_run(place / "elsewhere")
    assert (again.folder / "audit.csv").read_bytes() == before
    assert checked(again) == 22


def test_decisions_add_up_wherever_they_are(place, capsys):
    (place / "decisions.csv").unlink()
    (place / "more.csv").write_text("index,label\n31,1\n")
    more = ["--clean", str(place / "more.csv"), "--quiet", *QUICK]
    assert main(["audit", str(place / "run"), *more, "--out", str(place / "new")]) == 0
    shutil.rmtree(place / "run")
    (place / "more.csv").unlink()
    assert checked(audit_run(place / "new")) == 23
    assert capsys.readouterr().err == ""


def test_a_run_may_be_replaced_by_one_that_knows_more(place, capsys):
    mine = place / "run" / "audit" / "next.csv"  # which steps aside
    mine.write_text("index,label\n31,1\n")
    again = ["audit", str(place / "run"), "--clean", str(mine), "--quiet", "--overwrite", *QUICK]
    assert main(again) == 0
    assert not mine.exists()
    (place / "decisions.csv").unlink()
    assert checked(audit_run(place / "run")) == 23
    held = sorted(p.name for p in (place / "run" / "checked_files").rglob("*.csv"))
    assert held == ["decisions.csv", "next.csv"]
    assert "audit-1" in capsys.readouterr().err


@pytest.mark.parametrize("finished", [True, False])
def test_a_run_goes_on_without_the_file_but_not_with_another(place, finished, monkeypatch):
    asked = Run(
        data=table(place, place / "decisions.csv"),
        noise=NoNoise(),
        training=Training(epochs=3, batch=8, clean_batch=8),
        clean=22,
        validation=0.0,
    )
    write, run = RunFolder.write_model, place / "another"

    def stopped(*words, **options):
        raise KeyboardInterrupt

    if not finished:
        monkeypatch.setattr(RunFolder, "write_model", stopped)
        with pytest.raises(KeyboardInterrupt):
            asked.execute(run, progress=False)
        monkeypatch.setattr(RunFolder, "write_model", write)
    else:
        asked.execute(run, progress=False)
    (place / "decisions.csv").write_text("index,label\n25,0\n27,0\n")
    with pytest.raises(ValueError, match=r"other (data|labels)"):
        asked.execute(run, progress=False, resume=True)
    (place / "decisions.csv").unlink()
    found = asked.execute(str(run), progress=False, resume=True)
    assert len(found.data.clean) == 22
    assert next((run / "checked_files").rglob("*.csv")).read_text() == DECIDED


def test_decided_answers_are_kept_too(place):
    rows = [f"{k % 2},{k % 3 == 0},{k % 2 + k / 100},{k % 3}" for k in range(60)]
    (place / "t.csv").write_text("\n".join(["a,b,x,z", *rows]))
    answers = [f"{k}/{tag},{tag}: yes" for k in range(0, 60, 6) for tag in "ab"]
    answers += [f"{k}/{tag},{tag}: no" for k in range(1, 60, 6) for tag in "ab"]
    (place / "decisions.csv").write_text("\n".join(["id,label", *answers]))
    found = Tags(
        path=str(place / "t.csv"), tags=("a", "b"), checked=(str(place / "decisions.csv"),)
    )
    audit_own(found, place / "another", settings=QUICK, progress=False)
    (place / "decisions.csv").unlink()
    assert not audit_run(place / "another").subject.problem


def test_a_gone_file_of_checked_labels_is_named(place):
    (place / "decisions.csv").unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*decisions\.csv"):
        audit_own(table(place, place / "decisions.csv"), place / "another", progress=False)
    assert not (place / "another").exists()

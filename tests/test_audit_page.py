"""The audit's page in a real browser: sort, filter, review with keys, export, nothing run."""

import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest

from browser import Browser
from l2b.audit import audit_own
from l2b.audit.apply import apply_decisions
from l2b.audit.page import Exhibit, write_page
from l2b.audit.summary import summarise, wrong_probability
from l2b.audit.table import AuditTable
from l2b.datasets.tags import Tags
from l2b.decisions import read_decisions
from l2b.page import embedded
from l2b.tables import TableFile

NASTY = (
    "<script>window.ran = 1</script>",
    '"><img src=x onerror="window.ran = 2">',
    "</script><script>window.ran = 3</script>",
    '=HYPERLINK("http://x")',
    "plain",
)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory):
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture(scope="module")
def browser(downloads):
    if shutil.which("chromedriver") is None:
        pytest.skip("no chromedriver on this machine: apt-get install chromium-driver")
    made = Browser(downloads)
    yield made
    made.close()


def table(samples: int, classes=("a", "b", "c"), *, ids=False) -> AuditTable:
    draw = np.random.default_rng(samples)
    quality = draw.beta(0.5, 0.3, samples)
    observed = draw.integers(len(classes), size=samples)
    suggested = np.where(quality < 0.5, (observed + 1) % len(classes), observed)
    share = draw.random(samples)
    return AuditTable(
        classes=tuple(classes), ids=tuple(f"id-{k}" for k in range(samples)) if ids else (),
        index=np.arange(samples), observed=observed, suggested=suggested, quality=quality,
        confidence=share, alpha=share, beta=1 - share, rejected=1 - share,
        first_rejection=draw.integers(9, size=samples),
        neighbours=np.where(share < 0.1, np.nan, share),
    )  # fmt: skip


def page(folder: Path, made: AuditTable, previews) -> Path:
    path = folder / "audit.html"
    exhibit = Exhibit(
        title="a <b>title</b>", previews=previews, thumbnails={}, notes=("a note & more",),
        apply_command="l2b audit runs/x --apply decisions.csv",
    )  # fmt: skip
    write_page(path, made, summarise(made), exhibit)
    return path


def wait_for(found, seconds=10):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")


@pytest.fixture
def small(browser, tmp_path):
    made = table(60)
    browser.open(page(tmp_path, made, [f"sample number {k}" for k in range(60)]))
    browser.run("localStorage.clear()")
    browser.call("POST", f"{browser.session}/refresh", {})
    return made


def test_the_least_trusted_label_comes_first(browser, small):
    rows = browser.rows()
    first = int(small.quality.argmin())
    assert rows[0][0] == str(first)
    assert rows[0][1] == f"sample number {first}"
    flagged = int((small.quality < 0.5).sum())
    assert browser.texts("#count") == [f"{flagged} of 60 labels"]
    assert browser.log() == []


def test_columns_sort_both_ways(browser, small):
    browser.choose("status", "all")
    browser.click("[data-sort=index]")
    assert browser.rows()[0][0] == "0"
    browser.click("[data-sort=index]")
    assert browser.rows()[0][0] == "59"
    browser.click("[data-sort=confidence]")
    assert browser.rows()[0][0] == str(small.confidence.argmin())


def test_filters_narrow_the_table(browser, small):
    browser.choose("status", "all")
    browser.choose("search", "number 17")
    wait_for(lambda: browser.texts("#count") == ["1 of 60 labels"])
    assert browser.rows()[0][0] == "17"
    browser.choose("search", "no such text")
    wait_for(lambda: browser.texts("#count") == ["0 of 60 labels"])
    assert "No label fits" in browser.texts("#rows")[0]
    browser.choose("search", "")
    browser.choose("observed", "1")
    wait_for(lambda: browser.texts("#count") == [f"{(small.observed == 1).sum()} of 60 labels"])
    browser.click("#clear")
    cell = small.suspect & (small.observed == 2) & (small.quality < 0.5)
    browser.run("document.querySelector('[data-cell=\"2-0\"]').dispatchEvent(new Event('click'))")
    assert browser.texts("#count") == [f"{cell.sum()} of 60 labels"]


def test_the_threshold_says_what_to_expect(browser, small):
    browser.choose("threshold", "0.2")
    below = small.quality < 0.2
    wait_for(lambda: browser.texts("#threshold-value") == ["0.20"])
    assert browser.texts("#count") == [f"{below.sum()} of 60 labels"]
    said = browser.texts("#precision")[0]
    assert abs(float(said.split()[0]) - 100 * wrong_share(small.quality[below])) <= 1


def wrong_share(quality):
    return wrong_probability(quality).mean()


def test_review_with_keys_and_export(browser, small, downloads, tmp_path):
    order = small.order()
    browser.press("a", "k", "down", "s")
    browser.choose("other", str((small.observed[order[4]] + 2) % 3))
    assert browser.texts("#reviewed") == ["4"]
    browser.press("k", "u")  # the second decision is taken back
    assert browser.texts("#reviewed") == ["4"]
    assert [row[6] for row in browser.rows()[:5]] == [
        "corrected", "kept", "", "skipped", "corrected",
    ]  # fmt: skip
    browser.press("e")
    file = downloads / "decisions.csv"
    wait_for(file.exists)
    wait_for(lambda: file.read_text(encoding="utf-8-sig").count("\n") == 5)
    text = file.read_text(encoding="utf-8-sig")
    assert text.startswith("index,id,decision,label,observed")
    found = {int(d.index): d.label for d in read_decisions(file)}
    names = small.classes
    assert found == {
        order[0]: names[small.suggested[order[0]]],
        order[1]: names[small.observed[order[1]]],
        order[4]: names[(small.observed[order[4]] + 2) % 3],
    }
    file.unlink()
    browser.call("POST", f"{browser.session}/refresh", {})
    wait_for(lambda: browser.texts("#reviewed") == ["4"])  # nothing is lost
    browser.choose("status", "reviewed")
    assert browser.texts("#count") == ["4 of 60 labels"]


def test_undo_takes_back_the_latest_decision_and_brings_back_the_one_before(browser, small):
    def said():
        return [row[6] for row in browser.rows()[:3]]

    browser.press("a", "k", "s")
    browser.click("#rows .row")  # the first one, decided again
    browser.press("s")
    assert said() == ["skipped", "kept", "skipped"]
    browser.call("POST", f"{browser.session}/refresh", {})
    wait_for(lambda: browser.texts("#reviewed") == ["3"])
    browser.press("u")
    assert said() == ["corrected", "kept", "skipped"]
    browser.press("u")
    assert said() == ["corrected", "kept", ""]
    browser.press("u", "u", "u")  # once more than there are
    assert said() == ["", "", ""]
    assert browser.texts("#reviewed") == ["0"] and browser.log() == []


def test_reviewed_labels_leave_the_open_ones(browser, small):
    browser.choose("status", "open")
    before = browser.rows()
    browser.press("a")
    after = browser.rows()
    assert [row[0] for row in after[:3]] == [row[0] for row in before[1:4]]


def test_typing_in_the_search_decides_nothing(browser, small):
    browser.press("/")
    browser.press("s", "a", "k")
    assert browser.run("return document.getElementById('search').value") == "sak"
    assert browser.texts("#reviewed") == ["0"]
    browser.press("escape")


def test_content_is_shown_and_never_run(browser, tmp_path, downloads):
    made = table(50, classes=NASTY, ids=False)
    path = page(tmp_path, made, [NASTY[k % 4] for k in range(50)])
    browser.open(path)
    assert browser.run("return window.ran ?? null") is None
    browser.choose("status", "all")
    assert NASTY[0] in {row[2] for row in browser.rows()}
    assert browser.texts("h1") == ["a <b>title</b>"]
    assert browser.run("return document.scripts.length") == 2
    assert browser.run("return performance.getEntriesByType('resource').length") == 0
    browser.press("k")
    assert browser.run("return window.ran ?? null") is None
    assert browser.log() == []
    browser.choose("observed", "3")
    browser.press("k")
    browser.press("e")
    file = downloads / "decisions.csv"
    wait_for(file.exists)
    wait_for(lambda: "'=HYPER" in file.read_text(encoding="utf-8-sig"))
    assert NASTY[3] in {d.label for d in read_decisions(file)}
    file.unlink()


def test_quotes_before_a_formula_survive_the_export(browser, tmp_path, downloads):
    names = ("'=law", "''-x", "'quoted'", "-1")
    made = table(40, classes=names)
    browser.open(page(tmp_path, made, ["text"] * 40))
    browser.choose("status", "all")
    browser.press(*["k"] * 40)
    browser.press("e")
    file = downloads / "decisions.csv"
    wait_for(file.exists)
    wait_for(lambda: file.read_text(encoding="utf-8-sig").count("\n") == 41)
    found = {int(d.index): (d.label, d.observed) for d in read_decisions(file)}
    file.unlink()
    assert found == {k: (names[c], names[c]) for k, c in enumerate(made.observed)}


def test_a_hundred_thousand_rows_stay_usable(browser, tmp_path):
    made = table(100_000, ids=True)
    path = page(tmp_path, made, [f"text of sample {k} " * 5 for k in range(100_000)])
    start = time.monotonic()
    browser.open(path)
    wait_for(lambda: len(browser.rows()) > 5)
    opened = time.monotonic() - start
    assert opened < 20
    browser.choose("status", "all")
    assert browser.texts("#count") == ["100,000 of 100,000 labels"]
    assert len(browser.rows()) < 60
    took = browser.run(
        "const start = performance.now();"
        "for (const name of ['confidence', 'preview', 'index'])"
        "  document.querySelector(`[data-sort=${name}]`).click();"
        "return (performance.now() - start) / 3"
    )
    assert took < 3000
    browser.run("document.getElementById('viewport').scrollTop = 1e9")
    wait_for(lambda: browser.rows()[-1][0] == max(made.ids))
    print(f"opened in {opened:.1f} s, sorted in {took:.0f} ms")


def test_no_text_can_end_the_data_element():
    text = embedded({"x": "</script><!--\u2028& \ud800"})
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text)["x"].startswith("</script><!--\u2028& ")


def test_answers_of_several_labels_are_reviewed_and_applied(browser, downloads, tmp_path):
    """Decisions of the page, on a run whose names have commas, go back into the table."""
    draw = np.random.default_rng(0)
    x = draw.normal(size=(90, 3))
    labels = {"rib, left": x[:, 0] > 0, "a: b": x[:, 1] > 0}
    lines = ['scan,x,y,z,"rib, left",a: b,ok']
    for k, row in enumerate(x):
        marks = [str(int(found[k] ^ (k > 30 and k % 5 == 0))) for found in labels.values()]
        lines.append(f"s{k},{','.join(f'{v:.4f}' for v in row)},{','.join(marks)},{int(k < 30)}")
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines))
    made = Tags(path=path, tags=tuple(labels), clean="ok", id="scan")
    found = audit_own(made, tmp_path / "run", settings=["--epochs", "20"], progress=False)
    browser.open(found.folder / "audit.html")
    browser.run("localStorage.clear()")
    browser.call("POST", f"{browser.session}/refresh", {})
    first = int(found.table.order()[0])
    row = browser.rows()[0]
    assert row[0] == found.table.ids[first]
    assert row[2] == found.table.classes[found.table.observed[first]]
    assert browser.run("return document.getElementById('other')") is None  # there is no third one
    browser.press("a", "k")
    for old in downloads.glob("decisions*.csv"):
        old.unlink()
    browser.press("e")
    wait_for(lambda: (downloads / "decisions.csv").is_file())
    done = apply_decisions(tmp_path / "run", downloads / "decisions.csv", tmp_path / "out.csv")
    assert (done.changed, done.confirmed) == (1, 1)
    before, after = (TableFile(p).rows(list(labels)) for p in (path, tmp_path / "out.csv"))
    pairs = enumerate(zip(before, after, strict=True))
    changed = {k: now for k, (then, now) in pairs if then != now}
    assert list(changed) == [found.table.index[first]]
    tag, given = divmod(int(found.table.observed[first]), 2)
    assert changed[int(found.table.index[first])][tag] == str(1 - given)
    assert browser.log() == []

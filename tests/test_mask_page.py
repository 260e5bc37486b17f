"""The page of suspicious masks: what is drawn, in what order, and that nothing is run."""

import shutil
from dataclasses import replace
from importlib.resources import files

import matplotlib as mpl
import pytest
import torch
from matplotlib.colors import to_hex

from browser import Browser
from l2b.audit import mask_page
from l2b.audit.mask_page import (
    DIFFERS,
    GIVEN,
    SUGGESTED,
    changed_pixels,
    drawn,
    most_suspicious,
    outline,
    write_mask_page,
)
from l2b.data import Data, Pool
from l2b.fonts import escaped, families_for
from l2b.mask_figure import ACCURATE, NOISY, Seen, _drawn, suspects_figure
from l2b.mask_figure import SUGGESTED as PROPOSED
from l2b.types import Cases

NASTY = "</script><script>window.ran = 1</script>"
SUMMARY = {"images": 6, "mean_suspicion": 0.4, "rank_correlation": 0.8, "dice_given": 0.6,
           "dice_suggested": 0.7}  # fmt: skip


@pytest.fixture
def data():
    given = torch.zeros(6, 16, 16, dtype=torch.int64)
    given[:, 4:8, 4:8] = 1
    cases = Cases(
        of=torch.tensor([0, 0, 0, 1, 1, 1]), names=("first", NASTY), spacing=torch.ones(2, 3),
        patient=torch.tensor([0, 1]),
    )  # fmt: skip
    pool = Pool(
        inputs=torch.rand(6, 1, 16, 16), labels=given, index=torch.arange(6) + 10, true=None,
        cases=cases,
    )  # fmt: skip
    return Data(
        train=pool, clean=pool, validation=None, test=None, classes=("ground", "thing"),
        mean=torch.tensor(0.0), std=torch.tensor(1.0), noise_rate=None, noise_hash="",
    )  # fmt: skip


@pytest.fixture
def made(data):
    suggested = data.train.labels.clone()
    for row in range(6):
        suggested[row, 4:8, 8 : 8 + row] = 1
    return suggested, torch.tensor([0.0, 0.2, 0.3, 0.9, 0.5, 0.6])


def test_outlines_run_inside_objects():
    mask = torch.zeros(5, 5, dtype=torch.int64)
    mask[1:4, 1:4] = 1
    expected = mask.bool()
    expected[2, 2] = False
    assert torch.equal(outline(mask), expected)
    assert not outline(torch.ones(4, 4, dtype=torch.int64)).any()


def test_a_picture_shows_both_masks_and_where_they_differ():
    given, suggested = torch.zeros(2, 96, 96, dtype=torch.int64)
    given[10:30, 10:30] = 1
    suggested[50:70, 50:70] = 1
    pixels = drawn(torch.zeros(1, 96, 96), given, suggested)
    assert pixels.shape == (288, 288, 3) and pixels.dtype == torch.uint8
    assert tuple(pixels[30, 60].tolist()) == GIVEN[0]
    assert tuple(pixels[150, 180].tolist()) == SUGGESTED[0]
    tint = tuple(round(0.35 * c) for c in DIFFERS)
    assert tuple(pixels[60, 60].tolist()) == tint
    assert pixels[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("size", [(600, 600), (300, 1000)])
def test_a_large_picture_is_shrunk_and_keeps_its_outlines(size):
    given, suggested = torch.zeros(2, *size, dtype=torch.int64)
    given[101:180, 101:180] = 1
    suggested[200:280, 201] = 1  # one pixel wide
    pixels = drawn(torch.zeros(1, *size), given, suggested)
    assert max(pixels.shape[:2]) == 288 and min(pixels.shape[:2]) == round(
        min(size) * 288 / max(size)
    )
    scale = 288 / max(size)
    assert tuple(pixels[int(140 * scale), int(101 * scale)].tolist()) == GIVEN[0]
    assert tuple(pixels[int(240 * scale), int(201 * scale)].tolist()) == SUGGESTED[0]


def test_each_class_has_its_shade():
    given, suggested = torch.zeros(2, 96, 96, dtype=torch.int64)
    for k in range(5):
        given[10:20, 2 + 18 * k : 14 + 18 * k] = k + 1
        suggested[60:70, 2 + 18 * k : 14 + 18 * k] = k + 1
    pixels = drawn(torch.zeros(1, 96, 96), given, suggested)
    for row, colours in {30: GIVEN, 180: SUGGESTED}.items():
        found = [tuple(pixels[row, 3 * (8 + 18 * k)].tolist()) for k in range(5)]
        assert found == [*colours, colours[0]] and len(set(found)) == 4


def test_classes_that_were_mistaken_for_each_other_are_both_seen():
    given = torch.zeros(96, 96, dtype=torch.int64)
    given[10:50, 10:50] = 1
    for other, seen in {2: {GIVEN[0], SUGGESTED[1]}, 1: {SUGGESTED[0]}}.items():
        pixels = drawn(torch.zeros(1, 96, 96), given, given * other)
        for edge in (pixels[30, 30:150], pixels[149, 30:150], pixels[30:150, 30]):
            assert {tuple(colour) for colour in edge.tolist()} == seen


def three(data):
    """The same with two classes beside the ground, which a suggestion mistakes for each other."""
    labels = data.train.labels.clone()
    labels[:, 10:14, 4:12] = 2
    suggested = torch.tensor([0, 2, 1])[labels]
    pool = replace(data.train, labels=labels, true=suggested)
    return replace(data, train=pool, classes=("ground", "thing", "$un^even")), suggested


def test_figures_tell_classes_apart(data):
    several, suggested = three(data)
    figure = suspects_figure(several, suggested, torch.tensor([1, 0]), torch.zeros(6))
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["mask as given: thing", "suggested: thing", "mask as given: $un^even",
                    "suggested: $un^even", "differs"]  # fmt: skip
    lines = [line.get_color() for line in figure.legends[0].get_lines()]
    assert lines == [NOISY[0], PROPOSED[0], NOISY[1], PROPOSED[1]]
    assert contours(figure.axes[0]) == [(NOISY[0], True), (NOISY[1], True),
                                        (PROPOSED[0], False), (PROPOSED[1], False)]  # fmt: skip
    figure.canvas.draw()  # no name is read as a formula
    weights = torch.ones(6, 16, 16)
    figure = _drawn(Seen(several.train, weights, weights), several.classes)
    lines = [line.get_color() for line in figure.legends[0].get_lines()]
    assert lines == [NOISY[0], ACCURATE[0], NOISY[1], ACCURATE[1]]
    # One class is drawn and told as it always was.
    figure = suspects_figure(data, data.train.labels, torch.tensor([1, 0]), torch.zeros(6))
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told == ["mask as given", "suggested", "differs"]
    assert contours(figure.axes[0]) == [(NOISY[0], True), (PROPOSED[0], True)]


def contours(axes):
    """Colour of each outline, and whether it is a line without gaps."""
    drawn = [each for each in axes.collections if each.get_linestyle()]
    return [(to_hex(each.get_edgecolor()[0]), each.get_linestyle()[0][1] is None) for each in drawn]


def test_names_in_any_script_are_drawn_or_escaped(data, caplog):
    """Warnings are errors; U+0378 is no sign, so that no font has it."""
    names = ("\u75c5\u4f8b_1", "\u0378" * 9 + "_17")
    several, suggested = three(data)
    cases = several.train.cases._replace(names=names)
    several = replace(
        several, train=replace(several.train, cases=cases), classes=("a", "\u0379", "\u6d77")
    )
    figure = suspects_figure(several, suggested, torch.tensor([0, 3]), torch.zeros(6))
    figure.canvas.draw()
    first, second = (axes.get_title().partition(",")[0] for axes in figure.axes[:2])
    _, lacking = families_for("".join(names))
    assert first == escaped(names[0], lacking) and "\u0378" in lacking
    assert second == r"\u0378\u0378\u" + "\u2026" + r"u0378\u0378_17"[-13:]
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told[0] == r"mask as given: \u0379"
    weights = torch.ones(6, 16, 16)
    _drawn(Seen(several.train, weights, weights), several.classes).canvas.draw()
    assert not caplog.records


def test_signs_that_the_usual_font_lacks_come_from_another():
    with mpl.rc_context({"font.family": ["cmr10"]}):
        families, lacking = families_for("a\u03b1\n\u0416")
    assert families[0] == "cmr10" and len(families) > 1 and not lacking
    assert families_for("plain") == (mpl.rcParams["font.family"], frozenset())


def test_more_classes_than_shades_share_one_line_of_the_legend(data):
    classes = ("ground", *"abcdefghi")
    figure = suspects_figure(
        replace(data, classes=classes), data.train.labels, torch.tensor([0]), torch.zeros(6)
    )
    told = [text.get_text() for text in figure.legends[0].get_texts()]
    assert told[::2] == [f"mask as given: {each}" for each in ("a, e, i", "b, f", "c, g", "d, h")
                         ] + ["differs"]  # fmt: skip


def test_the_page_names_each_class_with_its_colours(data, tmp_path):
    path = tmp_path / "run" / "audit" / "audit.html"
    path.parent.mkdir(parents=True)
    several, suggested = three(data)
    write_mask_page(path, several, suggested, torch.zeros(6), SUMMARY)
    page = path.read_text()
    for shade, name in enumerate(["thing", "$un^even"]):
        swatches = f'<i class="given shade{shade}"></i><i class="suggested shade{shade}"></i>'
        assert f"{swatches} {name}</span>" in page
    styles = files("l2b.audit").joinpath("templates/masks.css").read_text()
    for who, colours in {"given": NOISY, "suggested": PROPOSED}.items():
        for shade, colour in enumerate(colours):
            name = f".legend .{who}" + (f".shade{shade}" if shade else "")
            assert f"{name} {{ background: {colour}; }}" in styles
    write_mask_page(path, data, data.train.labels, torch.zeros(6), SUMMARY)
    assert '<i class="given"></i> mask as given <i' in path.read_text()


def test_equally_suspicious_masks_come_by_how_much_differs(data, made):
    suggested, _ = made  # row k differs by up to 4 k pixels
    changed = changed_pixels(data, suggested)
    assert changed.tolist() == [int((suggested[k] != data.train.labels[k]).sum()) for k in range(6)]
    assert len(changed.unique()) == 6
    order = most_suspicious(data, suggested, torch.tensor([1.0, 0.5, 1.0, 0.5, 1.0, 0.7])).tolist()
    expected = sorted([0, 2, 4], key=lambda k: -changed[k])
    assert order == [*expected, 5, *sorted([1, 3], key=lambda k: -changed[k])]


def test_pictures_stay_within_their_budget(data, made, tmp_path, monkeypatch):
    monkeypatch.setattr(mask_page, "BUDGET", 3000)
    path = tmp_path / "run" / "audit" / "audit.html"
    path.parent.mkdir(parents=True)
    write_mask_page(path, data, *made, SUMMARY)
    page = path.read_text()
    count = page.count("data:image/png")
    assert 0 < count < 6 and f"{6 - count} less suspicious masks are not drawn" in page
    assert "60.0 % → 70.0 %" in page


def test_the_page_sorts_and_filters_and_runs_nothing(data, made, tmp_path):
    if shutil.which("chromedriver") is None:
        pytest.skip("no chromedriver on this machine: apt-get install chromium-driver")
    path = tmp_path / "run" / "audit" / "audit.html"
    path.parent.mkdir(parents=True)
    write_mask_page(path, data, *made, SUMMARY)
    browser = Browser(tmp_path)
    try:
        browser.open(path)
        shown = [f"suspicion {s}" for s in ("0.90", "0.60", "0.50", "0.30", "0.20", "0.00")]
        assert browser.texts("main b") == shown
        browser.choose("least", "0.45")
        assert browser.texts("main b") == shown[:3]
        assert browser.texts("#count") == ["3 of 6 masks"]
        browser.choose("case", "first")
        assert browser.texts("main b") == []
        browser.choose("least", "0")
        browser.choose("sort", "index")
        assert browser.texts("main b") == shown[:2:-1]
        assert browser.run("return window.ran === undefined")
        assert browser.run("return document.images[0].naturalWidth") == 288
        assert browser.log() == []
    finally:
        browser.close()


def test_the_page_names_slices_of_volumes_alone(data, made, tmp_path):
    own = data.train.cases._replace(of=torch.tensor([0, 0, 0, 0, 0, 1]), names=("volume", "image"))
    mixed = replace(data, train=replace(data.train, cases=own))
    (tmp_path / "audit").mkdir()
    write_mask_page(tmp_path / "audit" / "audit.html", mixed, *made, SUMMARY)
    text = (tmp_path / "audit" / "audit.html").read_text()
    assert "volume, slice 4" in text and "image, slice" not in text

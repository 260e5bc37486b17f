"""Corrected masks go back into a data folder that a run learns from."""

import hashlib
import json
import shlex
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from l2b.audit import mask_apply
from l2b.audit.mask_apply import apply_masks
from l2b.audit.masks import audit_masks
from l2b.cli import main
from l2b.config import load
from l2b.datasets.chase_db1 import ChaseDb1
from l2b.datasets.decathlon import Decathlon
from l2b.datasets.mask_folder import MaskFolder
from l2b.experiment import Run
from l2b.methods.cross_entropy import CrossEntropy
from l2b.models.unet import Unet
from l2b.noise.mask import Mask
from l2b.noise.none import NoNoise
from l2b.notices import Notice
from l2b.train import Training

nibabel = pytest.importorskip("nibabel")
Image = pytest.importorskip("PIL.Image")
RUN = Run(
    noise=NoNoise(), model=Unet(width=2), clean=1, method=CrossEntropy(),
    training=Training(epochs=1, batch=2, clean_batch=1, threads=1),
)  # fmt: skip


def picture(seed, size):
    draw = np.random.default_rng(seed)
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[5:15, 6:16] = 200
    image = draw.integers(0, 100, size[::-1]).astype(np.uint8) + mask // 2
    return Image.fromarray(image), Image.fromarray(mask)


def content(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*")) if path.is_file()
    }  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A run on pictures of several sizes, one of them checked, and its audit."""
    root = tmp_path_factory.mktemp("own") / "data"
    for kind in ("images", "masks", "masks_other"):
        (root / kind).mkdir(parents=True)
    for k in range(8):
        image, mask = picture(k, (24 + 3 * k, 40 - 2 * k))
        image.save(root / "images" / f"p.{k}.jpg")
        for kind in ("masks", "masks_other"):
            mask.save(root / kind / f"p.{k}.png")
    (root / "clean.txt").write_text("p.0.jpg\np.1\n")
    out = root.parent / "run"
    run = Run(**{**RUN.__dict__, "data": MaskFolder(root=root, size=16)})
    run.execute(out, progress=False, figures=False)
    audit_masks(out)
    return root, out


@pytest.fixture
def own(audited, tmp_path):
    """A folder of corrected masks beside the audit, and the audit's own as it was written."""
    root, run = audited
    suggested = run / "audit" / "suggested"
    before = content(suggested)
    folder = tmp_path / "mine"
    folder.mkdir()
    yield folder
    for path in suggested.iterdir():
        path.unlink()
    for name, found in before.items():
        (suggested / name).write_bytes(found)
    del root


def redrawn(root, name, value=200):
    """A mask of the size of its image that is not as given."""
    pixels = np.zeros_like(np.asarray(Image.open(root / "masks" / f"{name}.png")))
    pixels[2:9, 3:12] = value
    return Image.fromarray(pixels)


def test_edited_suggestions_become_a_folder_to_learn_from(audited, own, tmp_path, capsys):
    root, run = audited
    before, suggested, new = content(root), run / "audit" / "suggested", tmp_path / "new data"
    names = sorted(path.stem for path in suggested.iterdir())
    first, second = names[:2]
    redrawn(root, first).save(suggested / f"{first}.png")
    redrawn(root, second).convert("RGB").save(suggested / f"{second}.tif")  # edited elsewhere
    (suggested / ".DS_Store").write_bytes(b"of a system")
    (tmp_path / "right.txt").write_text(f"\n{names[2]}.jpg\n")
    words = ["audit", str(run), "--apply", str(suggested), "--out", str(new)]
    assert main([*words, "--clean", str(tmp_path / "right.txt")]) == 0
    said = capsys.readouterr().out.strip()
    # One of the two that were checked before may judge.
    assert said.startswith(f"2 masks replaced, 5 of 8 are now checked: {new}. Learn from them: l2b")
    assert "\n" not in said
    found = content(new)
    assert set(found) == set(before) - {f"masks/{second}.png"} | {f"masks/{second}.tif", "test.txt"}
    for name in found.keys() - {
        "clean.txt", "test.txt", f"masks/{first}.png", f"masks/{second}.tif"
    }:  # fmt: skip
        assert found[name] == before[name]
    assert found[f"masks/{first}.png"] == (suggested / f"{first}.png").read_bytes()
    assert found["clean.txt"].decode().split() == sorted(["p.0", "p.1", *names[:3]])
    assert content(root) == before
    source, old = (MaskFolder(root=folder, size=16).load() for folder in (new, root))
    judges = [{s.test.cases.names[k] for k in s.test.cases.of.tolist()} for s in (source, old)]
    assert judges[0] == judges[1] and set(found["test.txt"].decode().split()) == judges[0]
    listed = {source.train.cases.names[k] for k in source.train.cases.of[source.trusted].tolist()}
    assert {first, second} & listed and source.values == (0, 200)
    command = shlex.split(said.partition("Learn from them: ")[2])
    assert command[0] == "l2b" and command[-1] == f"{run}-corrected"
    again = [*command[1:-1], str(tmp_path / "again"), "--quiet"]
    assert main(again) == 0
    asked = load(Run, (tmp_path / "again" / "run.yaml").read_text())
    assert asked.clean == len(source.trusted) > 1 and Path(asked.data.root) == new
    # And so it does without the settings of the former run.
    words = ["run", "--data", "mask_folder", "--root", str(new), "--data.size", "16", "--clean",
             "2", "--method", "cross_entropy", "--noise", "none", "--model", "unet", "--width", "2",
             "--epochs", "1", "--batch", "2", "--out", str(tmp_path / "third"), "--quiet",
             ]  # fmt: skip
    assert main(words) == 0


def test_of_another_folder_everything_counts(audited, own, tmp_path):
    root, run = audited
    for path in sorted((root / "masks").iterdir())[3:6]:
        shutil.copy(path, own)
    (own / "notes.txt").write_text("mine")
    (own / "elsewhere.png").write_bytes(b"")
    (tmp_path / "new").mkdir()  # empty, so it may be there
    with pytest.warns(Notice, match=r"2 files are called like no case, such as .*elsewhere\.png"):
        found = apply_masks(run, own, tmp_path / "new")
    assert (found.replaced, found.masks) == (3, 8)
    for path in own.glob("p.*.png"):
        assert (tmp_path / "new" / "masks" / path.name).read_bytes() == path.read_bytes()
    assert not list(tmp_path.glob(".*"))
    assert (tmp_path / "new" / "clean.txt").read_text().split() == [
        f"p.{k}" for k in (0, 1, 3, 4, 5)
    ]


def test_masks_that_are_right_as_given_need_no_correction(audited, own, tmp_path):
    root, run = audited
    (tmp_path / "right.txt").write_text("p.3\np.4.png\n")
    suggested = run / "audit" / "suggested"
    found = apply_masks(run, suggested, tmp_path / "new", [tmp_path / "right.txt"])
    assert (found.replaced, found.checked) == (0, 4)
    assert (tmp_path / "new" / "clean.txt").read_text() == "p.0\np.1\np.3\np.4\n"
    (tmp_path / "right.txt").write_text("p.33\n")
    with pytest.raises(ValueError, match=r"right\.txt names 'p.33', and there is no such image"):
        apply_masks(run, suggested, tmp_path / "other", [tmp_path / "right.txt"])
    (tmp_path / "right.txt").write_text("p.3")
    redrawn(root, "p.3").save(own / "p.3.png")
    with pytest.raises(
        ValueError, match=r"calls the mask of 'p.3' right as it is, and .*p\.3\.png"
    ):
        apply_masks(run, own, tmp_path / "other", [tmp_path / "right.txt"])


def _smooth(root, own):
    mask = np.array(redrawn(root, "p.3"))
    mask[4, 4] = 90
    Image.fromarray(mask).save(own / "p.3.png")


def _palette(root, own):
    mask = redrawn(root, "p.3")
    mask.putpalette([255, 255, 255, *[0, 0, 0] * 255])
    mask.save(own / "p.3.png")


def _twice(root, own):
    for ending in ("png", "tif"):
        redrawn(root, "p.3").save(own / f"p.3.{ending}")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda root, own: redrawn(root, "p.4").save(own / "p.3.png"),
         r"mine.p\.3\.png must have the size of its image, 33 × 34 pixels, got 36 × 32"),
        (_smooth, r"mine.p\.3\.png must hold the values of the masks as given, 0, 200, .*got 90"),
        (_palette, r"mine.p\.3\.png paints entry 200 of its palette black"),
        (_twice, r"p\.3\.png and .*p\.3\.tif are masks of one case"),
        (lambda root, own: (own / "p.3.png").write_bytes(b"no mask"),
         r"mine.p\.3\.png cannot be decoded as a mask"),
        (lambda root, own: None, "Nothing in .*mine was edited"),
        (lambda root, own: own.rmdir(), "There is no folder .*mine: name the one"),
    ],
)  # fmt: skip
def test_masks_that_do_not_fit_leave_nothing_behind(audited, own, tmp_path, change, message):
    root, run = audited
    change(root, own)
    with pytest.raises((ValueError, FileNotFoundError), match=message):
        apply_masks(run, own, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} <= {"mine"}
    (tmp_path / "mine").mkdir(exist_ok=True)


def test_a_folder_is_whole_or_not_there(audited, own, tmp_path, monkeypatch):
    root, run = audited
    redrawn(root, "p.3").save(own / "p.3.png")
    with monkeypatch.context() as patch:
        patch.setattr(mask_apply, "write_text", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            apply_masks(run, own, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}
    (tmp_path / ".new.partial").mkdir()  # of a process that was killed
    (tmp_path / ".new.partial" / "left").touch()
    apply_masks(run, own, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"mine", "new"}
    assert not (tmp_path / "new" / "left").exists()
    before = content(tmp_path / "new")
    with pytest.raises(FileExistsError, match="is there and not empty"):
        apply_masks(run, own, tmp_path / "new")
    assert content(tmp_path / "new") == before
    with pytest.raises(FileExistsError, match="is there and not empty"):
        apply_masks(run, own, own / "p.3.png")
    with pytest.raises(ValueError, match="lies in the data of the run"):
        apply_masks(run, own, root / "masks_new")


def test_words_that_mean_nothing_for_masks_are_refused(audited, own, tmp_path, capsys):
    _, run = audited
    suggested = run / "audit" / "suggested"
    for words, message in {
        (
            "--apply",
            str(suggested),
        ): "makes a data folder of the corrected masks: name it: l2b audit",
        ("--apply", "suggestions", "--out", "x"): "There is no folder suggestions: name the one",
        ("--clean", "right.txt", "--out", "x"): "beside the corrected ones: add these: l2b audit",
        ("--next", "3"): "--next is of labels",
        ("--out", "x"): "Nothing is trained here, so --out has no meaning",
        ("--apply", str(suggested), "--out", "x", "--epochs", "3"): "Nothing is trained here",
        ("--apply", str(suggested), "--out", "x", "--resume"): "leave --resume away",
    }.items():
        assert main(["audit", str(run), *words]) == 2
        assert message in capsys.readouterr().err
    record = suggested.with_suffix(".json")
    written = record.read_text()
    record.unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*suggested\.json, which tells what was edit"):
        apply_masks(run, suggested, tmp_path / "new")
    record.write_text(written)


def test_what_a_run_could_not_read_is_named_by_its_own_file(audited, own, tmp_path, monkeypatch):
    root, run = audited
    redrawn(root, "p.3").save(own / "p.3.png")
    for written, source in {"masks/p.3.png": own / "p.3.png", "images/p.2.jpg": root}.items():

        def damaged(self, written=written, usual=MaskFolder.load):
            if self.root == root:
                return usual(self)
            raise ValueError(f"{self.root / written} is damaged")

        monkeypatch.setattr(MaskFolder, "load", damaged)
        with pytest.raises(ValueError, match=f"^{source}.* is damaged"):
            apply_masks(run, own, tmp_path / "new")
    assert {path.name for path in tmp_path.iterdir()} == {"mine"}


def test_a_class_that_corrections_remove_is_missed(audited, tmp_path):
    source = MaskFolder(root=audited[0], size=16).load()
    classes = ["background", "value 1", "value 2"]
    with pytest.raises(ValueError, match=r"would hold the classes background, object, and the run"):
        mask_apply._patients(source, classes, tmp_path)


def test_an_audit_says_where_to_correct_and_how_to_go_on(audited):
    _, run = audited
    said = str(audit_masks(run))
    place = run / "audit" / "suggested"
    assert said.endswith(
        f"Correct them in {place}, then: l2b audit {run} --apply {place} --out NEW"
    )
    assert "Correct" not in str(replace(audit_masks(run), correctable=False))


def test_runs_on_other_layouts_are_refused(audited, own, tmp_path, monkeypatch):
    _, run = audited
    other = Run(**{**RUN.__dict__, "data": ChaseDb1(root=tmp_path)})
    monkeypatch.setattr(mask_apply, "read_run", lambda _: other)
    with pytest.raises(ValueError, match="learned from ChaseDb1, whose layout has no place"):
        apply_masks(run, own, tmp_path / "new")


def test_a_patient_is_checked_as_a_whole(audited, own, tmp_path, monkeypatch):
    """Two images are of one patient, of whom one is corrected."""
    root, run = audited
    redrawn(root, "p.3").save(own / "p.3.png")
    pattern = MaskFolder(root=root, size=16, patient=r"(p)\.")
    monkeypatch.setattr(mask_apply, "read_run", lambda _: Run(**{**RUN.__dict__, "data": pattern}))
    learned = SimpleNamespace(test=None, values=(0, 200), classes=("background", "object"))
    monkeypatch.setattr(mask_apply, "data_of", lambda *_: learned)
    with pytest.raises(ValueError, match="of none all images would be checked"):
        apply_masks(run, own, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_masks_that_noise_had_changed_are_not_vouched_for(audited, own, tmp_path, monkeypatch):
    _, run = audited
    noisy = Run(**{**RUN.__dict__, "data": MaskFolder(root=audited[0], size=16), "noise": Mask()})
    monkeypatch.setattr(mask_apply, "read_run", lambda _: noisy)
    with pytest.raises(ValueError, match=r"masks that noise had changed \(mask\)"):
        apply_masks(run, own, tmp_path / "new")


def test_only_what_was_edited_counts_wherever_an_audit_wrote_it(audited, tmp_path):
    root, run = audited
    moved = tmp_path / "audit-1"
    shutil.copytree(run / "audit", moved)
    for path in sorted((moved / "suggested").iterdir()):
        path.unlink()
    data = root / "masks" / "p.5.png"
    shutil.copy(data, moved / "suggested" / "p.5.png")
    digest = hashlib.sha256(data.read_bytes()).hexdigest()
    record = moved / "suggested.json"
    record.write_text(json.dumps({"p.5.png": [digest]}))
    with pytest.raises(ValueError, match="was edited since the audit wrote it"):
        apply_masks(run, moved / "suggested", tmp_path / "new")
    redrawn(root, "p.5").save(moved / "suggested" / "p.5.png")
    assert apply_masks(run, moved / "suggested", tmp_path / "new").replaced == 1


def test_data_that_changed_since_the_run_are_not_corrected(audited, own, tmp_path):
    root, run = audited
    redrawn(root, "p.3").save(own / "p.3.png")
    image = root / "images" / "p.3.jpg"
    before = image.read_bytes()
    try:
        with Image.open(image) as opened:
            opened.transpose(Image.Transpose.FLIP_LEFT_RIGHT).save(image)
        with pytest.raises(ValueError, match="learned from other samples than its data set gives"):
            apply_masks(run, own, tmp_path / "new")
    finally:
        image.write_bytes(before)
    with pytest.raises(FileNotFoundError, match=r"no file .*nothere\.txt with names of masks"):
        apply_masks(run, own, tmp_path / "new", [tmp_path / "nothere.txt"])
    assert not (tmp_path / "new").exists()


def test_where_all_is_checked_nothing_is_left_to_weigh(audited, own, tmp_path):
    _, run = audited
    (tmp_path / "right.txt").write_text("".join(f"p.{k}\n" for k in range(8)))
    found = apply_masks(run, own, tmp_path / "new", [tmp_path / "right.txt"])
    assert found.command == "" and found.checked == 8
    assert "Too few are left unchecked for a batch of them: remove" in str(found)
    (tmp_path / "new" / "clean.txt").unlink()  # what it says works
    words = ["run", "--data", "mask_folder", "--root", str(tmp_path / "new"), "--data.size", "16",
             "--clean", "2", "--method", "cross_entropy", "--noise", "none", "--model", "unet",
             "--width", "2", "--epochs", "1", "--batch", "2", "--out", str(tmp_path / "plain"),
             "--quiet"]  # fmt: skip
    assert main(words) == 0


def test_the_next_run_gets_a_name_that_is_free(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    assert mask_apply._free(tmp_path / "a") == tmp_path / "a-corrected"
    (tmp_path / "a-corrected").mkdir()
    assert mask_apply._free(tmp_path / "a") == tmp_path / "a-corrected-2"
    monkeypatch.chdir(tmp_path / "a")
    assert mask_apply._free(Path()).resolve() == tmp_path / "a-corrected-2"


def volume(seed):
    mask = np.zeros((20, 18, 6 + seed), dtype=np.uint8)
    mask[4:9, 5:12, 1:5], mask[10:14, 5:12, 2:4] = 1, 2
    draw = np.random.default_rng(seed)
    return draw.normal(100, 20, mask.shape).astype(np.float32) + 50 * mask, mask


@pytest.fixture(scope="module")
def scans(tmp_path_factory):
    """A run on volumes that are turned, of which masks lie in two folders, and its audit."""
    root, entries = tmp_path_factory.mktemp("task") / "data", []
    affine = np.array([[0, -1.0, 0, 5], [2.0, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])
    for k in range(4):
        entry = {
            "image": f"./scans/case_{k}.nii",
            "label": f"./labels/{k % 2}/case_{k // 2}.nii.gz",
        }
        for path, voxels in zip(entry.values(), volume(k), strict=True):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, affine), root / path)
        second = root / "labelsTr_anna" / entry["label"]
        second.parent.mkdir(parents=True, exist_ok=True)
        nibabel.save(nibabel.Nifti1Image(np.roll(voxels, 1, axis=0), affine), second)
        entries.append(entry)
    labels = {"0": "background", "1": "left", "2": "right"}
    (root / "dataset.json").write_text(
        json.dumps({"name": "own", "labels": labels, "training": entries, "test": ["./x.nii"]})
    )
    run = replace(RUN, data=Decathlon(root=root, limit=4))
    run.execute(root.parent / "run", progress=False, figures=False)
    audit_masks(root.parent / "run")
    return root, root.parent / "run"


def test_edited_volumes_become_a_task_to_learn_from(scans, tmp_path, capsys):
    root, run = scans
    before, suggested = content(root), run / "audit" / "suggested"
    edited = sorted(suggested.iterdir())[0]
    stored = nibabel.load(edited)
    voxels = np.asarray(stored.dataobj).copy()
    voxels[:] = 0
    voxels[2:6, 3:9, 1:4], voxels[7:9, 3:9, 1:4] = 1, 2
    plain = edited.with_suffix("")  # written by another program, without compression
    nibabel.save(nibabel.Nifti1Image(voxels, stored.affine), plain)
    out = tmp_path / "new"
    (tmp_path / "right.txt").write_text("labels_1_case_1.nii.gz\n")
    words = ["audit", str(run), "--apply", str(suggested), "--out", str(out)]
    assert main([*words, "--clean", str(tmp_path / "right.txt")]) == 0
    said, told = capsys.readouterr()
    assert "would stop" not in told
    assert said.startswith("1 masks replaced, 2 of 4 are now checked: ")
    name = plain.name.removesuffix(".nii")
    assert (out / "clean.txt").read_text().split() == sorted([name, "labels_1_case_1"])
    assert (out / "labelsTr" / plain.name).read_bytes() == plain.read_bytes()
    listed = json.loads((out / "dataset.json").read_text())
    assert listed["name"] == "own" and "test" not in listed and listed["numTraining"] == 4
    new, old = Decathlon(root=out), Decathlon(root=root)
    assert set(new.files()) == set(old.files()) and content(root) == before
    for case, (image, mask) in new.files().items():
        assert image.read_bytes() == old.files()[case][0].read_bytes()
        if case != name:
            assert mask.read_bytes() == old.files()[case][1].read_bytes()
    command = shlex.split(said.partition("Learn from them: ")[2])
    assert main([*command[1:-1], str(tmp_path / "again"), "--quiet"]) == 0
    words = ["run", "--data", "decathlon", "--root", str(out), "--clean", "1", "--method",
             "cross_entropy", "--noise", "none", "--model", "unet", "--width", "2", "--epochs", "1",
             "--batch", "2", "--out", str(tmp_path / "third"), "--quiet"]  # fmt: skip
    assert main(words) == 0


def test_second_annotations_of_volumes_go_along(scans, tmp_path):
    root, run = scans
    old = Decathlon(root=root)
    (tmp_path / "right.txt").write_text("labels_1_case_1\n")
    right = [tmp_path / "right.txt"]
    found = apply_masks(run, run / "audit" / "suggested", tmp_path / "new", right)
    assert found.checked == found.replaced + 1
    new = Decathlon(root=tmp_path / "new").load()
    drawn, given = new.annotations["anna"], new.train.labels
    assert (drawn != given).any()
    for case in new.train.cases.of.unique().tolist():
        rows = new.train.cases.rows(case)
        _, mask = old.files()[new.train.cases.names[case]]
        first = np.count_nonzero(np.asarray(nibabel.load(mask).dataobj))
        assert drawn[rows].count_nonzero() == first > 0  # the same object, moved


def _moved(stored):
    return np.asarray(stored.dataobj), stored.affine + np.diag([0, 0, 0.0, 0]) + _by(9)


def _by(distance):
    shift = np.zeros((4, 4))
    shift[0, 3] = distance
    return shift


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: (np.asarray(s.dataobj)[1:], s.affine), "must have the size of its image"),
        (lambda s: (np.asarray(s.dataobj) + 5, s.affine), "must hold the labels 0 to 2, got"),
        (_moved, "must lie where its image lies"),
    ],
)  # fmt: skip
def test_volumes_that_do_not_fit_are_named(scans, tmp_path, change, message):
    root, run = scans
    name, (_, mask) = next(iter(Decathlon(root=root).files().items()))
    own = tmp_path / "mine"
    own.mkdir()
    stored = nibabel.load(mask)
    nibabel.save(nibabel.Nifti1Image(*change(stored)), own / f"{name}.nii.gz")
    with pytest.raises(ValueError, match=rf"mine.{name}\.nii\.gz {message}"):
        apply_masks(run, own, tmp_path / "new")
    assert not Path(tmp_path / "new").exists()

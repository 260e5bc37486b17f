"""Loaders of masks, on small files written in the official formats."""

import csv
import gzip
import json
import math
import re
import shutil
import struct
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from l2b import drawn_masks
from l2b.audit import mask_export
from l2b.audit.mask_apply import apply_masks
from l2b.audit.mask_export import export_masks
from l2b.audit.masks import audit_masks
from l2b.cases import case_dice, case_hausdorff
from l2b.config import dump, load
from l2b.data import prepare
from l2b.datasets.arrays import Arrays
from l2b.datasets.chase_db1 import ChaseDb1
from l2b.datasets.decathlon import Decathlon
from l2b.datasets.hippocampus import Hippocampus
from l2b.datasets.mask_folder import MaskFolder
from l2b.datasets.promise12 import Promise12
from l2b.drawn_masks import image_sizes
from l2b.evaluate import evaluate
from l2b.experiment import Run
from l2b.folder import RunFolder
from l2b.grids import nifti_grid
from l2b.loop import Loop
from l2b.mask_figure import _seen, data_of, masks_figure, suspects_figure
from l2b.metaimage import read_metaimage
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.l2b_masks import L2BMasks
from l2b.methods.l2rw import L2RW
from l2b.models.unet import Unet
from l2b.models.unet_plus_plus import UnetPlusPlus
from l2b.noise.mask import Mask
from l2b.noise.none import NoNoise
from l2b.noise.second_annotator import SecondAnnotator
from l2b.notices import Notice
from l2b.overlap import Dice
from l2b.overview import write_overview
from l2b.pseudo.views import Views
from l2b.recipes import promise12_recipe
from l2b.slices import cut
from l2b.targets import VOID
from l2b.train import Training
from l2b.types import Cases
from l2b.volumes import Volume, read_nifti

nibabel = pytest.importorskip("nibabel")
Image = pytest.importorskip("PIL.Image")
SPACING = (1.0, 2.0, 3.0)


def arrays(seed, shape=(20, 18, 6)):
    draw = np.random.default_rng(seed)
    mask = np.zeros(shape, dtype=np.uint8)
    mask[4:9, 5:12, 1:5], mask[10:14, 5:12, 2:4] = 1, 2
    return draw.normal(100, 20, shape).astype(np.float32) + 50 * mask, mask


def save_nifti(path, voxels, spacing=SPACING):
    path.parent.mkdir(exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.diag([*spacing, 1.0])), path)


@pytest.fixture
def task(tmp_path):
    """A task folder of four volumes of different sizes."""
    return written_task(tmp_path, 6)


@pytest.fixture
def deep_task(tmp_path):
    """The same with more slices."""
    return written_task(tmp_path, 18)


def written_task(tmp_path, slices):
    entries = []
    for k in range(4):
        image, mask = arrays(k, (20 - k, 18 + k, slices + k))
        names = {"image": f"./imagesTr/case_{k}.nii.gz", "label": f"./labelsTr/case_{k}.nii.gz"}
        save_nifti(tmp_path / names["image"], image)
        save_nifti(tmp_path / names["label"], mask)
        entries.append(names)
    labels = {"0": "background", "1": "left", "2": "right"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "training": entries}))
    return tmp_path


def test_decathlon_folders_become_slices_of_whole_volumes(task):
    source = Decathlon(root=task).load()
    assert source.classes == ("background", "left", "right")
    assert source.train.inputs.shape[1:] == (1, 32, 32)  # padded to multiples of 16
    train, test = (set(split.cases.of.tolist()) for split in (source.train, source.test))
    assert len(train) == 3 and len(test) == 1 and not train & test
    for split in (source.train, source.test):
        for case in split.cases.of.unique().tolist():
            rows = split.cases.rows(case)
            assert len(rows) == 6 + case
            _, mask = arrays(case, (20 - case, 18 + case, 6 + case))
            assert (split.labels[rows] == 1).sum() == (mask == 1).sum()
            assert split.cases.names[case] == f"case_{case}"
            assert split.cases.spacing[case].tolist() == [3.0, 1.0, 2.0]
    again = Decathlon(root=task).load()
    assert torch.equal(again.test.cases.of, source.test.cases.of)
    across = Decathlon(root=task, axis=0).load()
    assert across.train.cases.spacing[0].tolist() == [1.0, 2.0, 3.0]
    small = Decathlon(root=task, size=24).load()
    assert small.train.inputs.shape[1:] == (1, 24, 24)
    expected = [3.0, 20 / 24, 18 * 2 / 24]
    torch.testing.assert_close(small.train.cases.spacing[0], torch.tensor(expected))


def test_slabs_are_slices_in_three_dimensions(task):
    slices, slabs = Decathlon(root=task).load(), Decathlon(root=task, depth=4).load()
    assert slabs.train.inputs.shape[1:] == (1, 4, 32, 32)
    for flat, thick in ((slices.train, slabs.train), (slices.test, slabs.test)):
        assert torch.equal(flat.cases.of.unique(), thick.cases.of.unique())
        for case in flat.cases.of.unique().tolist():
            own, rows = flat.cases.rows(case), thick.cases.rows(case)
            assert len(rows) == math.ceil(len(own) / 4)
            images, masks = thick.inputs[rows][:, 0].flatten(0, 1), thick.labels[rows].flatten(0, 1)
            assert torch.equal(images[: len(own)], flat.inputs[own][:, 0])
            assert torch.equal(masks[: len(own)], flat.labels[own])
            assert (masks[len(own) :] == VOID).all()
            assert (images[len(own) :] == images[: len(own)].min()).all()
        real = [thick.cases.volume(thick.labels, case) for case in flat.cases.of.unique().tolist()]
        assert torch.equal(torch.cat(real), flat.labels)  # what fills up is left out
    with pytest.raises(ValueError, match="Decathlon needs depth >= 1 or none, got 0"):
        Decathlon(root=task, depth=0)


def test_what_a_slab_is_filled_up_with_judges_nothing(task):
    """The last slab of a volume is filled up: figures are those of the slices that there are."""
    found = []
    for depth in (None, 4):
        source = Decathlon(root=task, depth=depth).load()
        data = prepare(source, Mask(dice=0.8), clean=1, validation=0.0, seed=0)
        data = replace(data, mean=torch.zeros(()), std=torch.ones(()))

        def brightness(x):
            return torch.stack([0.3 - x[:, 0], x[:, 0], 0 * x[:, 0]], dim=1)

        slices = data.train.slices()
        wrong = (slices.labels != slices.true).float().mean().item()
        assert data.noise_rate == pytest.approx(wrong, rel=1e-6) and wrong > 0
        found.append(evaluate(brightness, data.test, data))
    assert found[0].keys() == found[1].keys()
    for name, value in found[0].items():
        assert found[1][name] == pytest.approx(value, rel=1e-5), name


def test_what_fills_up_a_slab_counts_for_nothing(task):
    slices = prepare(Decathlon(root=task).load(), NoNoise(), clean=1, validation=0.0, seed=0)
    slabs = prepare(
        Decathlon(root=task, depth=4).load(), NoNoise(), clean=1, validation=0.0, seed=0
    )
    assert len(slabs.train.slices()) == len(slices.train)
    for name in ("inputs", "labels", "true"):
        assert torch.equal(getattr(slabs.train.slices(), name), getattr(slices.train, name))
    assert slabs.train.slices().cases.of.tolist() == slices.train.cases.of.tolist()
    everywhere = torch.ones_like(slabs.train.labels)  # wrong, in what fills up too
    flat = torch.ones_like(slices.train.labels)
    for measure in (case_dice, case_hausdorff):
        torch.testing.assert_close(
            measure(everywhere, slabs.train.labels, slabs.train.cases, 3),
            measure(flat, slices.train.labels, slices.train.cases, 3),
            equal_nan=True,
        )


def test_slabs_are_learned_drawn_and_audited(deep_task, tmp_path):
    run = Run(
        data=Decathlon(root=deep_task, depth=16), noise=Mask(dice=0.7), model=Unet(width=2),
        method=L2BMasks(), clean=1, training=Training(epochs=2, batch=2, clean_batch=2, threads=1),
    )  # fmt: skip
    data = run.prepare()
    assert data.train.labels.shape[1:] == (16, 32, 32) and 0.6 < data.noise_dice < 0.8
    out = tmp_path / "run"
    run.execute(out, progress=False, data=data)
    found = audit_masks(out)
    flat = data.train.slices()
    assert flat.slices() is flat and len(found.suspicion) == len(flat) < 16 * len(data.train)
    with (found.folder / "masks.csv").open() as file:
        listed = {(row["case"], int(row["slice"])) for row in csv.DictReader(file)}
    lengths = {flat.cases.names[case]: 18 + case for case in flat.cases.of.unique().tolist()}
    assert listed == {(name, k) for name, count in lengths.items() for k in range(count)}
    for case in flat.cases.of.unique().tolist():
        name = f"{flat.cases.names[case]}.nii.gz"
        exported = read_nifti(found.folder / "suggested" / name).voxels
        assert exported.shape == read_nifti(deep_task / "labelsTr" / name).voxels.shape
        own = found.suggested[flat.cases.rows(case)]
        top, left = ((32 - size) // 2 for size in exported.shape[:2])
        own = own[:, top : top + exported.shape[0], left : left + exported.shape[1]]
        assert np.array_equal(exported.transpose(2, 0, 1), own.numpy())
    masks_figure(out, tmp_path / "masks.png", count=2)
    seen = _seen(run, data, out / "model.safetensors", 2)
    assert seen.alpha.shape == seen.pool.labels.shape == (2, 32, 32)
    for row in range(2):  # the slice of its slab that shows most
        slab = int((data.train.index == seen.pool.index[row]).nonzero())
        sizes = (data.train.true[slab] > 0).flatten(1).sum(dim=1)
        best = int(sizes.argmax())
        assert torch.equal(seen.pool.true[row], data.train.true[slab, best])
        assert torch.equal(seen.pool.inputs[row], data.train.inputs[slab][:, best])
    # α + β = 1 at every voxel of the two slabs, times their number.
    torch.testing.assert_close(seen.alpha + seen.beta, torch.ones(2, 32, 32))
    # Another method's picture has that method's weights.
    alone = _seen(replace(run, method=L2RW()), data, out / "model.safetensors", 2)
    assert alone.alpha.max() > 0 and not alone.beta.any()


def test_a_report_on_masks_shows_dice(deep_task, tmp_path):
    run = Run(
        data=Decathlon(root=deep_task), noise=Mask(dice=0.7), model=Unet(width=2),
        method=CrossEntropy(), clean=1, training=Training(epochs=1, batch=8, threads=1),
    )  # fmt: skip
    found = run.execute(tmp_path / "run", progress=False).record
    text = write_overview([tmp_path / "run"], tmp_path / "report.html").read_text()
    assert "Dice of test cases (%)" in text
    cells = [
        f'<td class="n">{100 * found[key]:.1f} %</td>' for key in ("last_dice", "last_accuracy")
    ]
    assert [cell in text for cell in cells] == [True, False]


def test_views_of_slabs_are_refused_before_training(deep_task):
    run = Run(
        data=Decathlon(root=deep_task, depth=16), noise=Mask(dice=0.7), model=Unet(width=2),
        method=L2BMasks(pseudo=Views()), clean=1, training=Training(epochs=1, batch=2),
    )  # fmt: skip
    with pytest.raises(ValueError, match=r"Views need images \[n, channels, height, width\]"):
        Loop(run.prepare(), run.model, run.method, run.training, 0, None)


def test_intensities_are_standardised_per_volume():
    image, mask = arrays(0)
    twice = 1000 + 7 * image
    volumes = [("a", Volume(image, SPACING), Volume(mask, SPACING)),
               ("b", Volume(twice, SPACING), Volume(mask, SPACING))]  # fmt: skip
    slices = cut(volumes, size=16)
    first, second = slices.images.view(2, 6, 16, 16)
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
    assert abs(first.mean()) < 0.2


def thin(task, case, label, shape):
    """Give a volume one line of a label, a voxel thick, and nothing else of it."""
    _, mask = arrays(case, shape)
    mask[mask == label] = 0
    mask[0, 2:16, 2] = label
    save_nifti(task / "labelsTr" / f"case_{case}.nii.gz", mask)


def test_labels_that_resampling_loses_are_said_once(task):
    thin(task, 1, 2, (19, 19, 7))
    thin(task, 2, 2, (18, 20, 8))
    thin(task, 3, 1, (17, 21, 9))
    whole, said = Decathlon(root=task).load(), (
        r"At 6 × 6 pixels nothing is left of label 1 in 1 of 4 volumes, such as case_3; of label 2 "
        r"in 2 of 4 volumes, such as case_1: .* Raise size\."
    )  # fmt: skip
    for depth in (None, 4):
        with pytest.warns(Notice, match=said) as caught:
            source = Decathlon(root=task, size=6, depth=depth).load()
        assert len(caught) == 1
    labels = {}
    for found in (whole, source):
        for split in (found.train, found.test):
            for case in split.cases.of.unique().tolist():
                shown = split.cases.volume(split.labels, case).unique().tolist()
                labels.setdefault(case, []).append(shown)
    assert labels == {
        0: [[0, 1, 2]] * 2, 1: [[0, 1, 2], [0, 1]], 2: [[0, 1, 2], [0, 1]], 3: [[0, 1, 2], [0, 2]]
    }  # fmt: skip
    Decathlon(root=task, size=20).load()  # where all is left, nothing is said


def spoil(task, **changes):
    path = task / "labelsTr" / "case_2.nii.gz"
    _, mask = arrays(2, (18, 20, 8))
    save_nifti(path, changes.pop("mask", lambda m: m)(mask), changes.pop("spacing", SPACING))
    return path


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"mask": lambda m: m[:-1]}, r"must have the size of its image, \(18, 20, 8\) voxels"),
        ({"spacing": (1.0, 2.0, 3.5)}, r"spacing of its image, 1 × 2 × 3 mm, got 1 × 2 × 3.5 mm"),
        ({"mask": lambda m: 2 * m}, r"must hold the labels 0 to 2, got 4"),
        ({"mask": lambda m: m[..., None].repeat(2, 3)}, r"one volume of three dimensions"),
    ],
)
def test_bad_masks_are_one_line_with_their_file(task, changes, message):
    path = spoil(task, **changes)
    with pytest.raises(ValueError, match=message) as caught:
        Decathlon(root=task).load()
    assert path.name in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("changes", [{}, {"size": 24}, {"depth": 4}], ids=str)
def test_volumes_without_an_object_are_learned_and_said(task, changes):
    path = spoil(task, mask=lambda m: 0 * m)
    with pytest.warns(
        Notice, match=r"masks of 1 of 4 volumes mark nothing, such as that of case_2"
    ):
        source = Decathlon(root=task, test=0.5, **changes).load()
    split = next(s for s in (source.train, source.test) if (s.cases.of == 2).any())
    assert not split.cases.volume(split.labels, 2).any() and split.labels.any()
    for k in (0, 1, 3):
        shutil.copy(path, task / "labelsTr" / f"case_{k}.nii.gz")
        _, mask = arrays(k, (20 - k, 18 + k, 6 + k))
        save_nifti(task / "labelsTr" / f"case_{k}.nii.gz", 0 * mask)
    with pytest.raises(ValueError, match=r"masks of all 4 volumes mark nothing, such as case_0"):
        Decathlon(root=task, **changes).load()


def test_a_list_names_the_volumes_whose_masks_were_checked(task):
    (task / "clean.txt").write_text("case_0\ncase_1.nii.gz\n\ncase_3.nii\n")
    source = Decathlon(root=task, test=0.4).load()
    assert not source.truth_known
    trusted = set(source.train.cases.of[source.trusted].tolist())
    judged = set(source.test.cases.of.tolist())
    assert trusted | judged == {0, 1, 3} and not trusted & judged and len(judged) == 1
    assert 2 in source.train.cases.of.tolist()
    rows = torch.isin(source.train.cases.of, torch.tensor(sorted(trusted))).nonzero().squeeze(1)
    assert torch.equal(source.trusted, rows)  # with every slice
    data = prepare(source, NoNoise(), clean=1, validation=0.0, seed=0)
    assert data.train.true is None and set(data.train.cases.of.tolist()) >= {2}
    (task / "clean.txt").write_text("case_9\n")
    with pytest.raises(ValueError, match=r"clean\.txt names 'case_9', and there is no such"):
        Decathlon(root=task).load()


@pytest.mark.parametrize("changes", [{}, {"size": 24, "axis": 0}, {"depth": 4}], ids=str)
def test_second_annotations_of_volumes(task, changes):
    (task / "test.txt").write_text("case_3\n")
    for k in range(4):
        _, mask = arrays(k, (20 - k, 18 + k, 6 + k))
        save_nifti(task / "labelsTr_anna" / f"case_{k}.nii.gz", np.roll(mask, 1, axis=0))
    source = Decathlon(root=task, **changes).load()
    found = source.annotations["anna"]
    assert set(source.test.cases.of.tolist()) == {3}
    assert found.shape == source.train.labels.shape and (found != source.train.labels).any()
    for k in range(4):  # those of another annotator are cut as the masks themselves are
        shutil.copy(task / "labelsTr_anna" / f"case_{k}.nii.gz", task / "labelsTr")
    assert torch.equal(Decathlon(root=task, **changes).load().train.labels, found)
    noisy = prepare(source, SecondAnnotator(annotation="anna"), clean=1, validation=0.0, seed=0)
    assert (noisy.train.labels != noisy.train.true).any()
    (task / "labelsTr_anna" / "case_2.nii.gz").unlink()
    with pytest.raises(FileNotFoundError, match=r"no .*labelsTr_anna.case_2.*Complete it, or"):
        Decathlon(root=task, **changes).load()
    shutil.rmtree(task / "labelsTr_anna")
    (task / "test.txt").unlink()
    assert not Decathlon(root=task, limit=3, **changes).load().annotations
    assert len(Decathlon(root=task, limit=3).files()) == 3


def test_volumes_are_turned_the_same_way(task):
    plain = Decathlon(root=task).load()
    for kind in ("imagesTr", "labelsTr"):  # mirrored and with other axes first, said by its affine
        path = task / kind / "case_2.nii.gz"
        stored = nibabel.load(path)
        turned = np.flip(np.asarray(stored.dataobj), 0).transpose(2, 0, 1)
        affine = np.zeros((4, 4))
        affine[2, 0], affine[0, 1], affine[1, 2], affine[3, 3] = 3, -1, 2, 1
        affine[0, 3] = turned.shape[1] - 1
        nibabel.save(nibabel.Nifti1Image(turned, affine), path)
        assert read_nifti(path).spacing == SPACING
    found = Decathlon(root=task).load()
    for one, other in zip(plain.train[:2] + plain.test[:2], found.train[:2] + found.test[:2],
                          strict=True):  # fmt: skip
        assert torch.equal(one, other)


MIRRORED, MOVED = np.diag([-1.0, 2.0, 3.0, 1.0]), np.diag([*SPACING, 1.0])
MOVED[0, 3] = 0.6


@pytest.mark.parametrize("moved", [MIRRORED, MOVED], ids=["mirrored", "moved"])
def test_masks_that_lie_elsewhere_are_refused(task, moved):
    path = task / "labelsTr" / "case_2.nii.gz"
    _, mask = arrays(2, (18, 20, 8))
    nibabel.save(nibabel.Nifti1Image(mask, moved), path)
    with pytest.raises(ValueError, match=r"case_2\.nii\.gz must lie where its image lies.* mm"):
        Decathlon(root=task).load()
    shaken = np.diag([*SPACING, 1.0])
    shaken[:3, 3] = 0.1  # as rounding does
    nibabel.save(nibabel.Nifti1Image(mask, shaken), path)
    Decathlon(root=task).load()


@pytest.mark.parametrize(
    ("at", "content"),
    [(70, struct.pack("<h", 9999)), (108, struct.pack("<f", np.inf)), (40, b"\xff" * 16)],
    ids=["type", "offset", "size"],
)
def test_damaged_nifti_headers_are_named(task, at, content):
    path = task / "imagesTr" / "case_1.nii"
    whole = bytearray(gzip.decompress(path.with_suffix(".nii.gz").read_bytes()))
    whole[at : at + len(content)] = content
    path.write_bytes(whole)
    with pytest.raises(ValueError, match=r"case_1\.nii cannot be read as NIfTI") as caught:
        read_nifti(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("at", "content", "words"),
    [
        (80, struct.pack("<f", -1.0), "pixdim[1,2,3] should be positive"),
        (80, struct.pack("<f", 0.0), "pixdim[1,2,3] should be non-zero"),
        (252, struct.pack("<h", 77), "qform_code 77 not valid; setting to 0"),
        (254, struct.pack("<h", 99), "sform_code 99 not valid; setting to 0"),  # and unplaced
    ],
)
def test_what_nibabel_says_of_headers_is_a_notice(task, at, content, words, caplog):
    """One for all files of a folder, which a terminal shows once; nothing else is printed."""
    for path in task.glob("*Tr/*.nii.gz"):
        raw = bytearray(gzip.decompress(path.read_bytes()))
        raw[at : at + len(content)] = content
        path.write_bytes(gzip.compress(raw))
    with pytest.warns(Notice) as caught:
        Decathlon(root=task).load()
    told = {str(each.message) for each in caught if words in str(each.message)}
    starts = [f"Volumes in {task / kind} have odd headers" for kind in ("imagesTr", "labelsTr")]
    assert [text[: len(start)] for text, start in zip(sorted(told), starts, strict=True)] == starts
    grid = nifti_grid(path, axis=2, resampled=False)
    grid.write(task / "back.nii.gz", np.zeros(grid.shape, dtype=np.int64))
    assert not caplog.records


def test_headers_with_places_that_are_no_numbers_are_named_quietly(task):
    path = min((task / "imagesTr").glob("*.nii.gz"))
    raw = bytearray(gzip.decompress(path.read_bytes()))
    raw[280:284] = struct.pack("<f", float("nan"))  # of the affine
    path.write_bytes(gzip.compress(raw))
    with pytest.raises(ValueError, match=rf"{path.name} cannot be read as NIfTI"):
        read_nifti(path)


def test_volumes_that_do_not_say_how_they_lie_are_told_once(task):
    """Without codes nibabel takes them to be stored from the right to the left."""
    before = {p.name: np.asarray(nibabel.load(p).dataobj) for p in task.glob("imagesTr/*")}
    for path in task.glob("*Tr/*.nii.gz"):
        raw = bytearray(gzip.decompress(path.read_bytes()))
        raw[252:256] = bytes(4)
        path.write_bytes(gzip.compress(raw))
    for path in task.glob("imagesTr/*"):
        found = read_nifti(path)
        assert not found.placed and np.array_equal(found.voxels, before[path.name][::-1])
    with pytest.warns(Notice) as caught:
        Decathlon(root=task).load()
    told = {str(each.message) for each in caught}
    assert len(told) == 1
    assert told.pop() == (
        f"Volumes in {task / 'labelsTr'}, or their images, do not say how they lie (sform_code and "
        "qform_code are 0), and are read as stored from the patient's right to left, back to front "
        "and feet to head: set the codes if that is wrong."
    )


def listed(task, change):
    """Change what dataset.json says."""
    path = task / "dataset.json"
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def test_volumes_keep_names_of_their_own(task):
    for k in range(4):
        dotted, alike = task / "labelsTr" / f"s.{k}.nii.gz", task / f"case{k}" / "mask.nii.gz"
        alike.parent.mkdir()
        shutil.copy(task / "labelsTr" / f"case_{k}.nii.gz", dotted)
        shutil.copy(dotted, alike)
    for name, expected in (
        ("labelsTr/s.{}.nii.gz", "s.{}"), ("./case{}/mask.nii.gz", "case{}_mask")
    ):  # fmt: skip
        listed(task, lambda content, name=name: [
            entry.update(label=name.format(k)) for k, entry in enumerate(content["training"])
        ])  # fmt: skip
        found = Decathlon(root=task).load().train.cases.names
        assert found == tuple(expected.format(k) for k in range(4))
    listed(task, lambda content: content["training"].append(content["training"][1]))
    with pytest.raises(ValueError, match=r"must list every volume once, got .*case1/mask\.nii\.gz"):
        Decathlon(root=task).load()


@pytest.fixture
def visits(task):
    """Two volumes each of four patients, the patients not in the order of their names."""
    entries = []
    for k, who in enumerate("dbca"):
        for visit in (1, 2):
            name = f"labelsTr/{who}_visit{visit}.nii.gz"
            shutil.copy(task / "labelsTr" / f"case_{k}.nii.gz", task / name)
            entries.append({"image": f"imagesTr/case_{k}.nii.gz", "label": name})
    listed(task, lambda content: content.update(training=entries))
    return task


def test_visits_of_one_patient_stay_together(visits):
    source = Decathlon(root=visits, patient=r"(.+)_visit\d").load()
    assert source.train.cases.patient.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    data = prepare(source, NoNoise(), clean=2, validation=0.5, seed=0)
    pools = (data.train, data.clean, data.validation, data.test)
    seen = [{pool.cases.names[k] for k in pool.cases.of.tolist()} for pool in pools]
    assert sorted(name for names in seen for name in names) == [
        f"{who}_visit{visit}" for who in "abcd" for visit in (1, 2)
    ]
    for names in seen:  # one patient each, with both visits
        assert len(names) == 2 and len({name[0] for name in names}) == 1
    alone = Decathlon(root=visits).load()
    assert alone.train.cases.patient.tolist() == list(range(8))


def test_decathlon_folders_check_who_is_the_patient(visits):
    for pattern, message in (
        ("p.+", r"Decathlon needs a pattern with a group as patient, got 'p\.\+'"),
        ("(p", r"Decathlon needs a regular expression as patient, got '\(p' \("),
    ):
        with pytest.raises(ValueError, match=message):
            Decathlon(root=visits, patient=pattern)
    for pattern, message in (
        (r"(.+)\.nii", r"d_visit1\.nii\.gz does not fit the pattern"),  # the name has no suffix
        (r"([abc])?_visit", r"d_visit1\.nii\.gz fits the pattern .* without its first group"),
        ("(visit)", r"patients on both sides, got 0\.25 of 1"),
    ):
        with pytest.raises(ValueError, match=message):
            Decathlon(root=visits, patient=pattern).load()


def test_labels_may_be_written_as_nnunet_does(task):
    def name(labels):
        listed(task, lambda content: content.update(labels=labels))
        return Decathlon(root=task).load().classes

    expected = ("background", "left", "right")
    assert name({"right": 2, "background": 0, "left": 1}) == expected
    for labels, message in (
        (["background", "left", "right"], r'name its labels as \{"0": "background".*got \['),
        ({"background": 0, "left": 1, "both": [1, 2]}, r'name its labels as \{"0": "background"'),
        ({"0": "background", "1": "left", "2": "left"}, "a name of its own, got background, left"),
        ({"background": 0, "left": 1, "right": 1}, "without gaps, got 0, 1"),
    ):
        with pytest.raises(ValueError, match=rf"dataset\.json must .*{message}"):
            name(labels)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"image": ["a.nii.gz", "b.nii.gz"]}, r'\.image must name one .*, got \["a\.nii\.gz", "b'),
        ({"label": ["labelsTr/case_2.nii.gz"]}, r"\.label must name one .*, got \["),
        ({"image": None}, r"\.image must name one \.nii or \.nii\.gz file, got nothing:"),
        ({"label": 3}, r"\.label must name one .* file, got 3:"),
        ({"label": "labelsTr/case_2.mha"}, r'\.label .* got "labelsTr/case_2\.mha": other formats'),
        ({"image": "imagesTr"}, r'\.image must name one .* file, got "imagesTr":'),
        ("imagesTr/case_2.nii.gz", r' must be \{"image": …, "label": …\}, got "imagesTr/case_2'),
        (None, r' must be \{"image": …, "label": …\}, got null'),
    ],
)
def test_entries_that_are_no_pair_of_files_are_named(task, entry, message):
    def change(content):
        usual = content["training"][2]
        content["training"][2] = {**usual, **entry} if isinstance(entry, dict) else entry

    listed(task, change)
    with pytest.raises(ValueError, match=rf"dataset\.json, training\[2\]{message}") as caught:
        Decathlon(root=task).load()
    assert "\n" not in str(caught.value)


def test_lists_that_are_none_are_refused(task):
    for content in ("[]", '{"training": {"a": 1, "b": 2}}', '{"training": null}', "{}"):
        (task / "dataset.json").write_text(content)
        with pytest.raises(ValueError, match=r"json is no list of a Decathlon task: it must name"):
            Decathlon(root=task).load()
    (task / "dataset.json").write_text('{"training": [')
    with pytest.raises(ValueError, match=r"dataset\.json is no JSON \(.*\): fetch it again"):
        Decathlon(root=task).load()


COLOURS = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")])


@pytest.mark.parametrize("kind", ["imagesTr", "labelsTr"])
@pytest.mark.parametrize(
    ("kept", "got"), [(np.complex64, "complex64"), (np.complex128, "complex128"), (COLOURS, "RGB")]
)
def test_voxels_that_are_no_real_numbers_are_refused(task, kind, kept, got):
    _, mask = arrays(2, (18, 20, 8))
    save_nifti(task / kind / "case_2.nii.gz", mask.astype(kept))
    message = rf"{kind}/case_2\.nii\.gz must hold one real number per voxel, got {got}: save"
    with pytest.raises(ValueError, match=message) as caught:
        Decathlon(root=task).load()
    assert "\n" not in str(caught.value)


def test_other_formats_that_nibabel_knows_are_no_nifti(tmp_path):
    _, mask = arrays(0)
    for kind, name in ((nibabel.MGHImage, "a.mgz"), (nibabel.Nifti1Pair, "a.img")):
        nibabel.save(kind(mask, np.eye(4)), tmp_path / name)
        with pytest.raises(
            ValueError, match=rf"{name} must be NIfTI in one file, got {kind.__name__}"
        ):
            read_nifti(tmp_path / name)
    nibabel.save(nibabel.gifti.GiftiImage(), tmp_path / "a.gii")
    with pytest.raises(ValueError, match=r"a\.gii must be NIfTI in one file, got GiftiImage"):
        read_nifti(tmp_path / "a.gii")


def test_endings_may_be_written_large(task):
    path = task / "labelsTr" / "OLD.NII.GZ"
    (task / "labelsTr" / "case_2.nii.gz").rename(path)
    listed(task, lambda content: content["training"][2].update(label="labelsTr/OLD.NII.GZ"))
    assert Decathlon(root=task).load().train.cases.names[2] == "OLD"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + b"more"))
    with pytest.raises(ValueError, match=r"OLD\.NII\.GZ must unpack to the [\d,]+ bytes"):
        Decathlon(root=task).load()


@pytest.mark.parametrize("size", [0, -3])
def test_slices_without_pixels_are_refused(task, size):
    with pytest.raises(ValueError, match=rf"Decathlon needs size >= 1 or none, got {size}"):
        Decathlon(root=task, size=size)


def test_damaged_and_missing_nifti_files_are_named(task):
    path = task / "imagesTr" / "case_1.nii.gz"
    whole = path.read_bytes()
    for content in (whole[:-200], whole[:40], b"", b"no image at all" * 50):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"case_1\.nii\.gz cannot be read as NIfTI"):
            read_nifti(path)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no file .*case_1\.nii\.gz"):
        Decathlon(root=task).load()
    (task / "dataset.json").write_text('{"labels": {"0": "a", "2": "b"}, "training": []}')
    with pytest.raises(ValueError, match="at least 2 training volumes"):
        Decathlon(root=task).load()
    (task / "dataset.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"dataset\.json.*medicaldecathlon"):
        Decathlon(root=task).load()
    with pytest.raises(ValueError, match="axis 0, 1 or 2, got 3"):
        Decathlon(root=task, axis=3)


def test_a_fourth_axis_of_one_entry_is_dropped(tmp_path):
    voxels = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    for name, found in {"a": voxels, "b": voxels[..., None]}.items():
        nibabel.save(nibabel.Nifti1Image(found, np.eye(4)), tmp_path / f"{name}.nii.gz")
    first, second = (read_nifti(tmp_path / f"{name}.nii.gz") for name in "ab")
    assert np.array_equal(first.voxels, voxels) and np.array_equal(second.voxels, voxels)
    assert first.spacing == second.spacing


def save_meta(folder, name, voxels, kind, spacing=SPACING, order="<"):
    size = " ".join(map(str, voxels.shape))
    header = (
        f"ObjectType = Image\nNDims = 3\nBinaryData = True\nBinaryDataByteOrderMSB = {order == '>'}"
        f"\nCompressedData = False\nElementSpacing = {' '.join(map(str, spacing))}\n"
        f"DimSize = {size}\nElementType = {kind}\nElementDataFile = {name}.raw\n"
    )
    (folder / f"{name}.mhd").write_text(header)
    voxels.T.astype(voxels.dtype.newbyteorder(order)).tofile(folder / f"{name}.raw")


@pytest.fixture
def promise(tmp_path):
    for k in range(4):
        image, mask = arrays(k, (20 + k, 18, 5))
        save_meta(tmp_path, f"Case0{k}", image.astype(np.int16), "MET_SHORT", order="<>"[k % 2])
        save_meta(tmp_path, f"Case0{k}_segmentation", (mask > 0).astype(np.int8), "MET_CHAR")
    return tmp_path


def test_promise12_folders_are_read(promise):
    source = Promise12(root=promise, size=32, test=0.25).load()
    assert source.classes == ("background", "prostate")
    assert source.train.inputs.shape == (15, 1, 32, 32)
    assert len(source.test.cases.of.unique()) == 1
    image, _ = arrays(1, (21, 18, 5))
    volume = read_metaimage(promise / "Case01.mhd")  # big-endian
    assert np.array_equal(volume.voxels, image.astype(np.int16))
    assert volume.spacing == SPACING
    limited = Promise12(root=promise, size=16, limit=2, test=0.5).load()
    assert len(limited.train.cases.of.unique()) == 1


def test_a_prostate_that_resampling_loses_is_said(promise):
    mask = np.zeros((22, 18, 5), dtype=np.int8)
    mask[15, 2:16, 2] = 1
    save_meta(promise, "Case02_segmentation", mask, "MET_CHAR")
    said = r"At 6 × 6 pixels .* label 1 in 1 of 4 volumes, such as Case02: .* Raise size"
    with pytest.warns(Notice, match=said) as caught:
        Promise12(root=promise, size=6).load()
    assert len(caught) == 1


def test_headers_name_files_in_utf8(promise):
    path = promise / "Case01.mhd"
    path.write_text(path.read_text().replace("Case01.raw", "Fäll.raw"), encoding="utf-8")
    (promise / "Case01.raw").rename(promise / "Fäll.raw")
    assert read_metaimage(path).voxels.shape == (21, 18, 5)


PLACES = ("Offset", "Position", "Origin", "ImagePosition")
MATRICES = ("TransformMatrix", "Rotation", "Orientation")


def told(folder, name, **said):
    """Let a header tell its spacing and its place in these words alone."""
    path = folder / f"{name}.mhd"
    words = ("ElementSpacing", "ElementSize", *PLACES, *MATRICES)
    lines = [line for line in path.read_text().splitlines() if not line.startswith(words)]
    path.write_text("\n".join([f"{key} = {value}" for key, value in said.items()] + lines))


def test_headers_may_tell_the_spacing_by_the_size_of_voxels(promise):
    for said, expected in (
        ({"ElementSize": "0.5 0.6 3"}, (0.5, 0.6, 3.0)),
        ({"ElementSize": "0.5 0.6 3", "ElementSpacing": "1 2 4"}, (1.0, 2.0, 4.0)),
        ({}, (1.0, 1.0, 1.0)),
    ):
        told(promise, "Case02", **said)
        assert read_metaimage(promise / "Case02.mhd").spacing == expected
    told(promise, "Case02", ElementSize="0.5 x 3")
    with pytest.raises(ValueError, match=r"must hold 3 numbers as ElementSize, got '0\.5 x 3'"):
        read_metaimage(promise / "Case02.mhd")


TURNED = "0 1 0 -1 0 0 0 0 1"  # the first axis runs along the second, and that against the first


@pytest.mark.parametrize("matrix", MATRICES)
@pytest.mark.parametrize("place", PLACES)
def test_headers_tell_their_place_in_the_words_of_metaio(promise, matrix, place):
    usual = {"ElementSize": "1 2 3", "TransformMatrix": TURNED, "Offset": "5 6 7"}
    told(promise, "Case02", **usual)
    told(promise, "Case02_segmentation", ElementSize="1 2 3", **{matrix: TURNED, place: "5 6 7"})
    expected = np.array([[0, -2, 0, 5], [1, 0, 0, 6], [0, 0, 3, 7], [0, 0, 0, 1.0]])
    assert np.array_equal(read_metaimage(promise / "Case02_segmentation.mhd").affine, expected)
    Promise12(root=promise, size=16).load()
    for changed in ({place: "5 6 16"}, {matrix: "0 1 0 -1 0 0 0 0 -1"}):
        said = {"ElementSize": "1 2 3", matrix: TURNED, place: "5 6 7", **changed}
        told(promise, "Case02_segmentation", **said)
        with pytest.raises(ValueError, match=r"Case02_segmentation\.mhd must lie where its image"):
            Promise12(root=promise, size=16).load()


def test_of_two_words_for_a_place_the_one_that_metaio_takes_counts(promise):
    words = {"Orientation": TURNED, "Rotation": "0 1 0 1 0 0 0 0 1", "Position": "1 1 1",
             "Offset": "2 2 2", "Origin": "3 3 3"}  # fmt: skip
    told(promise, "Case02", ElementSize="1 1 1", **words)
    affine = read_metaimage(promise / "Case02.mhd").affine
    assert affine[:2, :2].tolist() == [[0, 1], [1, 0]] and affine[:3, 3].tolist() == [3, 3, 3]


def test_the_prostate_recipe_runs_on_such_a_folder(promise):
    recipe = promise12_recipe(Mask(dice=None), seed=1)
    run = replace(
        recipe,
        data=Promise12(root=promise, size=32, test=0.25),
        model=UnetPlusPlus(width=2),
        training=replace(recipe.training, epochs=1, clean_batch=4),
        clean=1,
    )
    with pytest.warns(Notice, match="l2b_masks has choices that do not"):
        record = run.execute(progress=False).record
    assert 0 <= record["last_dice"] <= 1


def test_promise12_names_what_is_wrong(promise, tmp_path_factory):
    def copy(change):
        folder = tmp_path_factory.mktemp("promise")
        shutil.copytree(promise, folder, dirs_exist_ok=True)
        change(folder)
        return Promise12(root=folder, size=16).load()

    def header(old, new):
        def change(folder):
            path = folder / "Case02.mhd"
            path.write_text(path.read_text().replace(old, new))

        return change

    def placed(matrix, offset):
        def change(folder):
            for name, values in (("Case02", ("1 0 0 0 1 0 0 0 1", "0 0 0")),
                                 ("Case02_segmentation", (matrix, offset))):  # fmt: skip
                path = folder / f"{name}.mhd"
                said = "TransformMatrix = {}\nOffset = {}\n".format(*values)
                path.write_text(said + path.read_text())

        return change

    def cut_off(folder):
        path = folder / "Case02.raw"
        path.write_bytes(path.read_bytes()[:-2])

    for change, kind, message in (
        (cut_off, ValueError, r"Case02\.raw must hold \d+ bytes for 22 × 18 × 5 voxels"),
        (header("DimSize = 22 18 5", "DimSize = 2 x 2"), ValueError,
         r"Case02\.mhd must hold 3 whole numbers above 0 as DimSize, got '2 x 2'"),
        (header("DimSize = 22", "DimSize = -22"), ValueError, r"Case02\.mhd must hold 3 whole"),
        (header("ElementSpacing = 1.0 2.0 3.0", "ElementSpacing = 1 1 a"), ValueError,
         r"Case02\.mhd must hold 3 numbers as ElementSpacing, got '1 1 a'"),
        (header("ElementSpacing = 1.0", "ElementSpacing = 0"), ValueError,
         r"Case02\.mhd must have a spacing above 0, got 0 × 2 × 3 mm"),
        (lambda f: (f / "Case02.mhd").write_bytes(b"Comment = \xff"), ValueError,
         r"Case02\.mhd is not UTF-8 text"),
        (placed("1 0 0 0 1 0 0 0 -1", "0 0 0"), ValueError,
         r"Case02_segmentation\.mhd must lie where its image lies.* 24 mm"),
        (placed("1 0 0 0 1 0 0 0 1", "0 7 0"), ValueError,
         r"Case02_segmentation\.mhd must lie where its image lies.* 7 mm"),
        (header("MET_SHORT", "MET_LONG"), ValueError, r"Case02\.mhd must describe.*got MET_LONG"),
        (header("DimSize", "Size"), ValueError, r"Case02\.mhd is no whole.*lacks DimSize"),
        (header("Case02.raw", "x.raw"), FileNotFoundError, r"no file .*x\.raw"),
        (lambda f: (f / "Case01_segmentation.mhd").unlink(), FileNotFoundError,
         r"Case01\.mhd has no mask"),
        (lambda f: (f / "Case01.mhd").unlink(), FileNotFoundError, r"Case01\.mhd has no image"),
    ):  # fmt: skip
        with pytest.raises(kind, match=message):
            copy(change)
    with pytest.raises(FileNotFoundError, match=r"no \.mhd files.*promise12"):
        Promise12(root=promise / "absent").load()


def picture(seed, size=(40, 30)):
    draw = np.random.default_rng(seed)
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[5:20, 8:24] = 255
    colours = draw.integers(0, 200, (*size[::-1], 3)).astype(np.uint8)
    colours[mask > 0] += 50
    return Image.fromarray(colours), Image.fromarray(mask)


@pytest.fixture
def folder(tmp_path):
    """Eight pictures of four patients, drawn by two annotators."""
    return written_folder(tmp_path)


def written_folder(tmp_path):
    for name in ("images", "masks", "masks_second"):
        (tmp_path / name).mkdir()
    for k in range(8):
        image, mask = picture(k)
        image.save(tmp_path / "images" / f"p{k // 2}_{k % 2}.jpg")
        mask.save(tmp_path / "masks" / f"p{k // 2}_{k % 2}.png")
        mask.rotate(8).save(tmp_path / "masks_second" / f"p{k // 2}_{k % 2}.png")
    return tmp_path


def test_folders_of_pictures(folder):
    source = MaskFolder(root=folder, size=32, patient=r"(.+)_\d").load()
    assert source.classes == ("background", "object")
    assert source.train.inputs.shape == (6, 3, 32, 32)
    assert source.train.inputs.dtype == torch.uint8
    train, test = (set(s.cases.patient[s.cases.of].tolist()) for s in (source.train, source.test))
    assert len(train) == 3 and len(test) == 1 and not train & test
    assert 0.1 < source.train.labels.float().mean() < 0.5
    assert (source.annotations["second"] != source.train.labels).any()
    assert source.truth_known and source.trusted is None


def test_a_list_of_checked_masks_makes_the_others_untrusted(folder):
    names = [f"p{k}_0.jpg" for k in range(3)]
    (folder / "clean.txt").write_text("\n".join(names))
    source = MaskFolder(root=folder, size=32).load()
    listed = {source.train.cases.names[k] for k in source.train.cases.of[source.trusted].tolist()}
    judged = set()
    if source.test is not None:
        judged = {source.test.cases.names[k] for k in source.test.cases.of.tolist()}
    assert listed | judged == {"p0_0", "p1_0", "p2_0"}
    assert not source.truth_known
    (folder / "clean.txt").write_text("p9_9")
    with pytest.raises(ValueError, match=r"clean\.txt names 'p9_9'"):
        MaskFolder(root=folder).load()


@pytest.mark.parametrize("checked", [False, True])
def test_a_list_names_what_is_held_out(folder, checked):
    if checked:
        (folder / "clean.txt").write_text("p1_0\np2_1.jpg\nimages/p3_0.png\n")
    (folder / "test.txt").write_text("p0_1.png\np0_0\np3_0\np3_1\n")
    for patient in ("", r"(.+)_\d"):
        source = MaskFolder(root=folder, size=32, patient=patient, test=0.9).load()
        names = source.train.cases.names
        held = {names[k] for k in source.test.cases.of.tolist()}
        assert held == {"p0_0", "p0_1", "p3_0", "p3_1"}
        assert source.truth_known is not checked
        if checked:
            trusted = {names[k] for k in source.train.cases.of[source.trusted].tolist()}
            assert trusted == {"p1_0", "p2_1"}
    for content, message in (
        ("p0_1\n", r"test\.txt names 'p0_1' without the other images of that patient"),
        ("\n", r"test\.txt must name some of the images, not none"),
        ("".join(f"p{k}_{j}\n" for k in range(4) for j in range(2)), "some of the images, not all"),
        ("p9\n", r"test\.txt names 'p9', and there is no such image"),
    ):
        (folder / "test.txt").write_text(content)
        with pytest.raises(ValueError, match=message):
            MaskFolder(root=folder, size=32, patient=r"(.+)_\d").load()


@pytest.mark.parametrize("line", ["wrong/p0_0.not sure", "p0_0. ask Anna", "p0_0.v2", "p0_0.csv"])
def test_remarks_are_no_names_of_checked_masks(folder, line):
    (folder / "clean.txt").write_text(f"p1_0\n{line}\n")
    with pytest.raises(ValueError, match=r"clean\.txt names .* and there is no such image"):
        MaskFolder(root=folder, size=32).load()


def test_pictures_without_an_object_are_learned_and_said(folder):
    for kind in ("masks", "masks_second"):
        Image.new("L", (40, 30)).save(folder / kind / "p1_1.png")
    with pytest.warns(Notice, match=r"1 of 8 masks mark nothing, such as .*p1_1\.png, every pixel"):
        source = MaskFolder(root=folder, size=32, test=0.4).load()
    split = next(s for s in (source.train, source.test) if (s.cases.of == 3).any())
    assert not split.labels[split.cases.of == 3].any() and split.labels.flatten(1).any(1).sum() >= 2
    for path in (folder / "masks").iterdir():
        Image.new("L", (40, 30)).save(path)
    with pytest.raises(ValueError, match="hold a single value, 0"):
        MaskFolder(root=folder, size=32).load()


def test_masks_are_read_one_at_a_time(folder, monkeypatch):
    """Whole masks of large images never lie in memory together."""
    read, alive, usual = [], [], drawn_masks._resized

    def counted(path, values, size):
        read.append(weakref.ref(values))
        alive.append(sum(ref() is not None for ref in read))
        return usual(path, values, size)

    monkeypatch.setattr(drawn_masks, "_resized", counted)
    MaskFolder(root=folder, size=16).load()
    assert len(alive) == 16 and max(alive) <= 2  # the last one until the next is there


def test_pictures_of_many_classes(folder):
    for k, path in enumerate(sorted((folder / "masks").iterdir())):
        values = np.asarray(Image.open(path)).copy()
        values[22:28, 2:38] = 7
        Image.fromarray(values).save(path)
        del k
    shutil.rmtree(folder / "masks_second")
    with pytest.warns(Notice, match="255 is learned as a class like the others"):
        source = MaskFolder(root=folder, size=30).load()
    assert source.classes == ("background", "value 7", "value 255")
    assert set(source.train.labels.unique().tolist()) == {0, 1, 2}


def test_a_list_trusts_nobody_whom_it_does_not_name(folder):
    for kind, ending in (("images", "jpg"), ("masks", "png"), ("masks_second", "png")):
        for old, new in (("p0_0", "scan"), ("p0_1", "scan.2")):
            path = folder / kind / f"{old}.{ending}"
            path.rename(folder / kind / f"{new}.{ending}")
    for listed in ("scan.2", "scan.2.jpg"):
        (folder / "clean.txt").write_text(f"{listed}\np1_0\np2_0\np3_0.jpg\np3_1\n")
        source = MaskFolder(root=folder, size=32).load()
        named = {source.train.cases.names[k] for k in source.train.cases.of[source.trusted]}
        named |= {source.test.cases.names[k] for k in source.test.cases.of.tolist()}
        assert named == {"scan.2", "p1_0", "p2_0", "p3_0", "p3_1"}


def test_a_list_that_leaves_nobody_to_train_with_is_refused(folder):
    (folder / "clean.txt").write_text("\n")
    with pytest.raises(ValueError, match=r"clean\.txt is empty, so no checked image is left"):
        MaskFolder(root=folder, size=32).load()


@pytest.mark.parametrize(
    ("listed", "share", "judges"),
    [(["p0_0", "p0_1"], 0.5, 0), (["p0_0", "p0_1", "p1_0"], 0.5, 0), (["p2_1"], 0.25, 0),
     ([f"p{k}_{j}" for k in range(3) for j in range(2)], 0.25, 1),
     ([f"p{k}_{j}" for k in range(4) for j in range(2)], 0.9, 3)],
)  # fmt: skip
def test_only_what_was_checked_judges_and_the_rest_is_learned(folder, listed, share, judges):
    """Of patients with two images each, all of which must be checked for one to be held out."""
    (folder / "clean.txt").write_text("\n".join(listed))
    source = MaskFolder(root=folder, size=32, patient=r"(.+)_\d", test=share).load()
    names = source.train.cases.names
    held = [] if source.test is None else [names[k] for k in source.test.cases.of.tolist()]
    assert len(held) == 2 * judges and set(held) <= set(listed)
    assert len(source.train.labels) == 8 - len(held)
    trusted = {names[k] for k in source.train.cases.of[source.trusted].tolist()}
    assert trusted == set(listed) - set(held) and trusted


def test_two_images_of_one_name_are_refused(folder):
    picture(0)[0].save(folder / "images" / "p1_1.png")
    with pytest.raises(ValueError, match=r"images holds both p1_1\.jpg and p1_1\.png"):
        MaskFolder(root=folder).load()


def test_a_folder_that_is_no_whole_annotation_is_named(folder):
    (folder / "masks_second" / "p1_1.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"p1_1\.jpg has no partner .*or rename .*_second"):
        MaskFolder(root=folder).load()


def rewrite(folder, change, names=None):
    """Change the values of some masks; by default of all."""
    for path in sorted((folder / "masks").iterdir()):
        if names is None or path.stem in names:
            Image.fromarray(change(np.asarray(Image.open(path)))).save(path)


def test_masks_that_say_the_same_in_two_ways_are_refused(folder):
    rewrite(folder, lambda values: values // 255, ["p1_1"])
    with pytest.raises(ValueError, match=r"p1_1\.png marks by 1 what .*p0_0\.png marks by 255"):
        MaskFolder(root=folder).load()


def test_smoothed_masks_of_few_values_each_are_refused(folder):
    for k in range(8):
        rewrite(folder, lambda v, k=k: np.where(v > 0, v - np.arange(40) % 20 - 21 * k, 0)
                .clip(0).astype(np.uint8), [f"p{k // 2}_{k % 2}"])  # fmt: skip
    with pytest.raises(ValueError, match=r"p\d_\d\.png and the masks before it .* different ones"):
        MaskFolder(root=folder).load()


def test_masks_of_other_modes_are_read(folder):
    expected = MaskFolder(root=folder, size=32).load().train.labels
    for mode in ("LA", "RGB", "RGBA", "I;16", "F"):
        for path in sorted((folder / "masks").iterdir()):
            mask = Image.open(path).convert("L")
            if mode == "I;16":
                mask = Image.fromarray(np.asarray(mask).astype(np.uint16))
            else:
                mask = mask.convert(mode)
            path.unlink()
            mask.save(path.with_suffix(".tif" if mode == "F" else ".png"))
        assert torch.equal(MaskFolder(root=folder, size=32).load().train.labels, expected), mode


def test_a_mask_may_be_all_object(folder):
    rewrite(folder, lambda values: np.full_like(values, 255), [f"p{k}_1" for k in range(4)])
    with pytest.warns(Notice, match=r"least value of the masks, 0, .* only 40% of the pixels"):
        labels = MaskFolder(root=folder, size=32).load().train.labels
    assert labels.flatten(1).all(dim=1).any()


def painted(folder, name, palette, entries=None):
    """Write a mask again with a palette, and other numbers for its entries."""
    path = folder / "masks" / f"{name}.png"
    values = np.asarray(Image.open(path)) // 255
    indexed = Image.fromarray(
        (values if entries is None else np.array(entries)[values]).astype("uint8")
    )
    indexed = indexed.convert("P")
    indexed.putpalette([c for colour in palette for c in colour])
    indexed.save(path)


BLACK, WHITE, GREEN = (0, 0, 0), (255, 255, 255), (0, 255, 0)


def test_palettes_must_mean_the_same_everywhere(folder):
    shutil.rmtree(folder / "masks_second")
    for k in range(8):
        painted(folder, f"p{k // 2}_{k % 2}", [BLACK, GREEN])
    source = MaskFolder(root=folder, size=32).load()
    assert 0.1 < source.train.labels.float().mean() < 0.5
    painted(folder, "p1_1", [BLACK, WHITE], [0, 1])
    (folder / "masks" / "p1_1.png").unlink()
    picture(3)[1].save(folder / "masks" / "p1_1.png")
    painted(folder, "p1_1", [BLACK, WHITE])
    message = r"p1_1\.png paints entry 1 of its palette in the colour \(255, 255, 255\), and .*p0_0"
    with pytest.raises(ValueError, match=message):
        MaskFolder(root=folder, size=32).load()


def test_a_palette_whose_black_is_not_the_least_is_refused(folder):
    shutil.rmtree(folder / "masks_second")
    for k in range(8):
        painted(folder, f"p{k // 2}_{k % 2}", [GREEN, BLACK], [1, 0])
    with pytest.raises(ValueError, match=r"p0_0\.png paints entry 1 of its palette black, and the"):
        MaskFolder(root=folder, size=32).load()


@pytest.mark.parametrize("kind", ["images", "masks"])
def test_stacks_of_pages_are_refused(folder, kind):
    path = next((folder / kind).glob("p2_1.*"))
    page = Image.open(path)
    page.load()
    path.unlink()
    page.save(path.with_suffix(".tif"), save_all=True, append_images=[page])
    with pytest.raises(ValueError, match=r"p2_1\.tif must hold one image, got 2 pages"):
        MaskFolder(root=folder, size=32).load()


def test_distances_between_pixels_are_those_of_the_files(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for k in range(4):
        pixels = np.zeros((20, 80), dtype=np.uint8)
        pixels[5:9, 10:30] = 255
        Image.fromarray(pixels).save(tmp_path / "masks" / f"{k}.png")
        Image.fromarray(pixels).convert("RGB").save(tmp_path / "images" / f"{k}.png")
    spacing = MaskFolder(root=tmp_path, size=40).load().train.cases.spacing
    assert spacing.tolist() == [[1.0, 0.5, 2.0]] * 4


def test_a_class_that_the_grid_loses_is_said_once(folder):
    def thin(values):
        values = values.copy()
        values[24, 2:38] = 7
        return values

    shutil.rmtree(folder / "masks_second")
    rewrite(folder, thin)
    said = (
        r"p0_0\.png has none of its pixels of value 7 left at 10 × 10 .* 8 of 8 masks .* Raise size"
    )
    with pytest.warns(Notice) as caught:
        source = MaskFolder(root=folder, size=10).load()
    lost = [one for one in caught if re.search(said, str(one.message))]
    assert len(lost) == 1 and not (source.train.labels == 1).any()


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_pictures_lie_as_their_exif_data_say(folder, ending):
    turned = Image.Exif()
    turned[0x112] = 6  # to be turned clockwise by a quarter
    found = []
    for change, how in ((None, {}), (Image.Transpose.ROTATE_90, {"exif": turned})):
        for path in [*(folder / "images").iterdir(), *(folder / "masks").iterdir()]:
            stored = Image.fromarray(np.asarray(Image.open(path)))
            path.unlink()
            stored = stored if change is None else stored.transpose(change)
            lossless = {"compression": "tiff_lzw"} if ending == "tiff" else {}
            stored.save(path.with_suffix(f".{ending}"), **how, **lossless)
        found.append(MaskFolder(root=folder, size=32).load().train)
    assert torch.equal(found[0].inputs, found[1].inputs)
    assert torch.equal(found[0].labels, found[1].labels)


def test_what_a_png_says_behind_its_pixels_does_not_count(folder):
    """Masks then fit the image as it is stored, and lie where they were drawn."""
    plain = MaskFolder(root=folder, size=32).load().train
    turned = Image.Exif()
    turned[0x112] = 6
    for path in (folder / "images").iterdir():
        stored = Image.fromarray(np.asarray(Image.open(path)))
        path.unlink()
        stored.save(path.with_suffix(".png"), exif=turned)
        content = path.with_suffix(".png").read_bytes()
        at = content.index(b"eXIf") - 4
        length = int.from_bytes(content[at : at + 4], "big") + 12
        chunk, rest = content[at : at + length], content[:at] + content[at + length :]
        path.with_suffix(".png").write_bytes(rest[:-12] + chunk + rest[-12:])
    late = MaskFolder(root=folder, size=32).load().train
    assert torch.equal(late.inputs, plain.inputs) and torch.equal(late.labels, plain.labels)


def test_images_that_are_turned_and_masks_that_are_not_are_told(folder):
    turned = Image.Exif()
    turned[0x112] = 3
    for path in (folder / "images").iterdir():
        stored = Image.fromarray(np.asarray(Image.open(path)))
        path.unlink()
        stored.save(path.with_suffix(".png"), exif=turned)
    with pytest.warns(Notice, match="images are turned by their EXIF orientation, such as .*png"):
        MaskFolder(root=folder, size=32).load()


@pytest.fixture(scope="module")
def audited(tmp_path_factory):
    """A run on pictures and its first audit."""
    folder = written_folder(tmp_path_factory.mktemp("own"))
    shutil.rmtree(folder / "masks_second")
    run = Run(
        data=MaskFolder(root=folder, size=16), noise=NoNoise(), model=Unet(width=2), clean=2,
        method=CrossEntropy(), training=Training(epochs=1, batch=2, clean_batch=1, threads=1),
    )  # fmt: skip
    run.execute(folder / "run", progress=False, figures=False)
    return folder / "run", audit_masks(folder / "run")


def test_suggested_masks_have_the_values_of_the_given_ones(audited, monkeypatch):
    path, _ = audited
    with monkeypatch.context() as patch:  # a model that agrees with everything
        patch.setattr("l2b.audit.masks.predict_cases", _certain)
        found = audit_masks(path)
    exported = sorted((found.folder / "suggested").iterdir())
    for file in exported:
        drawn, given = (
            np.asarray(Image.open(p)) for p in (file, path.parent / "masks" / file.name)
        )
        assert drawn.shape == given.shape == (30, 40) and set(np.unique(drawn)) == {0, 255}
        assert (drawn == given).mean() > 0.93 and drawn.dtype == np.uint8


def _certain(predict, pool, data):
    """Logits that leave no doubt about the masks as given."""
    return (
        (case, 50 * torch.nn.functional.one_hot(masks, 2).movedim(-1, 1).float())
        for case, masks in zip(pool.cases.of.tolist(), pool.labels.split(1), strict=True)
    )


def test_an_audit_holds_the_logits_of_one_case_at_a_time(deep_task, tmp_path, monkeypatch):
    """Those of thousands of volumes would not fit."""
    run = Run(
        data=Decathlon(root=deep_task), noise=NoNoise(), model=Unet(width=2), clean=1,
        method=CrossEntropy(), training=Training(epochs=1, batch=8, clean_batch=1, threads=1),
    )  # fmt: skip
    cases = run.execute(tmp_path / "run", progress=False, figures=False).data.train.cases
    monkeypatch.setattr("l2b.evaluate.PIXELS_AT_ONCE", 5 * 32 * 32)  # blocks end within cases
    usual, seen = mask_export._write, []

    def spy(path, name, grid, logits, values):
        assert not any(former() is not None for former in seen)
        assert logits.untyped_storage().nbytes() == 4 * logits.numel()  # no part of a larger one
        assert len(logits) == len(cases.rows(cases.names.index(name)))
        seen.append(weakref.ref(logits))
        usual(path, name, grid, logits, values)

    monkeypatch.setattr(mask_export, "_write", spy)
    audit_masks(tmp_path / "run")
    assert len(seen) == 2


def test_masks_are_not_exported_on_the_grid_of_another_file(task, tmp_path, monkeypatch):
    """What the headers say now does not fit what the run learned from the voxels."""
    run = Run(
        data=Decathlon(root=task), noise=NoNoise(), model=Unet(width=2), clean=1,
        method=CrossEntropy(), training=Training(epochs=1, batch=8, clean_batch=1, threads=1),
    )  # fmt: skip
    run.execute(tmp_path / "run", progress=False, figures=False)
    other = nifti_grid(task / "labelsTr" / "case_0.nii.gz", axis=1, resampled=False)
    monkeypatch.setattr(Decathlon, "grids", lambda self: {f"case_{k}": other for k in range(4)})
    message = r"case_\d was another file when .* has 18 slices of 20 × 6 .* Put it back"
    with pytest.raises(ValueError, match=message):
        audit_masks(tmp_path / "run")
    assert not list((tmp_path / "run" / "audit").iterdir())


@pytest.mark.parametrize(
    ("values", "expected"),
    [((), [0, 1, 2]), ((0, 7, 255), [0, 7, 255]), ((3, 40000, 9), [3, 40000, 9]),
     ((-1, 0, 1), [0, 1, 2])],
)  # fmt: skip
def test_exports_hold_any_values_that_a_picture_can(tmp_path, values, expected):
    cases = Cases(
        of=torch.tensor([0]), names=("a.1",), spacing=torch.ones(1, 3), patient=torch.tensor([0])
    )
    masks = torch.tensor([[[0, 1], [2, 0]]])
    logits = torch.nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
    assert export_masks(tmp_path / "out", cases, [(0, logits)], values=values) == ()
    assert np.unique(np.asarray(Image.open(tmp_path / "out" / "a.1.png"))).tolist() == sorted(
        expected
    )


def test_an_audit_keeps_what_somebody_edited(audited):
    path, _ = audited
    found = audit_masks(path)
    first, second, *others = sorted((found.folder / "suggested").iterdir())
    before = second.read_bytes()
    Image.new("L", (16, 16), 255).save(first)
    edited = first.read_bytes()
    second.unlink()
    gone = found.folder / "suggested" / "gone.png"
    own = found.folder / "suggested" / "notes.txt"
    gone.write_bytes(before)
    own.write_text("mine")
    record = found.folder / "suggested.json"
    known = json.loads(record.read_text())
    assert set(known) == {f.name for f in (first, second, *others)}
    record.write_text(json.dumps({**known, "gone.png": known[second.name]}))
    again = audit_masks(path)
    assert again.kept == (first.name,) and f"edited: {first.name} in" in str(again)
    assert first.read_bytes() == edited and second.read_bytes() == before
    assert not gone.exists() and own.exists()
    assert audit_masks(path).kept == (first.name,)  # and still, the time after
    first.unlink()
    assert audit_masks(path).kept == () and first.read_bytes() != edited


def test_suggestions_that_nobody_recorded_step_aside(audited):
    path, found = audited
    folder, record = found.folder / "suggested", found.folder / "suggested.json"
    before = {file.name: file.read_bytes() for file in folder.iterdir()}
    record.unlink()
    again = audit_masks(path)
    aside = found.folder / "suggested-1"
    assert {file.name: file.read_bytes() for file in aside.iterdir()} == before
    assert again.kept == () and {f.name for f in folder.iterdir()} == set(before) - {"notes.txt"}


@pytest.mark.parametrize("moment", ["written", "moved"])
def test_a_stopped_export_keeps_what_is_edited_afterwards(moment, tmp_path, monkeypatch):
    """Stopped while it writes or while it moves files; one old and one new file is edited then."""
    folder, names = tmp_path / "out", ("a", "b", "c", "d")
    cases = Cases(torch.arange(4), names, torch.ones(4, 3), torch.arange(4))
    first, second = (
        [(case, torch.eye(3)[k].view(1, 3, 1, 1).expand(1, 3, 2, 2)) for case in range(4)]
        for k in (1, 2)
    )
    assert export_masks(folder, cases, first) == ()
    owner, method = (mask_export, "_write") if moment == "written" else (Path, "replace")
    usual, calls = getattr(owner, method), []

    def stops(*args):
        calls.append(args)
        if len([c for c in calls if "out" in f"{c[0]}{c[-1]}"]) == 3:
            raise KeyboardInterrupt
        return usual(*args)

    with monkeypatch.context() as patch:
        patch.setattr(owner, method, stops)
        with pytest.raises(KeyboardInterrupt):
            export_masks(folder, cases, second)
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.json"}
    for name in ("a", "d"):
        (folder / f"{name}.png").write_bytes(f"mine {name}".encode())
    assert export_masks(folder, cases, second) == ("a.png", "d.png")
    assert (folder / "d.png").read_bytes() == b"mine d"
    for name in ("b", "c"):
        assert (np.asarray(Image.open(folder / f"{name}.png")) == 2).all()
    assert {path.name for path in tmp_path.iterdir()} == {"out", "out.json"}


def test_a_run_whose_data_changed_is_not_audited(audited):
    path, _ = audited
    added = [path.parent / "images" / "q.jpg", path.parent / "masks" / "q.png"]
    for kind, file in zip(picture(9), added, strict=True):
        kind.save(file)
    for look in (audit_masks, lambda run: masks_figure(run, run / "masks.png")):
        with pytest.raises(ValueError, match="learned from other labels than its data set gives"):
            look(path)
    for file in added:
        file.unlink()
    image = min((path.parent / "images").iterdir())
    before = image.read_bytes()
    with Image.open(image) as stored:
        other = Image.new("RGB", stored.size, (1, 2, 3))
    other.save(image)
    for look in (audit_masks, lambda run: masks_figure(run, run / "masks.png")):
        with pytest.raises(ValueError, match="learned from other samples than its data set gives"):
            look(path)
    image.write_bytes(before)


def test_data_that_are_relative_to_another_directory_are_said_to_be(tmp_path, monkeypatch):
    home, other = tmp_path / "home", tmp_path / "other"
    for path in (home / "data", other):
        path.mkdir(parents=True)
    written_folder(home / "data")
    monkeypatch.chdir(home)
    made = Run(
        data=MaskFolder(root="data", size=16), noise=NoNoise(), model=Unet(width=2), clean=2,
        method=CrossEntropy(), training=Training(epochs=1, batch=2, clean_batch=1, threads=1),
    )  # fmt: skip
    run = home / "run"
    made.execute(run, progress=False, figures=False)
    labels = replace(made, data=Arrays(path="data/none.npz"))
    (home / "labels").mkdir()
    (home / "labels" / "run.yaml").write_text(dump(labels))
    monkeypatch.chdir(other)
    looks = (
        audit_masks,
        lambda run: masks_figure(run, other / "masks.png"),
        lambda run: made.execute(run, progress=False, resume=True),
        lambda run: apply_masks(run, other, other / "corrected"),
    )
    message = "run learns from data, a path relative to the .* none in .*other: .* such as .*home, "
    for look in looks:
        with pytest.raises(FileNotFoundError, match=message):
            look(run)
    with pytest.raises(FileNotFoundError, match=r"labels learns from data/none\.npz, .* or put"):
        labels.execute(home / "labels", progress=False, resume=True)
    for flag in (False, True):  # of what was never started there is no such directory
        with pytest.raises(FileNotFoundError, match=r"no folder .*other/data/images: put"):
            made.execute(other / "new", progress=False, resume=flag)
    monkeypatch.chdir(home)
    next((home / "data" / "masks").iterdir()).unlink()
    with pytest.raises(FileNotFoundError, match="every image needs a mask"):
        audit_masks(run)


def test_panels_are_called_by_case_and_slice(audited, task):
    path, _ = audited
    data = data_of(path, load(Run, RunFolder(path).read_config()))
    suggested, suspicion = data.train.labels, torch.zeros(len(data.train))
    figure = suspects_figure(data, suggested, torch.tensor([1, 0]), suspicion)
    titles = [axes.get_title() for axes in figure.axes]
    names = [data.train.cases.names[int(data.train.cases.of[k])] for k in (1, 0)]
    assert titles == [f"{name}\nsuspicion 0.00" for name in names]
    slices = prepare(Decathlon(root=task).load(), NoNoise(), clean=1, validation=0.0, seed=0)
    row = int(slices.train.cases.rows(int(slices.train.cases.of[-1]))[2])
    figure = suspects_figure(
        slices, slices.train.labels, torch.tensor([row]), torch.ones(len(slices.train))
    )
    name = slices.train.cases.names[int(slices.train.cases.of[-1])]
    assert figure.axes[0].get_title() == f"{name}, slice 2\nsuspicion 1.00"


def test_a_figure_has_a_kind_and_the_clean_loss_of_its_run(audited):
    path, _ = audited
    with pytest.raises(ValueError, match=r"fig must end in \.png, \.pdf, \.svg, .* add \.png"):
        masks_figure(path, path / "fig")
    run = load(Run, RunFolder(path).read_config())
    data, weights = data_of(path, run), path / "model.safetensors"
    with_dice = replace(run, training=replace(run.training, overlap=Dice(share=9.0)))
    plain, other = (_seen(made, data, weights, 2).alpha for made in (run, with_dice))
    assert not torch.allclose(plain, other)


def test_sizes_are_known_without_unpacking(tmp_path, monkeypatch):
    Image.new("L", (40, 30)).save(tmp_path / "a.png")
    with monkeypatch.context() as patch:
        patch.setattr("PIL.ImageFile.ImageFile.load", lambda self: 1 / 0)
        assert image_sizes([tmp_path / "a.png"]) == [(40, 30)]


def replace_mask(folder, change):
    path = folder / "masks" / "p1_1.png"
    change(path)
    return path


@pytest.mark.parametrize(
    ("change", "kind", "message"),
    [
        (lambda p: Image.open(p).resize((20, 30)).save(p), ValueError,
         r"p1_1\.png must have the size of its image, 40 × 30 pixels, got 20 × 30"),
        (lambda p: picture(0)[0].save(p), ValueError, r"p1_1\.png must hold one grey value"),
        (lambda p: p.write_bytes(p.read_bytes()[:60]), ValueError, r"p1_1\.png cannot be decoded"),
        (lambda p: p.unlink(), FileNotFoundError, r"p1_1\.jpg has no partner"),
        (lambda p: picture(0)[0].convert("L").save(p), ValueError,
         r"p1_1\.png must hold one value per class, got \d+ different ones"),
        (lambda p: picture(0)[1].save(p, "JPEG"), ValueError,
         r"p1_1\.png must be stored without loss, got JPEG"),
        (lambda p: Image.fromarray(np.full((30, 40), 0.5, np.float32)).save(p, "TIFF"), ValueError,
         r"p1_1\.png must hold one whole number per class, got fractions"),
    ],
)  # fmt: skip
def test_bad_pictures_are_one_line_with_their_file(folder, change, kind, message):
    replace_mask(folder, change)
    with pytest.raises(kind, match=message) as caught:
        MaskFolder(root=folder).load()
    assert "\n" not in str(caught.value)


def test_mask_folders_check_their_settings(folder):
    with pytest.raises(ValueError, match="pattern with a group"):
        MaskFolder(root=folder, patient="p.+")
    with pytest.raises(ValueError, match=r"regular expression as patient, got '\(p' \("):
        MaskFolder(root=folder, patient="(p")
    with pytest.raises(ValueError, match=r"p0_0\.jpg fits the pattern .* without its first group"):
        MaskFolder(root=folder, patient="(q)?p").load()
    with pytest.raises(ValueError, match=r"p0_0\.jpg does not fit the pattern"):
        MaskFolder(root=folder, patient=r"q(\d)").load()
    with pytest.raises(ValueError, match=r"patients on both sides, got 0\.01 of 8"):
        MaskFolder(root=folder, test=0.01).load()
    with pytest.raises(FileNotFoundError, match=r"no folder .*images"):
        MaskFolder(root=folder / "absent").load()


def test_chase_db1_layout(tmp_path):
    for k in range(1, 4):
        for eye in "LR":
            image, mask = picture(k, (48, 48))
            image.save(tmp_path / f"Image_{k:02d}{eye}.jpg")
            mask.convert("1").save(tmp_path / f"Image_{k:02d}{eye}_1stHO.png")
            mask.rotate(5).convert("1").save(tmp_path / f"Image_{k:02d}{eye}_2ndHO.png")
    source = ChaseDb1(root=tmp_path, size=32, held_out=1).load()
    assert [source.test.cases.names[k] for k in source.test.cases.of.tolist()] == [
        "Image_03L", "Image_03R",
    ]  # fmt: skip
    second = source.annotations["second_observer"]
    assert second.shape == source.train.labels.shape == (4, 32, 32)
    assert (second != source.train.labels).any()
    with pytest.raises(ValueError, match="held_out below the number of children, 3, got 3"):
        ChaseDb1(root=tmp_path, held_out=3).load()
    (tmp_path / "Image_02R_2ndHO.png").unlink()
    with pytest.raises(FileNotFoundError, match=r"Image_02R_2ndHO\.png"):
        ChaseDb1(root=tmp_path, size=32, held_out=1).load()
    with pytest.raises(FileNotFoundError, match=r"no images Image_01L\.jpg"):
        ChaseDb1(root=tmp_path / "absent").load()


def test_real_hippocampus(data_root):
    if not (data_root / "hippocampus").is_dir():
        pytest.skip("hippocampus is not at hand")
    source = Hippocampus(root=data_root / "hippocampus", limit=8).load()
    assert source.classes == ("background", "Anterior", "Posterior")
    assert min(source.train.inputs.shape[2:]) % 16 == 0
    assert len(source.test.cases.of.unique()) == 2
    share = (source.train.labels > 0).float().mean()
    assert 0.01 < share < 0.1


def test_real_chase_db1(data_root):
    if not (data_root / "chase_db1").is_dir():
        pytest.skip("chase_db1 is not at hand")
    source = ChaseDb1(root=data_root / "chase_db1", size=128).load()
    assert (len(source.train.labels), len(source.test.labels)) == (20, 8)
    both = (source.annotations["second_observer"] == 1) & (source.train.labels == 1)
    total = (source.annotations["second_observer"] == 1).sum() + (source.train.labels == 1).sum()
    assert 0.6 < 2 * both.sum() / total < 0.95  # two people, not one

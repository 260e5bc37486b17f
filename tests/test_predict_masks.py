"""`l2b predict` of runs on masks: one file for each new image, on its own grid."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import l2b
from l2b import predict_masks as module
from l2b.audit.masks import audit_masks
from l2b.cli import main
from l2b.datasets.decathlon import Decathlon
from l2b.datasets.mask_folder import MaskFolder
from l2b.datasets.promise12 import Promise12
from l2b.decode import decode_images
from l2b.experiment import Run
from l2b.folder import RunFolder
from l2b.grids import Scan
from l2b.methods.cross_entropy import CrossEntropy
from l2b.models.unet import Unet
from l2b.noise.none import NoNoise
from l2b.notices import Notice
from l2b.optimise import Optimiser
from l2b.overlap import Dice
from l2b.predict_masks import predict_masks
from l2b.slices import cut_images
from l2b.train import Training
from l2b.volumes import Volume, read_nifti

nibabel = pytest.importorskip("nibabel")
Image = pytest.importorskip("PIL.Image")
TRAINING = Training(
    epochs=4, batch=2, clean_batch=1, threads=1, optimiser=Optimiser(kind="Adam", lr=0.02),
    overlap=Dice(),
)  # fmt: skip
RUN = Run(noise=NoNoise(), model=Unet(width=2), clean=1, method=CrossEntropy(), training=TRAINING)
TURNED = np.array([[0, -1.0, 0, 5], [2.0, 0, 0, 6], [0, 0, 3.0, 7], [0, 0, 0, 1]])


def picture(seed, size):
    draw = np.random.default_rng(seed)
    mask = np.zeros(size[::-1], dtype=np.uint8)
    mask[5:18, 6:18] = 200
    return Image.fromarray(draw.integers(0, 50, size[::-1]).astype(np.uint8) + mask), mask + 3


def volume(seed, shape=(20, 18, 6)):
    draw = np.random.default_rng(seed)
    mask = np.zeros(shape, dtype=np.uint8)
    mask[4:14, 5:14, 1:-1] = 1
    return (draw.normal(100, 20, shape) + 200 * mask).astype(np.int16), mask


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """A run on pictures whose background is 3 and whose object is 203."""
    root = tmp_path_factory.mktemp("own")
    for kind in ("images", "masks"):
        (root / kind).mkdir()
    for k in range(8):
        image, mask = picture(k, (24 + 3 * k, 40 - 2 * k))
        image.save(root / "images" / f"p.{k}.png")
        Image.fromarray(mask).save(root / "masks" / f"p.{k}.png")
    replace(RUN, data=MaskFolder(root=root, size=16)).execute(
        root / "run", progress=False, figures=False
    )
    return root


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A task folder of four volumes that are turned."""
    root, entries = tmp_path_factory.mktemp("task"), []
    for k in range(4):
        entry = {"image": f"imagesTr/case_{k}.nii.gz", "label": f"labelsTr/case_{k}.nii.gz"}
        for path, voxels in zip(entry.values(), volume(k, (20 - k, 18 + k, 17 + k)), strict=True):
            (root / path).parent.mkdir(exist_ok=True)
            nibabel.save(nibabel.Nifti1Image(voxels, TURNED), root / path)
        entries.append(entry)
    labels = {"0": "background", "1": "thing"}
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": entries}))
    return root


def same(one, other):
    """Whether two files hold the same voxels in the same places, or the same pixels."""
    if one.suffix == ".png":
        return np.array_equal(np.asarray(Image.open(one)), np.asarray(Image.open(other)))
    one, other = nibabel.load(one), nibabel.load(other)
    equal = np.array_equal(np.asarray(one.dataobj), np.asarray(other.dataobj))
    return equal and np.array_equal(one.affine, other.affine)


def test_pictures_get_masks_of_their_size(pictures, tmp_path, capsys):
    run, new = pictures / "run", tmp_path / "new"
    (new / "more").mkdir(parents=True)
    for path in (new / "a.b.jpg", new / "more" / "a.b.png"):
        picture(9, (31, 45))[0].save(path)
    (new / "notes.txt").write_text("none")
    (new / ".hidden.png").write_bytes(b"")
    assert main(["predict", str(run), str(new), "--out", str(tmp_path / "masks"), "--quiet"]) == 0
    said = capsys.readouterr().out
    assert (
        said.startswith("2 masks: background ") and f"everything is in {tmp_path / 'masks'}" in said
    )
    found = sorted((tmp_path / "masks").rglob("*.*"))
    assert [str(path.relative_to(tmp_path / "masks")) for path in found] == [
        "a.b.png", "more/a.b.png",
    ]  # fmt: skip
    for path in found:
        drawn = np.asarray(Image.open(path))
        assert drawn.shape == (45, 31) and set(np.unique(drawn)) == {3, 203}
        given = picture(9, (31, 45))[1]
        assert (drawn == given).mean() > 0.9
    model = l2b.load_model(run)
    p = model.predict_proba(decode_images([new / "more" / "a.b.png"], 16, name=new, resize=True))
    assert float(said.split("object ")[1].split("%")[0]) == pytest.approx(
        100 * (p[:, 1] > 0.5).float().mean().item(), abs=4
    )


def test_masks_of_learned_images_are_those_that_an_audit_suggests(pictures, tmp_path):
    suggested = audit_masks(pictures / "run").folder / "suggested"
    predict_masks(pictures / "run", pictures / "images", tmp_path / "masks", progress=False)
    assert len(list(suggested.iterdir())) < len(list((tmp_path / "masks").iterdir())) == 8
    for path in suggested.iterdir():
        assert same(path, tmp_path / "masks" / path.name)


@pytest.mark.parametrize("changes", [{}, {"size": 32, "axis": 0}, {"depth": 16}])
def test_volumes_get_masks_on_their_grid(task, tmp_path, changes, capsys):
    run = tmp_path / "run"
    short = replace(RUN, training=replace(TRAINING, epochs=1))
    replace(short, data=Decathlon(root=task, **changes)).execute(run, progress=False, figures=False)
    suggested = audit_masks(run).folder / "suggested"
    words = ["predict", str(run), str(task / "imagesTr"), "--out", str(tmp_path / "masks")]
    assert main([*words, "--quiet"]) == 0
    assert capsys.readouterr().out.startswith("4 masks: background ")
    for path in suggested.iterdir():
        assert same(path, tmp_path / "masks" / path.name)
    for k in range(4):
        drawn = nibabel.load(tmp_path / "masks" / f"case_{k}.nii.gz")
        assert drawn.shape == (20 - k, 18 + k, 17 + k) and np.array_equal(drawn.affine, TURNED)
    # Smaller than what was learned, and larger.
    (tmp_path / "new").mkdir()
    for name, shape in {"small.nii": (17, 12, 8), "large.nii.gz": (50, 37, 20)}.items():
        nibabel.save(nibabel.Nifti1Image(volume(7, shape)[0], TURNED), tmp_path / "new" / name)
    predict_masks(run, tmp_path / "new", tmp_path / "others", progress=False)
    for name, shape in {"small": (17, 12, 8), "large": (50, 37, 20)}.items():
        assert nibabel.load(tmp_path / "others" / f"{name}.nii.gz").shape == shape


class Recorder(torch.nn.Module):
    """Remembers what it is given, and has the shape of what was learned."""

    def __init__(self, shape):
        super().__init__()
        self.shape, self.given = tuple(shape), []

    def forward(self, x):
        self.given.append(x)
        return torch.cat([x, -x], dim=1)

    def seen(self):
        given, self.given = self.given, []
        return torch.cat(given)


def test_small_volumes_are_padded_as_beside_larger_ones(tmp_path):
    volumes = [
        (name, Volume(volume(k, shape)[0].astype(np.float64), (1.0, 1.0, 1.0)))
        for k, (name, shape) in enumerate({"large": (70, 33, 5), "small": (13, 30, 4)}.items())
    ]
    together, cases = cut_images(volumes)
    model = Recorder(together.shape[1:])
    module._draw_volume(model, Decathlon(root=tmp_path), tmp_path, volumes[1][1], Scan(
        shape=(13, 30, 4), affine=np.eye(4)
    ))  # fmt: skip
    assert torch.equal(model.seen(), together[cases.rows(1)])


@pytest.mark.parametrize("changes", [{}, {"size": 32, "axis": 0}, {"axis": 1, "depth": 16}])
def test_a_model_sees_what_it_saw_when_it_learned(task, changes):
    data = Decathlon(root=task, **changes)
    learned = data.load().train
    model = Recorder(learned.inputs.shape[1:])
    for case in learned.cases.of.unique().tolist():
        path = task / "imagesTr" / f"{learned.cases.names[case]}.nii.gz"
        grid = data.grids()[learned.cases.names[case]]
        drawn = module._draw_volume(model, data, path, read_nifti(path), grid)
        expected = learned.inputs[learned.cases.rows(case)]
        assert torch.equal(model.seen(), expected)
        p = torch.softmax(torch.cat([expected, -expected], dim=1), dim=1)
        assert torch.equal(
            drawn.probabilities, learned.cases.take(learned.cases.rows(case)).real(p)
        )


def test_new_volumes_that_do_not_say_how_they_lie_are_told(task):
    data = Decathlon(root=task)
    learned = data.load().train
    path = task / "imagesTr" / "case_0.nii.gz"
    unplaced = read_nifti(path)._replace(placed=False)
    with pytest.warns(Notice, match=r"^Volumes in .*imagesTr do not say how they lie"):
        module._draw_volume(
            Recorder(learned.inputs.shape[1:]), data, path, unplaced, data.grids()["case_0"]
        )


def test_larger_volumes_are_drawn_as_well_as_learned_ones(task, tmp_path):
    run = tmp_path / "run"
    training = replace(TRAINING, epochs=12, batch=8)
    replace(RUN, data=Decathlon(root=task), training=training).execute(
        run, progress=False, figures=False
    )
    image, mask = volume(5, (50, 37, 20))
    nibabel.save(nibabel.Nifti1Image(image, TURNED), tmp_path / "one.nii")
    found = predict_masks(run, tmp_path / "one.nii", tmp_path / "masks", progress=False)
    drawn = np.asarray(nibabel.load(tmp_path / "masks" / "one.nii.gz").dataobj)
    assert 2 * (drawn & mask).sum() / (drawn.sum() + mask.sum()) > 0.8
    assert found.masks == 1 and found.empty == 0
    assert found.shares["thing"] == pytest.approx(drawn.mean())


def test_metaimage_volumes_get_masks_too(tmp_path):
    root, new = tmp_path / "promise12", tmp_path / "new"
    for folder in (root, new):
        folder.mkdir()
    for k in range(4):
        for suffix, voxels in zip(("", "_segmentation"), volume(k), strict=True):
            kind = "MET_SHORT" if suffix == "" else "MET_UCHAR"
            for folder in (root, new)[: 2 if suffix == "" else 1]:
                (folder / f"Case{k}{suffix}.mhd").write_text(
                    f"NDims = 3\nElementSpacing = 1 2 3\nDimSize = 20 18 6\nElementType = {kind}\n"
                    f"ElementDataFile = Case{k}{suffix}.raw\n"
                )
                voxels.T.tofile(folder / f"Case{k}{suffix}.raw")
    data = Promise12(root=root, size=16, test=0.25)
    replace(RUN, data=data).execute(tmp_path / "run", progress=False, figures=False)
    suggested = audit_masks(tmp_path / "run").folder / "suggested"
    predict_masks(tmp_path / "run", new, tmp_path / "masks", progress=False)
    for path in suggested.iterdir():
        assert same(path, tmp_path / "masks" / path.name)
    (new / "Case1.raw").unlink()
    with pytest.raises(ValueError, match=r"1 of 4 images have no mask.*Case1\.raw"):
        predict_masks(tmp_path / "run", new, tmp_path / "three", progress=False)
    assert len(list((tmp_path / "three").iterdir())) == 3
    assert predict_masks(tmp_path / "run", root, tmp_path / "all", progress=False).masks == 4


def test_a_damaged_image_is_named_and_the_others_are_drawn(pictures, tmp_path, capsys):
    new = tmp_path / "new"
    new.mkdir()
    picture(9, (31, 45))[0].save(new / "fine.png")
    for name in ("bad.png", "worse.jpg"):
        (new / name).write_bytes(b"no image")
    words = ["predict", str(pictures / "run"), str(new), "--out", str(tmp_path / "masks")]
    assert main([*words, "--quiet"]) == 2
    said = capsys.readouterr().err
    assert (
        "2 of 3 images have no mask." in said
        and f"The masks of the other 1 are in {tmp_path}" in said
    )
    assert f"{new / 'bad.png'} cannot be decoded" in said
    assert f"Not drawn either: {new / 'worse.jpg'}." in said and "with --resume." in said
    assert [path.name for path in (tmp_path / "masks").iterdir()] == ["fine.png"]
    # Mended, the others are drawn, and what was drawn stays as it is.
    (new / "worse.jpg").unlink()
    picture(3, (20, 30))[0].save(new / "bad.png")
    (tmp_path / "masks" / "fine.png").write_bytes(b"mine")
    assert main([*words, "--quiet"]) == 2
    assert "with --resume" in capsys.readouterr().err
    for count in (1, 0):
        assert main([*words, "--quiet", "--resume"]) == 0
        said = capsys.readouterr().out
        assert (f"{count} masks: " in said) == (count > 0)
        assert f"{2 - count} masks were there already" in said
    assert (tmp_path / "masks" / "fine.png").read_bytes() == b"mine"
    with Image.open(tmp_path / "masks" / "bad.png") as drawn:
        assert drawn.size == (20, 30)


def test_reasons_name_their_files(pictures, tmp_path, monkeypatch):
    def refuse(model, path, palette):
        raise ValueError(f"of another kind, says {path.stem}")

    monkeypatch.setattr(module, "_draw_picture", refuse)
    source = pictures / "images"
    with pytest.raises(ValueError, match=r"p\.0\.png: of another kind, says p\.0 Not drawn either"):
        predict_masks(pictures / "run", source, tmp_path / "masks", progress=False)


def test_masks_of_a_data_set_are_no_images(pictures, tmp_path):
    shutil.copytree(pictures / "images", tmp_path / "data" / "images")
    for kind in ("masks", "masks_anna", "masks of knights"):
        shutil.copytree(pictures / "masks", tmp_path / "data" / kind)
    with pytest.warns(Notice, match=r"^masks, masks_anna in .*data are left out"):
        found = predict_masks(pictures / "run", tmp_path / "data", tmp_path / "out", progress=False)
    assert found.masks == 16
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"images", "masks of knights"}


def test_nothing_is_written_over(pictures, tmp_path):
    new, out = tmp_path / "new", tmp_path / "masks"
    for folder in (new, out):
        folder.mkdir()
    for name in "ab":
        picture(9, (31, 45))[0].save(new / f"{name}.png")
    (out / "b.png").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match=r"masks.b\.png is there and would be lost"):
        predict_masks(pictures / "run", new, out, progress=False)
    assert [path.name for path in out.iterdir()] == ["b.png"]
    assert (out / "b.png").read_bytes() == b"mine"
    with pytest.raises(ValueError, match=r"lies in .*new, whose masks would be taken for images"):
        predict_masks(pictures / "run", new, new / "masks", progress=False)
    shutil.copy(new / "a.png", new / "a.bmp")
    with pytest.raises(ValueError, match=r"a\.bmp and .*a\.png would both give .*a\.png"):
        predict_masks(pictures / "run", new, tmp_path / "others", progress=False)


def test_an_interrupted_prediction_goes_on(pictures, tmp_path, capsys, monkeypatch):
    new, out = tmp_path / "new", tmp_path / "masks"
    new.mkdir()
    for k, name in enumerate("abc"):
        picture(k, (31, 45))[0].save(new / f"{name}.png")
    words = ["predict", str(pictures / "run"), str(new), "--quiet", "--out"]
    assert main([*words, str(tmp_path / "whole")]) == 0
    usual, drawn = module._draw_picture, []

    def stops(model, path, palette):
        drawn.append(path.name)
        if drawn == ["a.png", "b.png"]:
            raise KeyboardInterrupt
        return usual(model, path, palette)

    monkeypatch.setattr(module, "_draw_picture", stops)
    capsys.readouterr()
    assert main([*words, str(out)]) == 130
    assert capsys.readouterr().err == "l2b: interrupted; go on with --resume\n"
    assert main([*words, str(out), "--resume"]) == 0
    assert drawn == ["a.png", "b.png", "b.png", "c.png"]
    for path in (tmp_path / "whole").iterdir():
        assert path.read_bytes() == (out / path.name).read_bytes()


def test_what_is_no_source_is_refused(pictures, tmp_path, capsys):
    run = str(pictures / "run")
    (tmp_path / "empty").mkdir()
    for words, message in {
        (str(pictures / "images"),): "is a run on masks: name a folder",
        (str(tmp_path / "absent"), "--out", "x"): "There is no ",
        (str(tmp_path / "empty"), "--out", "x"): "must hold images (.png, .jpg",
        (str(pictures / "images"), "--out", "x", "--images", "y"): "takes no '--images'",
        (str(pictures / "images"), "--out", __file__): "is a file: name a folder for the masks",
        (str(pictures / "images"), "--out", "x", "--epoch", "chosen"): "no clean sample was kept",
    }.items():
        assert main(["predict", run, *words, "--quiet"]) == 2
        assert message in capsys.readouterr().err
    assert main(["predict", str(tmp_path / "absent"), run, "--out", "x"]) == 2
    assert "holds no finished run" in capsys.readouterr().err


def test_a_run_that_does_not_record_its_values_looks_for_them(pictures, tmp_path, monkeypatch):
    new = tmp_path / "new"
    new.mkdir()
    picture(9, (31, 45))[0].save(new / "a.png")
    usual = RunFolder.read_scale
    assert usual(RunFolder(pictures / "run"))["values"] == [3, 203]

    def older(self):
        return {key: value for key, value in usual(self).items() if key != "values"}

    monkeypatch.setattr(RunFolder, "read_scale", older)
    predict_masks(pictures / "run", new, tmp_path / "there", progress=False)
    assert set(np.unique(np.asarray(Image.open(tmp_path / "there" / "a.png")))) == {3, 203}
    (pictures / "masks").rename(pictures / "elsewhere")
    try:
        with pytest.warns(Notice, match="not there to look: here it is 0, 255"):
            predict_masks(pictures / "run", new, tmp_path / "gone", progress=False)
    finally:
        (pictures / "elsewhere").rename(pictures / "masks")
    assert set(np.unique(np.asarray(Image.open(tmp_path / "gone" / "a.png")))) == {0, 255}


def test_masks_keep_the_palette_of_those_that_were_learned(pictures, tmp_path):
    for kind in ("images", "masks", "run"):
        shutil.copytree(pictures / kind, tmp_path / kind)
    colours = bytes([0, 0, 0, *[90, 90, 90] * 202, 220, 20, 60])
    data = MaskFolder(root=tmp_path, size=16)
    settings = (tmp_path / "run" / "run.yaml").read_text().replace(str(pictures), str(tmp_path))
    (tmp_path / "run" / "run.yaml").write_text(settings)
    for path in (tmp_path / "masks").iterdir():
        with Image.open(path) as mask:
            mask.putpalette(colours)
            mask.save(path)
    given = data.load()
    suggested = audit_masks(tmp_path / "run").folder / "suggested"
    predict_masks(tmp_path / "run", tmp_path / "images", tmp_path / "new", progress=False)
    for path in (*suggested.iterdir(), *(tmp_path / "new").iterdir()):
        with Image.open(path) as drawn:
            assert drawn.mode == "P" and bytes(drawn.getpalette()) == colours
            assert set(np.unique(np.asarray(drawn))) <= {3, 203}
    # A set of them is one of the same classes.
    shutil.copytree(tmp_path / "new", tmp_path / "masks", dirs_exist_ok=True)
    assert data.load().values == given.values
    # Where the masks are gone, nobody knows their colours.
    (tmp_path / "masks").rename(tmp_path / "elsewhere")
    predict_masks(tmp_path / "run", tmp_path / "images", tmp_path / "grey", progress=False)
    with Image.open(tmp_path / "grey" / "p.0.png") as drawn:
        assert drawn.mode == "L"


def test_data_sets_of_which_nothing_is_known_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"run learned from Tensor, .* take l2b\.load_model"):
        module._kind(l2b.load_model, torch.zeros(1), tmp_path / "run")

"""Masks on the learned grid go back to the grids of their files."""

import itertools
import json

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from l2b.cases import case_dice
from l2b.datasets.chase_db1 import ChaseDb1
from l2b.datasets.decathlon import Decathlon
from l2b.datasets.mask_folder import MaskFolder
from l2b.datasets.promise12 import Promise12
from l2b.drawn_masks import class_masks, mask_palette, read_masks
from l2b.grids import Picture, Scan, learned_grid, nifti_grid
from l2b.metaimage import read_metaimage
from l2b.slices import cut
from l2b.types import Cases
from l2b.volumes import Volume, read_nifti

nibabel = pytest.importorskip("nibabel")
Image = pytest.importorskip("PIL.Image")
AXES = list(itertools.permutations(range(3)))
SIGNS = list(itertools.product((1, -1), repeat=3))


def surely(masks, classes=3):
    """Probabilities that leave no doubt about masks, [N, classes, height, width]."""
    return functional.one_hot(masks, classes).permute(0, 3, 1, 2).float()


def learned(source):
    """Masks of a whole data set by case, of slabs the slices that there are."""
    found = {}
    for split in (source.train, source.test):
        for case in split.cases.of.unique().tolist():
            found[split.cases.names[case]] = split.cases.volume(split.labels, case)
    return found


def dice(one, other, classes=3):
    pair = [
        torch.from_numpy(np.asarray(m).astype(np.int64)).reshape(1, -1, 1) for m in (one, other)
    ]
    cases = Cases(torch.zeros(1).long(), ("a",), torch.ones(1, 3), torch.zeros(1).long())
    return case_dice(*pair, cases, classes)[0]


def blobs(shape, seed=0):
    """Two balls in a volume, neither in the middle nor alike."""
    draw = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
    mask = np.zeros(shape, dtype=np.uint8)
    for label in (1, 2):
        centre = (draw.uniform(-0.1, 0.1, 3) + (0.15 + 0.23 * label)) * shape
        mask[(((places - centre) / (0.25 * np.array(shape))) ** 2).sum(-1) < 1] = label
    return mask


def placed(order, signs, spacing=(0.8, 1.3, 2.5), tilt=0.0):
    """An affine whose axes run along the patient's in this order and direction."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for own, (axis, sign) in enumerate(zip(order, signs, strict=True)):
        affine[axis, own] = sign * spacing[own]
    turn = np.array([[np.cos(tilt), -np.sin(tilt), 0], [np.sin(tilt), np.cos(tilt), 0], [0, 0, 1]])
    affine[:3, :3] = turn @ affine[:3, :3]
    affine[:3, 3] = (-17.0, 4.5, 60.0)
    return affine


def save(path, voxels, affine, units="mm"):
    image = nibabel.Nifti1Image(voxels, affine)
    image.header.set_xyzt_units(units)
    image.header["cal_max"] = 700
    nibabel.save(image, path)


@settings(max_examples=60, deadline=None)
@given(
    order=st.sampled_from(AXES),
    signs=st.sampled_from(SIGNS),
    shape=st.tuples(*[st.integers(5, 23)] * 3),
    axis=st.integers(0, 2),
    depth=st.sampled_from([None, 4]),
    tilt=st.sampled_from([0.0, 0.3]),
    fourth=st.booleans(),
)
def test_padded_volumes_come_back_as_they_were(
    tmp_path_factory, order, signs, shape, axis, depth, tilt, fourth
):
    path = tmp_path_factory.mktemp("scan") / "mask.nii.gz"
    mask, affine = blobs(shape), placed(order, signs, tilt=tilt)
    save(path, mask[..., None] if fourth else mask, affine)
    volume = read_nifti(path)
    other = Volume(np.ones((31, 18, 40)), (1.0, 1.0, 1.0))  # which leaves more room around
    slices = cut([("other", other, other), ("a", volume, volume)], axis=axis, depth=depth)
    grid = nifti_grid(path, axis=axis, resampled=False)
    back = grid.drawn(surely(slices.cases.volume(slices.masks, 1)))
    grid.write(path.with_name("back.nii.gz"), back)
    stored, first = nibabel.load(path.with_name("back.nii.gz")), nibabel.load(path)
    assert np.array_equal(np.asarray(stored.dataobj), np.asarray(first.dataobj))
    assert stored.shape == first.shape and stored.get_data_dtype() == np.uint8
    assert np.array_equal(stored.affine, first.affine)
    for word in ("qform_code", "sform_code", "xyzt_units"):
        assert stored.header[word] == first.header[word]
    assert stored.header["cal_max"] == 0


@settings(max_examples=40, deadline=None)
@given(
    order=st.sampled_from(AXES),
    signs=st.sampled_from(SIGNS),
    shape=st.tuples(*[st.integers(25, 45)] * 3),
    axis=st.integers(0, 2),
    size=st.integers(32, 50),
)
def test_resampled_volumes_come_back_nearly_as_they_were(
    tmp_path_factory, order, signs, shape, axis, size
):
    path = tmp_path_factory.mktemp("scan") / "mask.nii.gz"
    mask = blobs(shape, seed=sum(shape))
    save(path, mask, placed(order, signs))
    volume = read_nifti(path)
    slices = cut([("a", volume, volume)], axis=axis, size=size)
    back = nifti_grid(path, axis=axis, resampled=True).drawn(surely(slices.masks))
    assert back.shape == shape and (dice(mask, back) > 0.9).all()


@settings(max_examples=40, deadline=None)
@given(width=st.integers(20, 90), height=st.integers(20, 90), size=st.integers(24, 64))
def test_pictures_come_back_nearly_as_they_were(tmp_path_factory, width, height, size):
    mask = 7 * blobs((height, width, 9), seed=width)[:, :, 4]
    mask[mask == 14] = 200
    if len(np.unique(mask)) < 3:
        return
    path = tmp_path_factory.mktemp("picture") / "m.png"
    Image.fromarray(mask).save(path)
    small = class_masks(read_masks([path], [(width, height)], size), (0, 7, 200))
    grid = Picture(size=(width, height))
    grid.write(path.with_name("back.png"), grid.drawn(surely(small)), (0, 7, 200))
    back = np.asarray(Image.open(path.with_name("back.png")))
    assert back.dtype == np.uint8 and set(np.unique(back)) <= {0, 7, 200}
    classes = [np.searchsorted((0, 7, 200), m) for m in (mask, back)]
    assert (dice(*classes) > 0.85).all()
    if size == width == height:
        assert np.array_equal(back, mask)


def test_edges_lie_between_learned_pixels_where_probabilities_say_so():
    """A quarter of doubt at an edge moves it by a part of a learned pixel."""
    row = torch.tensor([0.0, 0.0, 0.8, 1.0])
    p = row.expand(1, 1, 4, 4)
    back = Picture(size=(40, 40)).drawn(torch.cat([1 - p, p], dim=1))
    assert (back == back[0]).all()
    edge = int(back[0].argmax())
    # From 0 in the centre of the second pixel (15) to 0.8 in that of the third (25).
    assert abs(edge - (15 + 10 * 0.5 / 0.8)) <= 1 and back[0, edge:].all()


def test_files_of_another_size_are_no_grid_of_what_was_learned(tmp_path):
    grid = Scan(shape=(20, 18, 6), affine=np.eye(4))
    with pytest.raises(ValueError, match=r"20 × 18 × 6 voxels has 6 slices of 20 × 18 .* got 5 of"):
        grid.drawn(torch.zeros(5, 2, 32, 32))
    with pytest.raises(ValueError, match="got 6 of 16 × 32"):
        grid.drawn(torch.zeros(6, 2, 16, 32))
    with pytest.raises(ValueError, match="one slice, got 2"):
        Picture(size=(3, 3)).drawn(torch.zeros(2, 2, 3, 3))
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.nii"):
        nifti_grid(tmp_path / "absent.nii", axis=2, resampled=False)
    (tmp_path / "damaged.nii").write_bytes(b"no header")
    with pytest.raises(ValueError, match=r"damaged\.nii cannot be read as NIfTI"):
        nifti_grid(tmp_path / "damaged.nii", axis=2, resampled=False)


@pytest.mark.parametrize("classes", [3, 400])
def test_cases_without_files_lie_on_the_learned_grid(classes, tmp_path):
    mask = torch.randint(classes, (4, 7, 9))
    grid = learned_grid(4, (7, 9), (3.0, 1.0, 2.0))
    grid.write(tmp_path / "m.nii.gz", grid.drawn(surely(mask, classes)))
    volume = read_nifti(tmp_path / "m.nii.gz")
    assert volume.spacing == (1.0, 2.0, 3.0)
    assert np.array_equal(volume.voxels.transpose(2, 0, 1), mask.numpy())
    assert learned_grid(1, (7, 9), (1.0, 1.0, 1.0)) == Picture(size=(9, 7))


@pytest.mark.parametrize("changes", [{}, {"depth": 4}, {"axis": 0}, {"axis": 1, "depth": 5}])
def test_a_decathlon_folder_knows_its_grids(changes, tmp_path):
    entries, masks = [], {}
    for kind in ("imagesTr", "labelsTr"):
        (tmp_path / kind).mkdir()
    for k, (order, signs) in enumerate(zip(AXES[1:5], SIGNS[2:6], strict=True)):
        mask = masks[f"c{k}"] = blobs((20 - k, 17 + 2 * k, 9 + k), seed=k)
        entry = {"image": f"./imagesTr/c{k}.nii.gz", "label": f"./labelsTr/c{k}.nii.gz"}
        save(tmp_path / entry["image"], mask.astype(np.float32), placed(order, signs))
        save(tmp_path / entry["label"], mask, placed(order, signs))
        entries.append(entry)
    labels = {"0": "background", "1": "left", "2": "right"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "training": entries}))
    data = Decathlon(root=tmp_path, **changes)
    grids = data.grids()
    assert list(Decathlon(root=tmp_path, limit=2).grids()) == ["c0", "c1"]
    assert data.files()["c1"] == tuple(tmp_path / entries[1][kind] for kind in ("image", "label"))
    for name, mask in learned(data.load()).items():
        assert np.array_equal(grids[name].drawn(surely(mask)), masks[name])
    small = Decathlon(root=tmp_path, size=24, axis=changes.get("axis", 2))
    for name, mask in learned(small.load()).items():
        back = small.grids()[name].drawn(surely(mask))
        assert back.shape == masks[name].shape and (dice(masks[name], back) > 0.85).all()


def test_a_promise12_folder_knows_its_grids(tmp_path):
    turn = "1 0 0 0 0 -1 0 1 0"  # columns: where the file's x, y and z run to
    masks = {}
    for name, told in {
        "Case1": "",
        "Case10": f"TransformMatrix = {turn}\nOffset = 5 6 7\n",
    }.items():
        mask = masks[name] = np.minimum(blobs((30, 26, 8 + len(name)), seed=1), 1)
        for suffix, voxels in {"": mask.astype(np.int16), "_segmentation": mask}.items():
            kind = "MET_SHORT" if suffix == "" else "MET_UCHAR"
            (tmp_path / f"{name}{suffix}.mhd").write_text(
                "NDims = 3\nElementSpacing = 0.5 0.6 3\n"
                f"DimSize = {' '.join(map(str, mask.shape))}\n"
                f"{told}ElementType = {kind}\nElementDataFile = {name}{suffix}.raw\n"
            )
            voxels.T.tofile(tmp_path / f"{name}{suffix}.raw")
    data = Promise12(root=tmp_path, size=40, test=0.5)
    grids = data.grids()
    for name, mask in learned(data.load()).items():
        back = grids[name].drawn(surely(mask, 2))
        assert dice(masks[name], back, 2) > 0.9
        grids[name].write(tmp_path / f"{name}.nii.gz", back)
        stored = nibabel.load(tmp_path / f"{name}.nii.gz")
        assert stored.shape == read_metaimage(tmp_path / f"{name}.mhd").voxels.shape
        np.testing.assert_allclose(stored.header.get_zooms(), (0.5, 0.6, 3), rtol=1e-6)
    # MetaImage counts to the patient's left and back, NIfTI to the right and front.
    np.testing.assert_allclose(grids["Case1"].affine, np.diag([-0.5, -0.6, 3, 1]))
    last = grids["Case10"].affine @ [2, 3, 4, 1]
    np.testing.assert_allclose(last[:3], [-(5 + 2 * 0.5), -(6 + 4 * 3), 7 - 3 * 0.6])


def test_folders_of_pictures_know_their_grids(tmp_path):
    for kind in ("images", "masks"):
        (tmp_path / kind).mkdir()
    for k, size in enumerate([(31, 20), (20, 31), (40, 40)]):
        mask = Image.fromarray(255 * np.minimum(blobs((*size[::-1], 5))[:, :, 2], 1))
        mask.convert("RGB").save(tmp_path / "images" / f"{k}.png")
        mask.save(tmp_path / "masks" / f"{k}.png")
    turned = Image.Exif()
    turned[0x112] = 6
    Image.new("RGB", (31, 20)).save(
        tmp_path / "images" / "1.jpg", exif=turned
    )  # looked at: 20 × 31
    (tmp_path / "images" / "1.png").unlink()
    data = MaskFolder(root=tmp_path, size=32)
    assert [grid.size for grid in data.grids().values()] == [(31, 20), (20, 31), (40, 40)]
    with pytest.warns(UserWarning, match="EXIF"):
        assert data.load().values == (0, 255)
    chase = tmp_path / "chase"
    chase.mkdir()
    Image.new("RGB", (33, 21)).save(chase / "Image_01L.jpg")
    assert ChaseDb1(root=chase).grids() == {"Image_01L": Picture(size=(33, 21))}


VOC = [(0, 0, 0), (128, 0, 0), (0, 128, 0), (128, 128, 0)]  # colours of classes


@pytest.mark.parametrize("mode", ["P", "PA"])
def test_pictures_are_written_with_the_palette_of_their_masks(mode, tmp_path):
    """Each file knows the colours of what it shows alone; the others are grey there."""
    whole = 2 * blobs((40, 40, 9))[:, :, 4]  # holds 0, 2 and 4
    voc = [*VOC, (0, 0, 128)]
    paths = []
    for k, shown in enumerate([(0, 2), (0, 4), (0, 2, 4)]):
        mask = Image.fromarray(np.where(np.isin(whole, shown), whole, 0))
        colours = [colour if i in shown or k == 2 else (9, 9, 9) for i, colour in enumerate(voc)]
        mask.putpalette([c for colour in colours for c in colour])
        for kind, picture in {"images": mask.convert("RGB"), "masks": mask.convert(mode)}.items():
            (tmp_path / kind).mkdir(exist_ok=True)
            ending = "tif" if picture.mode == "PA" else "png"
            paths.append(tmp_path / kind / f"{k}.{ending}")
            picture.save(paths[-1])
    given = read_masks(paths[1::2], [(40, 40)] * 3, 40)
    grids = MaskFolder(root=tmp_path, size=40).grids()
    again = []
    for name, mask in zip(grids, class_masks(given, (0, 2, 4)), strict=True):
        again.append(tmp_path / f"{name}.png")
        grids[name].write(again[-1], mask.numpy(), (0, 2, 4))
        with Image.open(again[-1]) as written:
            assert written.mode == "P"
            colours = np.reshape(written.getpalette(), (-1, 3))
            assert [tuple(colours[k]) for k in (0, 2, 4)] == [voc[0], voc[2], voc[4]]
    both = read_masks([*paths[1::2], *again], [(40, 40)] * 6, 40)
    for one, other in zip(both[:3], both[3:], strict=True):
        assert np.array_equal(one.values, other.values)
    assert mask_palette(paths[1::2], (0, 2)) == mask_palette(paths[1:2])  # the first tells both


def test_values_without_a_colour_and_deep_ones_stay_grey(tmp_path):
    grid = Picture(size=(3, 3), palette=bytes(9))
    for values, mode in {(0, 2): "P", (0, 3): "L", (0, 300): "I;16"}.items():
        grid.write(tmp_path / "m.png", np.eye(3, dtype=int), values)
        with Image.open(tmp_path / "m.png") as written:
            assert written.mode == mode
            assert np.array_equal(np.asarray(written), values[1] * np.eye(3))


def test_masks_without_a_palette_have_none(tmp_path):
    Image.new("L", (3, 3), 1).save(tmp_path / "grey.png")
    assert mask_palette([tmp_path / "grey.png"]) == b""
    (tmp_path / "bad.png").write_bytes(b"no image")
    with pytest.raises(ValueError, match=r"bad\.png cannot be decoded as a mask"):
        mask_palette([tmp_path / "grey.png", tmp_path / "bad.png"])

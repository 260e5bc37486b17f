"""One suite over every data set, on small files in the official formats, then each alone."""

import builtins
import dataclasses
import gzip
import hashlib
import io
import json
import os
import struct
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from l2b.catalog import find, names, summary
from l2b.datasets import Arrays, Cifar10, Cifar100, Dataset, FashionMnist, ImageFolder
from l2b.datasets.array_folder import ArrayFolder
from l2b.datasets.base import data_root, moments
from l2b.datasets.clothing1m import Clothing1m
from l2b.datasets.fashion_mnist import read_idx
from l2b.datasets.isic import METADATA, Isic
from l2b.datasets.table import Table
from l2b.datasets.tags import Tags
from l2b.datasets.trec import Trec
from l2b.datasets.yoruba import Yoruba
from l2b.decode import decode_images
from l2b.fingerprint import digest
from l2b.noise import Existing
from l2b.on_disk import RowsOnDisk
from l2b.streams import stream

OF_MASKS = {"chase_db1", "decathlon", "hippocampus", "mask_folder", "promise12"}  # a suite apart
ALL = [name for name in names(Dataset) if name not in OF_MASKS]
HUMAN10 = ("aggre_label", "random_label1", "random_label2", "random_label3", "worse_label")
RNG = np.random.default_rng(0)
PIXELS = RNG.integers(0, 256, (12, 32, 32, 3), dtype=np.uint8)
REAL = os.environ.get("L2B_DATA")
needs_data = pytest.mark.skipif(not REAL, reason="L2B_DATA is unset: no real data at hand")


# --- files in the official formats -----------------------------------------------------------


def encode(pixels, kind="PNG"):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, kind)
    return buffer.getvalue()


def write_parquet(path, pixels, kind="PNG", **labels):
    images = [{"bytes": encode(p, kind), "path": f"{i}.png"} for i, p in enumerate(pixels)]
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.table({"img": images, **labels}), path)


def write_cifar10(root, *, kind="PNG"):
    labels = [i % 10 for i in range(12)]
    write_parquet(root / "train-00000-of-00001.parquet", PIXELS, kind, label=labels)
    write_parquet(root / "test-00000-of-00001.parquet", PIXELS[:4], kind, label=labels[:4])
    return root


def write_cifar100(root):
    fine = [8 * i for i in range(12)]
    columns = {"fine_label": fine, "coarse_label": [f % 20 for f in fine]}
    write_parquet(root / "cifar100" / "train-00000-of-00001.parquet", PIXELS, **columns)
    columns = {key: value[:4] for key, value in columns.items()}
    write_parquet(root / "cifar100" / "test-00000-of-00001.parquet", PIXELS[:4], **columns)
    return root


def write_human(path, true, keys, classes):
    true = np.asarray(true, dtype=np.int64)
    sets = {key: (true + i + 1) % classes for i, key in enumerate(keys)}
    torch.save({"clean_label": true, **sets}, path)


def write_idx(path, array, magic=None):
    head = magic or bytes((0, 0, 8, array.ndim))
    head += struct.pack(f">{array.ndim}I", *array.shape)
    path.write_bytes(gzip.compress(head + array.tobytes()))


def write_fashion(root):
    root.mkdir(exist_ok=True)
    for prefix, n in (("train", 12), ("t10k", 4)):
        write_idx(root / f"{prefix}-images-idx3-ubyte.gz", PIXELS[:n, :28, :28, 0].copy())
        labels = np.arange(n, dtype=np.uint8) % 10
        write_idx(root / f"{prefix}-labels-idx1-ubyte.gz", labels)
    return root


def write_arrays(path, **changes):
    arrays = {
        "x_train": RNG.normal(size=(12, 3)),
        "y_train": np.arange(12) % 3,
        "x_test": RNG.normal(size=(4, 3)),
        "y_test": np.arange(4) % 3,
        **changes,
    }
    np.savez(path, **{name: a for name, a in arrays.items() if a is not None})
    return path


def write_array_folder(root):
    root.mkdir(exist_ok=True)
    with np.load(write_arrays(root / "a.npz", clean_index=[0, 4, 8])) as stored:
        for name in stored.files:
            array = stored[name]
            np.save(root / f"{name}.npy", array.astype("f4") if name[0] == "x" else array)
    return root


def write_folder(root, splits=("train", "test", "clean")):
    for part, split in enumerate(splits):
        for k, name in enumerate(("cat", "dog")):
            (root / split / name).mkdir(parents=True)
            for i in range(3):
                pixels = PIXELS[3 * k + i, part : 20 + i]
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


def write_yoruba(root):
    titles = ["Ilé ẹjọ́ gíga", 'Eré bọ́ọ̀lù, "Ìdíje"', "Ètò ìlera tuntun", "Ọjà àgbáyé"] * 3
    topics = ["nigeria", "sport", "health", "world"] * 3
    for name, count, shift in (
        ("train_clean", 12, 0), ("dev", 4, 0), ("test", 4, 0), ("train_clean_noisy_labels", 12, 1)
    ):  # fmt: skip
        noisy = shift == 1
        lines = ["\t".join([""] * noisy + ["bbc_url_id", "date", "news_title", "label"])]
        for i in range(count):
            topic = topics[(i + shift) % 12]
            lines.append("\t".join([str(i)] * noisy + ["123", "9 Oṣù", titles[i], topic]))
        (root / f"{name}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return root


def write_trec(root):
    texts = ["what is a cat ?", "who was galileo ?", "where is denver ?", "how many cats ?"] * 3
    for name, count in (("train", 12), ("dev", 4), ("test", 4)):
        rows = [
            {"text": t, "label": i % 6, "major": (i + 1) % 6 if i else -1, "len": 4}
            for i, t in enumerate(texts[:count])
        ]
        (root / f"{name}_data.json").write_text(json.dumps(rows))
    return root


def write_table(path):
    rows = [f"{k % 7},{'ab'[k % 2]},{int(k < 6)},{1 - k % 2},{int(k < 9)}" for k in range(24)]
    path.write_text("x,label,clean,even,few\n" + "\n".join(rows))
    return path


def write_images(root, names, suffix=""):
    for i, name in enumerate(names):
        path = root / f"{name}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(PIXELS[i % 12]).save(path)


def write_isic(root):
    names = [f"ISIC_{i:07d}" for i in range(16)]
    columns = ["MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC", "UNK"]
    rows = [
        ",".join([name, *("1.0" if k == i % 8 else "0.0" for k in range(9))])
        for i, name in enumerate(names)
    ]
    text = "\n".join([",".join(["image", *columns]), *rows]) + "\n"
    root.mkdir(exist_ok=True)
    (root / "ISIC_2019_Training_GroundTruth.csv").write_text(text)
    write_images(root / "ISIC_2019_Training_Input", names, ".jpg")
    for name, part in (("train", names[:10]), ("val", names[10:12]), ("test", names[12:])):
        (root / f"{name}.lst").write_text("\n".join(reversed(part)) + "\n")
    return root


def write_clothing(root):
    keys = [f"images/{i % 3}/{i}/{10 * i},{i}.jpg" for i in range(20)]
    root.mkdir(exist_ok=True)
    write_images(root, keys)
    parts = {"noisy_train": keys[:12], "clean_val": keys[12:16], "clean_test": keys[16:]}
    for name, part in parts.items():
        (root / f"{name}_key_list.txt").write_text("\n".join(part) + "\n")
    for name, part in (("noisy", keys[:12]), ("clean", keys[12:])):
        lines = [f"{key} {i % 14 if name == 'clean' else i % 2}" for i, key in enumerate(part)]
        (root / f"{name}_label_kv.txt").write_text("\n".join(lines) + "\n")
    return root


BUILDERS = {
    "table": lambda tmp: Table(path=write_table(tmp / "t.csv"), label="label", clean="clean"),
    "tags": lambda tmp: Tags(path=write_table(tmp / "t.csv"), tags=("even", "few"), clean="clean"),
    "arrays": lambda tmp: Arrays(path=write_arrays(tmp / "a.npz", clean_index=[0, 4, 8])),
    "array_folder": lambda tmp: ArrayFolder(root=write_array_folder(tmp)),
    "cifar10": lambda tmp: Cifar10(root=write_cifar10(tmp)),
    "cifar100": lambda tmp: Cifar100(root=write_cifar100(tmp)),
    "fashion_mnist": lambda tmp: FashionMnist(root=write_fashion(tmp)),
    "trec": lambda tmp: Trec(root=write_trec(tmp)),
    "yoruba": lambda tmp: Yoruba(root=write_yoruba(tmp)),
    "isic": lambda tmp: Isic(root=write_isic(tmp), size=16),
    "clothing1m": lambda tmp: Clothing1m(root=write_clothing(tmp), size=16),
    "image_folder": lambda tmp: ImageFolder(root=write_folder(tmp), size=16),
}


def example(name, tmp):
    """A data set on small files: from the table above, or with its defaults."""
    return BUILDERS.get(name, lambda _: find(Dataset, name)())(tmp)


# --- what holds for every data set -----------------------------------------------------------


def test_the_folder_is_complete():
    expected = {"arrays", "cifar10", "cifar100", "digits", "fashion_mnist", "image_folder"}
    assert expected <= set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_it_is_a_frozen_description_with_a_summary(name, tmp_path):
    dataset = example(name, tmp_path)
    assert len(summary(Dataset, name)) > 20
    assert dataset == dataclasses.replace(dataset)
    with pytest.raises(dataclasses.FrozenInstanceError):
        dataset.anything = 1


@pytest.mark.parametrize("name", ALL)
def test_it_loads_what_a_source_promises(name, tmp_path):
    source = example(name, tmp_path).load()
    count = len(source.classes)
    assert count >= 2 and len(set(source.classes)) == count
    for split in (source.train, source.test):
        if name in ("table", "tags") and split is source.test:
            continue  # a user's own table has no held-out truth
        assert split is not None
        assert len(split.inputs) == len(split.labels) > 0
        assert split.labels.dtype == torch.int64
        assert split.inputs.dtype in (torch.uint8, torch.float32)
        assert split.labels.min() >= 0 and split.labels.max() < count
    for labels in source.annotations.values():
        assert labels.shape == source.train.labels.shape and labels.dtype == torch.int64
    assert len(set(source.names)) == len(source.names) in (0, len(source.train.labels))
    if source.trusted is not None:
        assert source.trusted.dtype == torch.int64
        assert source.trusted.min() >= 0 and source.trusted.max() < len(source.train.labels)


@pytest.mark.parametrize("name", ALL)
def test_mean_and_std_fit_a_sample(name, tmp_path):
    source = example(name, tmp_path).load()
    sample = source.train.inputs[0]
    for value in (source.mean, source.std):
        assert value.dtype == torch.float32 and value.isfinite().all()
        assert torch.broadcast_shapes(value.shape, sample.shape) == sample.shape
    assert (source.std > 0).all()
    scaled = (source.train.inputs.float() - source.mean) / source.std
    assert scaled.mean().abs() < 1.5 and 0.2 < scaled.std() < 5  # raw units, not [0, 1]


@pytest.mark.parametrize("name", ALL)
def test_it_loads_the_same_twice(name, tmp_path):
    dataset = example(name, tmp_path)
    first, again = dataset.load(), dataset.load()
    assert torch.equal(first.train.inputs, again.train.inputs)
    assert torch.equal(first.train.labels, again.train.labels)
    assert first.classes == again.classes


@pytest.mark.parametrize("name", [n for n in BUILDERS if n not in ("arrays", "table", "tags")])
def test_missing_files_are_named_with_their_place(name, tmp_path):
    empty = tmp_path / "nothing here"
    with pytest.raises(FileNotFoundError, match="nothing here"):
        find(Dataset, name)(root=empty).load()


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100, FashionMnist])
def test_limit_keeps_the_first(dataset, tmp_path):
    write = {Cifar10: write_cifar10, Cifar100: write_cifar100, FashionMnist: write_fashion}
    root = write[dataset](tmp_path)
    all_, five = dataset(root=root).load(), dataset(root=root, limit=5).load()
    assert torch.equal(five.train.inputs, all_.train.inputs[:5])
    assert torch.equal(five.train.labels, all_.train.labels[:5])
    assert len(five.test.labels) == len(all_.test.labels)
    assert len(dataset(root=root, limit=99).load().train.labels) == 12
    with pytest.raises(ValueError, match=f"{dataset.__name__} needs limit >= 1 .*got 0"):
        dataset(limit=0)


@pytest.mark.parametrize("dataset", [Cifar10, Cifar100, FashionMnist])
def test_the_environment_says_where_data_lies(dataset, tmp_path, monkeypatch):
    monkeypatch.setenv("L2B_DATA", str(tmp_path))
    with pytest.raises(FileNotFoundError) as caught:
        dataset().load()
    name = {Cifar10: "cifar10", Cifar100: "cifar100", FashionMnist: "fashion_mnist"}[dataset]
    assert str(tmp_path / name) in str(caught.value)
    assert "https://" in str(caught.value) and "L2B_DATA" in str(caught.value)


def test_data_root_prefers_the_argument_then_the_environment(monkeypatch):
    monkeypatch.setenv("L2B_DATA", "/somewhere")
    assert data_root("here", "cifar10") == Path("here")
    assert data_root(None, "cifar10") == Path("/somewhere/cifar10")
    monkeypatch.delenv("L2B_DATA")
    assert data_root(None, "cifar10") == Path("data/cifar10")


@given(
    shape=st.lists(st.integers(1, 4), min_size=1, max_size=3), n=st.integers(1, 6), seed=st.just(0)
)
def test_moments_are_those_of_numpy(shape, n, seed):
    inputs = 5 + 3 * torch.randn(n, *shape, generator=stream(seed, "inputs"))
    mean, std = moments(inputs)
    axes = (0, *range(2, inputs.ndim))
    expected = inputs.double().numpy().std(axis=axes, keepdims=True)[0]
    np.testing.assert_allclose(mean, inputs.double().numpy().mean(axes, keepdims=True)[0], 1e-5)
    np.testing.assert_allclose(std, np.where(expected > 0, expected, 1), rtol=1e-5)


def test_a_digest_is_of_samples_in_their_order_wherever_they_lie(tmp_path, monkeypatch):
    x = RNG.normal(size=(12, 3)).astype("f4")
    np.save(tmp_path / "x.npy", x)
    rows = torch.tensor([7, 2, 5])
    in_memory, on_disk = torch.from_numpy(x), RowsOnDisk(tmp_path / "x.npy")
    assert digest(in_memory) == digest(on_disk) != digest(in_memory.flip(0))
    assert digest(in_memory[rows]) == digest(on_disk[rows]) != digest(in_memory[:3])
    assert digest(in_memory.reshape(3, 12)) != digest(in_memory) == digest(in_memory.double())
    whole = digest(in_memory)
    monkeypatch.setattr("l2b.datasets.base.PIECE", 5)
    assert digest(in_memory) == digest(on_disk) == whole
    images = torch.rand(4, 3, 5, 5)
    assert digest(images.to(memory_format=torch.channels_last)) == digest(images)


@pytest.mark.parametrize("value", [0.1, 0.7, 1 / 3, -99.9])
def test_rounding_gives_a_constant_no_spread(value):
    constant = torch.full((300, 1), value, dtype=torch.float64)
    assert moments(constant)[1] == 1
    spread = 1e-9 * value * (torch.arange(300) % 2 - 0.5).unsqueeze(1)
    assert moments(constant + spread)[1].item() == pytest.approx(5e-10 * abs(value), rel=1e-3)


# --- Fashion-MNIST ---------------------------------------------------------------------------


def test_fashion_mnist_keeps_pixels_and_labels(tmp_path):
    source = FashionMnist(root=write_fashion(tmp_path)).load()
    assert source.train.inputs.shape == (12, 1, 28, 28)
    assert np.array_equal(source.train.inputs[:, 0], PIXELS[:, :28, :28, 0])
    assert source.train.labels.tolist() == [*range(10), 0, 1]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content[:-20], "cannot be decompressed"),
        (lambda content: b"", "magic number"),
        (lambda content: b"no gzip at all", "cannot be decompressed"),
        (lambda content: gzip.compress(gzip.decompress(content)[:-5]), "announces 12 bytes .* 7"),
        (lambda content: gzip.compress(gzip.decompress(content) + b"1"), "announces 12 bytes"),
        (lambda content: gzip.compress(b"\0\0\x0d\x01" + bytes(16)), "00000801 .* got 00000d01"),
        (lambda content: gzip.compress(b"\0\0\x08\x01"), "magic number"),
    ],
)
def test_fashion_mnist_names_a_damaged_file(tmp_path, damage, message):
    file = write_fashion(tmp_path) / "train-labels-idx1-ubyte.gz"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(ValueError, match=message) as caught:
        FashionMnist(root=tmp_path).load()
    assert file.name in str(caught.value)


def test_fashion_mnist_names_a_missing_file(tmp_path):
    file = write_fashion(tmp_path) / "t10k-images-idx3-ubyte.gz"
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"no t10k-images-idx3-ubyte\.gz in .*Fetch it"):
        FashionMnist(root=tmp_path).load()


def test_fashion_mnist_refuses_labels_that_do_not_fit(tmp_path):
    file = write_fashion(tmp_path) / "train-labels-idx1-ubyte.gz"
    write_idx(file, np.zeros(11, np.uint8))
    with pytest.raises(ValueError, match=r"holds 12 images, but .* 11 labels"):
        FashionMnist(root=tmp_path).load()
    write_idx(file, np.array([0] * 11 + [10], np.uint8))
    with pytest.raises(ValueError, match=r"labels in \[0, 10\), got 10 in row 11"):
        FashionMnist(root=tmp_path).load()


def test_images_are_not_labels(tmp_path):
    with pytest.raises(ValueError, match=r"00000801 .* got 00000803"):
        read_idx(write_fashion(tmp_path) / "train-images-idx3-ubyte.gz", 1)


# --- CIFAR -----------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 3])
def test_cifar10_keeps_pixels_and_labels(tmp_path, workers):
    source = Cifar10(root=write_cifar10(tmp_path), workers=workers).load()
    assert np.array_equal(source.train.inputs.permute(0, 2, 3, 1), PIXELS)
    assert source.train.labels.tolist() == [*range(10), 0, 1]
    assert source.classes[9] == "truck" and source.remark == "" and not source.annotations


def test_cifar100_takes_fine_labels(tmp_path):
    source = Cifar100(root=write_cifar100(tmp_path)).load()
    assert source.train.labels.tolist() == [8 * i for i in range(12)]
    assert len(source.classes) == 100 and source.classes[8] == "bicycle"


def test_jpeg_pixels_are_remarked(tmp_path):
    source = Cifar10(root=write_cifar10(tmp_path, kind="JPEG")).load()
    assert source.remark == "pixels are JPEG-compressed, not bit-exact CIFAR"


def test_human_labels_of_cifar10(tmp_path):
    root = write_cifar10(tmp_path)
    true = [*range(10), 0, 1]
    write_human(root / "CIFAR-10_human.pt", true, HUMAN10, 10)
    source = Cifar10(root=root, limit=6).load()
    keys = ("aggregate", "random1", "random2", "random3", "worst")
    expected = {name: [(y + i + 1) % 10 for y in true[:6]] for i, name in enumerate(keys)}
    assert {name: labels.tolist() for name, labels in source.annotations.items()} == expected
    noise = Existing(annotation="worst")
    observed = noise.corrupt(
        source.train.labels,
        inputs=source.train.inputs,
        classes=10,
        annotations=source.annotations,
        generator=stream(0, "noise"),
    )
    assert observed.tolist() == expected["worst"]


def test_human_labels_of_cifar100(tmp_path):
    root = write_cifar100(tmp_path)
    write_human(root / "CIFAR-100_human.pt", [8 * i for i in range(12)], ["noisy_label"], 100)
    annotations = Cifar100(root=root).load().annotations
    assert {k: v.tolist() for k, v in annotations.items()} == {
        "noisy": [8 * i + 1 for i in range(12)]
    }


def test_human_labels_follow_images_whose_blocks_are_in_another_order(tmp_path, monkeypatch):
    # As in a copy that follows the archive's table of contents, not the files' numbers.
    monkeypatch.setattr("l2b.datasets.cifar10.BLOCK", 4)
    root = write_cifar10(tmp_path)
    true = np.array([*range(10), 0, 1])
    numbered = np.concatenate([true[8:], true[:4], true[4:8]])
    write_human(root / "CIFAR-10_human.pt", numbered, HUMAN10, 10)
    aggregate = Cifar10(root=root).load().annotations["aggregate"]
    assert aggregate.tolist() == ((true + 1) % 10).tolist()


def test_human_labels_of_other_images_are_refused(tmp_path):
    root = write_cifar10(tmp_path)
    file = root / "CIFAR-10_human.pt"
    for true in ([*range(10), 1, 0], [*range(10), 0]):
        write_human(file, true, HUMAN10, 10)
        with pytest.raises(ValueError, match=r"CIFAR-10_human\.pt must belong to the training"):
            Cifar10(root=root).load()


def test_human_label_files_must_be_whole_and_harmless(tmp_path):
    root = write_cifar10(tmp_path)
    file = root / "CIFAR-10_human.pt"
    true = [*range(10), 0, 1]
    write_human(file, true, HUMAN10[:-1], 10)
    with pytest.raises(ValueError, match=r"human\.pt must hold .* worse_label, got clean"):
        Cifar10(root=root).load()
    write_human(file, true[:11], HUMAN10, 10)
    torch.save({**torch.load(file, weights_only=False), "clean_label": np.array(true)}, file)
    with pytest.raises(ValueError, match=r"clean_label \(12,\), aggre_label \(11,\)"):
        Cifar10(root=root).load()
    for content in (file.read_bytes()[:200], b"", b"text"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"human\.pt cannot be read"):
            Cifar10(root=root).load()
    torch.save({"clean_label": Path("code that runs")}, file)
    with pytest.raises(ValueError, match=r"human\.pt cannot be read"):
        Cifar10(root=root).load()
    torch.save({"clean_label": np.array(true), **dict.fromkeys(HUMAN10, np.full(12, 10))}, file)
    with pytest.raises(ValueError, match=r"human\.pt must hold labels in \[0, 10\), got 10"):
        Cifar10(root=root).load()


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"coarse": [0] * 12}, "must have the columns img and label, got img, coarse"),
        ({"label": [0] * 11 + [10]}, r"labels in \[0, 10\), got 10 in row 11"),
        ({"label": ["cat"] * 12}, "an integer label in every row, got string"),
        ({"label": [0] * 11 + [None]}, "with 1 empty labels"),
    ],
)
def test_cifar_refuses_labels_that_do_not_fit(tmp_path, columns, message):
    file = write_cifar10(tmp_path) / "train-00000-of-00001.parquet"
    write_parquet(file, PIXELS, **columns)
    with pytest.raises(ValueError, match=message) as caught:
        Cifar10(root=tmp_path).load()
    assert file.name in str(caught.value)


def test_cifar_names_a_damaged_parquet_file(tmp_path):
    file = write_cifar10(tmp_path) / "train-00000-of-00001.parquet"
    whole = file.read_bytes()
    for content in (whole[:-100], whole[:100], b"", b"text"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"train-00000-of-00001\.parquet is no complete"):
            Cifar10(root=tmp_path).load()


def test_cifar_names_the_row_of_a_damaged_image(tmp_path):
    file = write_cifar10(tmp_path) / "train-00000-of-00001.parquet"
    for content, message in (
        (encode(PIXELS[5])[:-400], "cannot be decoded"),
        (None, "cannot be decoded"),
        (encode(PIXELS[5][:30]), "must be 32 × 32 pixels, got 32 × 30"),
    ):
        images = [{"bytes": encode(p), "path": None} for p in PIXELS]
        images[5]["bytes"] = content
        pq.write_table(pa.table({"img": images, "label": [0] * 12}), file)
        with pytest.raises(ValueError, match=rf"train-00000-of-00001\.parquet, row 5 {message}"):
            Cifar10(root=tmp_path).load()


def test_cifar_refuses_images_in_another_layout(tmp_path):
    file = write_cifar10(tmp_path) / "train-00000-of-00001.parquet"
    pq.write_table(pa.table({"img": [b""] * 12, "label": [0] * 12}), file)
    with pytest.raises(ValueError, match=r"img = \{bytes, path\}, got binary"):
        Cifar10(root=tmp_path).load()


def test_cifar_reads_all_pieces_and_misses_none(tmp_path):
    write_cifar10(tmp_path)
    whole = Cifar10(root=tmp_path).load()
    (tmp_path / "train-00000-of-00001.parquet").unlink()
    labels = whole.train.labels.tolist()
    for i, rows in enumerate((slice(0, 7), slice(7, 12))):
        file = tmp_path / f"train-0000{i}-of-00002.parquet"
        write_parquet(file, PIXELS[rows], label=labels[rows])
    pieces = Cifar10(root=tmp_path).load()
    assert torch.equal(pieces.train.inputs, whole.train.inputs)
    assert torch.equal(pieces.train.labels, whole.train.labels)
    file.unlink()
    with pytest.raises(FileNotFoundError, match=r"of-00002\.parquet and 1 more .* got 1 file"):
        Cifar10(root=tmp_path).load()


def test_a_name_on_the_hub_needs_the_datasets_library(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    hide(monkeypatch, "datasets")
    with pytest.raises(ImportError, match=r"no folder uoft-cs/cifar10, .*pip install datasets"):
        Cifar10(root="uoft-cs/cifar10").load()


def test_a_missing_library_is_named_with_what_installs_it(monkeypatch, tmp_path):
    write_cifar10(tmp_path)
    with monkeypatch.context() as patch:
        hide(patch, "pyarrow")
        with pytest.raises(ImportError, match=r"pyarrow.*pip install 'l2b\[vision\]'"):
            Cifar10(root=tmp_path).load()
    with monkeypatch.context() as patch:
        hide(patch, "PIL")
        with pytest.raises(ImportError, match=r"Pillow.*pip install 'l2b\[vision\]'"):
            Cifar10(root=tmp_path).load()


def hide(monkeypatch, library):
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name.partition(".")[0] == library:
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)


# --- decoding --------------------------------------------------------------------------------


def test_decoding_does_not_depend_on_the_number_of_workers():
    images = [encode(PIXELS[i % 12]) for i in range(600)]
    one, four = (decode_images(images, 32, name="x", workers=w) for w in (1, 4))
    assert torch.equal(one, four)
    assert np.array_equal(one[:12].permute(0, 2, 3, 1), PIXELS)


def test_the_first_bad_image_is_named_whatever_the_workers():
    images = [encode(PIXELS[0])] * 700
    images[300] = images[650] = b"bad"
    for workers in (1, 4):
        with pytest.raises(ValueError, match="x, row 300 cannot be decoded"):
            decode_images(images, 32, name="x", workers=workers)


@pytest.mark.parametrize("mode", ["L", "LA", "P", "RGBA", "CMYK", "1"])
def test_every_eight_bit_mode_becomes_rgb(mode, tmp_path):
    image = Image.fromarray(PIXELS[0]).convert(mode)
    file = tmp_path / "a.tiff"
    image.save(file)
    decoded = decode_images([file], 32, name="x")[0].permute(1, 2, 0)
    assert np.array_equal(decoded, np.asarray(image.convert("RGB")))


def test_a_transparent_palette_is_decoded_without_a_warning(tmp_path):
    image = Image.fromarray(PIXELS[0]).convert("P")
    image.save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert decode_images([tmp_path / "a.png"], 32, name="x").shape == (1, 3, 32, 32)


def test_sixteen_bits_are_refused_rather_than_cut_off(tmp_path):
    Image.fromarray(np.full((32, 32), 9000, np.uint16)).save(tmp_path / "deep.png")
    with pytest.raises(ValueError, match=r"deep\.png must have 8 bits"):
        decode_images([tmp_path / "deep.png"], 32, name="x")


def test_no_workers_cannot_decode():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        decode_images([], 32, name="x", workers=0)


# --- arrays ----------------------------------------------------------------------------------


def load_arrays(tmp_path, **changes):
    return Arrays(path=write_arrays(tmp_path / "a.npz", **changes)).load()


def test_arrays_are_observed_labels_unless_the_truth_is_given(tmp_path):
    source = load_arrays(tmp_path)
    assert not source.truth_known and not source.annotations and source.trusted is None
    y_true = (np.arange(12) + 1) % 3
    source = load_arrays(tmp_path, y_true=y_true)
    assert source.truth_known
    assert source.train.labels.tolist() == y_true.tolist()
    assert source.annotations["observed"].tolist() == [i % 3 for i in range(12)]


def test_arrays_without_a_test_set(tmp_path):
    assert load_arrays(tmp_path, x_test=None, y_test=None).test is None


def test_arrays_name_checked_rows(tmp_path):
    trusted = load_arrays(tmp_path, clean_index=np.array([5, 1], np.int32)).trusted
    assert trusted is not None and trusted.tolist() == [5, 1]


def test_arrays_scale_each_feature_and_keep_constant_ones_finite(tmp_path):
    x = np.stack([np.arange(12), np.full(12, 7), 1000 * np.arange(12)], axis=1).astype(float)
    source = load_arrays(tmp_path, x_train=x)
    assert source.mean.tolist() == [5.5, 7, 5500]
    np.testing.assert_allclose(source.std, [x[:, 0].std(), 1, x[:, 2].std()], rtol=1e-6)


def test_arrays_of_images_keep_their_bytes_and_scale_each_channel(tmp_path):
    x = PIXELS.transpose(0, 3, 1, 2)
    source = load_arrays(tmp_path, x_train=x, x_test=x[:4])
    assert source.train.inputs.dtype == torch.uint8
    assert np.array_equal(source.train.inputs, x)
    assert source.mean.shape == source.std.shape == (3, 1, 1)


@pytest.mark.parametrize("dtype", ["<f2", ">f4", ">f8", "float64"])
def test_arrays_take_any_float(tmp_path, dtype):
    x = np.arange(36).reshape(12, 3).astype(dtype)
    inputs = load_arrays(tmp_path, x_train=x).train.inputs
    assert inputs.dtype == torch.float32
    assert inputs.flatten().tolist() == list(range(36))


def test_string_labels_become_sorted_classes(tmp_path):
    names_ = np.array(["dog", "cat", "eel"])
    source = load_arrays(tmp_path, y_train=names_[np.arange(12) % 3], y_test=names_[:1].repeat(4))
    assert source.classes == ("cat", "dog", "eel")
    assert source.train.labels.tolist() == [1, 0, 2] * 4
    given_ = load_arrays(
        tmp_path,
        y_train=names_[np.arange(12) % 3],
        y_test=names_[:1].repeat(4),
        classes=np.array(["eel", "dog", "cat", "ant"]),
    )
    assert given_.classes == ("eel", "dog", "cat", "ant")
    assert given_.train.labels.tolist() == [1, 2, 0] * 4


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_arrays_name_the_place_of_a_value_that_is_no_number(tmp_path, value):
    x = RNG.normal(size=(12, 3))
    x[7, 2] = x[8, 0] = value
    with pytest.raises(ValueError, match=r"x_train .* got .* in row 7, column 2 \(2 such"):
        load_arrays(tmp_path, x_train=x)
    x = RNG.normal(size=(4, 3))
    x[1, 0] = value
    with pytest.raises(ValueError, match=r"x_test .* in row 1, column 0"):
        load_arrays(tmp_path, x_test=x)
    x = RNG.normal(size=(12, 1, 2, 2))
    x[3, 0, 1, 0] = value
    with pytest.raises(ValueError, match=r"in row 3, column \(0, 1, 0\)"):
        load_arrays(tmp_path, x_train=x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_train": None}, "x_train is missing"),
        ({"y_test": None}, "y_test is missing"),
        ({"x_test": None}, "x_test is missing"),
        ({"x_clean": np.zeros((2, 3))}, "x_clean is unknown"),
        ({"x_train": np.zeros(12)}, r"one row per sample.* got the shape \(12,\)"),
        ({"x_train": np.zeros((0, 3))}, r"not be empty, got the shape \(0, 3\)"),
        ({"x_train": np.zeros((12, 8, 8, 3))}, r"\(12, 8, 8, 3\): channels come second, x.trans"),
        ({"x_train": np.zeros((12, 8, 8, 4))}, r"\(12, 8, 8, 4\): channels come second"),
        ({"x_train": np.zeros((12, 3), int)}, "floats or uint8, got int64"),
        ({"x_train": np.zeros((12, 3), complex)}, "floats or uint8, got complex128"),
        ({"y_train": np.arange(11) % 3}, "12 samples in x_train but 11 labels in y_train"),
        ({"y_true": np.arange(11) % 3}, "12 samples in x_train but 11 labels in y_true"),
        ({"y_test": np.arange(5) % 3}, "4 samples in x_test but 5 labels in y_test"),
        ({"y_train": np.arange(12) % 3 + 0.0}, "one integer or string .* got float64"),
        ({"y_train": np.arange(24).reshape(12, 2)}, r"of shape \(12, 2\)"),
        ({"y_train": np.arange(12) % 3 - 1}, "integers 0 to 3 for 4 classes, got -1"),
        ({"y_train": np.arange(12) % 3 + 1, "y_test": np.ones(4, int)}, "0 to 2 .* got 3"),
        ({"classes": np.array(["a", "b"])}, "integers 0 to 1 for 2 classes, got 2"),
        ({"classes": np.array(["a", "a", "b"])}, "2 different classes, got a, a, b"),
        ({"y_train": np.zeros(12, int), "y_test": np.zeros(4, int)}, "at least 2 .* got 0"),
        ({"y_train": np.array(["a", "b"] * 6)}, "strings in y_train only"),
        ({"x_test": np.zeros((4, 2))}, r"samples of shape \(3,\) .* got \(2,\)"),
        ({"x_test": np.zeros((4, 3), np.uint8)}, "got .*uint8"),
        ({"clean_index": np.array([0, 12])}, r"integers in \[0, 12\).* from 0 to 12"),
        ({"clean_index": np.array([-1])}, "from -1 to -1"),
        ({"clean_index": np.array([3, 3])}, "different rows"),
        ({"clean_index": np.array([], int)}, r"of shape \(0,\)"),
        ({"clean_index": np.ones(12, bool)}, "got bool"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        load_arrays(tmp_path, **changes)
    assert "a.npz" in str(caught.value)


@pytest.mark.parametrize("shape", [(3, 4, 3), (8, 1, 1), (1, 8, 1), (64, 4, 1), (4, 8, 3)])
def test_arrays_take_small_images_and_maps_of_features(tmp_path, shape):
    x = RNG.normal(size=(12, *shape))
    assert load_arrays(tmp_path, x_train=x, x_test=x[:4]).mean.shape == (shape[0], 1, 1)


def test_arrays_refuse_a_class_that_is_not_named(tmp_path):
    labels = {"y_train": np.array(["a", "b"] * 6), "y_test": np.array(["a"] * 4)}
    with pytest.raises(ValueError, match=r"y_train .* names from classes, got 'b': known are a, c"):
        load_arrays(tmp_path, **labels, classes=np.array(["a", "c"]))


def test_arrays_refuse_pickles_and_damage(tmp_path):
    write_arrays(tmp_path / "a.npz", y_train=np.array([{}] * 12))
    with pytest.raises(ValueError, match=r"a\.npz cannot be read .*can run any code"):
        Arrays(path=tmp_path / "a.npz").load()
    whole = write_arrays(tmp_path / "a.npz").read_bytes()
    np.save(tmp_path / "b.npy", np.zeros(3))
    for content in (whole[:-30], whole[:50], b"", b"text", (tmp_path / "b.npy").read_bytes()):
        (tmp_path / "a.npz").write_bytes(content)
        with pytest.raises(ValueError, match=r"a\.npz cannot be read"):
            Arrays(path=tmp_path / "a.npz").load()
    with pytest.raises(FileNotFoundError, match=r"no file .*absent\.npz"):
        Arrays(path=tmp_path / "absent.npz").load()


# --- image folders ---------------------------------------------------------------------------


def test_image_folders_are_classes(tmp_path):
    source = ImageFolder(root=write_folder(tmp_path, ["train"]), size=16).load()
    assert source.classes == ("cat", "dog")
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1]
    assert source.train.inputs.shape == (6, 3, 16, 16)
    assert source.test is None and source.trusted is None and not source.truth_known
    expected = Image.fromarray(PIXELS[0, :20]).resize((16, 16), Image.Resampling.BILINEAR)
    assert np.array_equal(source.train.inputs[0].permute(1, 2, 0), np.asarray(expected))


def test_checked_images_follow_the_training_images(tmp_path):
    source = ImageFolder(root=write_folder(tmp_path, ["train", "clean"])).load()
    assert source.train.labels.tolist() == [0, 0, 0, 1, 1, 1] * 2
    assert source.trusted is not None and source.trusted.tolist() == [6, 7, 8, 9, 10, 11]
    assert source.names[:2] == ("train/cat/0.png", "train/cat/1.png")
    assert source.names[6:8] == ("clean/cat/0.png", "clean/cat/1.png")


def test_names_of_files_that_are_no_utf_8_can_be_written(tmp_path):
    write_folder(tmp_path)
    image = tmp_path / "train" / "cat" / "0.png"
    image.rename(image.with_name(os.fsdecode(b"caf\xe9.png")))
    names = ImageFolder(root=tmp_path, size=16).load().names
    assert r"train/cat/caf\udce9.png" in names
    assert "".join(names).encode()


def test_image_folders_may_leave_a_class_out_of_the_test_set(tmp_path):
    root = write_folder(tmp_path)
    for file in (root / "test" / "cat").iterdir():
        file.unlink()
    (root / "test" / "cat").rmdir()
    test = ImageFolder(root=root).load().test
    assert test is not None and test.labels.tolist() == [1, 1, 1]


def test_image_folders_ignore_hidden_and_other_files(tmp_path):
    root = write_folder(tmp_path)
    (root / "train" / "cat" / ".0.png").write_bytes(b"left by a file manager")
    (root / "train" / "cat" / "notes.txt").write_text("blurred", encoding="utf-8")
    (root / "train" / ".cache").mkdir()
    assert len(ImageFolder(root=root).load().train.labels) == 12


def test_files_that_are_not_read_are_told(tmp_path):
    root = write_folder(tmp_path)
    assert not ImageFolder(root=root).load().remark
    image = (root / "train" / "cat" / "0.png").read_bytes()
    names = ["cat/a.HEIC", "cat/b.heic", "cat/noname", "cat/more/c.png", "d.png", ".e/f.png"]
    for name in names:
        (root / "train" / name).parent.mkdir(exist_ok=True)
        (root / "train" / name).write_bytes(image)
    (root / "train" / "dog" / "2.png").rename(root / "train" / "dog" / "2.JFIF")
    source = ImageFolder(root=root).load()
    assert len(source.train.labels) == 12
    said = "5 files were not read (images in other folders, .heic, without an ending)."
    assert source.remark == said


def test_what_is_called_like_an_image_and_is_none_is_told(tmp_path):
    odd = write_folder(tmp_path) / "clean" / "cat" / "x.png"
    odd.mkdir()
    with pytest.raises(ValueError, match=r"x\.png must be an image, got a folder: rename"):
        ImageFolder(root=tmp_path).load()
    odd.rmdir()
    odd.symlink_to(tmp_path / "gone.png")
    with pytest.raises(ValueError, match=r"x\.png must be an image, got a link to nothing"):
        ImageFolder(root=tmp_path).load()


@pytest.mark.parametrize("pair", [("train", "clean"), ("train", "test"), ("clean", "test")])
def test_an_image_in_two_folders_is_refused(tmp_path, pair):
    root = write_folder(tmp_path)
    one, other = root / pair[0] / "cat" / "1.png", root / pair[1] / "dog" / "copy.png"
    other.write_bytes(one.read_bytes())
    with pytest.raises(ValueError, match=f"the same in {one} and {other}: .* Move images"):
        ImageFolder(root=root, size=16).load()
    other.rename(one.with_name("twice.png"))
    assert len(ImageFolder(root=root, size=16).load().train.labels) >= 12


def test_a_damaged_image_is_named(tmp_path):
    file = write_folder(tmp_path) / "train" / "dog" / "1.png"
    whole = file.read_bytes()
    for content in (whole[:-300], b"", b"text"):
        file.write_bytes(content)
        with pytest.raises(ValueError, match=r"dog/1\.png cannot be decoded") as caught:
            ImageFolder(root=tmp_path).load()
        assert "\n" not in str(caught.value)


def test_image_folders_without_images_or_with_one_class_are_refused(tmp_path):
    root = write_folder(tmp_path)
    (root / "train" / "eel").mkdir()
    with pytest.raises(ValueError, match=r"train/eel must hold images .* got none"):
        ImageFolder(root=root).load()
    (root / "train" / "eel").rmdir()
    (root / "test" / "fly").mkdir()
    with pytest.raises(ValueError, match="test/fly must be named like a class of train"):
        ImageFolder(root=root).load()
    (tmp_path / "one" / "train" / "cat").mkdir(parents=True)
    with pytest.raises(ValueError, match="one folder per class, at least 2, got cat"):
        ImageFolder(root=tmp_path / "one").load()
    with pytest.raises(ValueError, match="size >= 1, got 0"):
        ImageFolder(root=root, size=0)


# --- real data -------------------------------------------------------------------------------


@needs_data
def test_real_fashion_mnist():
    source = FashionMnist().load()
    assert source.test is not None
    assert (len(source.train.labels), len(source.test.labels)) == (60_000, 10_000)
    assert torch.bincount(source.train.labels).tolist() == [6000] * 10
    mean, std = moments(source.train.inputs)
    torch.testing.assert_close(mean, source.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(std, source.std, atol=0.02, rtol=0)


@needs_data
def test_real_cifar10_with_human_labels():
    source = Cifar10(limit=2000).load()
    assert source.test is not None
    assert (len(source.train.labels), len(source.test.labels)) == (2000, 10_000)
    assert "JPEG" in source.remark
    assert [source.classes[k] for k in source.train.labels[:3]] == ["frog", "truck", "truck"]
    wrong = {
        name: (labels != source.train.labels).double().mean().item()
        for name, labels in source.annotations.items()
    }
    published = {"aggregate": 0.09, "random1": 0.172, "worst": 0.402}
    for name, rate in published.items():
        assert abs(wrong[name] - rate) < 0.04


# --- ISIC 2019 -------------------------------------------------------------------------------


def test_isic_follows_the_lists(tmp_path):
    source = Isic(root=write_isic(tmp_path), size=16).load()
    order = [*range(9, -1, -1), 11, 10]
    assert source.train.labels.tolist() == [i % 8 for i in order]
    assert source.test.labels.tolist() == [i % 8 for i in (15, 14, 13, 12)]
    assert source.train.inputs.shape == (12, 3, 16, 16)
    assert source.classes[1] == "NV" and source.truth_known and source.trusted is None
    direct = decode_images([encode(PIXELS[9], "JPEG")], 16, name="x", resize=True)
    assert torch.equal(source.train.inputs[0], direct[0])
    assert len(Isic(root=tmp_path, limit=3).load().train.labels) == 3


@pytest.mark.parametrize(
    ("file", "damage", "message"),
    [
        ("ISIC_2019_Training_GroundTruth.csv", lambda t: t.replace("1.0", "0.0", 1),
         "exactly one of MEL.*got 0 in line 2"),
        ("ISIC_2019_Training_GroundTruth.csv", lambda t: t.replace("0.0,0.0", "1.0,0.0", 1),
         "got 2 in line 2"),
        ("ISIC_2019_Training_GroundTruth.csv", lambda t: t.replace("SCC", "XYZ"),
         "must have the columns image, MEL"),
        ("train.lst", lambda t: t + "ISIC_9\n", "names ISIC_9: its class is not known"),
        ("test.lst", lambda t: "", "it is empty"),
        ("test.lst", lambda t: t + "ISIC_0000003\n", "ISIC_0000003 occurs twice"),
        ("train.lst", lambda t: t + "ISIC_0000003\n", "ISIC_0000003 occurs twice"),
        ("test.lst", lambda t: t + t, "ISIC_0000015 occurs twice"),
        ("ISIC_2019_Training_GroundTruth.csv",
         lambda t: t + "ISIC_0000003" + ",0.0" * 7 + ",1.0,0.0\n",
         "gives ISIC_0000003 a second class in line 18"),
    ],
)  # fmt: skip
def test_isic_names_what_is_wrong(tmp_path, file, damage, message):
    path = write_isic(tmp_path) / file
    path.write_text(damage(path.read_text()))
    with pytest.raises(ValueError, match=message):
        Isic(root=tmp_path).load()


@pytest.mark.parametrize("file", ["ISIC_2019_Training_GroundTruth.csv", "train.lst"])
def test_isic_names_a_file_in_another_encoding(tmp_path, file):
    path = write_isic(tmp_path) / file
    path.write_bytes(path.read_bytes() + b"\xe9\n")
    with pytest.raises(ValueError, match=rf"{file} is not UTF-8 text \(byte 0xe9\)"):
        Isic(root=tmp_path).load()


def test_isic_names_missing_files(tmp_path):
    path = write_isic(tmp_path) / "ISIC_2019_Training_Input" / "ISIC_0000004.jpg"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no ISIC_0000004\.jpg"):
        Isic(root=tmp_path).load()
    (tmp_path / "val.lst").unlink()
    with pytest.raises(FileNotFoundError, match=r"no val\.lst"):
        Isic(root=tmp_path).load()
    with pytest.raises(ValueError, match="size >= 1, got 0"):
        Isic(size=0)


def test_isic_without_lists_is_split_by_lesion(tmp_path):
    names = [f"ISIC_{i:07d}" for i in range(16)]
    write_isic(tmp_path)
    for part in ("train", "val", "test"):
        (tmp_path / f"{part}.lst").unlink()
    alone = Isic(root=tmp_path, size=8).load()
    assert 0 < len(alone.test.labels) < len(alone.train.labels)
    assert len(alone.test.labels) + len(alone.train.labels) == 16
    assert "a fifth of the images was drawn" in alone.remark

    # Names of lesions decide, and nothing else: here all but the last are one lesion.
    lesions = ["L1"] * 15 + ["L10"]
    rows = [f"{name},{lesion}" for name, lesion in zip(names, lesions, strict=True)]
    (tmp_path / METADATA).write_text("\n".join(["image,lesion_id", *rows]))
    drawn = {lesion: int(hashlib.sha256(lesion.encode()).hexdigest(), 16) * 5 < 2**256
             for lesion in ("L1", "L10")}  # fmt: skip
    assert drawn == {"L1": False, "L10": True}
    together = Isic(root=tmp_path, size=8).load()
    assert together.test.labels.tolist() == [15 % 8]

    (tmp_path / METADATA).write_text("image,lesion\n")
    with pytest.raises(ValueError, match="must have the columns image and lesion_id"):
        Isic(root=tmp_path).load()


@needs_data
def test_the_real_isic_is_whole():
    source = Isic(root=Path(REAL) / "isic", size=8).load()
    assert (len(source.train.labels), len(source.test.labels)) == (4978, 1006)
    nevi = (source.train.labels == 1).float().mean().item()
    assert 0.7 < nevi < 0.75


# --- Clothing1M ------------------------------------------------------------------------------


def test_clothing1m_puts_clean_samples_after_noisy_ones(tmp_path):
    source = Clothing1m(root=write_clothing(tmp_path), size=16).load()
    assert source.train.labels.tolist() == [i % 2 for i in range(12)] + [0, 1, 2, 3]
    assert source.test.labels.tolist() == [4, 5, 6, 7]
    assert source.trusted.tolist() == [12, 13, 14, 15]
    assert not source.truth_known and len(source.classes) == 14
    direct = decode_images([encode(PIXELS[0], "JPEG")], 16, name="x", resize=True)
    assert torch.equal(source.train.inputs[12], direct[0])


def test_clothing1m_can_be_balanced(tmp_path):
    source = Clothing1m(root=write_clothing(tmp_path), size=16, per_class=2).load()
    assert source.train.labels.tolist() == [0, 1, 0, 1, 0, 1, 2, 3]
    assert source.trusted.tolist() == [4, 5, 6, 7]
    with pytest.raises(ValueError, match="per_class >= 1 or None for all, got 0"):
        Clothing1m(per_class=0)


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("noisy_label_kv.txt", "images/0/0/0,0.jpg 14\n", r"class index in \[0, 14\).*line 1"),
        ("noisy_label_kv.txt", "images/0/0/0,0.jpg\n", "a path, a space and a class index"),
        ("clean_label_kv.txt", "a.jpg 1\n", "has no label in clean_label_kv.txt"),
        ("clean_val_key_list.txt", "\n", "one image per line, got none"),
    ],
)
def test_clothing1m_names_what_is_wrong(tmp_path, file, text, message):
    (write_clothing(tmp_path) / file).write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        Clothing1m(root=tmp_path).load()
    assert file in str(caught.value)


@pytest.mark.parametrize("part", ["clean_val", "clean_test"])
def test_clothing1m_learns_from_nothing_that_it_is_judged_by(tmp_path, part):
    root = write_clothing(tmp_path)
    key = (root / f"{part}_key_list.txt").read_text().splitlines()[0]
    for name, more in (("noisy_train_key_list", key), ("noisy_label_kv", f"{key} 1")):
        with (root / f"{name}.txt").open("a") as file:
            file.write(f"{more}\n")
    with pytest.raises(ValueError, match=f"{key} of {part}_key_list.txt is in another one too"):
        Clothing1m(root=root).load()


def test_clothing1m_names_missing_files(tmp_path):
    (write_clothing(tmp_path) / "images/1/13/130,13.jpg").unlink()
    with pytest.raises(FileNotFoundError, match=r"no 130,13\.jpg"):
        Clothing1m(root=tmp_path).load()
    (tmp_path / "clean_test_key_list.txt").unlink()
    with pytest.raises(FileNotFoundError, match=r"no clean_test_key_list\.txt"):
        Clothing1m(root=tmp_path).load()

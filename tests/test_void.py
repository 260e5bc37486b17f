"""Pixels of masks whose class nobody knows: they are neither learned nor judged."""

import json
from dataclasses import dataclass, replace

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import l2b
from l2b.audit.mask_apply import apply_masks
from l2b.audit.mask_page import UNKNOWN, VEIL, drawn, most_suspicious
from l2b.audit.masks import audit_masks, judge_masks
from l2b.augment import Identity
from l2b.candidates import AllClasses, Pair, Triple
from l2b.cases import case_dice, case_hausdorff
from l2b.catalog import find, names
from l2b.cli import main
from l2b.data import prepare
from l2b.datasets.base_masks import mask_source
from l2b.datasets.decathlon import Decathlon
from l2b.datasets.mask_folder import MaskFolder
from l2b.evaluate import evaluate
from l2b.experiment import Run
from l2b.feed import Feed
from l2b.grids import Picture, Void
from l2b.ledger import StepRecord, mask_record
from l2b.losses import cross_entropy
from l2b.mask_figure import suspects_figure
from l2b.methods import Method
from l2b.methods.bootstrap import Bootstrap
from l2b.methods.gold_posterior import GoldPosterior
from l2b.methods.l2b import L2B
from l2b.methods.l2b_masks import L2BMasks
from l2b.models.base import MaskModel
from l2b.models.unet import Unet
from l2b.noise.mask import Mask
from l2b.noise.none import NoNoise
from l2b.noise.second_annotator import SecondAnnotator
from l2b.normalise import (
    Fixed,
    ImageWeight,
    ObservedOnly,
    PerClass,
    PerImage,
    PerRegion,
    PerSample,
    PositiveShare,
    Sigmoid,
    Softmax,
    Standardised,
)
from l2b.notices import Notice
from l2b.optimise import Optimiser
from l2b.overlap import Dice, Ignored
from l2b.pseudo import MovingAverage, SelfLabels
from l2b.streams import stream
from l2b.targets import VOID, probabilities, where_labelled
from l2b.train import Training
from l2b.types import Cases

pytestmark = pytest.mark.filterwarnings("ignore:On masks, one unit")

COUNT, SIZE, CLASSES = 16, 8, ("background", "one", "two")


@dataclass(frozen=True, kw_only=True)
class OnePixel(MaskModel):
    """A network whose logits of a pixel depend on nothing but that pixel."""

    def build(self, shape, classes):
        return nn.Sequential(nn.Conv2d(shape[0], 6, 1), nn.ReLU(), nn.Conv2d(6, classes, 1))


def squares(void):
    """Noisy squares with a channel for each class, and which pixels have no label."""
    draw = stream(0, "void")
    masks = torch.zeros(COUNT, SIZE, SIZE, dtype=torch.int64)
    for mask in masks:
        mask[:4, :4] = 1
        y, x = torch.randint(4, 6, (2,), generator=draw).tolist()
        mask[y : y + 3, x : x + 3] = 2
    unknown = torch.rand(masks.shape, generator=draw) < void
    images = nn.functional.one_hot(masks, 3).movedim(-1, 1).float()
    images += 0.7 * torch.randn(images.shape, generator=draw)
    numbers = torch.arange(COUNT)
    cases = Cases(numbers, tuple(map(str, range(COUNT))), torch.ones(COUNT, 3), numbers)
    return images, masks, unknown, cases


def source(images, masks, cases, **settings):
    made = mask_source(images, masks, cases, CLASSES, test=0.25, **settings)
    return replace(made, mean=torch.zeros(3, 1, 1), std=torch.ones(3, 1, 1))


def learned(method, images, masks, cases, overlap=None):
    """The parameters that a method ends with, and its last row of figures."""
    training = Training(
        epochs=4,
        batch=4,
        clean_batch=4,
        optimiser=Optimiser(kind="SGD", lr=0.5),
        overlap=overlap or Ignored(),
    )
    data = prepare(source(images, masks, cases), Mask(dice=None), clean=4, validation=0.5, seed=0)
    run = Run(data=MaskFolder(root="."), method=method, model=OnePixel(), training=training)
    outcome = run.execute(progress=False, data=data).outcome
    return nn.utils.parameters_to_vector(outcome.learner.network.module.parameters()), outcome


METHODS = [find(Method, name)() for name in names(Method) if name != "mixup"]  # which blends pixels
CHOICES = [
    L2B(normalise=normalise, warmup=1)
    for normalise in (
        *(PositiveShare(), PerSample(), PerImage(), PerRegion(), ImageWeight(), Sigmoid()),
        *(Softmax(), PerClass(), PerSample(temperature=1.0)),
    )
] + [
    L2B(warmup=1, candidates=Triple(), pseudo=MovingAverage()),
    L2B(warmup=1, candidates=AllClasses(), pseudo=MovingAverage(), normalise=PerSample()),
    L2BMasks(pseudo=SelfLabels()),
    L2BMasks(candidates=Pair()),
    Bootstrap(pseudo=MovingAverage(), share=0.8),
    GoldPosterior(),
]


PAIRS = [
    pytest.param(method, overlap, id=f"{type(method).__name__}-{number}-{type(overlap).__name__}")
    for number, method in enumerate(METHODS + CHOICES)
    for overlap in (Ignored(), Dice())
    if method.takes_masks and (method.takes_overlap or isinstance(overlap, Ignored))
]


@pytest.mark.parametrize(("method", "overlap"), PAIRS)
def test_what_lies_under_void_pixels_changes_nothing(method, overlap):
    images, masks, unknown, cases = squares(0.4)
    other = torch.where(unknown.unsqueeze(1), torch.randn_like(images) * 3 + 2, images)
    void = masks.masked_fill(unknown, VOID)
    one, first = learned(method, images, void, cases, overlap)
    two, second = learned(method, other, void, cases, overlap)
    torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-5)
    assert first.history[-1].keys() == second.history[-1].keys()
    for row, again in zip(first.history, second.history, strict=True):
        assert row == pytest.approx(again, rel=1e-3, abs=1e-4, nan_ok=True)
    # With labels there, it does.
    three, _ = learned(method, other, masks, cases, overlap)
    assert not torch.allclose(one, three, rtol=1e-3, atol=1e-3)


def test_losses_and_probabilities_of_void_pixels_are_zero():
    z = torch.randn(2, 3, 4, 4, dtype=torch.float64, requires_grad=True)
    target = torch.randint(0, 3, (2, 4, 4))
    target[:, :2] = VOID
    losses = cross_entropy(z, target)
    expected = nn.functional.cross_entropy(z, target.clamp_min(0), reduction="none")
    assert torch.equal(losses[:, 2:], expected[:, 2:]) and not losses[:, :2].any()
    q = probabilities(target, 3).double()
    assert torch.equal(q.sum(dim=1), (target != VOID).double())
    torch.testing.assert_close(cross_entropy(z, q), losses)
    for overlap in (Dice(), Dice(share=0.3)):
        for towards in (target, q):
            (gradient,) = torch.autograd.grad(overlap(z, towards), z)
            assert not gradient[:, :, :2].any() and gradient[:, :, 2:].any()
    # The Dice loss of what is labelled, as if the image were no larger, weighed by its share.
    torch.testing.assert_close(
        Dice()(z, target), Dice()(z[:, :, 2:], target[:, 2:]) / 2, rtol=1e-4, atol=1e-6
    )


def test_labels_of_samples_have_no_void():
    with pytest.raises((IndexError, RuntimeError), match="out of bounds"):
        cross_entropy(torch.randn(3, 4), torch.tensor([0, VOID, 1]))


def test_void_pixels_judge_nothing():
    images, masks, unknown, cases = squares(0.3)
    made = source(images, masks.masked_fill(unknown, VOID), cases)
    data = prepare(made, NoNoise(), clean=3, validation=0.34, seed=0)
    pool = data.test
    z = torch.randn(len(pool), 3, SIZE, SIZE, generator=stream(1, "z"))
    found = evaluate(lambda _: z, pool, data)
    spoilt = torch.where((pool.labels == VOID).unsqueeze(1), 100 * torch.randn_like(z), z)
    assert evaluate(lambda _: spoilt, pool, data) == found
    there = pool.labels != VOID
    right = (z.argmax(dim=1) == pool.labels)[there].float().mean().item()
    assert found["accuracy"] == pytest.approx(right)
    losses = nn.functional.cross_entropy(z.movedim(1, -1)[there], pool.labels[there])
    assert found["loss"] == pytest.approx(losses.item(), rel=1e-5)
    drawn, true = z.argmax(dim=1), pool.labels
    for k in (1, 2):
        one, other = (drawn == k) & there, true == k
        dice = (
            2 * (one & other).flatten(1).sum(1) / (one.flatten(1).sum(1) + other.flatten(1).sum(1))
        )
        torch.testing.assert_close(case_dice(drawn, true, pool.cases, 3)[:, k - 1], dice)
    perfect = torch.where(there, true, 2)
    assert (case_hausdorff(perfect, true, pool.cases, 3).nan_to_num(0.0) == 0).all()


@pytest.mark.parametrize("noise", [Mask(dice=None), SecondAnnotator(annotation="anna")])
def test_noise_leaves_void_pixels_alone_and_counts_without_them(noise):
    images, masks, unknown, cases = squares(0.3)
    anna = masks.roll(1, dims=2)
    anna[:, 0] = VOID  # what she does not know
    given = masks.masked_fill(unknown, VOID)
    made = source(images, given, cases, annotations={"anna": anna})
    data = prepare(made, noise, clean=3, validation=0.34, seed=0)
    train, void = data.train, given[:0]
    void = given[[int(data.train.cases.names[k]) for k in train.cases.of.tolist()]] == VOID
    if isinstance(noise, SecondAnnotator):
        void[:, 0] = True
    assert torch.equal(train.labels == VOID, void) and torch.equal(train.true == VOID, void)
    wrong = (train.labels != train.true)[~void].float().mean().item()
    assert data.noise_rate == pytest.approx(wrong) and wrong > 0
    assert data.data_hash == prepare(made, NoNoise(), clean=3, validation=0.0, seed=1).data_hash


def test_records_are_means_over_labelled_pixels():
    observed = torch.tensor([[[0, 1], [VOID, VOID]], [[VOID, VOID], [VOID, VOID]]])
    true = torch.tensor([[[0, 0], [VOID, VOID]], [[VOID, VOID], [VOID, VOID]]])
    record = StepRecord(
        index=torch.arange(2),
        alpha=torch.full((2, 2, 2), 0.5),
        beta=torch.full((2, 2, 2), 0.25),
        pseudo=torch.zeros(2, 2, 2, dtype=torch.int64),
        loss=torch.tensor([[[1.0, 3.0], [9.0, 9.0]], [[9.0, 9.0], [9.0, 9.0]]]),
    )
    found = mask_record(record, observed, true)
    assert found.alpha.tolist() == [0.5, 0] and found.beta.tolist() == [0.25, 0]
    assert found.changed.tolist() == [0.5, 0] and found.loss.tolist() == [2, 0]
    assert found.on_wrong.tolist() == [0.25, 0] and found.pseudo_right.tolist() == [1, 0]


def test_void_is_no_class_that_a_clean_patient_shows():
    """The last class would be found there, if −1 counted from the end."""
    images, masks, _, cases = squares(0.0)
    masks[masks == 2] = VOID
    masks[0][7, 7] = masks[1][7, 7] = masks[2][7, 7] = 2
    made = source(images, masks, cases)
    data = prepare(made, NoNoise(), clean=2, validation=0.0, seed=0)
    assert (data.clean.labels == 2).any()


def test_masks_without_a_label_are_refused():
    images, masks, _, cases = squares(0.0)
    with pytest.raises(ValueError, match="void everywhere"):
        made = source(images, torch.full_like(masks, VOID), cases)
        prepare(made, NoNoise(), clean=2, validation=0.0, seed=0)


NORMALISERS = [
    *(PositiveShare(), PerSample(), PerSample(temperature=1.0), PerImage(), PerRegion()),
    *(ImageWeight(), Sigmoid(), Softmax(), Standardised(), PerClass(), Fixed()),
]


@pytest.mark.parametrize("normalise", NORMALISERS, ids=repr)
def test_weights_are_those_of_the_labelled_pixels_alone(normalise):
    """As if the others were not there, so that the weights sum to what they would."""
    draw = stream(0, "weights")
    model = nn.Conv2d(2, 3, 1).double()
    x, clean = (torch.randn(n, 2, 4, 6, generator=draw).double() for n in (3, 2))
    y, labels = (torch.randint(0, 3, (n, 4, 6), generator=draw) for n in (3, 2))
    void = y.clone()
    void[:, :, 2:] = VOID
    found = l2b.weigh(model, x, void, clean, labels, normalise=normalise)
    alone = l2b.weigh(model, x[..., :2], y[..., :2], clean, labels, normalise=normalise)
    for whole, part in ((found.alpha, alone.alpha), (found.beta, alone.beta)):
        torch.testing.assert_close(whole[..., :2], part)
        assert not whole[..., 2:].any()
    nothing = torch.full_like(y, VOID)
    found = l2b.weigh(model, x, nothing, clean, labels, normalise=normalise)
    assert not found.alpha.any() and not found.beta.any()


@pytest.mark.parametrize("kinds", [("rotation", "morphology", "ellipse"), ("shift",), ("jitter",)])
def test_noise_meets_its_dice_on_labelled_pixels(kinds):
    masks = torch.zeros(40, 48, 48, dtype=torch.int64)
    draw = stream(0, "rings")
    for mask in masks:
        y, x = torch.randint(8, 22, (2,), generator=draw).tolist()
        mask[y - 5 : y + 21, x - 5 : x + 21] = VOID
        mask[y : y + 16, x : x + 16] = 1
    noise = Mask(dice=0.6, kinds=kinds)
    settings = {"inputs": masks.unsqueeze(1), "classes": 2, "annotations": {}}
    found = noise.corrupt(masks, **settings, generator=stream(0, "noise"))
    known = masks != VOID
    assert not found[~known].any()
    both = ((found == 1) & (masks == 1)).sum()
    dice = 2 * both / ((found == 1).sum() + (masks == 1).sum())
    assert dice == pytest.approx(0.6, abs=0.05)
    assert (found == 1).flatten(1).any(dim=1).all()  # of no image all is left under void pixels


def partly_void(**settings):
    """Of eight volumes of two slices the second is void; the last two are void as a whole."""
    images, masks, _, cases = squares(0.0)
    volumes = torch.arange(COUNT) // 2
    cases = cases._replace(of=volumes, names=tuple(map(str, range(8))), patient=torch.arange(8))
    masks[1::2], masks[-4:] = VOID, VOID
    return source(images, masks, cases, **settings)


def test_images_without_a_label_are_not_drawn_and_have_no_records():
    with pytest.warns(Notice, match=r"of 8 images to learn from have no labelled pixel"):
        data = prepare(partly_void(), NoNoise(), clean=2, validation=0.5, seed=0)
    labelled = data.train.labelled()
    assert 0 < int(labelled.sum()) < len(labelled)
    feed = Feed(data=data, batch=2, clean_batch=4, augment=Identity(), seed=0)
    for batch, clean in feed.epoch(0):
        assert labelled[batch.index].all() and data.clean.labelled()[clean.index].all()
    assert feed.steps == int(labelled.sum()) // 2
    training = Training(epochs=2, batch=2, clean_batch=2, optimiser=Optimiser(kind="SGD", lr=0.1))
    run = Run(data=MaskFolder(root="."), method=L2BMasks(), model=OnePixel(), training=training)
    outcome = run.execute(progress=False, data=data).outcome
    seen = ~outcome.ledger.loss.isnan()
    assert not seen[:, ~labelled].any()
    assert outcome.history[-1]["silent_batches"] == 0


@pytest.mark.parametrize("seed", range(6))
def test_patients_without_a_label_are_never_trusted(seed):
    with pytest.warns(Notice, match="no labelled pixel"):
        data = prepare(partly_void(), NoNoise(), clean=3, validation=0.34, seed=seed)
    for pool in (data.clean, data.validation):
        owner = pool.cases.of
        for case in owner.unique().tolist():
            assert (pool.labels[owner == case] != VOID).any()


# --- files -------------------------------------------------------------------------------------


def write_pictures(root, value=255):
    """Squares with a margin of a value around them."""
    draw = stream(0, "pictures")
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for k in range(12):
        mask = np.zeros((32, 32), dtype=np.uint8)
        y, x = torch.randint(2, 12, (2,), generator=draw).tolist()
        mask[y - 1 : y + 13, x - 1 : x + 13] = value
        mask[y : y + 12, x : x + 12] = 1
        noise = 40 * torch.rand(32, 32, generator=draw).numpy()
        Image.fromarray((160 * (mask == 1) + noise).astype(np.uint8)).save(
            root / "images" / f"{k}.png"
        )
        Image.fromarray(mask).save(root / "masks" / f"{k}.png")


def test_a_folder_of_masks_has_a_value_that_means_nobody_knows(tmp_path):
    write_pictures(tmp_path)
    made = MaskFolder(root=tmp_path, size=32, ignore=255).load()
    assert made.classes == ("background", "object") and made.values == (0, 1)
    assert made.train.labels.unique().tolist() == [VOID, 0, 1]
    names = [made.train.cases.names[k] for k in made.train.cases.of.tolist()]
    files = [np.asarray(Image.open(tmp_path / "masks" / f"{name}.png")) for name in names]
    given = torch.from_numpy(np.stack(files)).long()
    assert torch.equal(made.train.labels == VOID, given == 255)
    assert torch.equal(made.train.labels == 1, given == 1)
    with pytest.warns(Notice, match=r"255 is learned as a class .* --data\.ignore 255"):
        assert len(MaskFolder(root=tmp_path, size=32).load().classes) == 3


def test_masks_that_hold_nothing_but_what_nobody_knows_are_refused(tmp_path):
    write_pictures(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        Image.fromarray(np.full((32, 32), 255, dtype=np.uint8)).save(path)
    with pytest.raises(ValueError, match="hold nothing beside the ignored 255"):
        MaskFolder(root=tmp_path, size=32, ignore=255).load()


def write_volumes(root, labels, value):
    draw = stream(0, "volumes")
    entries = []
    for name in ("imagesTr", "labelsTr"):
        (root / name).mkdir(parents=True)
    for k in range(8):
        mask = torch.zeros(16, 16, 3)
        mask[4:9, 4:9] = 1
        mask[9:12, 4:9] = value
        image = (mask == 1) + 0.2 * torch.randn(16, 16, 3, generator=draw)
        entry = {}
        for kind, voxels, folder in (("image", image, "imagesTr"), ("label", mask, "labelsTr")):
            entry[kind] = f"./{folder}/{k}.nii.gz"
            stored = nibabel.Nifti1Image(voxels.numpy().astype(np.float32), np.eye(4))
            nibabel.save(stored, root / entry[kind])
        entries.append(entry)
    (root / "dataset.json").write_text(json.dumps({"labels": labels, "training": entries}))


@pytest.mark.parametrize(
    ("labels", "value", "settings"),
    [
        ({"0": "background", "1": "one"}, 255, {"ignore": 255}),
        ({"0": "background", "1": "one"}, 2, {"ignore": 2}),
        ({"background": 0, "one": 1, "ignore": 2}, 2, {}),
        ({"background": 0, "one": 1, "ignore": 2}, 7, {"ignore": 7}),
    ],
)
def test_a_task_has_a_label_that_means_nobody_knows(tmp_path, labels, value, settings):
    write_volumes(tmp_path, labels, value)
    made = Decathlon(root=tmp_path, **settings).load()
    assert made.classes == ("background", "one")
    assert made.train.labels.unique().tolist() == [VOID, 0, 1]
    assert int((made.train.labels == VOID).sum()) == 15 * len(made.train.labels)


def test_a_value_that_nobody_named_is_refused_with_the_way_out(tmp_path):
    write_volumes(tmp_path, {"0": "background", "1": "one"}, 255)
    with pytest.raises(ValueError, match=r"labels 0 to 1, got 255: .* name it with ignore"):
        Decathlon(root=tmp_path).load()


@pytest.mark.parametrize("method", ["l2b_masks", "cross_entropy"])
def test_the_command_learns_around_void_pixels(tmp_path, capsys, method):
    write_pictures(tmp_path / "data")
    words = ["run", "--data", "mask_folder", "--root", str(tmp_path / "data"), "--data.size", "32"]
    words += ["--data.ignore", "255", "--method", method, "--clean", "3"]
    words += ["--model", "unet", "--model.width", "4", "--noise", "none", "--batch", "4"]
    words += ["--epochs", "40", "--out", str(tmp_path / "run")]
    assert main(words) == 0
    record = json.loads((tmp_path / "run" / "result.json").read_text())
    assert record["last_dice"] > 0.7
    assert "ignore: 255" in (tmp_path / "run" / "run.yaml").read_text()


# --- looking at them, and correcting -----------------------------------------------------------


def test_suggested_masks_keep_what_nobody_knows_and_the_audit_leaves_it_out(tmp_path):
    write_pictures(tmp_path / "data")
    training = Training(epochs=2, batch=4, clean_batch=4, optimiser=Optimiser(kind="Adam", lr=0.01))
    (tmp_path / "data" / "clean.txt").write_text("0\n1\n2\n3\n")
    run = Run(
        data=MaskFolder(root=tmp_path / "data", size=32, ignore=255),
        noise=NoNoise(),
        method=L2BMasks(),
        model=Unet(width=2),
        clean=2,
        validation=0.0,
        training=training,
    )
    run.execute(tmp_path / "run", progress=False)
    audit = audit_masks(tmp_path / "run")
    data = run.prepare()
    void = data.train.labels == VOID
    assert void.any() and torch.equal(audit.suggested == VOID, void)
    drawn, given = audit.suggested.clamp_min(0), data.train.labels.clamp_min(0)
    both = ((drawn == 1) & (given == 1)).flatten(1).sum(1)
    sizes = (drawn == 1).flatten(1).sum(1) + (given == 1).flatten(1).sum(1)
    torch.testing.assert_close(audit.suspicion, 1 - 2 * both / sizes)
    for name in data.train.cases.names:
        path = tmp_path / "run" / "audit" / "suggested" / f"{name}.png"
        if path.exists():
            before = np.asarray(Image.open(tmp_path / "data" / "masks" / f"{name}.png"))
            after = np.asarray(Image.open(path))
            assert np.array_equal(after == 255, before == 255)
    assert "nobody knows" in (tmp_path / "run" / "audit" / "audit.html").read_text()
    # One is corrected, void pixels and all, and learned from again.
    name = data.train.cases.names[int(data.train.cases.of[0])]
    edited = tmp_path / "run" / "audit" / "suggested" / f"{name}.png"
    mask = np.asarray(Image.open(edited)).copy()
    mask[:2], mask[20:25, 20:25] = 255, 1
    Image.fromarray(mask).save(edited)
    applied = apply_masks(tmp_path / "run", edited.parent, tmp_path / "new")
    assert applied.replaced == 1 and "--config" in applied.command
    again = MaskFolder(root=tmp_path / "new", size=32, ignore=255).load()
    assert again.classes == ("background", "object")


def test_suggested_volumes_keep_what_nobody_knows(tmp_path):
    write_volumes(tmp_path, {"0": "background", "1": "one"}, 255)
    grids = Decathlon(root=tmp_path, ignore=255).grids()
    grid, probabilities = grids["0"], torch.rand(3, 2, 16, 16)
    mask = grid.drawn(probabilities)
    grid.write(tmp_path / "drawn.nii.gz", mask)
    found = np.asarray(nibabel.load(tmp_path / "drawn.nii.gz").dataobj)
    given = np.asarray(nibabel.load(tmp_path / "labelsTr" / "0.nii.gz").dataobj)
    assert np.array_equal(found == 255, given == 255)
    assert np.array_equal(found[given != 255], mask[given != 255])


@pytest.mark.parametrize(("values", "void"), [((0, 1), -1), ((0, 1), 300), ((0, 1), 2**17)])
def test_pictures_keep_void_values_that_a_png_holds(tmp_path, values, void):
    given = np.array([[0, 1], [void, void]])
    mask = np.array([[1, 1], [1, 0]])
    Picture(size=(2, 2), void=Void((void,), lambda: given)).write(tmp_path / "x.png", mask, values)
    found = np.asarray(Image.open(tmp_path / "x.png"))
    kept = [[1, 1], [300, 300]] if void == 300 else [[1, 1], [1, 0]]
    assert found.tolist() == kept


def test_a_figure_of_weights_veils_what_nobody_knows(tmp_path):
    write_pictures(tmp_path / "data")
    words = ["run", "--data", "mask_folder", "--root", str(tmp_path / "data"), "--data.size", "32"]
    words += ["--data.ignore", "255", "--clean", "3", "--model", "unet", "--model.width", "2"]
    words += ["--noise", "mask", "--epochs", "2", "--batch", "4", "--out", str(tmp_path / "run")]
    assert main([*words, "--method", "l2b_masks"]) == 0
    assert main(["figure", "masks", str(tmp_path / "run"), "--out", str(tmp_path / "a.png")]) == 0
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("ignore", "message"),
    [
        (77, "No mask holds 77, the value to ignore"),
        (0, "With 0 ignored, 1 is the least value, which is read as the background"),
    ],
)
def test_what_is_odd_about_the_value_to_ignore_is_said(tmp_path, ignore, message):
    write_pictures(tmp_path, value=2)
    with pytest.warns(Notice) as said:
        MaskFolder(root=tmp_path, size=32, ignore=ignore).load()
    assert any(message in str(one.message) for one in said)


@pytest.mark.parametrize("value", [255, 65535])
def test_a_margin_that_would_be_a_class_is_asked_about(tmp_path, value):
    write_pictures(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        mask = np.asarray(Image.open(path)).astype(np.uint16)
        mask[mask == 255], mask[mask == 1] = value, 15
        Image.fromarray(mask).save(path)
    with pytest.warns(Notice, match=rf"{value} is learned as a class .* --data\.ignore {value}"):
        MaskFolder(root=tmp_path, size=32).load()
    assert MaskFolder(root=tmp_path, size=32, ignore=value).load().values == (0, 15)


def test_void_pixels_are_no_background_no_objects_and_no_loss(tmp_path):
    """Masks mostly void are not inverted; void that vanishes is no class that does."""
    write_pictures(tmp_path)
    for path in (tmp_path / "masks").iterdir():
        mask = np.full((32, 32), 255, dtype=np.uint8)
        mask[:10, :10], mask[2:6, 2:6] = 0, 1
        mask[20, 20] = 255
        Image.fromarray(mask).save(path)
    empty = next((tmp_path / "masks").iterdir())
    Image.fromarray(np.where(np.eye(32) > 0, 255, 0).astype(np.uint8)).save(empty)
    with pytest.warns(Notice, match="every labelled pixel of which is 0") as said:
        made = MaskFolder(root=tmp_path, size=16, ignore=255).load()
    assert len(said) == 1  # the diagonal has vanished
    assert made.train.labels.max() == 1


def test_void_that_resampling_of_a_volume_loses_is_no_class(tmp_path):
    write_volumes(tmp_path, {"0": "background", "1": "one"}, 255)
    write_volumes(tmp_path / "none", {"0": "background", "1": "one"}, 0)
    for path in (tmp_path / "labelsTr").iterdir():
        stored = nibabel.load(path)
        mask = np.asarray(stored.dataobj)
        mask = np.where(mask == 255, 0, mask)
        mask[14, 14] = 255
        nibabel.save(nibabel.Nifti1Image(mask.astype(np.float32), np.eye(4)), path)
    made = Decathlon(root=tmp_path, ignore=255, size=8).load()
    assert made.train.labels.unique().tolist() == [0, 1]
    with pytest.warns(Notice, match="No mask holds 7, the value to ignore"):
        Decathlon(root=tmp_path / "none", ignore=7).load()


def test_further_annotations_have_void_pixels_too(tmp_path):
    write_pictures(tmp_path)
    (tmp_path / "masks_anna").mkdir()
    for path in (tmp_path / "masks").iterdir():
        mask = np.asarray(Image.open(path)).copy()
        mask[:1] = 255
        Image.fromarray(mask).save(tmp_path / "masks_anna" / path.name)
    made = MaskFolder(root=tmp_path, size=32, ignore=255).load()
    assert (made.annotations["anna"][:, 0] == VOID).all()


def test_pictures_of_audits_veil_void_pixels():
    given = torch.zeros(20, 20, dtype=torch.int64)
    given[:, :5] = VOID
    image = torch.full((1, 20, 20), 0.5)
    image[0, 0, 0], image[0, 19, 19] = 0.0, 1.0
    found = drawn(image, given, given)
    scale = found.shape[0] // 20
    grey = (1 - VEIL) * 127.5 + VEIL * torch.tensor(UNKNOWN, dtype=torch.float32)
    assert (found[5 * scale, 2 * scale].float() - grey).abs().max() <= 1
    assert (found[5 * scale, 10 * scale] - 128).abs().max() <= 1


@pytest.mark.parametrize("kind", ["pictures", "volumes"])
def test_a_correction_that_knows_nothing_is_refused(tmp_path, kind):
    if kind == "pictures":
        write_pictures(tmp_path / "data")
        data, suffix = MaskFolder(root=tmp_path / "data", size=32, ignore=255), "png"
    else:
        write_volumes(tmp_path / "data", {"0": "background", "1": "one"}, 255)
        data, suffix = Decathlon(root=tmp_path / "data", ignore=255), "nii.gz"
    (tmp_path / "data" / "clean.txt").write_text("0\n1\n2\n3\n")
    training = Training(epochs=1, batch=2, clean_batch=2)
    run = Run(
        data=data, noise=NoNoise(), method=L2BMasks(), model=Unet(width=2), clean=2,
        validation=0.0, training=training,
    )  # fmt: skip
    run.execute(tmp_path / "run", progress=False)
    (tmp_path / "own").mkdir()
    mask = tmp_path / "own" / f"5.{suffix}"
    if kind == "pictures":
        Image.fromarray(np.full((32, 32), 255, dtype=np.uint8)).save(mask)
    else:
        stored = np.full((16, 16, 3), 255, dtype=np.float32)
        nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), mask)
    with pytest.raises(ValueError, match=r"5\.(png|nii\.gz) says of no pixel what is there"):
        apply_masks(tmp_path / "run", mask.parent, tmp_path / "new")
    if kind == "volumes":  # void beside what is known is welcome
        stored[2:5, 2:5] = 1
        nibabel.save(nibabel.Nifti1Image(stored, np.eye(4)), mask)
        assert apply_masks(tmp_path / "run", mask.parent, tmp_path / "new").replaced == 1


def test_palettes_need_a_colour_for_void_pixels(tmp_path):
    given = np.array([[0, 255], [1, 1]])
    grid = Picture(size=(2, 2), palette=bytes(range(6)), void=Void((255,), lambda: given))
    grid.write(tmp_path / "x.png", np.array([[0, 0], [1, 0]]), (0, 1))
    opened = Image.open(tmp_path / "x.png")
    assert opened.mode == "L" and np.asarray(opened).tolist() == [[0, 255], [1, 0]]


def test_slices_without_a_label_stay_so_when_they_are_padded(tmp_path):
    """Twelve by twelve pixels are padded to sixteen; a frame of background would be a label."""
    for name in ("imagesTr", "labelsTr"):
        (tmp_path / name).mkdir()
    entries = []
    for k in range(6):
        mask = np.full((12, 12, 3), 255, dtype=np.float32)
        mask[..., 1], mask[3:7, 3:7, 1] = 0, 1
        entry = {}
        for kind, voxels in (("image", mask % 255 + 0.1 * k), ("label", mask)):
            entry[kind] = f"./{kind}sTr/{k}.nii.gz"
            nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4)), tmp_path / entry[kind])
        entries.append(entry)
    labels = {"0": "background", "1": "one"}
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels, "training": entries}))
    found = Decathlon(root=tmp_path, ignore=255).load().train.labels
    known = (found != VOID).flatten(1).any(dim=1)
    assert found.shape[1:] == (16, 16) and int(known.sum()) * 3 == len(found)


@pytest.mark.parametrize("then", [PositiveShare(), Softmax(), Sigmoid(), Standardised()], ids=repr)
def test_candidates_that_are_shut_out_take_no_share_of_an_image(then):
    scores = torch.randn(2, 3, 4, 5, generator=stream(0, "scores"))
    found = ObservedOnly(then=ImageWeight(then=then))(scores)
    assert found.sum() == pytest.approx(1, rel=1e-5) and not found[1].any()


@pytest.mark.parametrize("then", [PositiveShare(), PerSample()], ids=repr)
@pytest.mark.parametrize("around", [PerImage, ImageWeight])
def test_an_image_without_a_label_leaves_its_share_to_the_others(around, then):
    scores = torch.rand(2, 4, 3, 3, generator=stream(0, "scores"))
    scores[:, 2] = -torch.inf
    assert around(then=then)(scores).sum() == pytest.approx(1, rel=1e-5)


def test_a_picture_of_one_class_is_written(tmp_path):
    Picture(size=(4, 3)).write(tmp_path / "x.png", np.zeros((3, 4), dtype=np.int64))
    assert not np.asarray(Image.open(tmp_path / "x.png")).any()


def test_batches_larger_than_what_is_labelled_are_refused_with_the_reason():
    with pytest.warns(Notice, match="no labelled pixel"):
        data = prepare(partly_void(), NoNoise(), clean=2, validation=0.5, seed=0)
    with pytest.raises(ValueError, match=r"with \d images without a labelled pixel,"):
        Feed(data=data, batch=64, clean_batch=2, augment=Identity(), seed=0)


def test_weights_of_images_in_part_void_are_counted_in_labelled_pixels():
    """α + β = 1 at every labelled pixel, as in standard training."""
    images, masks, unknown, cases = squares(0.4)
    _, outcome = learned(L2BMasks(), images, masks.masked_fill(unknown, VOID), cases)
    found = (outcome.ledger.alpha + outcome.ledger.beta)[1:].float()
    assert found[~found.isnan()].sub(1).abs().max() < 2e-3  # of float16


def test_suspicion_is_of_images_with_a_label():
    with pytest.warns(Notice, match="no labelled pixel"):
        data = prepare(partly_void(), NoNoise(), clean=2, validation=0.0, seed=0)
    suggested = where_labelled(torch.ones_like(data.train.labels), data.train.labels)
    suspicion, summary = judge_masks(data, suggested)
    labelled = data.train.labelled()
    assert summary["images"] == int(labelled.sum()) < len(labelled)
    assert summary["mean_suspicion"] == pytest.approx(suspicion[labelled].mean().item())
    assert sorted(most_suspicious(data, suggested, suspicion).tolist()) == (
        labelled.nonzero().squeeze(1).tolist()
    )


def test_figures_veil_void_pixels():
    images, masks, unknown, cases = squares(0.3)
    made = source(images, masks.masked_fill(unknown, VOID), cases)
    data = prepare(made, NoNoise(), clean=2, validation=0.0, seed=0)
    suspicion = torch.zeros(len(data.train))
    figure = suspects_figure(data, data.train.labels, torch.tensor([0, 1]), suspicion)
    for axes, row in zip(figure.axes, (0, 1), strict=False):
        veil = axes.images[1].get_alpha()
        assert np.array_equal(veil > 0.5, (data.train.labels[row] == VOID).numpy())
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert "nobody knows" in texts

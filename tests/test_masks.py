"""Masks through the whole path: splits, batches, losses, weights, records, metrics."""

import itertools
import json
import warnings
from dataclasses import replace
from types import SimpleNamespace

import nibabel
import numpy as np
import pytest
import torch
from scipy import ndimage

import l2b
from conftest import stop_after, weighing
from l2b.amortise import Amortisation
from l2b.audit.masks import audit_masks, judge_masks
from l2b.augment import CropFlip
from l2b.cases import case_dice, case_hausdorff, mean_score
from l2b.catalog import find, names
from l2b.data import prepare
from l2b.datasets.decathlon import Decathlon
from l2b.engines import LastLayer
from l2b.evaluate import evaluate, predict_cases, predict_pool
from l2b.experiment import Run
from l2b.feed import Feed
from l2b.files import read_tree
from l2b.methods import Method
from l2b.methods.as_published import AsPublished
from l2b.methods.bootstrap import Bootstrap
from l2b.methods.elr import Elr
from l2b.methods.gold_correction import GoldCorrection
from l2b.methods.gold_posterior import GoldPosterior
from l2b.methods.l2b import L2B, L2BLearner
from l2b.methods.l2b_masks import L2BMasks
from l2b.models.unet import Unet
from l2b.noise.mask import Mask
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.normalise import (
    ImageWeight,
    ObservedOnly,
    PerImage,
    PerRegion,
    PerSample,
    PositiveShare,
    Softmax,
)
from l2b.notices import Notice
from l2b.optimise import Optimiser
from l2b.overlap import Dice, Ignored
from l2b.pseudo import MovingAverage, Temporal, Views
from l2b.regions import connected_regions
from l2b.result import volume_scores
from l2b.streams import stream
from l2b.train import Training, chosen_epoch
from l2b.types import Cases
from l2b.volumes import read_nifti

# What it says is tested below; where the published weights lead is not what these tests are about.
pytestmark = pytest.mark.filterwarnings("ignore:On masks, one unit")

SIZE, SLICES, PATIENTS = 16, 3, 12


def write_task(folder):
    """A Decathlon task: bright squares on noise, three slices a volume, two classes."""
    draw = stream(0, "squares")
    entries = []
    for name in ("imagesTr", "labelsTr"):
        (folder / name).mkdir()
    for k in range(PATIENTS):
        mask = torch.zeros(SIZE, SIZE, SLICES)
        for number in range(SLICES):
            x, y = torch.randint(1, 4, (2,), generator=draw).tolist()
            mask[y : y + 6, x : x + 6, number] = 1
            if number:
                mask[y + 7 : y + 11, x + 4 : x + 11, number] = 2
        image = mask + 0.2 * torch.randn(SIZE, SIZE, SLICES, generator=draw)
        entry = {}
        for kind, voxels in (("image", image), ("label", mask.byte())):
            entry[kind] = f"{kind}sTr/volume_{k}.nii.gz"
            stored = nibabel.Nifti1Image(voxels.numpy(), np.diag([1.0, 1.0, 2.0, 1.0]))
            nibabel.save(stored, folder / entry[kind])
        entries.append(entry)
    labels = {"0": "background", "1": "one", "2": "two"}
    (folder / "dataset.json").write_text(json.dumps({"labels": labels, "training": entries}))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    write_task(folder)
    adam = Optimiser(kind="Adam", lr=0.02)
    return Run(
        data=Decathlon(root=folder, test=0.25),
        noise=Mask(dice=None, kinds=("rotation", "morphology")),
        model=Unet(width=2),
        clean=3,
        validation=0.34,
        training=Training(epochs=2, batch=6, clean_batch=4, optimiser=adam),
    )


@pytest.fixture(scope="module")
def data(run):
    return run.prepare()


# --- splits and batches ----------------------------------------------------------------------


def test_noise_of_labels_is_said_to_be_none_of_masks(run):
    with pytest.warns(Notice, match=r"Symmetric noise changes every pixel .* --noise mask"):
        replace(run, noise=Symmetric(rate=0.1)).prepare()


def test_patients_stay_on_one_side_of_every_split(data):
    pools = [data.train, data.clean, data.validation, data.test]
    owners = [set(pool.cases.of.tolist()) for pool in pools]
    assert [len(owner) for owner in owners] == [6, 2, 1, 3]
    assert len(set.union(*owners)) == PATIENTS
    assert all(len(pool) == SLICES * len(owner) for pool, owner in zip(pools, owners, strict=True))
    assert torch.equal(data.clean.labels, data.clean.true)
    assert 0.3 < data.noise_dice < 0.95
    assert data.noise_rate == (data.train.labels != data.train.true).float().mean().item()
    assert data.masks


def test_cases_go_to_another_device_as_a_whole(data):
    """What asks them for the patients of samples indexes one of their tensors by another."""
    slabs = data.clean.cases._replace(lengths=torch.ones(PATIENTS, dtype=torch.int64))
    moved = replace(data, clean=replace(data.clean, cases=slabs)).to(torch.device("meta"))
    cases = moved.clean.cases
    assert {v.device.type for v in cases if isinstance(v, torch.Tensor)} == {"meta"}
    assert cases.names == slabs.names
    assert cases.patient[cases.of].shape == slabs.of.shape


@pytest.mark.parametrize("validation", [0.0, 0.4])
def test_clean_patients_show_every_class(run, validation):
    """Where one patient alone shows a class, that one is always among those learned from."""
    source = run.data.load()
    owner = source.train.cases.patient[source.train.cases.of]
    for patient in owner.unique().tolist():
        alone = (owner == patient)[:, None, None]
        labels = torch.where(alone | (source.train.labels < 2), source.train.labels, 1)
        made = replace(source, train=source.train._replace(labels=labels))
        for seed in range(4):
            data = prepare(made, NoNoise(), clean=3, validation=validation, seed=seed)
            seen = [set(pool.cases.of.tolist()) for pool in (data.clean, data.validation) if pool]
            assert [len(part) for part in seen] == [2, 1] if validation else [3]
            assert patient in seen[0] and not seen[0] & set().union(*seen[1:])
            assert set(data.clean.labels.unique().tolist()) == {0, 1, 2}
    # Two patients show one class each: one clean patient cannot do.
    first, second = owner.unique()[:2].tolist()
    labels = source.train.labels.clone()
    labels[(owner != first)[:, None, None] & (labels == 1)] = 0
    labels[(owner != second)[:, None, None] & (labels == 2)] = 0
    apart = replace(source, train=source.train._replace(labels=labels))
    both = prepare(apart, NoNoise(), clean=2, validation=0.0, seed=0)
    assert set(both.clean.cases.of.tolist()) == {first, second}
    with pytest.raises(ValueError, match=r"The 1 patients of the clean set show no .*Raise clean"):
        prepare(apart, NoNoise(), clean=1, validation=0.0, seed=0)


def test_splits_of_masks_refuse_what_cannot_be(run):
    source = run.data.load()

    def ready(made=source, clean=3, **changes):
        return prepare(made, NoNoise(), clean=clean, validation=0.0, seed=0, **changes)

    for clean in (0, 9):
        with pytest.raises(ValueError, match=rf"clean must lie in \[1, 8\].*got {clean}"):
            ready(clean=clean)
    with pytest.raises(ValueError, match="which images belong to one patient"):
        ready(replace(source, train=source.train._replace(cases=None)))
    with pytest.raises(ValueError, match=r"masks are \(16, 8\) pixels large, their images"):
        ready(replace(source, train=source.train._replace(labels=source.train.labels[..., 8:])))
    only_one = torch.where(source.train.labels == 2, 0, source.train.labels)
    with pytest.raises(ValueError, match=r"No patient whose masks are all checked shows 'two'"):
        ready(replace(source, train=source.train._replace(labels=only_one)))
    some = torch.arange(0, SLICES * 4, SLICES)  # one slice of each volume
    with pytest.raises(ValueError, match=r"none has all of its images checked, got 4 checked"):
        ready(replace(source, truth_known=False, trusted=some))
    trusted = torch.arange(SLICES * 2 + 1)  # two whole volumes and one slice of a third
    kept = ready(replace(source, truth_known=False, trusted=trusted), clean=2)
    assert len(kept.clean) == 2 * SLICES
    assert kept.train.true is None and kept.noise_dice is None
    assert kept.train.index.tolist() == list(range(2 * SLICES, len(source.train.labels)))
    # A whole checked volume that is not drawn is left out; a checked slice of another is not.
    one = ready(replace(source, truth_known=False, trusted=trusted), clean=1)
    assert torch.equal(one.train.index, kept.train.index) and len(one.clean) == SLICES
    assert one.remark.endswith(f"{SLICES} checked images have no part: a larger clean set would "
                               "take them.")  # fmt: skip


def test_augmented_masks_stay_on_their_images(run):
    source = run.data.load()
    exact = replace(source, train=source.train._replace(inputs=source.train.labels.unsqueeze(1)))
    made = prepare(exact, NoNoise(), clean=3, validation=0.0, seed=0)
    made = replace(made, mean=torch.zeros(()), std=torch.ones(()))
    feed = Feed(data=made, batch=6, clean_batch=4, augment=CropFlip(padding=3), seed=0)
    moved = 0
    for batch, clean in feed.epoch(0):
        for part, pool in ((batch, made.train), (clean, made.clean)):
            assert torch.equal(part.inputs[:, 0].long(), part.labels)
            moved += int((part.labels != pool.labels[part.index]).any())
    assert moved


# --- training --------------------------------------------------------------------------------


@pytest.mark.parametrize("name", names(Method))
def test_every_method_takes_masks(name, run, data):
    longer = replace(run.training, epochs=3)  # as many as a method has parts
    run = replace(run, method=find(Method, name)(), training=longer)
    if not run.method.takes_masks:
        with pytest.raises(ValueError, match=f"{name} needs one label per sample"):
            run.execute(progress=False, data=data)
        return
    result = run.execute(progress=False, data=data)
    ledger = result.outcome.ledger.state_dict()
    assert set(ledger) == {"alpha", "beta", "changed", "loss"}
    assert all(column.shape == (3, len(data.train)) for column in ledger.values())
    seen = ~ledger["loss"].isnan()
    assert seen.any(dim=0).all() and seen.any(dim=1).all()  # every image, in every epoch
    for name, values in ledger.items():
        known = values[seen].float()
        assert known.isfinite().all() and (known >= 0).all(), name
        assert name != "changed" or (known <= 1).all()  # a share of pixels
    assert 0 <= result.record["last_dice"] <= 1
    assert set(result.record["volumes"]) == {
        data.test.cases.names[k] for k in data.test.cases.of.unique().tolist()
    }
    json.dumps(result.record, allow_nan=False)


@pytest.mark.parametrize(
    "method", [Elr(), L2BMasks(pseudo=Temporal()), Bootstrap(pseudo=Temporal())]
)
def test_what_remembers_pixels_needs_them_to_stay(method, run, data):
    made = replace(run, method=method)
    made.execute(progress=False, data=data)
    moved = replace(run.training, augment=CropFlip(padding=2))
    with pytest.raises(ValueError, match=r"remembers what was predicted of every pixel.*identity"):
        replace(made, training=moved).execute(progress=False, data=data)


def test_a_model_of_masks_gives_masks(run, data, tmp_path):
    result = run.execute(tmp_path / "run", progress=False, data=data)
    found = l2b.load_model(tmp_path / "run").predict(data.test.inputs)
    assert found.shape == data.test.labels.shape
    right = (found == data.test.labels).float().mean().item()
    assert right == pytest.approx(result.record["last_accuracy"], abs=1e-6)


@pytest.mark.parametrize("name", names(Method))
def test_no_method_ignores_the_overlap_of_masks(name, run, data):
    method, plain = find(Method, name)(), replace(run.training, epochs=3)
    made = replace(run, method=method, training=replace(plain, overlap=Dice()))
    if method.takes_masks and not method.takes_overlap:
        with pytest.raises(ValueError, match=f"{name} has no place for training.overlap"):
            made.execute(progress=False, data=data)
    elif method.takes_masks:
        found = []
        for training in (plain, made.training):
            result = replace(made, training=training).execute(progress=False, data=data)
            found.append(next(result.outcome.learner.network.module.parameters()))
        assert not torch.equal(*found)


def test_gold_correction_has_no_place_for_the_overlap_without_its_clean_loss(run, data):
    """Dice is in its clean term alone; of gold_posterior, in what comes before the last part."""
    training = replace(run.training, epochs=3, overlap=Dice())
    made = replace(run, method=GoldCorrection(clean_weight=0), training=training)
    with pytest.raises(ValueError, match=r"gold_correction has no place for training\.overlap"):
        made.execute(progress=False, data=data)
    replace(made, training=replace(training, overlap=Ignored())).execute(progress=False, data=data)
    replace(made, method=GoldPosterior(clean_weight=0)).execute(progress=False, data=data)


def test_masks_stopped_within_an_epoch_end_as_if_never_stopped(run, data, tmp_path, monkeypatch):
    made = replace(run, training=replace(run.training, checkpoint_every=1, overlap=Dice()))
    made.execute(tmp_path / "whole", progress=False, data=data, figures=False)
    step, taken = L2BLearner.step, itertools.count()

    def dying(self, batch, clean):
        if next(taken) == 5:  # of 3 an epoch, and one that is tried beforehand
            raise KeyboardInterrupt
        return step(self, batch, clean)

    with monkeypatch.context() as patch:
        patch.setattr(L2BLearner, "step", dying)
        with pytest.raises(KeyboardInterrupt):
            made.execute(tmp_path / "parts", progress=False, data=data)
    assert list((tmp_path / "parts" / "checkpoints").glob("epoch-00001-step-*"))
    made.execute(tmp_path / "parts", progress=False, data=data, resume=True, figures=False)
    for name in ("model.safetensors", "ledger.safetensors", "metrics.jsonl"):
        assert (tmp_path / "parts" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_distances_that_are_left_out_are_counted(data):
    true, cases = data.test.labels, data.test.cases
    first, volumes = cases.rows(int(cases.of[0])), len(cases.of.unique())
    drawn = torch.nn.functional.one_hot(true, len(data.classes)).movedim(-1, 1).float()
    drawn[first] = 0.0
    drawn[first, 0] = 1.0  # of one volume nothing but background is drawn
    outcome = SimpleNamespace(learner=SimpleNamespace(predict=lambda _: drawn))
    found = volume_scores(data, outcome)
    shown = len(true[first].unique()) - 1
    assert volumes > 1 and shown >= 1
    assert found["hausdorff_left_out"] == shown
    assert found["last_hausdorff_95"] == 0


def test_l2b_learns_masks_resumes_and_leaves_a_folder(run, data, tmp_path, monkeypatch):
    training = replace(run.training, epochs=25, overlap=Dice(), extra_clean_step=True)
    made = replace(run, training=training, method=weighing(normalise=PerSample(), warmup=12))
    whole = made.execute(tmp_path / "whole", progress=False, data=data)
    assert whole.record["last_dice"] > 0.6
    assert whole.record["last_hausdorff_95"] < 8
    with monkeypatch.context() as patch:
        stop_after(patch, 5)
        with pytest.raises(KeyboardInterrupt):
            made.execute(tmp_path / "parts", progress=False, data=data)
    parts = made.execute(tmp_path / "parts", progress=False, data=data, resume=True)
    assert parts.outcome.history == whole.outcome.history
    for file in ("model.safetensors", "ledger.safetensors", "metrics.jsonl"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()
    found = audit_masks(tmp_path / "whole")
    assert found.summary["rank_correlation"] > 0.3
    assert found.summary["dice_suggested"] > found.summary["dice_given"]
    exported = {p.name.partition(".")[0] for p in (found.folder / "suggested").iterdir()}
    assert exported == {data.train.cases.names[k] for k in data.train.cases.of.unique().tolist()}
    one = read_nifti(next((found.folder / "suggested").glob("*.nii.gz")))
    assert one.voxels.shape == (SIZE, SIZE, SLICES) and one.spacing == (1.0, 1.0, 2.0)
    figures = {path.name for path in (tmp_path / "whole" / "figures").iterdir()}
    assert {"dice.png", "weights.png"} <= figures
    ledger = read_tree(tmp_path / "whole" / "ledger.safetensors")
    assert torch.equal(ledger["observed"], data.train.labels)
    row = whole.outcome.history[-1]
    assert {"weight_on_wrong", "pseudo_accuracy", "test_dice_one", "validation_dice"} <= set(row)


def test_images_that_show_nothing_do_not_rank(data):
    """Where neither mask shows anything every model agrees, and must gain nothing by it."""
    pool, drawn = data.train, data.train.labels.roll(1, dims=0)
    some = pool.labels.flatten(1).any(dim=1) & (torch.arange(len(pool)) % 3 > 0)
    empty = {name: getattr(pool, name) * some[:, None, None] for name in ("labels", "true")}
    drawn = drawn * some[:, None, None]
    _, found = judge_masks(replace(data, train=replace(pool, **empty)), drawn)
    rows = some.nonzero().squeeze(1)
    part = {name: getattr(pool, name)[rows] for name in ("inputs", "labels", "index", "true")}
    alone = replace(data, train=replace(pool, **part, cases=pool.cases.take(rows)))
    assert 0 < len(rows) < len(pool)
    expected = judge_masks(alone, drawn[rows])[1]["rank_correlation"]
    assert found["rank_correlation"] == pytest.approx(expected)


def test_the_ledger_holds_means_over_pixels(data):
    from l2b.ledger import StepRecord, mask_record

    draw = stream(0, "record")
    weight = torch.rand(2, 4, 4, generator=draw)
    observed = torch.randint(2, (2, 4, 4), generator=draw)
    true, pseudo = observed.flip(0), observed.roll(1)
    made = StepRecord(
        index=torch.arange(2), alpha=weight, beta=1 - weight, pseudo=pseudo, loss=2 * weight
    )
    found = mask_record(made, observed, true)
    torch.testing.assert_close(found.alpha, weight.mean((1, 2)))
    torch.testing.assert_close(found.changed, (pseudo != observed).float().mean((1, 2)))
    torch.testing.assert_close(found.on_wrong, (weight * (observed != true)).mean((1, 2)))
    torch.testing.assert_close(found.pseudo_right, (pseudo == true).float().mean((1, 2)))
    assert mask_record(made, observed, None).on_wrong.isnan().all()


def test_the_published_weights_on_masks_come_with_a_notice(run, data):
    short = replace(run, training=replace(run.training, epochs=1))
    for method in (L2B(), AsPublished()):
        with pytest.warns(Notice, match="--method l2b_masks has choices that do not"):
            replace(short, method=method).execute(progress=False, data=data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        replace(short, method=L2BMasks()).execute(progress=False, data=data)


def test_l2b_masks_is_l2b_with_other_choices(run, data):
    named, spelled = (
        replace(run, method=method).execute(progress=False, data=data).outcome.history
        for method in (
            L2BMasks(),
            L2B(
                engine=LastLayer(), normalise=PerSample(), pseudo=MovingAverage(decay=0.9),
                clean_weight=1.0, amortise=Amortisation(gradient_memory=0.9), warmup=1,
                start="clean", cross_fit=False,
            ),
        )
    )  # fmt: skip
    assert named == spelled


def test_an_extra_clean_step_is_an_option_of_every_method(run, data):
    run = replace(run, method=weighing(normalise=PerSample(), warmup=1))
    plain = run.execute(progress=False, data=data)
    assert not run.training.extra_clean_step
    more = replace(run, training=replace(run.training, extra_clean_step=True))
    assert more.execute(progress=False, data=data).outcome.history != plain.outcome.history


def test_epochs_of_masks_are_chosen_by_dice():
    rows = [
        {"epoch": k, "validation_accuracy": a, "validation_dice": d, "validation_loss": 1.0}
        for k, (a, d) in enumerate([(0.99, 0.1), (0.9, 0.8), (0.95, 0.7)])
    ]
    assert chosen_epoch(rows, "dice") == 1


def test_settings_that_do_not_suit_masks_are_refused(run, data):
    seldom = replace(run, method=weighing(amortise=Amortisation(weights_every=2)))
    with pytest.raises(ValueError, match="weights_every must be 1 for masks"):
        seldom.execute(progress=False, data=data)
    with pytest.raises(ValueError, match="mixup must be 0 for masks"):
        replace(run, method=weighing(mixup=1.0)).execute(progress=False, data=data)
    labels = Run(training=Training(epochs=1, overlap=Dice()))
    with pytest.raises(ValueError, match="Dice loss is of masks"):
        labels.execute(progress=False)


# --- losses and weights ------------------------------------------------------------------------


def test_dice_loss_by_definition_and_under_weights():
    draw = stream(0, "dice")
    z = torch.randn(3, 4, 5, 6, generator=draw).double()
    target = torch.randint(4, (3, 5, 6), generator=draw)
    p, q = torch.softmax(z, 1), torch.nn.functional.one_hot(target, 4).movedim(-1, 1)
    plain = torch.stack([
        1 - (2 * (p[i, k] * q[i, k]).sum() + 1e-5) / ((p[i, k] + q[i, k]).sum() + 1e-5)
        for i in range(3) for k in (1, 2, 3)
    ]).mean()  # fmt: skip
    torch.testing.assert_close(Dice(share=2.0)(z, target), 2 * plain)
    assert Ignored()(z, target) == 0
    # A pixel without weight has no part in it; an image counts as its pixels weigh together.
    weight = torch.zeros(3, 5, 6).double()
    weight[1, :3] = 0.25 / 18
    cut = Dice()(z[1:2, :, :3], target[1:2, :3])
    torch.testing.assert_close(Dice()(z, target, weight), 0.25 * cut, rtol=1e-5, atol=0)
    assert Dice()(z, target, 0 * weight) == 0
    with pytest.raises(ValueError, match="share >= 0"):
        Dice(share=-1)


def test_regions_are_connected_and_of_one_value():
    labels = torch.tensor([[[1, 1, 0], [0, 0, 0], [1, 0, 1]], [[1, 1, 1], [1, 0, 1], [1, 1, 1]]])
    found = connected_regions(labels)
    assert found.unique().tolist() == list(range(int(found.max()) + 1))
    assert found[0, 0, 0] == found[0, 0, 1]
    assert len({int(found[0, 0, 0]), int(found[0, 2, 0]), int(found[0, 2, 2])}) == 3
    assert not set(found[0].flatten().tolist()) & set(found[1].flatten().tolist())
    draw = torch.randint(3, (4, 9, 9), generator=stream(0, "regions"))
    count = sum(ndimage.label((m == k).numpy())[1] for m in draw for k in range(3))
    assert connected_regions(draw).max() + 1 == count


SCORES = torch.randn(2, 3, 6, 5, generator=stream(0, "scores")).double()
OBSERVED = torch.randint(2, (3, 6, 5), generator=stream(0, "observed"))
PSEUDO = torch.randint(2, (3, 6, 5), generator=stream(0, "pseudo"))


def test_each_image_has_the_same_weight():
    for then in (PositiveShare(), Softmax(temperature=0.5)):
        found = PerImage(then=then)(SCORES)
        torch.testing.assert_close(found.sum((0, 2, 3)), torch.full((3,), 1 / 3).double())
        torch.testing.assert_close(found[:, 1:2] * 3, then(SCORES[:, 1:2]))
    scaled = SCORES * torch.tensor([1.0, 100.0, 0.01]).view(1, 3, 1, 1)
    torch.testing.assert_close(PerImage()(scaled), PerImage()(SCORES))


def test_each_region_weighs_what_its_pixels_would():
    found = PerRegion().of_labels(SCORES, OBSERVED, PSEUDO)
    region = connected_regions(OBSERVED * 2 + PSEUDO)
    for k in range(int(region.max()) + 1):
        here = region == k
        positive = SCORES[:, here].clamp_min(0)
        share = positive / positive.sum() if positive.sum() > 0 else positive
        torch.testing.assert_close(found[:, here], share * here.sum() / region.numel())
    soft = torch.nn.functional.one_hot(PSEUDO, 2).movedim(-1, 1).double()
    torch.testing.assert_close(PerRegion().of_labels(SCORES, OBSERVED, soft), found)
    shut_out = ObservedOnly(then=PerRegion()).of_labels(SCORES, OBSERVED, PSEUDO)
    assert (shut_out[1] == 0).all() and shut_out[0].sum() > 0
    # Without pixels every sample is its own region.
    alone = PerRegion().of_labels(SCORES[:, 0, 0], OBSERVED[0, 0], PSEUDO[0, 0])
    helped = (SCORES[:, 0, 0] > 0).any(dim=0)
    torch.testing.assert_close(alone[:, helped], PerSample()(SCORES[:, 0, 0])[:, helped])


def test_one_weight_per_image():
    found = ImageWeight()(SCORES)
    assert found.shape == SCORES.shape
    assert (found == found[:, :, :1, :1]).all()
    torch.testing.assert_close(found.sum((2, 3)), PositiveShare()(SCORES.sum((2, 3))))


@pytest.mark.parametrize(
    "normalise", [PerImage(), PerRegion(), ImageWeight(), ObservedOnly(then=PerRegion())], ids=str
)
def test_granularities_work_in_the_drop_in(normalise):
    torch.manual_seed(0)
    net = Unet(width=2).build((1, 16, 16), 2)
    x, y = torch.randn(4, 1, 16, 16), torch.randint(2, (4, 16, 16))
    found = l2b.weigh(net, x, y, x[:2], y[:2], normalise=normalise)
    assert found.alpha.shape == (4, 16, 16)
    assert 0 < found.alpha.sum() + found.beta.sum() <= 1.0001


def test_the_drop_in_knows_the_overlap_of_the_clean_loss():
    torch.manual_seed(0)
    net = Unet(width=2).build((1, 16, 16), 2)
    x, y = torch.randn(4, 1, 16, 16), torch.randint(2, (4, 16, 16))
    batches = (net, x, y, x[:2], y[:2])
    plain, with_dice = l2b.weigh(*batches), l2b.weigh(*batches, overlap=Dice())
    assert torch.equal(l2b.weigh(*batches, overlap=Dice(share=0.0)).scores, plain.scores)
    assert not torch.allclose(with_dice.scores, plain.scores)
    _, beside = l2b.weighed_pass(*batches, overlap=Dice())
    torch.testing.assert_close(beside.scores, with_dice.scores)


# --- pseudo-masks ------------------------------------------------------------------------------


class Threshold(torch.nn.Module):
    """Logits that follow brightness pixel by pixel, so views can be told by hand."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(8.0))

    def forward(self, x):
        return torch.cat([-self.scale * (x - 0.5), self.scale * (x - 0.5)], dim=1)


def test_views_come_back_to_their_place():
    image = torch.zeros(2, 1, 32, 32)
    image[0, :, 6:26, 4:12] = 1  # off centre, so a flip that stayed would show
    image[1, :, 18:28, 14:30] = 1
    net = Threshold()
    views = Views().build(net)
    z = net(image).detach()
    assert len(views.factors) == 4
    agreement = (views(z, image, None) == z.argmax(dim=1)).float().mean()
    assert agreement > 0.96
    soft = Views(soft=True).build(net)(z, image, None)
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(2, 32, 32))
    assert (soft[:, 1] > 0.5).eq(views(z, image, None) == 1).float().mean() == 1
    alone = Views(zooms=(), flip=False).build(net)
    assert torch.equal(alone(z, image, None), z.argmax(dim=1))


def test_views_leave_the_model_alone_and_say_what_they_need():
    torch.manual_seed(0)
    net = Unet(width=2).build((1, 16, 16), 2)
    before = {name: value.clone() for name, value in net.state_dict().items()}
    x = torch.randn(3, 1, 16, 16)
    state = torch.get_rng_state()
    Views().build(net)(net.eval()(x).detach(), x, None)
    net.train()
    Views().build(net)(torch.randn(3, 2, 16, 16), x, None)
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    with pytest.raises(ValueError, match="Views need images"):
        Views().build(net)(torch.randn(3, 2), torch.randn(3, 5), None)
    with pytest.raises(ValueError, match="zooms above 0"):
        Views(zooms=(0.0,))
    del state


# --- metrics -----------------------------------------------------------------------------------


def test_dice_and_hausdorff_on_whole_volumes():
    cases = Cases(
        of=torch.tensor([0, 0, 1]), names=("a", "b"),
        spacing=torch.tensor([[3.0, 1.0, 2.0], [1.0, 1.0, 1.0]]), patient=torch.tensor([0, 1]),
    )  # fmt: skip
    true = torch.zeros(3, 8, 8, dtype=torch.int64)
    true[:2, 1:5, 1:5] = 1
    true[2, 2, 2] = 2
    seen = torch.zeros_like(true)
    seen[0, 1:5, 1:5] = 1  # one of the two slices
    seen[2, 2, 5] = 2
    dice = case_dice(seen, true, cases, 3)
    assert dice[0, 0] == pytest.approx(2 * 16 / 48)
    assert dice[1, 1] == 0
    assert dice.isnan().tolist() == [[False, True], [True, False]]
    assert mean_score(dice) == pytest.approx((2 / 3 + 0) / 2)
    far = case_hausdorff(seen, true, cases, 3)
    assert far[0, 0] == pytest.approx(3.0)  # one slice further, 3 mm
    assert far[1, 1] == pytest.approx(3.0)
    assert far[0, 1].isnan()
    slab = cases._replace(of=torch.tensor([0]), lengths=torch.tensor([2, 1]))
    for measure in (case_dice, case_hausdorff):  # of one sample with both slices, the same
        thick = measure(seen[None, :2], true[None, :2], slab, 3)
        assert thick[0, 0] == pytest.approx(measure(seen, true, cases, 3)[0, 0].item())
    moved = torch.zeros_like(true)
    moved[:2, 1:5, 3:7] = 1
    assert case_hausdorff(moved, true, cases, 3)[0, 0] == pytest.approx(4.0)  # 2 columns of 2 mm


def test_dice_equals_monai():
    from monai.metrics.meandice import compute_dice

    draw = stream(0, "metric")
    seen, true = torch.randint(3, (2, 6, 8, 8), generator=draw)
    cases = Cases(of=torch.arange(2).repeat_interleave(3), names=("a", "b"),
                  spacing=torch.ones(2, 3), patient=torch.arange(2))  # fmt: skip
    one_hot = [
        torch.nn.functional.one_hot(m.view(2, 3, 8, 8), 3).movedim(-1, 1) for m in (seen, true)
    ]
    expected = compute_dice(*one_hot, include_background=False)
    torch.testing.assert_close(case_dice(seen, true, cases, 3), expected)


def test_evaluation_of_perfect_masks(data):
    pool = data.test

    def perfect(x):
        del x
        return 20.0 * torch.nn.functional.one_hot(pool.labels, 3).movedim(-1, 1)

    found = evaluate(perfect, pool, data)
    assert found["dice"] == found["dice_one"] == found["accuracy"] == 1


def test_cases_are_predicted_as_the_pool_is(data, monkeypatch):
    """Bit by bit, wherever blocks end, and if the images of cases stand among each other."""
    cases, module = data.train.cases, Unet(width=2).build((1, SIZE, SIZE), 3).eval()
    mixed = cases._replace(of=cases.of.roll(SLICES // 2).flip(0))
    for rows in (1, SLICES - 1, SLICES, 3 * SLICES + 1):
        monkeypatch.setattr("l2b.evaluate.PIXELS_AT_ONCE", rows * SIZE**2)
        for pool in (data.train, replace(data.train, cases=mixed)):
            with torch.no_grad():
                whole = predict_pool(module, pool, data)
                found = dict(predict_cases(module, pool, data))
            assert set(found) == set(pool.cases.of.tolist())
            for case, logits in found.items():
                assert torch.equal(logits, whole[pool.cases.rows(case)])
    with pytest.raises(ValueError, match="Masks without cases"):
        next(predict_cases(module, replace(data.train, cases=None), data))


# --- commands ----------------------------------------------------------------------------------


def test_a_figure_of_masks_is_drawn_from_a_run(tmp_path, capsys):
    from PIL import Image

    from l2b.cli import main

    root = tmp_path / "own"
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    draw = stream(0, "pictures")
    for k in range(8):
        mask = torch.zeros(32, 32, dtype=torch.uint8)
        x, y = torch.randint(2, 14, (2,), generator=draw).tolist()
        mask[y : y + 12, x : x + 14] = 255
        image = mask.float() / 2 + 60 * torch.rand(32, 32, generator=draw)
        Image.fromarray(mask.numpy()).save(root / "masks" / f"{k}.png")
        Image.fromarray(image.to(torch.uint8).numpy()).save(root / "images" / f"{k}.png")
    out = tmp_path / "run"
    words = ["run", "--data", "mask_folder", "--root", str(root), "--data.size", "32", "--noise",
             "mask_shift", "--clean", "2", "--validation", "0.5", "--epochs", "20", "--batch", "2",
             "--model", "unet", "--width", "2", "--overlap", "dice", "--out", str(out)]  # fmt: skip
    assert main([*words, "--quiet"]) == 0
    said = capsys.readouterr().out
    assert "of the pixels wrong" in said and "Dice of" in said
    assert main(["figure", "masks", str(out), "--count", "3"]) == 0
    with Image.open(out / "figures" / "masks.png") as drawn:
        assert min(drawn.size) > 200
    assert main(["figure", "masks", str(tmp_path / "absent")]) == 2
    assert "holds no finished run" in capsys.readouterr().err
    assert main(["audit", str(out)]) == 0
    assert "rank correlation" in capsys.readouterr().out
    rows = (out / "audit" / "masks.csv").read_text().splitlines()
    assert len(rows) == 5 and rows[0].startswith("rank,index,case,slice,suspicion")
    assert len(list((out / "audit" / "suggested").glob("*.png"))) == 4
    assert main(["audit", str(out), "--next", "3"]) == 2
    assert "--next is of labels" in capsys.readouterr().err

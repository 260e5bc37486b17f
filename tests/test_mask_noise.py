"""One suite over every mask noise, then what is special about each."""

import dataclasses

import pytest
import torch

from l2b.catalog import find, names, summary
from l2b.mask_severity import SAMPLE, keep_objects, pooled_dice, sample
from l2b.noise import Noise, NoNoise
from l2b.noise.base import MaskNoise
from l2b.noise.mask import Mask
from l2b.noise.mask_ellipse import MaskEllipse
from l2b.noise.mask_jitter import MaskJitter
from l2b.noise.mask_missing import MaskMissing
from l2b.noise.mask_morphology import MaskMorphology
from l2b.noise.mask_rotation import MaskRotation
from l2b.noise.mask_shift import MaskShift
from l2b.noise.second_annotator import SecondAnnotator
from l2b.streams import stream

ALL = [name for name in names(Noise) if issubclass(find(Noise, name), MaskNoise)]
SIZE = (32, 40)


def discs(count=24, classes=3, seed=0):
    """Discs of random place and size, one of each class beside the other, some images empty."""
    draw = stream(seed, "discs")
    y, x = torch.meshgrid(torch.arange(SIZE[0]), torch.arange(SIZE[1]), indexing="ij")
    masks = torch.zeros(count, *SIZE, dtype=torch.int64)
    for mask in masks[: count - 2]:
        for k in range(1, classes):
            centre = torch.rand(2, generator=draw) * 8
            radius = 3.5 + 3 * torch.rand((), generator=draw)
            distance = ((y - 12 - centre[0]) ** 2 + (x - 10 * k - centre[1]) ** 2).sqrt()
            mask[distance < radius] = k
    return masks


MASKS = discs()


def draw(noise, masks=MASKS, classes=3, seed=0, annotations=None):
    return noise.corrupt(
        masks,
        inputs=masks[:, None].float(),
        classes=classes,
        annotations=annotations or {},
        generator=stream(seed, "noise"),
    )


def shown(masks):
    return torch.stack([(masks == k).flatten(1).any(dim=1) for k in (1, 2)])


def test_the_folder_is_complete():
    kinds = {"rotation", "morphology", "ellipse", "jitter", "missing", "shift"}
    assert {"mask", *(f"mask_{kind}" for kind in kinds)} == set(ALL)


@pytest.mark.parametrize("name", ALL)
def test_it_is_a_frozen_description_with_a_summary(name):
    noise = find(Noise, name)()
    assert len(summary(Noise, name)) > 20
    with pytest.raises(dataclasses.FrozenInstanceError):
        noise.anything = 1


@pytest.mark.parametrize("name", ALL)
def test_it_deforms_masks_and_leaves_the_true_ones(name):
    before = MASKS.clone()
    observed = draw(find(Noise, name)())
    assert torch.equal(MASKS, before)
    assert observed.shape == MASKS.shape and observed.dtype == torch.int64
    assert set(observed.unique().tolist()) <= {0, 1, 2}
    assert 0.3 < pooled_dice(observed, MASKS, 3) < 0.98
    assert not observed[-2:].any()  # nothing is made up where nothing is


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_and_the_global_state_does_not(name):
    noise = find(Noise, name)(dice=0.8)
    first, state = draw(noise), torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(draw(noise), first)
    torch.set_rng_state(state)
    assert not torch.equal(draw(noise, seed=1), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dice", [0.6, 0.85])
def test_severity_is_set_by_a_target_dice(name, dice):
    # Objects are missing or not, so few of them can meet a Dice only roughly.
    few = name == "mask_missing"
    assert pooled_dice(draw(find(Noise, name)(dice=dice), discs(120)), discs(120), 3) == (
        pytest.approx(dice, abs=0.06 if few else 0.03)
    )


@pytest.mark.parametrize("name", sorted(set(ALL) - {"mask_missing"}))
def test_no_class_vanishes_silently(name):
    tiny = torch.zeros_like(MASKS)
    tiny[:-2, 3, 4], tiny[:-2, 20:23, 30] = 1, 2
    noise = find(Noise, name)()
    observed = keep_objects(
        tiny, noise.deformation(tiny, stream(0, "noise")), torch.full((len(tiny),), 4.0), 3
    )
    assert torch.equal(shown(observed), shown(tiny))
    assert torch.equal(shown(draw(noise, tiny)), shown(tiny))


@pytest.mark.parametrize("name", ALL)
def test_bad_masks_are_refused(name):
    noise = find(Noise, name)()
    with pytest.raises(ValueError, match=r"needs masks \[N, height, width\], got labels of shape"):
        draw(noise, torch.zeros(5).long())
    with pytest.raises(ValueError, match=r"True masks must lie in \[0, 3\) .*, got 3"):
        draw(noise, MASKS + 1)
    with pytest.raises(ValueError, match=r"needs 0 < dice < 1 or none, got 1"):
        find(Noise, name)(dice=1.0)


@pytest.mark.parametrize("name", ALL)
def test_masks_in_three_dimensions_go_wrong_slice_by_slice(name):
    noise, even = find(Noise, name)(dice=0.8), MASKS[: len(MASKS) // 2 * 2]
    thick = draw(noise, even.unflatten(0, (-1, 2)))
    assert torch.equal(thick.flatten(0, 1), draw(noise, even))


@pytest.mark.parametrize("name", ALL)
def test_no_masks_and_empty_masks_come_back(name):
    noise = find(Noise, name)(dice=0.5)
    assert draw(noise, MASKS[:0]).shape == (0, *SIZE)
    assert not draw(noise, torch.zeros_like(MASKS)).any()


def test_pooled_dice_by_hand():
    true = torch.tensor([[[0, 1, 1, 2]]])
    seen = torch.tensor([[[0, 1, 0, 2]]])
    assert pooled_dice(seen, true, 4) == pytest.approx((2 / 3 + 1) / 2)
    assert pooled_dice(torch.zeros_like(true), torch.zeros_like(true), 3) == 1


def test_a_target_out_of_reach_is_said():
    whole = torch.ones(4, *SIZE, dtype=torch.int64)
    with pytest.raises(ValueError, match=r"MaskRotation cannot corrupt .* Dice of 0\.05: the near"):
        draw(MaskRotation(dice=0.05), whole, classes=2)


def test_rotation_turns_about_the_centre():
    line = torch.zeros(1, 33, 33, dtype=torch.int64)
    line[0, 16, 6:27] = 1
    deform = MaskRotation(degrees=90).deformation(line, stream(0, "noise"))
    drawn = 2 * torch.rand(1, generator=stream(0, "noise")) - 1
    quarter = deform(1 / drawn.abs())
    assert torch.equal(quarter[0].nonzero()[:, 1], torch.full((21,), 16))
    assert torch.equal(deform(torch.zeros(1)), line)


def test_shift_moves_all_masks_the_same_way():
    observed = draw(MaskShift(distance=5, spread=0.0), MASKS)
    moved = []
    for true, seen in zip(MASKS[:-2], observed[:-2], strict=True):
        moved.append(seen.nonzero().float().mean(0) - true.nonzero().float().mean(0))
    moved = torch.stack(moved)
    assert (moved - moved.mean(0)).abs().max() < 1.5
    assert 3 < moved.mean(0).norm() < 6


def test_erosion_and_dilation_have_round_kernels():
    square = torch.zeros(1, 21, 21, dtype=torch.int64)
    square[0, 5:16, 5:16] = 1
    eroded = draw(MaskMorphology(kernels=(5,), dilation=0.0), square, classes=2)
    dilated = draw(MaskMorphology(kernels=(5,), dilation=1.0), square, classes=2)
    assert eroded.sum() == 49  # two pixels off each side of eleven
    assert dilated.sum() == 11 * 11 + 4 * 2 * 11 + 4  # round corners
    assert (dilated >= square).all() and (eroded <= square).all()
    beside = torch.zeros(1, 21, 21, dtype=torch.int64)
    beside[0, 5:10, 5:10], beside[0, 5:10, 10:15] = 1, 2
    grown = draw(MaskMorphology(kernels=(5,), dilation=1.0), beside)
    assert torch.equal(grown[beside > 0], beside[beside > 0])  # over the background alone


def test_an_ellipse_replaced_by_its_ellipse_stays():
    y, x = torch.meshgrid(torch.arange(40.0), torch.arange(40.0), indexing="ij")
    tilted = (x - 18) + 0.5 * (y - 20), (y - 20) - 0.5 * (x - 18)
    ellipse = (((tilted[0] / 16) ** 2 + (tilted[1] / 8) ** 2) <= 1).long().unsqueeze(0)
    observed = draw(MaskEllipse(spread=0.0), ellipse, classes=2)
    assert pooled_dice(observed, ellipse, 2) > 0.97
    half = ellipse.clone()
    half[:, :, 18:] = 0
    assert pooled_dice(draw(MaskEllipse(spread=0.0), half, classes=2), half, 2) < 0.93


@pytest.mark.parametrize("inner", [1, 2])
def test_an_ellipse_inside_another_stays(inner):
    y, x = torch.meshgrid(torch.arange(48), torch.arange(48), indexing="ij")
    organ = ((y - 24) ** 2 + (x - 24) ** 2) <= 20**2
    lesion = ((y - 24) ** 2 + (x - 28) ** 2) <= 7**2
    masks = torch.where(lesion, inner, organ.long() * (3 - inner)).expand(4, -1, -1).contiguous()
    observed = draw(MaskEllipse(spread=1e-4), masks)
    assert pooled_dice(observed, masks, 3) > 0.95
    pixels = [int((found == inner).sum()) for found in (observed, masks)]
    assert pixels[0] == pytest.approx(pixels[1], rel=0.05)
    aimed = draw(MaskEllipse(dice=0.8), masks)
    assert pooled_dice(aimed, masks, 3) == pytest.approx(0.8, abs=0.02)


def test_missing_objects_go_as_a_whole():
    observed = draw(MaskMissing(rate=0.5), discs(100))
    gone = (observed != discs(100)).flatten(1).any(dim=1)
    assert 0.3 < gone.float().mean() < 0.9
    for k in (1, 2):
        kept = (observed == k).flatten(1).sum(1)
        whole = (discs(100) == k).flatten(1).sum(1)
        assert ((kept == 0) | (kept == whole)).float().mean() > 0.9  # discs may be cut in two


def test_jitter_is_smooth():
    observed = draw(MaskJitter(distance=1.0), MASKS)
    assert pooled_dice(observed, MASKS, 3) > 0.7


def test_the_mixture_draws_its_kinds():
    with pytest.raises(ValueError, match=r"kind of mask noise is called 'rotaton'; did you mean"):
        Mask(kinds=("rotaton",))
    with pytest.raises(ValueError, match="at least one kind"):
        Mask(kinds=())
    assert torch.equal(shown(draw(Mask(dice=0.7))), shown(MASKS))


def test_objects_go_missing_in_a_mixture_too():
    alone = draw(Mask(kinds=("missing",), dice=None))
    assert not torch.equal(shown(alone), shown(MASKS))
    tiny = torch.zeros_like(MASKS)
    tiny[:, 3, 4], tiny[:, 20:23, 30] = 1, 2
    mixed = shown(draw(Mask(kinds=("missing", "rotation"), dice=None), tiny))
    assert 0 < (~mixed).any(dim=1).sum() < len(tiny)  # rotated ones keep theirs
    assert shown(draw(Mask(kinds=("rotation", "shift"), dice=None), tiny)).all()


@pytest.mark.parametrize("count", [513, 700, 1023, 1024, 5000])
def test_a_sample_is_spread_evenly(count):
    masks = torch.arange(1, 2 * count + 1).view(-1, 1, 1)
    masks[::2] = 0  # shows nothing
    found = sample(masks).flatten()
    assert len(found.unique()) == len(found) == min(SAMPLE, count)
    steps = found.diff()
    assert found[0] == 2 and found[-1] == 2 * count and steps.max() - steps.min() <= 2


def test_other_parameters_are_checked():
    for make, message in (
        (lambda: MaskJitter(wavelength=0), "wavelength >= 1, got 0"),
        (lambda: MaskMorphology(kernels=()), "kernels of at least 3 pixels"),
        (lambda: MaskMorphology(kernels=(2, 5)), r"at least 3 pixels .* got \(2, 5\) .*reach no"),
        (lambda: MaskMissing(rate=1.5), "0 <= rate <= 1, got 1.5"),
    ):
        with pytest.raises(ValueError, match=message):
            make()


def test_a_second_annotator_is_an_annotation():
    second = {"second_observer": MASKS.flip(0)}
    assert torch.equal(draw(SecondAnnotator(), annotations=second), MASKS.flip(0))
    with pytest.raises(ValueError, match="carries none"):
        draw(SecondAnnotator())
    assert torch.equal(draw(NoNoise()), MASKS)

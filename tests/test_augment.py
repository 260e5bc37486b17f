"""One suite over every augmentation, and a slow oracle for the shifted, mirrored crop."""

import dataclasses

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from l2b.augment import Augmentation, CropFlip, Identity
from l2b.catalog import find, names, summary
from l2b.streams import stream

ALL = names(Augmentation)
IMAGES = torch.randn(64, 3, 12, 10, generator=stream(0, "images"))


def possible(image, padding, *, flip, border):
    """Every crop of the padded image, and its mirror image, by (dy, dx, mirrored)."""
    mode = "constant" if border == "zero" else "reflect"
    padded = functional.pad(image[None], [padding] * 4, mode=mode)[0] if padding else image
    height, width = image.shape[1:]
    for dy in range(2 * padding + 1):
        for dx in range(2 * padding + 1):
            crop = padded[:, dy : dy + height, dx : dx + width]
            yield (dy, dx, False), crop
            if flip:
                yield (dy, dx, True), crop.flip(2)


def found(augmentation, images, seed=0):
    """How each sample was changed; fails if it was changed in no allowed way."""
    settings_ = {"flip": augmentation.flip, "border": augmentation.border}
    changes = []
    for image, out in zip(images, augmentation(images, stream(seed, "a")), strict=True):
        all_ = possible(image, augmentation.padding, **settings_)
        matches = [change for change, crop in all_ if torch.equal(crop, out)]
        assert matches
        changes.append(matches[0])
    return changes


def test_the_module_is_complete():
    assert {"crop_flip", "identity"} <= set(ALL)


# --- what holds for every augmentation -------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_it_is_a_frozen_description_with_defaults_and_a_summary(name):
    augmentation = find(Augmentation, name)()
    assert len(summary(Augmentation, name)) > 20
    with pytest.raises(dataclasses.FrozenInstanceError):
        augmentation.anything = 1


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("dtype", [torch.uint8, torch.float32, torch.float64])
def test_it_keeps_shape_and_type_and_its_input(name, dtype):
    images = (IMAGES * 50).to(dtype)
    before = images.clone()
    out = find(Augmentation, name)()(images, stream(0, "a"))
    assert out.shape == images.shape and out.dtype == dtype
    assert torch.equal(images, before)


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_and_the_global_state_does_not(name):
    augmentation = find(Augmentation, name)()
    state = torch.get_rng_state()
    first = augmentation(IMAGES, stream(0, "a"))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(augmentation(IMAGES, stream(0, "a")), first)


@pytest.mark.parametrize("name", ALL)
def test_an_empty_batch_stays_empty(name):
    assert find(Augmentation, name)()(IMAGES[:0], stream(0, "a")).shape == IMAGES[:0].shape


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("name", ALL)
def test_the_device_changes_nothing(name):
    augmentation = find(Augmentation, name)()
    out = augmentation(IMAGES.cuda(), stream(0, "a"))
    assert out.is_cuda
    assert torch.equal(out.cpu(), augmentation(IMAGES, stream(0, "a")))


# --- each augmentation -----------------------------------------------------------------------


def test_identity_takes_any_shape():
    features = torch.randn(4, 7)
    assert Identity()(features, stream(0, "a")) is features


@settings(max_examples=25, deadline=None)
@given(
    padding=st.integers(0, 4),
    flip=st.booleans(),
    border=st.sampled_from(["zero", "reflect"]),
    side=st.tuples(st.integers(5, 9), st.integers(5, 9)),
    seed=st.integers(0, 1000),
)
def test_every_output_is_a_crop_of_its_own_padded_input(padding, flip, border, side, seed):
    images = torch.randn(6, 2, *side, generator=stream(seed, "images"))
    found(CropFlip(padding=padding, flip=flip, border=border), images, seed)


@pytest.mark.parametrize("border", ["zero", "reflect"])
def test_every_shift_and_both_sides_occur(border):
    images = torch.randn(600, 1, 6, 6, generator=stream(0, "images"))
    changes = found(CropFlip(padding=2, border=border), images)
    assert len(set(changes)) == 5 * 5 * 2
    assert abs(sum(mirrored for *_, mirrored in changes) / 600 - 0.5) < 0.1


def test_padding_larger_than_the_image_leaves_black():
    out = CropFlip(padding=40, flip=False)(torch.ones(200, 1, 3, 3), stream(0, "a"))
    assert set(out.unique().tolist()) == {0.0, 1.0}
    assert (out.flatten(1).sum(1) == 0).any()


def test_nothing_to_do_is_the_identity():
    assert torch.equal(CropFlip(padding=0, flip=False)(IMAGES, stream(0, "a")), IMAGES)


def test_without_flip_nothing_is_mirrored():
    assert not any(mirrored for *_, mirrored in found(CropFlip(padding=1, flip=False), IMAGES))


def test_flipping_does_not_change_the_shifts():
    with_flip = found(CropFlip(padding=2), IMAGES)
    without = found(CropFlip(padding=2, flip=False), IMAGES)
    assert [change[:2] for change in with_flip] == [change[:2] for change in without]


def test_it_refuses_what_is_no_image_or_too_small():
    with pytest.raises(ValueError, match=r"needs images .* got \(4, 7\)"):
        CropFlip()(torch.randn(4, 7), stream(0, "a"))
    with pytest.raises(ValueError, match=r"at least 5 × 5 pixels, got \(2, 1, 4, 9\)"):
        CropFlip(border="reflect")(torch.randn(2, 1, 4, 9), stream(0, "a"))


def test_it_refuses_settings_without_meaning():
    with pytest.raises(ValueError, match="padding >= 0, got -1"):
        CropFlip(padding=-1)
    with pytest.raises(ValueError, match="'zero' or 'reflect', got 'wrap'"):
        CropFlip(border="wrap")

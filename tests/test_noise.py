"""One suite over every noise model, then what is special about each."""

import dataclasses
import inspect
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import truncnorm
from torch.utils._python_dispatch import TorchDispatchMode

from l2b.catalog import find, names, summary
from l2b.datasets.cifar100 import CIFAR100
from l2b.noise import (
    Asymmetric,
    ClassConditional,
    Existing,
    InstanceDependent,
    Matrix,
    Noise,
    NoNoise,
    PairFlip,
    Symmetric,
    instance_dependent,
)
from l2b.noise.asymmetric import CIFAR100_SUPERCLASSES
from l2b.noise.base import MaskNoise
from l2b.streams import stream

CLASSES = 10
N = 20_000
LABELS = torch.randint(0, CLASSES, (N,), generator=stream(0, "labels"))
INPUTS = torch.randn(N, 2, 3, generator=stream(0, "inputs"))
ANNOTATIONS = {"worst": LABELS.flip(0), "random1": LABELS.roll(1)}
ARGUMENTS = {  # where a model needs more than a rate
    "existing": {"annotation": "worst"},
    "second_annotator": {"annotation": "worst"},
    "matrix": {"rows": tuple(map(tuple, PairFlip(rate=0.3).transition(CLASSES).tolist()))},
}
# Noise of masks alone has a suite of its own.
ALL = [name for name in names(Noise) if not issubclass(find(Noise, name), MaskNoise)]


def example(name: str) -> Noise:
    """The model with the arguments above, or with a rate of 0.3 if it has one."""
    cls = find(Noise, name)
    rate = {"rate": 0.3} if "rate" in inspect.signature(cls).parameters else {}
    return cls(**ARGUMENTS.get(name, rate))


CONDITIONAL = [name for name in ALL if issubclass(find(Noise, name), ClassConditional)]


def draw(noise: Noise, labels=LABELS, *, classes=CLASSES, annotations=ANNOTATIONS, seed=0):
    return noise.corrupt(
        labels,
        inputs=INPUTS[: len(labels)],
        classes=classes,
        annotations=annotations,
        generator=stream(seed, "noise"),
    )


def test_the_folder_is_complete():
    assert {"asymmetric", "existing", "matrix", "none", "pair_flip", "symmetric"} <= set(ALL)


# --- what holds for every model -------------------------------------------------------------


@pytest.mark.parametrize("name", ALL)
def test_it_is_a_frozen_description_with_a_summary(name):
    noise = example(name)
    assert len(summary(Noise, name)) > 20
    assert noise == dataclasses.replace(noise)
    with pytest.raises(dataclasses.FrozenInstanceError):
        noise.anything = 1


@pytest.mark.parametrize("name", ALL)
def test_it_returns_new_labels_of_the_same_kind(name):
    before = LABELS.clone()
    annotations = {key: value.clone() for key, value in ANNOTATIONS.items()}
    observed = draw(example(name), annotations=annotations)
    assert observed.shape == LABELS.shape
    assert observed.dtype == torch.int64
    assert observed.min() >= 0 and observed.max() < CLASSES
    observed.zero_()
    assert torch.equal(LABELS, before)
    assert all(torch.equal(annotations[key], ANNOTATIONS[key]) for key in ANNOTATIONS)


@pytest.mark.parametrize("name", ALL)
def test_the_seed_decides_and_the_global_state_does_not(name):
    noise = example(name)
    first = draw(noise)
    state = torch.get_rng_state()
    torch.manual_seed(1)
    assert torch.equal(draw(noise), first)
    torch.set_rng_state(state)
    draw(noise)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("name", ALL)
def test_it_takes_masks_or_says_what_does_and_no_labels_at_all(name):
    mask = LABELS[:600].view(6, 10, 10)
    annotations = {"worst": mask.flip(0)}
    if name == "instance_dependent":
        with pytest.raises(ValueError, match=r"one label per sample, got .* --noise mask"):
            draw(example(name), mask)
    else:
        assert draw(example(name), mask, annotations=annotations).shape == mask.shape
    none = LABELS[:0]
    assert draw(example(name), none, annotations={"worst": none}).shape == (0,)


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("wrong", [-1, CLASSES])
def test_it_refuses_classes_that_do_not_exist(name, wrong):
    labels = LABELS.clone()
    labels[7] = wrong
    with pytest.raises(ValueError, match=rf"\[0, 10\).* got {wrong} \(1 are out of range\)"):
        draw(example(name), labels, annotations={"worst": labels})


@pytest.mark.parametrize("name", ALL)
def test_it_refuses_labels_that_are_no_indices(name):
    labels = LABELS.float()
    with pytest.raises(ValueError, match=r"int64 class indices, got torch\.float32"):
        draw(example(name), labels, annotations={"worst": labels})


# --- what holds for every class-conditional model -------------------------------------------


@pytest.mark.parametrize("name", CONDITIONAL)
def test_transitions_are_rows_of_probabilities(name):
    rows = example(name).transition(CLASSES)
    assert rows.shape == (CLASSES, CLASSES)
    assert rows.dtype == torch.float64
    assert (rows >= 0).all()
    torch.testing.assert_close(rows.sum(1), torch.ones(CLASSES, dtype=torch.float64))


@pytest.mark.parametrize("name", CONDITIONAL)
def test_realised_rates_are_those_of_the_transition(name):
    noise = example(name)
    expected = noise.transition(CLASSES)
    observed = draw(noise)
    counts = torch.zeros(CLASSES, CLASSES, dtype=torch.float64)
    counts.index_put_((LABELS, observed), torch.ones(N, dtype=torch.float64), accumulate=True)
    realised = counts / counts.sum(1, keepdim=True)
    deviation = (expected * (1 - expected) / counts.sum(1, keepdim=True)).sqrt()
    assert ((realised - expected).abs() <= 4.5 * deviation).all()


@pytest.mark.parametrize("name", CONDITIONAL)
def test_a_label_depends_on_its_own_class_and_place_alone(name):
    noise = example(name)
    changed = LABELS.clone()
    changed[1::2] = changed[1::2].flip(0)
    assert torch.equal(draw(noise)[::2], draw(noise, changed)[::2])


@pytest.mark.parametrize("name", CONDITIONAL)
def test_another_seed_draws_other_labels(name):
    assert not torch.equal(draw(example(name)), draw(example(name), seed=1))


# --- each model ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (Symmetric(rate=0.4), "04352523810423456489"),
        (Symmetric(rate=0.4, convention="flip"), "05362513810523456399"),
        (PairFlip(rate=0.3), "02344567800223556799"),
        (Asymmetric(rate=0.3), "01254567810123756789"),
        (InstanceDependent(rate=0.3), "01864767290025450759"),
    ],
    ids=str,
)
def test_golden_draws(noise, expected):
    """From seed 0. A change of these numbers changes every result ever recorded."""
    observed = draw(noise, torch.arange(CLASSES).repeat(2))
    assert "".join(map(str, observed.tolist())) == expected


def test_no_noise_is_a_copy():
    assert torch.equal(draw(NoNoise()), LABELS)


@given(rate=st.floats(0, 1), classes=st.integers(2, 20))
def test_symmetric_conventions_name_different_rates(rate, classes):
    redraw = Symmetric(rate=rate).transition(classes)
    flip = Symmetric(rate=rate, convention="flip").transition(classes)
    wrong = torch.eye(classes, dtype=torch.float64).logical_not()
    share = classes - 1
    assert math.isclose(redraw[0, wrong[0]].sum(), rate * (1 - 1 / classes), abs_tol=1e-12)
    assert math.isclose(flip[0, wrong[0]].sum(), rate, abs_tol=1e-12)
    for rows in (redraw, flip):
        off = rows[wrong].view(classes, share)
        torch.testing.assert_close(off, off[:1, :1].expand_as(off))


@given(rate=st.floats(0, 0.5, exclude_max=True), classes=st.integers(2, 20))
def test_pair_flip_moves_to_the_next_class_only(rate, classes):
    rows = PairFlip(rate=rate).transition(classes)
    for k in range(classes):
        assert rows[k, k] == 1 - rate
        assert rows[k, (k + 1) % classes] == rate


def test_rates_at_the_ends():
    assert torch.equal(draw(Symmetric(rate=0.0)), LABELS)
    assert torch.equal(draw(PairFlip(rate=0.0)), LABELS)
    assert (draw(Symmetric(rate=1.0, convention="flip")) != LABELS).all()
    spread = torch.bincount(draw(Symmetric(rate=1.0)), minlength=CLASSES) / N
    assert (spread - 0.1).abs().max() < 0.01


def test_asymmetric_cifar10_confuses_look_alikes():
    rows = Asymmetric(rate=0.4).transition(10)
    look_alikes = {9: 1, 2: 0, 4: 7, 3: 5, 5: 3}
    for true in range(10):
        expected = torch.zeros(10, dtype=torch.float64)
        expected[true] = 1.0 if true not in look_alikes else 0.6
        if true in look_alikes:
            expected[look_alikes[true]] = 0.4
        torch.testing.assert_close(rows[true], expected)


def test_asymmetric_cifar100_moves_within_the_superclass():
    names_of = CIFAR100.classes
    rows = Asymmetric(rate=0.4).transition(100)
    assert sorted(k for group in CIFAR100_SUPERCLASSES for k in group) == list(range(100))
    wrong = {names_of[k]: names_of[int((rows[k] == 0.4).nonzero())] for k in range(100)}
    assert wrong["beaver"] == "dolphin" and wrong["whale"] == "beaver"
    assert wrong["willow_tree"] == "maple_tree" and wrong["tractor"] == "lawn_mower"
    assert wrong["television"] == "clock" and wrong["pickup_truck"] == "train"
    assert set(wrong.values()) == set(names_of)


def test_asymmetric_refuses_other_numbers_of_classes():
    with pytest.raises(ValueError, match=r"CIFAR-10 \(10 classes\) and CIFAR-100 .* got 7"):
        Asymmetric(rate=0.4).transition(7)


def instance_noise(inputs, labels, *, rate=0.3, classes=CLASSES, seed=0):
    return InstanceDependent(rate=rate).corrupt(
        labels, inputs=inputs, classes=classes, annotations={}, generator=stream(seed, "noise")
    )


@pytest.mark.parametrize("rate", [0.1, 0.4, 0.9])
def test_instance_rates_are_truncated_normal(rate):
    wrong = (instance_noise(INPUTS, LABELS, rate=rate) != LABELS).double().mean().item()
    expected = truncnorm(-rate / 0.1, (1 - rate) / 0.1, loc=rate, scale=0.1).mean()
    assert abs(wrong - expected) < 4 * math.sqrt(expected * (1 - expected) / N)


def test_instance_noise_is_algorithm_2():
    """Equal samples, many labels each: frequencies are those of the transcribed algorithm."""
    kinds, copies = 6, 4000
    x = torch.randn(kinds, 5, generator=stream(1, "x"))
    kind = torch.arange(kinds).repeat_interleave(copies)
    true = kind % 3
    observed = instance_noise(x[kind], true, classes=4)
    centred = x - x.mean(dim=0)
    centred = centred / (x - x.mean(dim=0)).square().mean().sqrt()
    draw = stream(0, "noise")
    for _ in range(2):  # the rates and the numbers that labels are drawn by come first
        torch.rand(len(true), generator=draw, dtype=torch.float64)
    projections = [torch.randn(5, 4, generator=draw) for _ in range(4)]
    for i in range(kinds):
        p = centred[i] @ projections[i % 3]
        p[i % 3] = -torch.inf
        expected = 0.3 * torch.softmax(p.double(), dim=0)  # 0.3 is the mean rate
        expected[i % 3] = 0.7
        found = torch.bincount(observed[kind == i], minlength=4) / copies
        deviation = (expected * (1 - expected) / copies).sqrt()
        assert ((found - expected).abs() < 4.5 * deviation + 2e-3).all()


def test_confusions_depend_on_the_sample():
    """Samples of one class on opposite sides are mistaken for different classes."""
    side = torch.arange(N) % 2
    inputs = (2.0 * side - 1).view(N, 1) * torch.ones(N, 8) * 5
    observed = instance_noise(inputs, torch.zeros(N, dtype=torch.int64))
    for mine, other in ((0, 1), (1, 0)):
        usual = torch.bincount(observed[(side == mine) & (observed != 0)]).argmax()
        assert (observed[side == other] == usual).float().mean() < 0.01
    assert torch.equal(instance_noise(7 * inputs + 3, torch.zeros_like(side)), observed)


class Largest(TorchDispatchMode):
    """Watches how many floating-point numbers a new tensor holds at most."""

    numbers = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.is_floating_point():
            self.numbers = max(self.numbers, made.numel())
        return made


def test_instance_noise_looks_at_few_large_samples_at_a_time(monkeypatch):
    pixels = torch.randint(0, 256, (60, 3, 20, 20), generator=stream(0, "x"), dtype=torch.uint8)
    labels = torch.arange(60) % 3
    whole = instance_noise(pixels, labels, classes=3)
    monkeypatch.setattr(instance_dependent, "NUMBERS", 5 * 3 * 20 * 20)
    with Largest() as seen:
        assert torch.equal(instance_noise(pixels, labels, classes=3), whole)
    assert seen.numbers == instance_dependent.NUMBERS


def test_instance_noise_is_drawn_in_the_same_pieces_as_ever():
    """Sums in pieces depend on their size, and what was drawn for a seed must stay."""
    for features in (28 * 28, 3 * 32 * 32):
        assert instance_dependent._piece(features) == 4096
    assert instance_dependent._piece(3 * 224 * 224) == 222


def test_instance_noise_needs_a_sample_per_label():
    with pytest.raises(ValueError, match="one for each of 20000 labels, got 5"):
        instance_noise(INPUTS[:5], LABELS)
    for rate in (0, 1, math.nan):
        with pytest.raises(ValueError, match=rf"needs 0 < rate < 1, got {rate}"):
            InstanceDependent(rate=rate)
    with pytest.raises(ValueError, match="needs spread > 0, got 0"):
        InstanceDependent(rate=0.3, spread=0)


def test_only_models_that_corrupt_the_truth_need_it():
    needing = {name for name in ALL if example(name).needs_truth}
    assert needing == {*CONDITIONAL, "instance_dependent"}


@st.composite
def transitions(draw_from):
    """Sparse random matrices, so that zeros stand at both ends of rows."""
    classes = draw_from(st.integers(1, 6))
    entry = st.sampled_from([0, 0, 1, 3, 7])
    rows = draw_from(
        st.lists(
            st.lists(entry, min_size=classes, max_size=classes).filter(any),
            min_size=classes,
            max_size=classes,
        )
    )
    return tuple(tuple(value / sum(row) for value in row) for row in rows)


@settings(max_examples=50)
@given(rows=transitions(), seed=st.integers(0, 1000))
def test_a_class_of_probability_zero_is_never_drawn(rows, seed):
    labels = torch.arange(len(rows)).repeat(50)
    observed = draw(Matrix(rows=rows), labels, classes=len(rows), annotations={}, seed=seed)
    assert (torch.tensor(rows)[labels, observed] > 0).all()


def test_matrix_reads_csv_and_npy(tmp_path):
    rows = PairFlip(rate=0.2).transition(3)
    np.save(tmp_path / "t.npy", rows.numpy())
    (tmp_path / "t.csv").write_text("0.8, 0.2, 0\n0,0.8,0.2\n\n0.2,0,8e-1\n", encoding="utf-8")
    for file in ("t.npy", "t.csv"):
        assert torch.equal(Matrix(path=tmp_path / file).transition(3), rows)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.8,0.2\n0.2,0.9\n", r"sum to 1, got row 1 = \[0\.2, 0\.9\] with the sum 1\.1"),
        ("1.2,-0.2\n0,1\n", "sum to 1, got row 0"),
        ("nan,1\n0,1\n", "sum to 1, got row 0"),
        ("0.8,0.2\n", r"square.* got the shape \(1, 2\)"),
        ("", "square"),
        ("a,b\n0,1\n", "cannot be read as a matrix of numbers"),
        ("1,0\n1\n", "cannot be read as a matrix of numbers"),
    ],
)
def test_matrix_refuses_what_is_no_transition(tmp_path, text, message):
    (tmp_path / "t.csv").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as caught:
        Matrix(path=tmp_path / "t.csv").transition(2)
    assert "t.csv" in str(caught.value)


def test_matrix_refuses_pickles_and_missing_files(tmp_path):
    np.save(tmp_path / "t.npy", np.array([[{}]]), allow_pickle=True)
    with pytest.raises(ValueError, match=r"t\.npy cannot be read"):
        Matrix(path=tmp_path / "t.npy").transition(1)
    for path in (tmp_path / "absent.csv", tmp_path):
        with pytest.raises(FileNotFoundError, match=f"There is no file {path}: Matrix needs"):
            Matrix(path=path).transition(1)


def test_matrix_must_fit_the_data_and_be_given_once(tmp_path):
    with pytest.raises(ValueError, match="2 × 2, but the data has 3 classes"):
        Matrix(rows=((1, 0), (0, 1))).transition(3)
    with pytest.raises(ValueError, match="got neither"):
        Matrix()
    with pytest.raises(ValueError, match="got both"):
        Matrix(rows=((1.0,),), path=tmp_path)
    with pytest.raises(ValueError, match="got row 0"):
        Matrix(rows=((1, 1), (0, 1)))


def test_existing_takes_the_named_label_set():
    assert torch.equal(draw(Existing(annotation="random1")), ANNOTATIONS["random1"])
    with pytest.raises(ValueError, match="did you mean 'worst'"):
        draw(Existing(annotation="worse"))
    with pytest.raises(ValueError, match="carries none"):
        draw(Existing(annotation="worst"), annotations={})
    with pytest.raises(ValueError, match=r"shape \(5,\), but the training labels have \(20000,\)"):
        draw(Existing(annotation="worst"), annotations={"worst": LABELS[:5]})


@pytest.mark.parametrize("model", [Symmetric, PairFlip, Asymmetric])
@pytest.mark.parametrize("rate", [-0.1, 1.1, math.nan])
def test_rates_must_be_shares(model, rate):
    with pytest.raises(ValueError, match=rf"{model.__name__} needs 0 <= rate .* got {rate}"):
        model(rate=rate)


@pytest.mark.parametrize("model", [PairFlip, Asymmetric])
def test_half_wrong_is_too_much_for_one_sided_confusions(model):
    with pytest.raises(ValueError, match=r"rate < 0\.5, got 0\.5: .*tell them apart"):
        model(rate=0.5)


def test_symmetric_refuses_an_unknown_convention():
    with pytest.raises(ValueError, match="'redraw' or 'flip', got 'swap'"):
        Symmetric(rate=0.2, convention="swap")


@pytest.mark.parametrize("model", [Symmetric, PairFlip])
def test_one_class_leaves_nothing_to_confuse(model):
    with pytest.raises(ValueError, match="at least 2 classes"):
        model(rate=0.2).transition(1)

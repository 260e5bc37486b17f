"""Preparing and feeding data: splits, noise, batches, and what is refused."""

from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from l2b.augment import Identity
from l2b.clean_split import _quota
from l2b.data import prepare
from l2b.datasets import Source, Split
from l2b.datasets.digits import Digits
from l2b.feed import Feed
from l2b.long_tail import long_tail
from l2b.noise.existing import Existing
from l2b.noise.instance_dependent import InstanceDependent
from l2b.noise.none import NoNoise
from l2b.noise.symmetric import Symmetric
from l2b.streams import stream

NOISE = Symmetric(rate=0.4)


def source(labels=None, classes=3, **changes):
    labels = torch.arange(60) % classes if labels is None else labels
    inputs = torch.arange(len(labels)).float().view(-1, 1).expand(-1, 2).contiguous()
    made = {
        "train": Split(inputs, labels),
        "test": Split(inputs[:9], torch.arange(9) % classes),
        "classes": tuple("abcdefgh"[:classes]),
        "mean": torch.zeros(()),
        "std": torch.ones(()),
    }
    return Source(**{**made, **changes})


def ready(made=None, noise=NOISE, clean=9, validation=0.34, seed=0):
    return prepare(made or source(), noise, clean=clean, validation=validation, seed=seed)


def test_clean_samples_are_stratified_true_and_removed_from_training():
    data = ready()
    assert torch.bincount(data.clean.labels).tolist() == [2, 2, 2]
    assert torch.bincount(data.validation.labels).tolist() == [1, 1, 1]
    parts = [data.train.index, data.clean.index, data.validation.index]
    together = torch.cat(parts).sort().values
    assert torch.equal(together, torch.arange(60))
    for pool in (data.clean, data.validation):
        assert torch.equal(pool.labels, pool.index % 3)
    assert torch.equal(data.train.true, data.train.index % 3)
    assert torch.equal(data.train.inputs[:, 0], data.train.index.float())  # rows stay matched


def test_noise_depends_on_its_seed_alone():
    a, b = ready(clean=9), ready(clean=30)
    assert a.noise_hash == b.noise_hash
    both = set(a.train.index.tolist()) & set(b.train.index.tolist())
    at = {
        i: label for i, label in zip(a.train.index.tolist(), a.train.labels.tolist(), strict=True)
    }
    bt = {
        i: label for i, label in zip(b.train.index.tolist(), b.train.labels.tolist(), strict=True)
    }
    assert all(at[i] == bt[i] for i in both)
    assert ready(seed=1).noise_hash != a.noise_hash
    wrong = (a.train.labels != a.train.true).float().mean().item()
    assert a.noise_rate == wrong


def test_a_long_tail_is_thinned_out_before_all_else():
    whole = ready(clean=6, validation=0.34)
    tail = prepare(source(), NOISE, clean=6, validation=0.34, seed=0, imbalance=4)
    parts = [tail.train, tail.clean, tail.validation]
    true = torch.cat([tail.train.true, tail.clean.labels, tail.validation.labels])
    assert torch.bincount(true).tolist() == [20, 10, 5]
    assert tail.noise_hash == whole.noise_hash
    at = dict(zip(whole.train.index.tolist(), whole.train.labels.tolist(), strict=True))
    for place, label in zip(tail.train.index.tolist(), tail.train.labels.tolist(), strict=True):
        assert at.get(place, label) == label
    assert len(torch.cat([pool.index for pool in parts]).unique()) == 35
    assert torch.equal(tail.test.labels, whole.test.labels)
    other = prepare(source(), NOISE, clean=6, validation=0.34, seed=1, imbalance=4)
    assert not torch.equal(other.train.index, tail.train.index)


@given(
    counts=st.lists(st.integers(1, 60), min_size=2, max_size=8),
    factor=st.floats(1, 100),
)
def test_long_tails_by_definition(counts, factor):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    kept = long_tail(labels, len(counts), factor, stream(0, "tail"))
    left = torch.bincount(labels[kept], minlength=len(counts)).tolist()
    for k, count in enumerate(counts):
        wanted = max(counts) * factor ** (-k / (len(counts) - 1))
        assert left[k] == min(count, max(1, int(wanted + 1e-9)))


def test_long_tails_need_truth_and_a_factor():
    trusted = torch.arange(30, 45)
    made = source(truth_known=False, trusted=trusted)
    with pytest.raises(ValueError, match="imbalance needs one true label per sample"):
        prepare(made, NoNoise(), clean=6, validation=0, seed=0, imbalance=2)
    with pytest.raises(ValueError, match=r"imbalance must be at least 1, got 0\.5"):
        prepare(source(), NOISE, clean=6, validation=0, seed=0, imbalance=0.5)


def test_instance_noise_needs_truth_too():
    made = source(truth_known=False, trusted=torch.arange(30, 45))
    with pytest.raises(ValueError, match=r"InstanceDependent noise needs true labels"):
        ready(made, noise=InstanceDependent(rate=0.3))
    data = ready(noise=InstanceDependent(rate=0.3))
    assert 0.1 < data.noise_rate < 0.5


def test_unknown_truth_needs_and_uses_trusted_samples():
    with pytest.raises(ValueError, match="has no clean set"):
        ready(source(truth_known=False), noise=NoNoise())
    trusted = torch.arange(30, 45)
    data = ready(source(truth_known=False, trusted=trusted), noise=NoNoise())
    assert set(data.clean.index.tolist()) <= set(trusted.tolist())
    assert data.train.true is None
    assert data.noise_rate is None
    with pytest.raises(ValueError, match=r"Symmetric noise needs true labels.*--noise none"):
        ready(source(truth_known=False, trusted=trusted))


@pytest.mark.parametrize("truth_known", [True, False])
def test_checked_samples_that_are_not_drawn_are_no_noisy_ones(truth_known):
    made = source(truth_known=truth_known, trusted=torch.arange(30, 45), remark="Said.")
    data = ready(made, noise=NoNoise())
    assert data.train.index.tolist() == [*range(30), *range(45, 60)]
    assert len(data.clean) + len(data.validation) == 9
    said = "6 checked samples have no part: a larger clean set would take them."
    assert data.remark == f"Said. {said}"
    everyone = ready(made, noise=NoNoise(), clean=15)
    assert torch.equal(everyone.train.index, data.train.index)
    assert everyone.remark == "Said."


def test_existing_annotations_become_observed_labels():
    second = (torch.arange(60) + 1) % 3
    data = ready(source(annotations={"second": second}), noise=Existing(annotation="second"))
    assert torch.equal(data.train.labels, second[data.train.index])
    assert data.noise_rate == 1


def test_a_label_that_nobody_checked_is_named_with_its_number():
    labels = torch.arange(60) % 2
    labels[5] = 2
    made = source(labels, truth_known=False, trusted=torch.arange(30, 45))
    with pytest.raises(ValueError, match=r"no sample of 'c' \(1 label\): .* correct"):
        ready(made, noise=NoNoise())


def test_bad_data_is_refused_in_one_line():
    x = torch.zeros(6, 2)
    y = torch.tensor([0, 1, 2, 0, 1, 2])
    for made, message in (
        (source(torch.full((60,), 3)), r"training labels must lie in \[0, 3\).*got 3"),
        (source(torch.zeros(60).long() - 1), r"must lie in \[0, 3\).*got -1"),
        (source(torch.zeros(60).long()), "single class"),
        (source(train=Split(x, y.int())), "must be int64 class indices, got torch.int32"),
        (source(train=Split(x, y[:5])), "6 inputs but 5 labels"),
        (source(train=Split(x[:0], y[:0])), "training labels must not be empty, got none"),
        (source(train=Split(x / 0, y)), "NaN or infinite values, first in sample 0"),
        (source(trusted=torch.tensor([0, 3, 6])), r"of 'b' \(20 labels\), 'c' \(20 labels\): "),
    ):
        with pytest.raises(ValueError, match=message):
            ready(made)
    for clean, validation, message in (
        (2, 0.2, r"clean must lie in \[3, 60\]"),
        (0, 0.2, r"one trusted sample for each of 3 classes.*got 0"),
        (61, 0.2, r"got 61"),
        (9, 1.0, r"validation must lie in \[0, 1\)"),
    ):
        with pytest.raises(ValueError, match=message):
            ready(clean=clean, validation=validation)


def test_more_classes_than_the_ledger_can_tell_apart_are_refused():
    many = replace(source(), classes=tuple(map(str, range(2**15))))
    with pytest.raises(ValueError, match="at most 32,767 classes, got 32,768"):
        ready(many, noise=NoNoise())


@given(st.lists(st.integers(1, 50), min_size=1, max_size=12), st.data())
def test_quota_adds_up_and_respects_its_bounds(counts, data):
    total = data.draw(st.integers(len(counts), sum(counts)))
    quota = _quota(torch.tensor(counts), total)
    assert sum(quota) == total
    assert all(1 <= q <= c for q, c in zip(quota, counts, strict=True))


def feed(batch=7, clean_batch=4, seed=0):
    return Feed(data=ready(), batch=batch, clean_batch=clean_batch, augment=Identity(), seed=seed)


def test_every_epoch_is_a_new_permutation_and_repeats_exactly():
    made = feed()
    first = [b.index for b, _ in made.epoch(0)]
    assert len(first) == made.steps == 51 // 7
    assert len(torch.cat(first).unique()) == 49
    again = [b.index for b, _ in feed().epoch(0)]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(torch.cat(first), torch.cat([b.index for b, _ in made.epoch(1)]))


@given(st.integers(1, 20), st.integers(1, 17))
def test_clean_batches_go_round_evenly_across_epochs(clean_batch, batch):
    made = feed(batch=batch, clean_batch=clean_batch)
    seen = torch.cat([clean.index for epoch in range(3) for _, clean in made.epoch(epoch)])
    counts = torch.bincount(seen, minlength=len(made.data.clean))
    assert counts.max() - counts.min() <= 1
    _, clean = next(iter(made.epoch(0)))
    assert len(clean.labels) == min(clean_batch, len(made.data.clean))


def test_batches_that_cannot_be_filled_are_refused():
    with pytest.raises(ValueError, match=r"training.batch must lie in \[1, 51\].*got 52"):
        feed(batch=52)
    with pytest.raises(ValueError, match="clean_batch must be at least 1"):
        feed(clean_batch=0)
    checked = ready(source(trusted=torch.arange(60)), noise=NoNoise())
    with pytest.raises(ValueError, match="Every row of the training data is checked, so no label"):
        Feed(data=checked, batch=7, clean_batch=4, augment=Identity(), seed=0)


def test_digits_are_whole_and_standardised():
    data = prepare(Digits().load(), NOISE, clean=50, validation=0.2, seed=0)
    assert (len(data.train), len(data.clean), len(data.validation)) == (1247, 40, 10)
    x = data.standardise(data.train.inputs)
    assert abs(x.mean()) < 0.02
    assert abs(x.std() - 1) < 0.02
    assert len(data.test) == 500

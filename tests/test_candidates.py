"""More than two candidate labels: their scores, their weights, and what folds them into two."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import l2b
from conftest import Problem
from l2b.amortise import Amortisation
from l2b.candidates import AllClasses, Candidate, Candidates, Pair, Triple, folded
from l2b.catalog import find, names
from l2b.config import dump, load, parse
from l2b.experiment import Run
from l2b.functional import functional
from l2b.halves import Halves, rows_of
from l2b.losses import bootstrapped_loss, cross_entropy
from l2b.methods.clean_only import CleanOnly
from l2b.methods.l2b import L2B, L2BLearner
from l2b.models.mlp import Mlp
from l2b.normalise import (
    Fixed,
    ImageWeight,
    Normaliser,
    ObservedOnly,
    PerClass,
    PerImage,
    PerRegion,
    PerSample,
    PositiveShare,
    PseudoOnly,
    Shrinking,
    Standardised,
)
from l2b.notices import Notice
from l2b.pseudo import MovingAverage
from l2b.scores import candidate_score, candidate_scores
from l2b.train import Training
from l2b.types import Batch
from oracles import plain_step, unrolled_scores

SHORT = Run(training=Training(epochs=4, batch=256, clean_batch=40), model=Mlp(hidden=(16,)))


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def distributions(*shape, seed=0):
    return torch.softmax(3 * drawn(*shape, seed=seed), dim=1)


@pytest.fixture(scope="module")
def data():
    return SHORT.prepare()


# --- scores ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), share=st.floats(0, 1))
def test_scores_are_linear_in_the_target(seed, share):
    z, dz = drawn(6, 4, 2, seed=seed), drawn(6, 4, 2, seed=seed + 1)
    first, second = (distributions(6, 4, 2, seed=seed + k) for k in (2, 3))
    mixed = candidate_score(z, dz, share * first + (1 - share) * second)
    scores = candidate_scores(z, dz, (first, second))
    torch.testing.assert_close(mixed, share * scores[0] + (1 - share) * scores[1])


@given(seed=st.integers(0, 999))
def test_scores_of_all_classes_balance_under_the_models_own_prediction(seed):
    z, dz = drawn(5, 3, seed=seed), drawn(5, 3, seed=seed + 1)
    field = AllClasses(trust=0)(z, torch.zeros(5, dtype=torch.int64), torch.softmax(z, dim=1))
    raw = candidate_scores(z, dz, [candidate.target for candidate in field[1:]])
    priors = torch.stack([candidate.prior for candidate in field[1:]])
    torch.testing.assert_close((priors * raw).sum(dim=0), torch.zeros(5).double())


@pytest.mark.parametrize("name", ["mlp", "conv_batchnorm", "pixels"])
def test_every_candidate_has_the_score_of_the_unrolled_step(name):
    problem = Problem(name)
    shape = (7, 5, *problem.observed.shape[1:])
    soft = distributions(*shape, seed=4)
    weights = l2b.weigh(
        problem.model, *problem.batches(), candidates=Triple(), pseudo=lambda *_: soft
    )
    with torch.no_grad():
        net = functional(problem.model)
        own = net.apply(net.params, problem.inputs).argmax(dim=1)
    for k, target in ((1, own), (2, soft)):
        alpha, beta = unrolled_scores(
            problem.model, *problem.batches(), pseudo=target, virtual_step=plain_step(1.0)
        )
        torch.testing.assert_close(weights.scores[0], alpha, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(weights.scores[k], beta, rtol=1e-9, atol=1e-12)


# --- folding ---------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), count=st.integers(2, 5), pixels=st.booleans())
def test_folding_changes_neither_loss_nor_gradient(seed, count, pixels):
    shape = (4, 3, 2) if pixels else (4, 3)
    z = drawn(*shape, seed=seed).requires_grad_()
    draw = torch.Generator().manual_seed(seed)
    observed = torch.randint(3, (4, *shape[2:]), generator=draw)
    others = [distributions(*shape, seed=seed + k) for k in range(count - 2)]
    targets = [observed, *others, torch.randint(3, observed.shape, generator=draw)]
    weights = torch.rand(count, *observed.shape, generator=draw, dtype=torch.float64)
    weights = weights * (weights > 0.3)
    expected = sum(
        (w * cross_entropy(z, target)).sum() for w, target in zip(weights, targets, strict=True)
    )
    made = folded([Candidate(target) for target in targets], weights, weights, 3)
    found = bootstrapped_loss(z, observed, made)
    torch.testing.assert_close(found, expected)
    gradients = (torch.autograd.grad(loss, z)[0] for loss in (found, expected))
    torch.testing.assert_close(*gradients)
    torch.testing.assert_close(made.alpha + made.beta, weights.sum(dim=0))
    if made.pseudo.is_floating_point():
        assert (made.pseudo >= 0).all()
        torch.testing.assert_close(made.pseudo.sum(dim=1), torch.ones_like(made.beta))


PROPORTIONAL = [find(Normaliser, name)() for name in names(Normaliser)]
PROPORTIONAL = [normalise for normalise in PROPORTIONAL if normalise.proportional]


@pytest.mark.parametrize("normalise", PROPORTIONAL, ids=lambda n: type(n).__name__)
@given(seed=st.integers(0, 999))
def test_a_hard_pseudo_label_makes_all_classes_a_pair(normalise, seed):
    z, dz = drawn(8, 4, seed=seed), drawn(8, 4, seed=seed + 1)
    draw = torch.Generator().manual_seed(seed)
    observed, predicted = torch.randint(4, (2, 8), generator=draw)
    found = {}
    for candidates in (Pair(), AllClasses()):
        field = candidates(z, observed, predicted)
        raw = candidate_scores(z, dz, [candidate.target for candidate in field])
        scores = torch.stack([c.weighted(s) for c, s in zip(field, raw, strict=True)])
        weights = normalise.of_labels(scores, observed, predicted)
        found[candidates] = folded(field, weights, scores, 4)
    pair, every = found[Pair()], found[AllClasses()]
    torch.testing.assert_close(every.alpha, pair.alpha)
    torch.testing.assert_close(every.beta, pair.beta)
    assert torch.equal(every.pseudo.argmax(dim=1), pair.pseudo)


@pytest.mark.parametrize("normalise", PROPORTIONAL, ids=lambda n: type(n).__name__)
@pytest.mark.parametrize("trust", [0.0, 1.0])
def test_impossible_classes_get_no_weight_where_nothing_helps(normalise, trust):
    z, observed = drawn(6, 4), torch.zeros(6, dtype=torch.int64)
    possible = torch.tensor([0.0, 0.7, 0.3, 0.0]).double().expand(6, 4)
    field = AllClasses(trust=trust)(z, observed, possible)
    scores = torch.stack([candidate.weighted(-torch.ones(6).double()) for candidate in field])
    weights = normalise.of_labels(scores, observed, observed)
    assert weights.isfinite().all() and weights[[1, 4]].sum() == 0
    assert (weights[0].sum() > 0) == (trust > 0 and weights.sum() > 0)
    made = folded(field, weights, scores, 4)
    assert (made.pseudo[:, [0, 3]] == 0).all()


def test_implausible_classes_get_no_weight():
    z, dz = drawn(6, 4), drawn(6, 4, seed=1)
    observed = torch.zeros(6, dtype=torch.int64)
    plausible = torch.tensor([0.0, 0.7, 0.3, 0.0]).double().expand(6, 4)
    field = AllClasses(trust=0)(z, observed, plausible)
    raw = candidate_scores(z, dz, [candidate.target for candidate in field])
    scores = torch.stack([c.weighted(s) for c, s in zip(field, raw, strict=True)])
    made = folded(field, PositiveShare()(scores), scores, 4)
    assert made.alpha.sum() == 0
    assert (made.pseudo[:, [0, 3]] == 0).all()
    by_class = (torch.softmax(z, dim=1) * dz).sum(dim=1, keepdim=True) - dz
    expected = (plausible * by_class).clamp_min(0)
    torch.testing.assert_close(made.beta, expected.sum(dim=1) / expected.sum())


@pytest.mark.parametrize("name", names(Candidates))
@pytest.mark.parametrize("soft", [True, False], ids=["soft", "hard"])
def test_every_choice_of_candidates_weighs_a_batch(name, soft):
    problem = Problem("mlp")
    source = MovingAverage(soft=soft).build(problem.model)
    candidates = find(Candidates, name)()
    found = l2b.weigh(problem.model, *problem.batches(), candidates=candidates, pseudo=source)
    assert found.alpha.shape == found.beta.shape == (7,)
    total = (found.alpha + found.beta).sum().item()
    assert math.isclose(total, 1, rel_tol=1e-6) or total == 0
    z, passed = l2b.weighed_pass(
        problem.model, *problem.batches(), candidates=candidates, pseudo=source
    )
    torch.testing.assert_close(passed.alpha, found.alpha, rtol=1e-6, atol=1e-9)
    assert bootstrapped_loss(z, problem.observed, passed).isfinite()


def test_ablations_and_fixed_weights_take_any_number_of_candidates():
    scores = drawn(4, 6).abs()
    assert ObservedOnly()(scores)[1:].sum() == 0
    assert PseudoOnly()(scores)[0].sum() == 0
    torch.testing.assert_close(PseudoOnly()(scores)[1:], scores[1:] / scores[1:].sum())
    fixed = Fixed(alpha=0.7, beta=0.3)(scores) * 6
    torch.testing.assert_close(fixed[:, 0], torch.tensor([0.7, 0.1, 0.1, 0.1]).double())


def test_distrust_and_forgetful_memories_are_refused():
    with pytest.raises(ValueError, match=r"trust >= 0, got -1"):
        AllClasses(trust=-1)
    with pytest.raises(ValueError, match=r"weights of two labels, not those of Triple"):
        L2B(candidates=Triple(), amortise=Amortisation(weights_every=2))


@pytest.mark.parametrize("name", names(Normaliser))
def test_only_shares_of_positive_scores_take_priors(name):
    """Where a pixel's score is 0 and others help, a share is 0 and anything else need not be."""
    scores = drawn(3, 4, 5, 5).abs()
    scores[2, :, :3] = 0.0
    normalise, labels = find(Normaliser, name)(), torch.zeros(4, 5, 5, dtype=torch.int64)
    weights = normalise.of_labels(scores, labels, labels)
    assert (weights[2, :, :3].max() == 0) == normalise.proportional
    problem = Problem("mlp")
    soft = MovingAverage(soft=True).build(problem.model)
    if normalise.proportional:
        L2B(normalise=normalise, candidates=AllClasses())
        l2b.weigh(
            problem.model, *problem.batches(), normalise=normalise, candidates=AllClasses(),
            pseudo=soft,
        )  # fmt: skip
        return
    message = f"AllClasses multiplies scores .* {type(normalise).__name__} would give weight"
    with pytest.raises(ValueError, match=message):
        L2B(normalise=normalise, candidates=AllClasses())
    for weighing in (l2b.weigh, l2b.weighed_pass):
        with pytest.raises(ValueError, match=message):
            weighing(
                problem.model, *problem.batches(), normalise=normalise, candidates=AllClasses()
            )
    L2B(normalise=normalise, candidates=Triple())


@pytest.mark.parametrize("temperature, fits", [(0.0, True), (0.5, False)])
def test_what_fits_priors_depends_on_what_is_inside(temperature, fits):
    for around in (PseudoOnly, PerImage, Standardised):
        assert around(then=PerSample(temperature=temperature)).proportional == fits


# --- normalisers -----------------------------------------------------------------------------


@given(seed=st.integers(0, 999), classes=st.integers(1, 5), balanced=st.booleans())
def test_per_class_weights_by_definition(seed, classes, balanced):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 12, generator=draw, dtype=torch.float64)
    observed = torch.randint(classes, (12,), generator=draw)
    scores[:, observed == 0] = -1.0
    weights = PerClass(balanced=balanced).of_labels(scores, observed, observed)
    helped = [k for k in range(classes) if (scores[:, observed == k] > 0).any()]
    sizes = {k: 1 if balanced else int((observed == k).sum()) for k in helped}
    for k in set(observed.tolist()):
        inside = weights[:, observed == k]
        share = sizes.get(k, 0) / max(1, sum(sizes.values()))
        expected = PositiveShare()(scores[:, observed == k]) * share
        torch.testing.assert_close(inside, expected)
    order = torch.randperm(12, generator=draw)
    moved = observed[order]
    again = PerClass(balanced=balanced).of_labels(scores[:, order], moved, moved)
    torch.testing.assert_close(again, weights[:, order])
    scaled = PerClass(balanced=balanced).of_labels(7 * scores, observed, observed)
    torch.testing.assert_close(scaled, weights)


def test_per_class_takes_pixels_soft_labels_and_wrappers():
    scores, observed = drawn(2, 3, 4, 5), torch.zeros(3, 4, 5, dtype=torch.int64)
    share = PositiveShare()(scores)
    torch.testing.assert_close(PerClass()(scores), share)
    torch.testing.assert_close(PerClass().of_labels(scores, observed, observed), share)
    scores, observed = drawn(2, 6), torch.arange(6) % 3
    hard = PerClass().of_labels(scores, observed, observed)
    soft = torch.nn.functional.one_hot(observed).double()
    torch.testing.assert_close(PerClass().of_labels(scores, soft, soft), hard)
    for wrapper, shut_out in ((ObservedOnly, 1), (PseudoOnly, 0)):
        left = scores.clone()
        left[shut_out] = -torch.inf
        torch.testing.assert_close(
            wrapper(then=PerClass()).of_labels(scores, observed, observed),
            PerClass().of_labels(left, observed, observed),
        )


@given(seed=st.integers(0, 999), inside=st.sampled_from([PerClass(), PerRegion(), PositiveShare()]))
def test_an_image_is_weighed_with_its_labels_as_if_it_were_alone(seed, inside):
    draw = torch.Generator().manual_seed(seed)
    scores = torch.randn(2, 3, 4, 5, generator=draw, dtype=torch.float64)
    observed, pseudo = torch.randint(2, (2, 3, 4, 5), generator=draw)
    found = PerImage(then=inside).of_labels(scores, observed, pseudo)
    for i in range(3):
        one = slice(i, i + 1)
        alone = inside.of_labels(scores[:, one], observed[one], pseudo[one])
        torch.testing.assert_close(3 * found[:, one], alone)


def test_one_weight_for_an_image_cannot_look_at_the_labels_of_pixels():
    for inside in (PerClass(), PerRegion(), PseudoOnly(then=PerClass())):
        with pytest.raises(ValueError, match=f"one weight, and {type(inside).__name__} looks"):
            ImageWeight(then=inside)


@given(seed=st.integers(0, 999), size=st.floats(1e-9, 1e9), scale=st.floats(1e-6, 1e3))
def test_shrinking_weights_fall_with_the_scores(seed, size, scale):
    scores = drawn(2, 5, seed=seed)
    small, large = (Shrinking(scale=scale)(f * scores) for f in (size, 2 * size))
    share = PositiveShare()(scores)
    for factor, weights in ((size, small), (2 * size, large)):
        mean = factor * scores.clamp_min(0).sum() / 5
        torch.testing.assert_close(weights, share * mean / (mean + scale), rtol=1e-6, atol=0)
    assert (large >= small).all() and 0 <= small.sum() <= large.sum() <= 1 + 1e-12


def test_shrinking_ends():
    scores = drawn(2, 5)
    torch.testing.assert_close(Shrinking(scale=0)(scores), PositiveShare()(scores))
    assert Shrinking()(-scores.abs()).sum() == 0
    assert Shrinking(scale=0)(-scores.abs()).sum() == 0
    with pytest.raises(ValueError, match="scale >= 0, got -1"):
        Shrinking(scale=-1)


def test_all_of_it_survives_the_round_trip_and_the_command_line():
    method = L2B(
        candidates=AllClasses(trust=0.5),
        normalise=PerClass(balanced=True),
        start="clean",
        clean_weight=0.5,
        cross_fit=True,
    )
    assert load(Run, dump(Run(method=method))) == Run(method=method)
    words = "--candidates all_classes --trust 0.5 --normalise per_class --balanced true"
    words += " --start clean --clean_weight 0.5 --cross_fit true"
    assert parse(Run, words.split()).method == method


# --- the clean term --------------------------------------------------------------------------


@given(counts=st.lists(st.integers(1, 9), min_size=2, max_size=5), seed=st.integers(0, 99))
def test_halves_are_disjoint_even_and_swap(counts, seed):
    labels = torch.arange(len(counts)).repeat_interleave(torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(seed))]
    halves, index = Halves(labels), torch.arange(len(labels))
    clean = Batch(index=index, inputs={"x": index.float()}, labels=labels)
    first, second = halves.split(clean, 0), halves.split(clean, 1)
    if first.to_fit is clean:  # a part would be a single sample, which has no variance
        assert first.to_weigh is second.to_weigh is second.to_fit is clean
        assert min(int(halves.second.sum()), int((~halves.second).sum())) < 2
        return
    for (weigh, fit, _), (other_weigh, other_fit, _) in (
        (first, second),
        (second, halves.split(clean, 2)),
    ):
        assert torch.equal(torch.cat([weigh.index, fit.index]).sort().values, index)
        assert torch.equal(weigh.index, other_fit.index)
        assert torch.equal(fit.index, other_weigh.index)
        assert torch.equal(weigh.inputs["x"], weigh.index.float())
        for k, count in enumerate(counts):
            assert abs(2 * int((weigh.labels == k).sum()) - count) <= 1
    alone = rows_of(clean, index[:1])
    assert all(torch.equal(part.index, alone.index) for part in halves.split(alone, 0)[:2])
    assert first.share == second.share == 1


def test_a_class_with_one_clean_sample_is_not_given_to_one_half_alone(data):
    assert Halves(torch.tensor([0, 1, 0, 1])).whole and not Halves(torch.tensor([0, 1, 0])).whole
    pool, ten = data.clean, torch.arange(10)
    lonely = replace(pool, inputs=pool.inputs[ten], index=pool.index[ten], labels=ten, true=None)
    run = replace(SHORT, method=L2B(warmup=0), training=Training(epochs=1, clean_batch=10))
    for clean, divided in ((pool, True), (lonely, False)):
        found = run.execute(progress=False, data=replace(data, clean=clean)).outcome
        assert (found.learner.halves is not None) == divided


def test_halves_of_masks_keep_patients_whole():
    masks = torch.ones(6, 3, 3, dtype=torch.int64)
    clean = Batch(index=torch.arange(6), inputs=masks.unsqueeze(1).float(), labels=masks)
    halves = Halves(masks, torch.tensor([4, 4, 7, 7, 7, 9]))
    weigh, fit, _ = halves.split(clean, 0)
    assert (weigh.index.tolist(), fit.index.tolist()) == ([2, 3, 4], [0, 1, 5])
    assert halves.whole and not Halves(masks, torch.full((6,), 3)).whole


def test_halves_of_masks_are_every_other_image():
    masks = torch.zeros(5, 3, 3, dtype=torch.int64)
    masks[:, 0] = 1
    clean = Batch(index=torch.arange(5), inputs=masks.unsqueeze(1).float(), labels=masks)
    weigh, fit, _ = Halves(masks).split(clean, 0)
    assert (weigh.index.tolist(), fit.index.tolist()) == ([1, 3], [0, 2, 4])


def test_cross_fitting_never_weighs_by_what_it_trains_on(data, monkeypatch):
    seen = {"weigh": [], "fit": []}
    weigh, fit = L2BLearner._weighed_pass, L2BLearner._clean_term

    def weighing(self, batch, clean):
        seen["weigh"].append((self.epoch, set(clean.index.tolist())))
        return weigh(self, batch, clean)

    def fitting(self, parts):
        seen["fit"].append((self.epoch, set(parts.to_fit.index.tolist())))
        return fit(self, parts)

    monkeypatch.setattr(L2BLearner, "_weighed_pass", weighing)
    monkeypatch.setattr(L2BLearner, "_clean_term", fitting)
    method = L2B(clean_weight=1.0, cross_fit=True, warmup=0)
    replace(SHORT, method=method).execute(progress=False, data=data)
    by_epoch = {
        part: [set.union(*(s for e, s in seen[part] if e == epoch)) for epoch in range(4)]
        for part in seen
    }
    for epoch in range(4):
        assert not by_epoch["weigh"][epoch] & by_epoch["fit"][epoch]
    assert by_epoch["weigh"][0] == by_epoch["fit"][1] == by_epoch["weigh"][2]
    assert len(by_epoch["weigh"][0] | by_epoch["fit"][0]) == len(data.clean)


def test_a_clean_start_is_clean_only_training(data):
    start = replace(SHORT, method=L2B(start="clean", warmup=4, cross_fit=False))
    with pytest.warns(Notice, match="all of it is plain training"):
        start = start.execute(progress=False, data=data)
    clean = replace(SHORT, method=CleanOnly()).execute(progress=False, data=data)
    assert start.outcome.history == clean.outcome.history


def test_a_clean_term_lowers_the_clean_loss(data):
    def clean_loss(weight):
        training = replace(SHORT.training, epochs=12)
        run = replace(SHORT, method=L2B(clean_weight=weight, warmup=1), training=training)
        learner = run.execute(progress=False, data=data).outcome.learner
        z = learner.predict(data.standardise(data.clean.inputs))
        return cross_entropy(z, data.clean.labels).mean()

    assert clean_loss(1.0) < 0.5 * clean_loss(0.0)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"start": "cold"}, "start 'noisy' or 'clean', got 'cold'"),
        ({"clean_weight": -1.0}, "clean_weight >= 0, got -1"),
    ],
)
def test_clean_settings_without_meaning_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        L2B(**settings)

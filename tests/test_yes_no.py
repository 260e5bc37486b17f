"""Several yes-or-no labels a sample: the drop-in does for labels what it does for pixels."""

import copy

import pytest
import torch
from torch import nn
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits

import l2b
from l2b.losses import cross_entropy
from l2b.normalise import PerSample

LABELS, N, M = 4, 9, 6


@pytest.fixture
def task():
    """A network of several logits in float64, and batches of which some labels are missing."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        network = nn.Sequential(nn.Linear(5, 7), nn.Tanh(), nn.Linear(7, LABELS)).double()
        x, clean = torch.randn(N, 5).double(), torch.randn(M, 5).double()
        observed, labels = (torch.randint(-1, 2, (size, LABELS)) for size in (N, M))
    return network, x, observed, clean, labels


def losses(z, y):
    """Binary cross-entropy of every label, 0 where nobody knows it."""
    known = binary_cross_entropy_with_logits(z, y.clamp_min(0).to(z), reduction="none")
    return torch.where(y < 0, 0.0, known)


def unrolled(network, x, observed, clean, labels):
    """Eqs. 15 and 20 for binary labels: a virtual step on α and β, then their clean gradient."""
    params = {name: p.detach().requires_grad_() for name, p in network.named_parameters()}
    z = functional_call(network, params, (x,))
    pseudo = torch.where(observed < 0, -1, (z.detach() > 0).long())
    alpha, beta = (torch.zeros_like(z, requires_grad=True) for _ in range(2))
    loss = (alpha * losses(z, observed) + beta * losses(z, pseudo)).sum()
    slope = torch.autograd.grad(loss, list(params.values()), create_graph=True)
    ahead = {name: p - g for (name, p), g in zip(params.items(), slope, strict=True)}
    clean_loss = losses(functional_call(network, ahead, (clean,)), labels).mean()
    return [-g for g in torch.autograd.grad(clean_loss, [alpha, beta])]


@pytest.mark.parametrize("engine", ["forward", "double_backward"])
def test_scores_are_those_of_binary_cross_entropy(task, engine):
    network, *batches = task
    found = l2b.weigh(l2b.YesNo(network), *batches, engine=getattr(l2b.engines, engine))
    expected = unrolled(*task)
    void = batches[1] < 0
    for score, other in zip(found.scores, expected, strict=True):
        torch.testing.assert_close(score[~void], other[~void], rtol=1e-9, atol=1e-12)
        assert score[void].isneginf().all()
    total = sum(score.clamp_min(0).sum() for score in expected)
    torch.testing.assert_close(found.alpha, expected[0].clamp_min(0) / total)
    assert not found.alpha[void].any() and not found.beta[void].any()


def test_the_last_layer_is_found_and_may_be_named(task):
    network, *batches = task
    named = l2b.engines.LastLayer(layer="network.2")
    model = l2b.YesNo(network)
    head = copy.deepcopy(network)
    for parameter in head[0].parameters():
        parameter.requires_grad_(requires_grad=False)
    found = l2b.weigh(model, *batches, engine=named).scores
    torch.testing.assert_close(found, l2b.weigh(l2b.YesNo(head), *batches).scores)
    again = l2b.weigh(model, *batches, engine=l2b.engines.last_layer).scores
    assert torch.equal(again, found)


def test_losses_and_probabilities_are_binary(task):
    network, x, observed, *_ = task
    model, z = l2b.YesNo(network), network(x)
    torch.testing.assert_close(cross_entropy(model(x), observed), losses(z, observed))
    torch.testing.assert_close(model(x).softmax(dim=1)[:, 1], z.sigmoid())
    assert torch.equal(model(x).argmax(dim=1), (z > 0).long())


def test_one_label_is_a_choice_of_two_classes(task):
    network, x, observed, clean, labels = task
    network = nn.Sequential(network, nn.Linear(LABELS, 1).double())
    single = l2b.YesNo(network)

    class Two(nn.Module):
        def forward(self, x):
            return single(x).squeeze(2)

        def __init__(self):
            super().__init__()
            self.network = network

    y, trusted = observed[:, :1].clamp_min(0), labels[:, :1].clamp_min(0)
    found = l2b.weigh(single, x, y, clean, trusted, normalise=PerSample())
    other = l2b.weigh(Two(), x, y[:, 0], clean, trusted[:, 0], normalise=PerSample())
    torch.testing.assert_close(found.alpha[:, 0], other.alpha)
    torch.testing.assert_close(found.beta[:, 0], other.beta)


def test_inputs_of_any_kind_reach_the_network():
    class Sum(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(3, 2)

        def forward(self, a, b):
            return self.layer(a + b)

    a, b, net = torch.randn(4, 3), torch.randn(4, 3), Sum()
    y = torch.randint(0, 2, (4, 2))
    parts = l2b.weigh(l2b.YesNo(net), (a, b), y, (a, b), y)
    named = l2b.weigh(l2b.YesNo(net), {"a": a, "b": b}, y, {"b": b, "a": a}, y)
    torch.testing.assert_close(parts.scores, named.scores)


@pytest.mark.parametrize("shape", [(8,), (8, 3, 2)])
def test_anything_but_a_logit_for_each_label_is_refused(shape):
    class Fixed(nn.Module):
        def forward(self, x):
            return x.new_zeros(shape)

    with pytest.raises(ValueError, match=r"one logit for each label, \[n, labels\], got \(8"):
        l2b.YesNo(Fixed())(torch.zeros(8, 2))


def test_outputs_that_have_logits_are_understood(task):
    network, x, *_ = task

    class Named(nn.Module):
        def forward(self, x):
            return {"logits": network(x)}

    assert torch.equal(l2b.YesNo(Named())(x), l2b.YesNo(network)(x))

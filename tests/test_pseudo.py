"""Contract of every source of pseudo-labels, and what each is by definition."""

import copy

import pytest
import torch
from torch import nn

import l2b
from conftest import Conv, Problem, mlp
from l2b.catalog import find, names
from l2b.guards import first_broken
from l2b.pseudo import MovingAverage, PseudoLabels, SelfLabels, Temporal


@pytest.mark.parametrize("name", names(PseudoLabels))
def test_every_source_labels_updates_and_resumes(name):
    problem = Problem("mlp")
    spec, index = find(PseudoLabels, name)(), torch.arange(7)
    source = spec.build(problem.model, samples=7)
    for _ in range(2):
        z = problem.model(problem.inputs).detach()
        source.update(problem.model, z, index)
        with torch.no_grad():
            problem.model[1].weight += 0.1
    again = spec.build(copy.deepcopy(problem.model), samples=7)
    again.load_state_dict(source.state_dict())
    before = source(z, problem.inputs, index)
    assert torch.equal(again(z, problem.inputs, index), before)
    assert torch.equal(source(z, problem.inputs, index), before)  # labelling changes nothing
    found = l2b.weigh(problem.model, *problem.batches(), pseudo=source, index=index)
    assert found.alpha.shape == found.beta.shape == (7,)
    if before.is_floating_point():
        torch.testing.assert_close(before.float().sum(dim=1), torch.ones(7))


def test_soft_self_labels_are_refused():
    with pytest.raises(ValueError, match=r"SelfLabels needs soft=False.*become L2RW"):
        SelfLabels(soft=True)


@pytest.mark.parametrize("visited", [False, True])
@pytest.mark.parametrize("index", [[0, 4], [-1, 0]])
def test_positions_beyond_the_memory_are_refused_at_every_visit(index, visited):
    """A negative one would be another sample's, silently."""
    memory, z = Temporal().build(mlp(), samples=4), torch.zeros(2, 5)
    if visited:
        memory.update(mlp(), z, torch.tensor([0, 1]))
    before = memory.visits.clone()
    for call in (
        lambda: memory(z, z, torch.tensor(index)),
        lambda: memory.update(mlp(), z, torch.tensor(index)),
    ):
        with pytest.raises(ValueError, match=r"built for 4 samples, so index must lie in \[0, 4\)"):
            call()
    assert torch.equal(memory.visits, before)


@pytest.mark.parametrize("spec", [MovingAverage, Temporal])
def test_decays_outside_their_range_are_refused(spec):
    with pytest.raises(ValueError, match=r"0 <= decay < 1, got 1"):
        spec(decay=1.0)


def test_moving_average_by_definition():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    teacher = MovingAverage(decay=0.15).build(model)
    expected = model.weight.detach().clone()
    for step in range(4):
        with torch.no_grad():
            model.weight += 1
        teacher.update(model, torch.zeros(1, 2), None)
        keep = 0.0 if step == 0 else min(0.15, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * model.weight.detach()
        torch.testing.assert_close(teacher.average.module.weight, expected)


def test_moving_average_follows_running_statistics_in_evaluation_mode():
    model = Conv(dropout=0.5)
    teacher = MovingAverage(decay=0.0, soft=False).build(model)
    x = torch.randn(6, 1, 6, 6)
    model(x)
    teacher.update(model, torch.zeros(1, 5), None)
    expected = copy.deepcopy(model).eval()(x).argmax(dim=1)
    assert torch.equal(teacher(torch.zeros(6, 5), x, None), expected)
    assert not any(p.requires_grad for p in teacher.average.parameters())


def test_moving_average_of_running_statistics_and_counts_by_definition():
    torch.manual_seed(0)
    model = nn.BatchNorm1d(3).double()
    teacher = MovingAverage(decay=0.5).build(model)
    expected = model.running_mean.clone()
    for step in range(12):
        model(torch.randn(5, 3, dtype=torch.float64) + 1)
        teacher.update(model, torch.zeros(1, 3), None)
        keep = 0.0 if step == 0 else min(0.5, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * model.running_mean
        averaged = teacher.average.module
        torch.testing.assert_close(averaged.running_mean, expected)
        assert averaged.num_batches_tracked == step + 1


def test_temporal_average_is_bias_corrected_and_per_sample():
    memory = Temporal(decay=0.5).build(mlp(), samples=4)
    first, second = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    row = torch.tensor([2])
    fresh = torch.tensor([[0.3, -0.3]])
    torch.testing.assert_close(memory(fresh, fresh, row), torch.softmax(fresh, 1))
    memory.update(mlp(), first, row)
    torch.testing.assert_close(memory(fresh, fresh, row), torch.softmax(first, 1))
    memory.update(mlp(), second, row)
    expected = (0.25 * torch.softmax(first, 1) + 0.5 * torch.softmax(second, 1)) / 0.75
    torch.testing.assert_close(memory(fresh, fresh, row), expected)
    other = torch.tensor([1])
    torch.testing.assert_close(memory(fresh, fresh, other), torch.softmax(fresh, 1))


def test_temporal_labels_start_without_a_say():
    problem = Problem("mlp")
    memory = Temporal().build(problem.model, samples=7)
    found = l2b.weigh(problem.model, *problem.batches(), pseudo=memory, index=torch.arange(7))
    torch.testing.assert_close(found.scores[1], torch.zeros(7).double(), atol=1e-12, rtol=0)


def test_temporal_says_what_it_needs():
    with pytest.raises(ValueError, match="needs the number of training samples"):
        Temporal().build(mlp())
    memory = Temporal().build(mlp(), samples=4)
    with pytest.raises(ValueError, match="pass index="):
        memory.update(mlp(), torch.zeros(1, 5), None)


class Causal(nn.Module):
    """A model with a mask of -inf among its buffers."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(3))

    def forward(self, x):
        return torch.softmax(self.linear(x).unsqueeze(1) + self.mask, dim=-1).sum(dim=1)


def test_masks_of_attention_stay_as_they_are():
    torch.manual_seed(0)
    model, x = Causal(), torch.randn(4, 3)
    teacher = MovingAverage(decay=0.9).build(model)
    for _ in range(3):
        teacher.update(model, model(x).detach(), None)
    torch.testing.assert_close(teacher(x, x, None), torch.softmax(model(x), dim=1))
    assert first_broken(model) is None
    model.mask[0, 0] = torch.nan
    assert first_broken(model) == "mask"
    model.mask[0, 0] = 0
    model.linear.bias.data[0] = -torch.inf
    assert first_broken(model) == "linear.bias"

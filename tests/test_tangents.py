"""Tangents beside an ordinary forward pass answer to forward mode and to the definition."""

import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from l2b.engines import forward
from l2b.functional import forward as ordinary
from l2b.functional import functional
from l2b.scores import bootstrap_scores
from l2b.tangents import beside, with_tangents
from oracles import cross_entropy, plain_step, unrolled_scores

TOLERANCE = 1e-9


class Residual(nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.inplace = inplace
        self.one, self.norm = nn.Conv2d(4, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.two = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x):
        y = self.two(F.relu(self.norm(self.one(x)), inplace=self.inplace))
        y += x
        return F.relu(y, inplace=self.inplace)


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.deep, self.deep_norm = nn.Conv2d(4, 6, 3, padding=1), nn.GroupNorm(2, 6)
        self.up = nn.ConvTranspose2d(6, 4, 2, stride=2, bias=False)
        self.out = nn.Conv2d(14, 3, 1)

    def forward(self, x):
        high = F.relu(self.norm(self.down(x)))
        low = F.gelu(self.deep_norm(self.deep(F.max_pool2d(high, 2))))
        wide = F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)
        return self.out(torch.cat([high, self.up(low), wide], dim=1))


class Encoder(nn.Module):
    def __init__(self, dropout=0.0, norm_first=False, own_attention=False):
        super().__init__()
        self.words, self.places = nn.Embedding(11, 8), nn.Parameter(torch.randn(5, 8) * 0.1)
        self.layer = nn.TransformerEncoderLayer(
            8, 2, 16, dropout=dropout, batch_first=True, norm_first=norm_first, activation="gelu"
        )
        self.own, self.mix = own_attention, nn.Linear(8, 24)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        x = self.words(x) + self.places
        if self.own:
            q, k, v = self.mix(x).view(len(x), 5, 3, 2, 4).permute(2, 0, 3, 1, 4)
            y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
            x = x + y.transpose(1, 2).reshape(len(x), 5, 8)
        return SimpleNamespace(logits=self.head(self.layer(x).mean(1)))


class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, 3)
        self.two.weight = self.one.weight

    def forward(self, x):
        return self.head(torch.tanh(self.two(torch.sigmoid(self.one(x)))))


class Writes(nn.Module):
    """Views, slices and in-place operations of many kinds."""

    def __init__(self):
        super().__init__()
        self.lin, self.gain, self.head = nn.Linear(6, 8), nn.Parameter(torch.randn(8)), None
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        h = self.lin(x)
        left, right = h[:, :4], h[:, 4:]
        left.mul_(self.gain[:4]).add_(right, alpha=0.5)
        h[:, 2] = right.sum(1)
        right.sub_(h.detach()[:, :4]).div_(2.0)
        out = torch.zeros_like(h)
        out[:, :4] = torch.exp(0.3 * left)
        out[:, 4:].copy_(right.erf())
        out[0].zero_()
        out.clamp_(max=1.5)
        h = out + self.gain
        h = torch.where(h > 0, h, 0.1 * h).t().contiguous().t()
        h = h.masked_fill(h > 2, 1.0)
        with torch.no_grad():
            scale = h.norm()
        return self.head(h / (1 + scale))


class Many(nn.Module):
    """Operations that have no rule, and ones that hide what they do."""

    def __init__(self):
        super().__init__()
        self.lin, self.gru = nn.Linear(6, 8), nn.GRUCell(4, 4)
        self.pair, self.head = nn.Bilinear(4, 4, 5), nn.Linear(13, 3)

    def forward(self, x):
        h = torch.tanh(self.lin(x))
        a, b = h.chunk(2, 1)
        c = self.gru(a, b)
        h = torch.einsum("ni,nj->nij", c, a).logsumexp(2) + h.unflatten(1, (2, 4)).prod(1)
        h = h + torch.sort(a, 1).values + a.topk(4, 1).values + a.cumprod(1)
        h[torch.arange(6) % 2 == 0] *= 0.5
        h = h.index_put((torch.tensor([0, 1]),), b[:2])
        h = h.scatter_add(1, torch.zeros(6, 2, dtype=torch.int64), c[:, :2])
        h[1:3, ::2] += b[:2, ::2].amax(1, keepdim=True)
        std = h.std(1, keepdim=True) + torch.linalg.vector_norm(h, dim=1, keepdim=True)
        h = F.pad(torch.stack([h / std, a.pow(2).add(1).sqrt()], 2).sum(2), (1, 1)).roll(1, 1)
        g = checkpoint(lambda t: torch.sin(self.pair(t, t * 2)), b, use_reentrant=False)
        return self.head(torch.cat([h[:, 1:], g, torch.maximum(a, b)[:, :3]], 1))


class Spectral(nn.Module):
    """Through complex numbers."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        f = torch.fft.rfft(self.one(x))
        return self.two(torch.fft.irfft(f * f.conj().sin(), n=8))


class Shared(nn.Module):
    """Intermediate results with several readers, alive and gone."""

    def __init__(self):
        super().__init__()
        self.one, self.two, self.head = nn.Linear(6, 8), nn.Linear(8, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.one(x)
        a, b, c = F.relu(h), F.relu(h), h + h
        d = torch.sub(h, a)
        del h
        e = a + b
        e = torch.add(e, c, alpha=0.3)
        del c
        f = F.relu(e)
        e.mul_(0.5)
        g = self.two(f) + e
        unused = F.relu(g)
        del unused, e
        return self.head(F.relu(g + g.flip(0)) + F.relu(b) * d + F.relu(g))


def images(n=6, size=8):
    return torch.randn(n, 3, size, size, dtype=torch.float64)


def plain_conv(inplace=False):
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1, bias=False),
        nn.BatchNorm2d(4),
        nn.ReLU(inplace=inplace),
        nn.MaxPool2d(2),
        Residual(inplace),
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.BatchNorm2d(6, affine=False),
        nn.SiLU(inplace=inplace),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(6, 3),
    )


def plain_tail():
    return nn.Sequential(
        nn.AvgPool2d(2),
        nn.Upsample(scale_factor=2),
        nn.PixelShuffle(2),
        nn.Flatten(),
        nn.Linear(256, 3),
    )


def perceptron(*extra):
    return nn.Sequential(nn.Linear(6, 8), *extra, nn.ReLU(), nn.Linear(8, 3))


def frozen(model):
    first = next(model.parameters())
    first.requires_grad_(False)
    return model


def one_axis():
    return nn.Sequential(
        nn.Conv1d(2, 4, 3, padding=1),
        nn.BatchNorm1d(4),
        nn.LeakyReLU(0.1),
        nn.AvgPool1d(2),
        nn.ConvTranspose1d(4, 4, 2, stride=2),
        nn.Hardswish(),
        nn.InstanceNorm1d(4, affine=True),
        nn.Flatten(),
        nn.Linear(32, 3),
    )


def three_axes():
    return nn.Sequential(
        nn.Conv3d(1, 4, 3, padding=1),
        nn.BatchNorm3d(4),
        nn.ELU(),
        nn.MaxPool3d(2),
        nn.Flatten(),
        nn.Softmax(1),
        nn.Linear(32, 3),
    )


def flat(n=6):
    return torch.randn(n, 6, dtype=torch.float64)


def words(n=6):
    return torch.randint(0, 11, (n, 5))


def channels_last(model):
    return model.to(memory_format=torch.channels_last)


CASES = {
    "perceptron": (perceptron, flat),
    "batch norm of vectors": (lambda: perceptron(nn.BatchNorm1d(8)), flat),
    "layer norm": (lambda: perceptron(nn.LayerNorm(8)), flat),
    "layer norm without scale": (
        lambda: perceptron(nn.LayerNorm(8, elementwise_affine=False)),
        flat,
    ),
    "rms norm": (lambda: perceptron(nn.RMSNorm(8)), flat),
    "dropout": (lambda: perceptron(nn.Dropout(0.5)), flat),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(6, 3)), flat),
    "convolutions": (plain_conv, images),
    "in place": (lambda: plain_conv(True), images),
    "evaluation mode": (lambda: plain_conv().eval(), images),
    "channels last": (
        lambda: channels_last(plain_conv()),
        lambda: images().contiguous(memory_format=torch.channels_last),
    ),
    "dropout of channels": (lambda: nn.Sequential(nn.Dropout2d(0.3), plain_conv()), images),
    "pixels": (UNet, images),
    "frozen": (lambda: frozen(plain_conv()), images),
    "tied": (Tied, flat),
    "views and writes": (Writes, flat),
    "many operations": (Many, flat),
    "reflected borders": (
        lambda: nn.Sequential(
            nn.Conv2d(3, 4, 3, padding=1, padding_mode="reflect"), nn.PReLU(), plain_tail()
        ),
        images,
    ),
    "several readers": (Shared, flat),
    "encoder": (Encoder, words),
    "encoder with dropout": (lambda: Encoder(0.2, True), words),
    "fused attention": (lambda: Encoder(own_attention=True), words),
    "one axis": (one_axis, lambda: torch.randn(5, 2, 8, dtype=torch.float64)),
    "three axes": (three_axes, lambda: torch.randn(5, 1, 4, 4, 4, dtype=torch.float64)),
}


@pytest.fixture(params=CASES)
def case(request):
    torch.manual_seed(0)
    build, draw = CASES[request.param]
    return build().double(), draw()


def some_direction(model):
    return {n: torch.randn_like(p) for n, p in model.named_parameters() if p.requires_grad}


@pytest.fixture
def no_second_pass(monkeypatch):
    def refuse(*_):
        pytest.fail("fell back to a second pass")

    monkeypatch.setattr(beside._Before, "tangents", refuse)


def reference(model, inputs, direction):
    net = functional(model, frozenset(direction))
    with torch.random.fork_rng():
        return forward(net.apply, net.params, inputs, direction)


def close(a, b):
    torch.testing.assert_close(a, b, rtol=TOLERANCE, atol=TOLERANCE)


def test_equals_forward_mode(case, no_second_pass):
    model, inputs = case
    direction = some_direction(model)
    expected = by_difference_of_double_backward(model, inputs, direction)
    z, dz = with_tangents(model, inputs, direction)
    close(dz, expected)
    assert z.requires_grad and not dz.requires_grad


def by_difference_of_double_backward(model, inputs, direction):
    """ż by reverse mode twice, which follows exactly what autograd follows."""
    net = functional(model)
    leaves = {n: p.clone().requires_grad_() for n, p in net.params.items()}
    with (
        torch.random.fork_rng(),
        torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH),
    ):
        z = net.apply(leaves, inputs)
        u = torch.zeros_like(z, requires_grad=True)
        back = torch.autograd.grad(
            z, list(leaves.values()), u, create_graph=True, materialize_grads=True
        )
        total = sum((b * direction[n]).sum() for n, b in zip(leaves, back, strict=True))
        return torch.autograd.grad(total, u)[0]


FORWARD_MODE_DIFFERS = {
    "views and writes": "it follows what autograd does not: here, a norm under no_grad",
    "weight norm": "torch has no forward-mode rule",
}


@pytest.mark.parametrize("name", [n for n in CASES if n not in FORWARD_MODE_DIFFERS])
def test_equals_the_forward_engine(name, no_second_pass):
    torch.manual_seed(1)
    build, draw = CASES[name]
    model, inputs = build().double(), draw()
    direction = some_direction(model)
    probe = reference(model, inputs, direction)
    z, dz = with_tangents(model, inputs, direction)
    close(z.detach(), probe.z)
    close(dz, probe.dz)


def test_training_is_untouched(case):
    model, inputs = case
    twin = copy.deepcopy(model)
    torch.manual_seed(3)
    z, _ = with_tangents(model, inputs, some_direction_without_draws(model))
    drawn = torch.get_rng_state()
    torch.manual_seed(3)
    expected = ordinary(twin, inputs)
    assert torch.equal(drawn, torch.get_rng_state())
    assert torch.equal(z, expected)
    z.square().sum().backward()
    expected.square().sum().backward()
    for (name, p), q in zip(model.named_parameters(), twin.parameters(), strict=True):
        assert (p.grad is None) == (q.grad is None), name
        if p.grad is not None and q.grad is not None:
            assert torch.equal(p.grad, q.grad), name
    for (name, a), b in zip(model.named_buffers(), twin.buffers(), strict=True):
        assert torch.equal(a, b), name


def some_direction_without_draws(model):
    return {
        n: torch.linspace(-1, 1, p.numel(), dtype=p.dtype).view_as(p)
        for n, p in model.named_parameters()
        if p.requires_grad
    }


def test_restricted_direction(case, no_second_pass):
    model, inputs = case
    full = some_direction(model)
    names = list(full)
    kept = {n: full[n] for n in names[-1:]}
    zeros = {n: kept.get(n, torch.zeros_like(v)) for n, v in full.items()}
    close(
        with_tangents(model, inputs, kept).dz,
        by_difference_of_double_backward(model, inputs, zeros),
    )


@pytest.mark.parametrize("name", ["perceptron", "convolutions", "in place", "pixels", "dropout"])
def test_scores_equal_the_unrolled_definition(name):
    torch.manual_seed(5)
    build, draw = CASES[name]
    model, inputs, clean = build().double(), draw(), draw()
    with torch.random.fork_rng():
        shape = ordinary(copy.deepcopy(model), inputs).shape
    observed, clean_labels = (torch.randint(0, 3, (shape[0], *shape[2:])) for _ in range(2))
    predicted = torch.randint(0, 3, observed.shape)
    expected = unrolled_scores(
        model, inputs, observed, clean, clean_labels, predicted, plain_step(0.1), seed=7
    )
    net = functional(model)
    leaves = {n: p.clone().requires_grad_() for n, p in net.params.items()}
    torch.manual_seed(7)
    loss = cross_entropy(net.apply(leaves, clean), clean_labels).mean()
    v = torch.autograd.grad(loss, list(leaves.values()))
    torch.manual_seed(7)
    direction = {n: 0.1 * g for n, g in zip(leaves, v, strict=True)}
    z, dz = with_tangents(model, inputs, direction)
    close(bootstrap_scores(z.detach(), dz, observed, predicted), torch.stack(expected))


class StraightThrough(torch.autograd.Function):
    @staticmethod
    def forward(x):
        return x.clone()

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, dy):
        return 3 * dy

    @staticmethod
    def jvp(ctx, dx):
        return 3 * dx


class Custom(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.norm = perceptron(nn.Dropout(0.3)), nn.BatchNorm1d(3)

    def forward(self, x):
        return self.norm(StraightThrough.apply(self.net(x)))


def test_custom_functions_go_to_a_second_pass():
    torch.manual_seed(0)
    model, inputs = Custom().double(), flat()
    direction = some_direction(model)
    probe = reference(model, inputs, direction)
    before, state = copy.deepcopy(model), torch.get_rng_state()
    z, dz = with_tangents(model, inputs, direction)
    close(dz, probe.dz)
    close(z.detach(), probe.z)
    torch.set_rng_state(state)
    before(inputs)
    assert torch.equal(model.norm.running_mean, before.norm.running_mean)


@pytest.mark.parametrize("place", ["inside", "last"])
def test_scripted_functions_go_to_a_second_pass(place):
    swish = torch.jit.script(scripted)

    class Scripted(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

        def forward(self, x):
            h = self.one(x)
            return swish(self.two(h)) if place == "last" else self.two(swish(h))

    torch.manual_seed(0)
    model, inputs = Scripted().double(), flat()
    direction = some_direction(model)
    expected = by_difference_of_double_backward(model, inputs, direction)
    for _ in range(4):  # torch specialises a scripted function after its first calls
        z, dz = with_tangents(model, inputs, direction)
        close(dz, expected)
        assert z.requires_grad and not dz.requires_grad


def scripted(x: torch.Tensor) -> torch.Tensor:
    return x * torch.sigmoid(x)


class Padded(nn.Module):
    """An embedding with a row for padding, whose table is that of the output layer too."""

    def __init__(self, scale=1, opaque=False):
        super().__init__()
        kind = nn.Embedding if scale == 1 else Scaled
        self.words, self.mix = kind(11, 6, padding_idx=2), nn.Linear(6, 6)
        self.opaque = opaque

    def forward(self, x):
        h = torch.tanh(self.mix(self.words(x).mean(1)))
        z = F.linear(h, self.words.weight)
        return StraightThrough.apply(z) if self.opaque else z


class Scaled(nn.Embedding):
    def forward(self, input):
        return super().forward(input) * 3


@pytest.mark.parametrize("scale", [1, 3])
def test_what_is_looked_up_for_padding_stands_still(scale):
    torch.manual_seed(0)
    model = Padded(scale).double()
    opaque = copy.deepcopy(model)
    opaque.opaque = True
    inputs = words()
    inputs[:, 2:] = 2
    direction = some_direction(model)
    expected = by_difference_of_double_backward(model, inputs, direction)
    close(with_tangents(model, inputs, direction).dz, expected)
    close(reference(model, inputs, direction).dz, expected)
    close(with_tangents(opaque, inputs, direction).dz, 3 * expected)
    assert not any(part._forward_hooks for part in model.modules())


class RandomLeak(nn.Module):
    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        return self.two(F.rrelu(self.one(x), training=True))


class Behind(nn.Module):
    """Writes into memory that autograd follows, where autograd does not look."""

    def __init__(self):
        super().__init__()
        self.one, self.two = nn.Linear(6, 8), nn.Linear(8, 3)

    def forward(self, x):
        h = self.one(x).view(-1)
        with torch.no_grad():
            h.mul_(2)
        return self.two(h.view(len(x), 8))


def test_complex_numbers_go_to_a_second_pass():
    torch.manual_seed(0)
    model, inputs = Spectral().double(), flat()
    direction = some_direction(model)
    close(
        with_tangents(model, inputs, direction).dz,
        by_difference_of_double_backward(model, inputs, direction),
    )


def test_unknown_random_operations_repeat_their_draws():
    torch.manual_seed(0)
    model, inputs = RandomLeak().double(), flat()
    direction = some_direction(model)
    with torch.random.fork_rng():
        expected = by_difference_of_double_backward(model, inputs, direction)
    close(with_tangents(model, inputs, direction).dz, expected)


def test_writes_behind_autograd_go_to_a_second_pass(monkeypatch):
    model, inputs = Behind().double(), flat()
    called = []
    monkeypatch.setattr(beside._Before, "tangents", lambda *_: called.append(1) or torch.ones(1))
    with_tangents(model, inputs, some_direction(model))
    assert called


def test_recurrent_network_without_forward_mode_is_refused():
    class Recurrent(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x):
            return self.head(self.cell(x)[0][:, -1])

    model, inputs = Recurrent(), torch.randn(3, 5, 2)
    direction = some_direction(model)
    try:
        dz = with_tangents(model, inputs, direction).dz
    except NotImplementedError as error:
        assert "forward" in str(error)
    else:
        torch.testing.assert_close(dz, by_difference_of_double_backward(model, inputs, direction))


def test_parameters_in_one_memory():
    torch.manual_seed(0)
    model, inputs = perceptron().double(), flat()
    values = torch.cat([p.detach().flatten() for p in model.parameters()])
    start = 0
    for p in model.parameters():
        p.data = values[start : start + p.numel()].view_as(p)
        start += p.numel()
    direction = some_direction(model)
    close(with_tangents(model, inputs, direction).dz, reference(model, inputs, direction).dz)


def test_no_autocast_cache_hides_a_parameter(no_second_pass):
    torch.manual_seed(0)
    model, inputs = Tied(), torch.randn(6, 6)
    direction = some_direction(model)
    with torch.autocast("cpu", torch.bfloat16):
        ordinary(model, inputs)
        _, dz = with_tangents(model, inputs, direction)
    expected = reference(model, inputs, direction).dz
    assert dz.dtype == torch.bfloat16
    assert (dz.float() - expected).norm() < 0.03 * expected.norm()


def test_nothing_moves():
    model, inputs = perceptron().double(), flat()
    z, dz = with_tangents(model, inputs, {})
    assert z.requires_grad and not dz.any() and not dz.requires_grad


@pytest.mark.parametrize("name", ["nowhere", "0.weight"])
def test_tangents_must_fit(name):
    with pytest.raises(ValueError, match=name):
        with_tangents(perceptron(), torch.randn(2, 6), {name: torch.zeros(3)})


def test_memory_that_is_freed_takes_its_tangent_along():
    model = nn.Sequential(*[nn.Linear(4, 4) for _ in range(40)])
    z, _ = with_tangents(model, torch.randn(2, 4), some_direction(model))
    z.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


@pytest.mark.parametrize("mode", ["autocast", "all bfloat16"])
@pytest.mark.parametrize("training", [True, False])
def test_batch_norm_in_half_precision_is_close_to_full(no_second_pass, mode, training):
    torch.manual_seed(0)
    net = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 5, 3)
    ).train(training)
    x = torch.randn(6, 3, 8, 8)
    direction = {n: torch.randn_like(p) for n, p in net.named_parameters()}
    full = with_tangents(copy.deepcopy(net), x, direction).dz
    if mode == "autocast":
        with torch.autocast("cpu", torch.bfloat16):
            half = with_tangents(net, x, direction).dz
    else:
        low = {n: d.bfloat16() for n, d in direction.items()}
        half = with_tangents(net.bfloat16(), x.bfloat16(), low).dz
    assert ((half - full).norm() / full.norm()).item() < 0.03


@pytest.mark.parametrize("affine", [True, False])
def test_group_norm_of_images_with_their_channels_last(no_second_pass, affine):
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.GroupNorm(4, 8, affine=affine), nn.ReLU(),
        nn.Conv2d(8, 8, 3), nn.GroupNorm(2, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(8, 3),
    ).double()  # fmt: skip
    images = torch.randn(5, 3, 6, 7, dtype=torch.double)
    direction = some_direction(model)
    expected = reference(model, images, direction).dz
    for layout in (torch.channels_last, torch.contiguous_format):
        given = images.contiguous(memory_format=layout)
        close(with_tangents(model, given, direction).dz, expected)


def test_attention_with_a_scale_of_zero(no_second_pass):
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(4, 12)

        def forward(self, x):
            q, k, v = self.mix(x).unsqueeze(1).chunk(3, dim=-1)
            return F.scaled_dot_product_attention(q, k, v, scale=0.0).mean((1, 2))

    torch.manual_seed(0)
    model, inputs = Flat().double(), torch.randn(3, 5, 4, dtype=torch.double)
    direction = some_direction(model)
    close(with_tangents(model, inputs, direction).dz, reference(model, inputs, direction).dz)


@pytest.mark.parametrize("kind", ["flags", "sums"])
def test_attention_where_a_query_may_see_nothing(kind, no_second_pass):
    class Padded(nn.Module):
        def __init__(self):
            super().__init__()
            self.mix = nn.Linear(4, 12)

        def forward(self, x):
            q, k, v = self.mix(x).unsqueeze(1).chunk(3, dim=-1)
            seen = torch.ones(5, 5, dtype=torch.bool).tril()
            seen[:, 0] = False  # so the first query sees nothing
            mask = (
                seen
                if kind == "flags"
                else torch.zeros(5, 5).double().masked_fill(~seen, -torch.inf)
            )
            return F.scaled_dot_product_attention(q, k, v, attn_mask=mask).mean((1, 2))

    torch.manual_seed(0)
    model, inputs = Padded().double(), torch.randn(3, 5, 4, dtype=torch.double)
    direction = some_direction(model)
    found = with_tangents(model, inputs, direction)
    assert found.dz.isfinite().all()
    step = 1e-6
    moved = []
    for sign in (1, -1):
        params = {n: p.detach() + sign * step * direction[n] for n, p in model.named_parameters()}
        moved.append(torch.func.functional_call(model, params, inputs))
    torch.testing.assert_close(found.dz, (moved[0] - moved[1]) / (2 * step), rtol=1e-6, atol=1e-8)

"""Small models of every kind that the engines must handle, and settings of the suite."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from torch import Tensor, nn

from l2b.folder import RunFolder
from l2b.methods.l2b import L2B

torch.set_num_threads(1)  # two test processes on two cores
settings.register_profile("suite", deadline=None, max_examples=50, derandomize=True)
settings.load_profile("suite")


# Checks of scikit-learn that do again, on other memory, what another one has done.
AGAIN = ("(readonly_memmap=True)", "(readonly_memmap=True,X_dtype=float32)", "_sparse_array")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave them to `make test-all`."""
    for item in items:
        if item.name.removesuffix("]").endswith(AGAIN):
            item.add_marker("slow")


@pytest.fixture
def data_root() -> Path:
    """Real data sets, or a visible skip."""
    root = os.environ.get("L2B_DATA")
    if root is None:
        pytest.skip("L2B_DATA is unset: no real data sets at hand")
    return Path(root)


class Conv(nn.Module):
    """Convolution, BatchNorm, optional dropout, linear head."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(dropout)
        self.head = nn.Linear(4 * 36, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.drop(torch.relu(self.norm(self.conv(x)))).flatten(1))


class Pixels(nn.Module):
    """Per-pixel logits through BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 4, 3, padding=1)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Conv2d(4, 5, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.norm(self.conv(x))))


class Tied(nn.Module):
    """Two layers that share one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.flatten = nn.Flatten()
        self.first = nn.Linear(36, 36)
        self.second = nn.Linear(36, 36)
        self.second.weight = self.first.weight
        self.head = nn.Linear(36, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(self.flatten(x))))))


class HalfUsed(nn.Module):
    """Half of the parameters never take part; one of the others is frozen."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(36, 8)
        self.unused = nn.Linear(36, 8)
        self.head = nn.Linear(8, 5)
        self.used.bias.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.relu(self.used(x.flatten(1))))


class Attention(nn.Module):
    """Self-attention over the rows of an image, with LayerNorm."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(6, 2, 12, dropout=0.1, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 1, enable_nested_tensor=False)
        self.head = nn.Linear(6, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x.squeeze(1)).mean(dim=1))


class WithLogits(nn.Module):
    """Returns a mapping with logits, as language models do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = mlp()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.body(x), "hidden": x}


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(36, 12), nn.ReLU(), nn.Linear(12, 5))


def group_norm() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.GroupNorm(2, 4), nn.ReLU(), nn.Flatten(),
        nn.Linear(144, 5),
    )  # fmt: skip


ZOO: dict[str, Callable[[], nn.Module]] = {
    "mlp": mlp,
    "conv_batchnorm": Conv,
    "conv_dropout": lambda: Conv(dropout=0.3),
    "channels_last": lambda: Conv().to(memory_format=torch.channels_last),
    "evaluation_mode": lambda: Conv(dropout=0.3).eval(),
    "group_norm": group_norm,
    "pixels": Pixels,
    "tied": Tied,
    "half_used": HalfUsed,
    "attention": Attention,
    "attention_evaluation": lambda: Attention().eval(),
    "with_logits": WithLogits,
}


class Problem:
    """A model with a noisy and a clean batch, in float64."""

    def __init__(self, name: str, *, soft: bool = False, dtype: torch.dtype = torch.float64):
        draw = torch.Generator().manual_seed(len(name))
        with torch.random.fork_rng():
            torch.manual_seed(7)
            self.model = ZOO[name]().to(dtype)
        pixels = (6, 6) if name == "pixels" else ()
        self.inputs = torch.randn(7, 1, 6, 6, generator=draw).to(dtype)
        self.clean_inputs = torch.randn(9, 1, 6, 6, generator=draw).to(dtype)
        self.observed = torch.randint(5, (7, *pixels), generator=draw)
        self.clean_labels = torch.randint(5, (9, *pixels), generator=draw)
        if soft:
            shape = (7, 5, *pixels)
            self.observed = torch.softmax(torch.randn(shape, generator=draw).to(dtype), dim=1)

    def batches(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.inputs, self.observed, self.clean_inputs, self.clean_labels


@pytest.fixture(params=sorted(ZOO))
def problem(request: pytest.FixtureRequest) -> Problem:
    """One problem per kind of model."""
    return Problem(request.param)


def weighing(**settings):
    """L2B that weighs from the second epoch on and lets clean samples steer alone."""
    return L2B(**{"warmup": 1, "clean_weight": 0.0, "cross_fit": False} | settings)


def stop_after(monkeypatch, epochs):
    """Let runs die right after the checkpoint of this many epochs."""
    written = RunFolder.write_metrics

    def dying(self, history):
        written(self, history)
        if len(history) == epochs:
            raise KeyboardInterrupt

    monkeypatch.setattr(RunFolder, "write_metrics", dying)

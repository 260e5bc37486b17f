"""Residual networks for photographs (He et al. 2016, arXiv 1512.03385)."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from l2b.models.base import Model, image_channels

LAYERS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
DEEP = 50  # from here on blocks have three convolutions
EXPANSION = 4
SMALLEST = 8  # pixels; what is left is 1 × 1 before the average
HEAD = ("fc.weight", "fc.bias")
COUNT = "num_batches_tracked"  # older files lack it


@dataclass(frozen=True, kw_only=True)
class Resnet(Model):
    """ResNet-18, -34 or -50 for photographs, with ImageNet weights if given.

    Parameters are named as in most published weights (conv1, bn1, layer1.0.conv1, …, fc), so
    that a safetensors file of them can be read as it is.

    Attributes:
        depth: 18, 34 or 50; 50 has blocks of three convolutions, its stride in the middle one.
        width: channels of the first of four stages; each further one has twice as many.
        weights: a safetensors file of trained parameters; its last layer is left out where
            the number of classes differs.
    """

    channels_last: ClassVar[bool] = True
    depth: int = 18
    width: int = 64
    weights: Path | str | None = None

    def __post_init__(self) -> None:
        """Refuse depths that nobody has defined."""
        if self.depth not in LAYERS:
            raise ValueError(f"Resnet needs depth {', '.join(map(str, LAYERS))}, got {self.depth}.")
        if self.width < 1:
            raise ValueError(f"Resnet needs width >= 1, got {self.width}.")

    def build(self, shape: tuple[int, ...], classes: int) -> nn.Module:
        """7×7 stem with pooling, four stages, global average, linear layer.

        Raises:
            FileNotFoundError: if there is no file of weights.
            ValueError: if it holds those of another network.
        """
        channels = image_channels("Resnet", shape, smallest=SMALLEST)
        network = Network(channels, self.depth, self.width, classes)
        if self.weights is not None:
            _read(network, Path(self.weights))
        return network


class Network(nn.Module):
    """The network, its parts named as published."""

    def __init__(self, channels: int, depth: int, first: int, classes: int) -> None:
        """Build it.

        Args:
            channels: of the images.
            depth: 18, 34 or 50.
            first: width of the first stage.
            classes: number of outputs.
        """
        super().__init__()
        kind = Bottleneck if depth >= DEEP else Basic
        self.conv1 = nn.Conv2d(channels, first, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        before, stages = first, []
        for stage, count in enumerate(LAYERS[depth]):
            width, blocks = first * 2**stage, []
            for number in range(count):
                stride = 2 if stage and not number else 1
                blocks.append(kind(before, width, stride))
                before = width * kind.expansion
            stages.append(nn.Sequential(*blocks))
        self.layer1, self.layer2, self.layer3, self.layer4 = stages
        self.fc = nn.Linear(before, classes)

    def forward(self, x: Tensor) -> Tensor:
        """[n, channels, height, width] → [n, classes]."""
        x = functional.relu(self.bn1(self.conv1(x)))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.fc(x.mean(dim=(2, 3)))


class Basic(nn.Module):
    """Two 3×3 convolutions beside the identity or a projection."""

    expansion = 1

    def __init__(self, before: int, width: int, stride: int) -> None:
        """Build the block; ``stride`` is that of the first convolution."""
        super().__init__()
        self.conv1 = nn.Conv2d(before, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _projection(before, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, before, height, width] → [n, width, height / stride, width / stride]."""
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1×1, 3×3 and 1×1 convolutions beside the identity or a projection."""

    expansion = EXPANSION

    def __init__(self, before: int, width: int, stride: int) -> None:
        """Build the block; ``stride`` is that of the 3×3 convolution."""
        super().__init__()
        after = width * EXPANSION
        self.conv1 = nn.Conv2d(before, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample = _projection(before, after, stride)

    def forward(self, x: Tensor) -> Tensor:
        """[n, before, height, width] → [n, 4 · width, height / stride, width / stride]."""
        y = functional.relu(self.bn1(self.conv1(x)))
        y = self.bn3(self.conv3(functional.relu(self.bn2(self.conv2(y)))))
        return functional.relu(y + (x if self.downsample is None else self.downsample(x)))


def _projection(before: int, after: int, stride: int) -> nn.Module | None:
    if stride == 1 and before == after:
        return None
    return nn.Sequential(
        nn.Conv2d(before, after, 1, stride=stride, bias=False), nn.BatchNorm2d(after)
    )


def _read(network: Network, path: Path) -> None:
    """Fill a network from a file, its last layer only if it fits."""
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}: model.weights must be a safetensors file of a trained "
            "ResNet, such as the hub's timm/resnet18.a1_in1k."
        )
    try:
        stored = load_file(path)
    except SafetensorError as error:
        raise ValueError(f"{path} is no safetensors file, or a damaged one ({error}).") from error
    own = network.state_dict()
    if any(name in stored and stored[name].shape != own[name].shape for name in HEAD):
        stored = {name: value for name, value in stored.items() if name not in HEAD}
    missing = [
        name for name in own if name not in stored and name not in HEAD and COUNT not in name
    ]
    wrong = [n for n, value in stored.items() if n not in own or own[n].shape != value.shape]
    if missing or wrong:
        raise ValueError(
            f"{path} does not hold the parameters of this ResNet: {(missing + wrong)[0]} is "
            "missing, unknown or of another shape. Is model.depth right?"
        )
    network.load_state_dict({**own, **stored})

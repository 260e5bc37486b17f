"""What share of a step is spent on feeding it? Batches with crop and flip, 32×32 images.

python benchmarks/feeding.py [--rounds 30] [--out benchmarks/results/feeding.json]
"""

import argparse
import statistics
import time
from pathlib import Path

import torch
from provenance import RESULTS, provenance
from torch import nn

from l2b.augment import CropFlip
from l2b.data import prepare
from l2b.datasets import Source, Split
from l2b.feed import Feed
from l2b.files import write_json
from l2b.losses import bootstrapped_loss
from l2b.models.conv_net import ConvNet
from l2b.models.preact_resnet import PreactResnet
from l2b.noise.symmetric import Symmetric
from l2b.weighing import weighed_pass

WARMUP = 3
MODELS = {"conv_net": ConvNet(), "preact_resnet, width 16": PreactResnet(width=16)}


def feed(batch: int) -> Feed:
    """Ten thousand random images, fed as training does."""
    images = torch.randint(256, (10_000, 3, 32, 32), dtype=torch.uint8)
    source = Source(
        train=Split(images, torch.arange(10_000) % 10),
        test=None,
        classes=tuple("0123456789"),
        mean=torch.full((3, 1, 1), 125.0),
        std=torch.full((3, 1, 1), 63.0),
    )
    data = prepare(source, Symmetric(rate=0.4), clean=1000, validation=0.2, seed=0)
    return Feed(data=data, batch=batch, clean_batch=batch, augment=CropFlip(), seed=0)


def main() -> None:
    """Time the next pair of batches, then a plain and a weighed step on it, in turns."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "feeding.json")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    rows = []
    for name, model in MODELS.items():
        module, batches = model.build((3, 32, 32), 10), feed(128).epoch(0)
        taken: dict[str, list[float]] = {"feeding": [], "plain": [], "weighed": []}
        for turn in range(options.rounds):
            start = time.perf_counter()
            batch, clean = next(batches)
            fed = time.perf_counter()
            module.zero_grad()
            nn.functional.cross_entropy(module(batch.inputs), batch.labels).backward()
            plain = time.perf_counter()
            module.zero_grad()
            z, weights = weighed_pass(
                module, batch.inputs, batch.labels, clean.inputs, clean.labels
            )
            bootstrapped_loss(z, batch.labels, weights).backward()
            if turn >= WARMUP:
                taken["feeding"].append(1e3 * (fed - start))
                taken["plain"].append(1e3 * (plain - fed))
                taken["weighed"].append(1e3 * (time.perf_counter() - plain))
        ms = {key: statistics.median(values) for key, values in taken.items()}
        share = {key: ms["feeding"] / (ms["feeding"] + ms[key]) for key in ("plain", "weighed")}
        rows.append({"model": name, "ms": ms, "share": share})
        print(
            f"{name:<26}noisy and clean batch {ms['feeding']:.1f} ms; plain step "
            f"{ms['plain']:.1f} ms: {share['plain']:.1%}; weighed step {ms['weighed']:.1f} ms: "
            f"{share['weighed']:.1%}"
        )
    write_json(options.out, {**provenance(), "rows": rows})


if __name__ == "__main__":
    main()

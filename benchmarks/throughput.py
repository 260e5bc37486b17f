"""Samples per second of learning to bootstrap: two processes of one thread against one.

python benchmarks/throughput.py [--rounds 7] [--steps 20] [--model preact_resnet]

The same total batch of random 32×32 images, shared by the processes. Both take turns, each time
in fresh processes; the first steps of each turn do not count. Run it on an idle machine with at
least two cores.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from provenance import RESULTS, provenance
from steering import steering

from l2b import collectives
from l2b.augment import CropFlip
from l2b.data import prepare
from l2b.datasets import Source, Split
from l2b.files import write_json
from l2b.folder import RunFolder
from l2b.loop import Loop
from l2b.models.conv_net import ConvNet
from l2b.models.preact_resnet import PreactResnet
from l2b.noise.symmetric import Symmetric
from l2b.train import Training

MODELS = {"preact_resnet": PreactResnet(width=16), "conv_net": ConvNet()}
WARMUP = 4  # steps that do not count
CHECKED = 200


def train(name: str, batch: int, steps: int, folder: Path) -> float:
    """Samples per second of all processes together, as this one sees it."""
    torch.set_num_threads(1)
    collectives.start(cpu=True)
    rows = batch * (steps + WARMUP) + CHECKED
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(256, (rows, 3, 32, 32), dtype=torch.uint8, generator=draw)
    source = Source(
        train=Split(images, torch.arange(rows) % 10),
        test=None,
        classes=tuple("0123456789"),
        mean=torch.full((3, 1, 1), 125.0),
        std=torch.full((3, 1, 1), 63.0),
    )
    data = prepare(source, Symmetric(rate=0.4), clean=CHECKED, validation=0.0, seed=0)
    training = Training(
        epochs=1, batch=batch, clean_batch=batch, augment=CropFlip(), device="cpu", threads=1
    )
    folder.mkdir(exist_ok=True)
    loop = Loop(data, MODELS[name], steering(warmup=0), training, 0, RunFolder(folder))
    ends: list[float] = []
    loop.epoch(0, lambda: ends.append(time.perf_counter()))
    collectives.stop()
    return batch * steps / (ends[-1] - ends[WARMUP - 1])


def turn(count: int, words: list[str]) -> float:
    """Samples per second of so many fresh processes; the slowest one's, since all wait for it."""
    with tempfile.TemporaryDirectory() as place:
        running = []
        for rank in range(count):
            group = {
                "RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
                "LOCAL_WORLD_SIZE": str(count), "GLOO_SOCKET_IFNAME": "lo",
                collectives.MEETING: f"{place}/meeting",
            }  # fmt: skip
            own = {**os.environ, "OMP_NUM_THREADS": "1", **(group if count > 1 else {})}
            command = [sys.executable, __file__, *words, "--inside", f"{place}/run"]
            running.append(subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True))
        said = [process.communicate()[0] for process in running]
    if any(process.returncode for process in running):
        raise SystemExit(f"A turn of {count} processes failed; its message is above.")
    return min(float(json.loads(text)) for text in said)


def main() -> None:
    """Take turns, print and store medians and the spread of the rounds' ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--model", choices=tuple(MODELS), default="preact_resnet")
    parser.add_argument("--inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS / "throughput.json")
    options = parser.parse_args()
    if options.inside:
        print(json.dumps(train(options.model, options.batch, options.steps, options.inside)))
        return
    shape = {"model": options.model, "batch": options.batch, "steps": options.steps}
    words = [f"--{name}={value}" for name, value in shape.items()]
    speeds: dict[int, list[float]] = {1: [], 2: []}
    for number in range(options.rounds):
        order = (1, 2) if number % 2 == 0 else (2, 1)
        for count in order:
            speeds[count].append(turn(count, words))
        print(
            f"round {number + 1}: one process {speeds[1][-1]:.1f}, two {speeds[2][-1]:.1f} "
            f"samples/s, ratio {speeds[2][-1] / speeds[1][-1]:.2f}",
            flush=True,
        )
    ratios = [two / one for one, two in zip(speeds[1], speeds[2], strict=True)]
    ratio = statistics.median(ratios)
    medians = {count: statistics.median(found) for count, found in speeds.items()}
    print(
        f"{options.model}, batch {options.batch}, medians of {options.rounds} rounds: one process "
        f"{medians[1]:.1f}, two {medians[2]:.1f} samples/s; ratio {ratio:.2f} "
        f"(from {min(ratios):.2f} to {max(ratios):.2f})"
    )
    found = {"samples_per_second": speeds, "ratios": ratios, "median_ratio": ratio}
    write_json(options.out, {**provenance(), **shape, **found})


if __name__ == "__main__":
    main()

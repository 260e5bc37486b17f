"""What does one training step cost? Plain, as published, and every way of ours.

All contestants of a setting run in one process, in turns, so that whatever else the machine
does hits all of them alike; medians and interquartile ranges are over rounds, ratios over
the rounds' own ratios. Memory is the peak of a process of its own, above plain training's.

    python benchmarks/step_time.py [--rounds 15] [--settings resnet16 mlp] [--out results]
"""

import argparse
import gc
import json
import math
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from provenance import provenance
from step_contestants import COMPILED, CONTESTANTS, Setup
from torch import Tensor, nn

from l2b.models.mlp import Mlp
from l2b.models.preact_resnet import PreactResnet

CLASSES = 10
USUAL = [name for name in CONTESTANTS if name != COMPILED]


class Encoder(nn.Module):
    """Two transformer layers of width 64 over 32 tokens."""

    def __init__(self) -> None:
        """Build the layers."""
        super().__init__()
        self.words, self.places = nn.Embedding(1000, 64), nn.Parameter(torch.zeros(32, 64))
        layer = nn.TransformerEncoderLayer(64, 4, 128, dropout=0.0, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(64, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        """[n, 32] word numbers → [n, classes]."""
        return self.head(self.layers(self.words(x) + self.places).mean(1))


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A model with its batch.

    Attributes:
        build: makes the model.
        batch: samples of the training batch.
        draw: makes that many inputs.
    """

    build: Callable[[], nn.Module]
    batch: int
    draw: Callable[[int], Tensor]

    def start(self, share: float, channels_last: bool) -> Setup:
        """The same model, data and state for every contestant."""
        torch.manual_seed(0)
        model, m = self.build(), math.ceil(self.batch * share)
        x, clean = self.draw(self.batch), self.draw(m)
        if channels_last and x.ndim == 4:
            model = model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
            x, clean = (t.contiguous(memory_format=torch.channels_last) for t in (x, clean))
        labels, clean_labels = (torch.randint(0, CLASSES, (k,)) for k in (self.batch, m))
        return Setup.of(model, x, labels, clean, clean_labels)


def _images(n: int) -> Tensor:
    return torch.randn(n, 3, 32, 32)


SETTINGS = {
    "resnet16": Setting(
        build=lambda: PreactResnet(width=16).build((3, 32, 32), CLASSES), batch=128, draw=_images
    ),
    "resnet32": Setting(
        build=lambda: PreactResnet(width=32).build((3, 32, 32), CLASSES), batch=64, draw=_images
    ),
    "mlp": Setting(
        build=lambda: Mlp().build((784,), CLASSES),
        batch=128,
        draw=lambda n: torch.randn(n, 784),
    ),
    "encoder": Setting(build=Encoder, batch=64, draw=lambda n: torch.randint(0, 1000, (n, 32))),
}


def times(setting: str, share: float, names: list[str], args: argparse.Namespace) -> dict:
    """Seconds of every round of every contestant, taken in turns."""
    steps = {n: CONTESTANTS[n](SETTINGS[setting].start(share, args.channels_last)) for n in names}
    taken: dict[str, list[float]] = {name: [] for name in names}
    # Processor time of one thread is what a busy machine disturbs least.
    clock = time.process_time if args.processor_time else time.perf_counter
    gc.disable()
    for turn in range(args.warmup + args.rounds):
        gc.collect()
        next(iter(steps.values()))()  # or the first contestant alone would find cold caches
        for name, step in steps.items():
            start = clock()
            step()
            if turn >= args.warmup:
                taken[name].append(clock() - start)
    gc.enable()
    return taken


def peak(setting: str, share: float, name: str, args: argparse.Namespace) -> float:
    """Peak resident MiB of a process that takes a few steps of one contestant."""
    command = [sys.executable, __file__, "--peak-of", name, "--settings", setting]
    command += ["--shares", str(share), "--threads", str(args.threads)]
    command += ["--channels-last"] if args.channels_last else []
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def own_peak() -> float:
    """Peak resident MiB of this process alone."""
    status = Path("/proc/self/status")
    if status.exists():  # getrusage would also count the parent, which Linux carries over
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def summary(taken: dict[str, list[float]], memory: dict[str, float]) -> list[dict]:
    """Medians, spreads, and medians of the rounds' ratios."""
    rows = []
    for name, seconds in taken.items():
        low, middle, high = statistics.quantiles(seconds, n=4)
        ratios = {
            base: statistics.median(a / b for a, b in zip(seconds, taken[base], strict=True))
            for base in ("plain", "higher")
            if base in taken
        }
        extra = memory[name] - memory["plain"] if name in memory else None
        rows.append(
            {"name": name, "ms": 1e3 * middle, "iqr_ms": 1e3 * (high - low), "extra_mib": extra}
            | {f"per_{base}": ratio for base, ratio in ratios.items()}
        )
    return rows


def table(title: str, rows: list[dict]) -> str:
    """The rows as Markdown."""
    lines = [f"### {title}", "", "| step | ms | IQR | ÷ plain | ÷ higher | extra MiB |"]
    lines.append("|---|---|---|---|---|---|")
    for row in rows:
        extra = "–" if row["extra_mib"] is None else f"{row['extra_mib']:.0f}"
        higher = f"{row['per_higher']:.2f}" if "per_higher" in row else "–"
        lines.append(
            f"| {row['name']} | {row['ms']:.1f} | {row['iqr_ms']:.1f} | {row['per_plain']:.2f} "
            f"| {higher} | {extra} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Time, weigh, print, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--settings", nargs="+", default=list(SETTINGS), choices=SETTINGS)
    parser.add_argument("--shares", nargs="+", type=float, default=[1.0, 0.25])
    parser.add_argument("--only", nargs="+", default=USUAL, choices=CONTESTANTS)
    parser.add_argument("--channels-last", action="store_true")
    parser.add_argument("--no-memory", action="store_true")
    parser.add_argument("--processor-time", action="store_true", help="use with --threads 1")
    parser.add_argument("--out", type=Path, help="a file for the results, as JSON")
    parser.add_argument("--peak-of", choices=CONTESTANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    if args.peak_of:
        setup = SETTINGS[args.settings[0]].start(args.shares[0], args.channels_last)
        step = CONTESTANTS[args.peak_of](setup)
        for _ in range(3):
            step()
        print(own_peak())
        return
    results = {"provenance": provenance(), "settings": {}}
    for setting in args.settings:
        for share in args.shares:
            title = f"{setting}, clean batch m = {share:g} n"
            taken = times(setting, share, args.only, args)
            names = [] if args.no_memory else args.only
            memory = {name: peak(setting, share, name, args) for name in names}
            results["settings"][title] = rows = summary(taken, memory)
            print(table(title, rows), flush=True)
    print(json.dumps(results["provenance"]))
    if args.out:
        args.out.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()

"""What do the guards against broken numbers cost? Steps with and without, in turns.

    python benchmarks/guards.py [--rounds 15] [--steps 100] [--out benchmarks/results]

One process takes both kinds of steps in turns; the ratio is the median over rounds.
"""

import argparse
import json
import statistics
import time
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from provenance import provenance
from torch import Tensor, nn

from l2b.guards import LOOK_EVERY, GradientGuard
from l2b.ledger import EpochLog
from l2b.losses import bootstrapped_loss
from l2b.methods.base import plain_record
from l2b.models import Model
from l2b.models.mlp import Mlp
from l2b.models.preact_resnet import PreactResnet
from l2b.network import Network
from l2b.optimise import Constant, Optimiser
from l2b.types import Batch
from l2b.weighing import weighed_pass


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A model with the size of its batch."""

    model: Model
    shape: tuple[int, ...]
    batch: int


SETTINGS = {
    "mlp": Setting(model=Mlp(hidden=(64,)), shape=(1, 8, 8), batch=64),
    "resnet16": Setting(model=PreactResnet(width=16), shape=(3, 32, 32), batch=32),
}


class Off(GradientGuard):
    """Looks at nothing."""

    def __call__(self, parameters: object, norm: Tensor) -> None:
        """Do nothing."""


def network(module: nn.Module, guard: GradientGuard) -> Network:
    """An L2B step as in a run, clipped."""
    return Network(
        module=module,
        optimiser=Optimiser(lr=0.01).build(module.parameters()),
        schedule=Constant(),
        epochs=1,
        clip=1.0,
        autocast=nullcontext,
        guard=guard,
    )


def seconds(net: Network, batch: Batch, steps: int) -> float:
    """Time of so many steps, with the looks that a run would take."""
    log, start = EpochLog(), time.perf_counter()
    for step in range(1, steps + 1):
        z, weights = weighed_pass(
            net.module, batch.inputs, batch.labels, batch.inputs, batch.labels
        )
        net.descend(bootstrapped_loss(z, batch.labels, weights))
        record = plain_record(batch, z, z.detach().logsumexp(1))
        if not isinstance(net.guard, Off):
            log.add(record, net.guard.taken())
            if step % LOOK_EVERY == 0:
                log.look()
    return time.perf_counter() - start


def main() -> None:
    """Time both in turns, for every setting."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    found = {}
    for name, setting in SETTINGS.items():
        module = setting.model.build(setting.shape, 10)
        on, off = network(module, GradientGuard()), network(module, Off())
        batch = Batch(
            index=torch.arange(setting.batch),
            inputs=torch.randn(setting.batch, *setting.shape),
            labels=torch.randint(10, (setting.batch,)),
        )
        steps = options.steps if name == "mlp" else max(1, options.steps // 20)
        seconds(on, batch, steps)
        seconds(off, batch, steps)
        ratios = [
            seconds(on, batch, steps) / seconds(off, batch, steps) for _ in range(options.rounds)
        ]
        low, middle, high = statistics.quantiles(ratios, n=4)
        found[name] = {"ratio": middle, "quartiles": [low, high], "rounds": options.rounds}
        print(f"{name}: guarded / unguarded step {middle:.4f} (quartiles {low:.4f} to {high:.4f})")
    if options.out:
        text = json.dumps({"guards": found, **provenance()}, indent=2)
        (options.out / "guards.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

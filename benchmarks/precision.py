"""How far are scores in bfloat16 from those in float32? Every engine, and step lengths.

PreAct ResNet-18 (width 16) after a few training steps on digits enlarged to 32×32, batch 64.
Prints, against float64 scores: relative error, and the share of samples whose positive scores
keep their sign.

python benchmarks/precision.py [--out benchmarks/results/precision.json]
"""

import argparse
from contextlib import nullcontext
from pathlib import Path

import torch
from provenance import RESULTS, provenance
from torch import Tensor, nn

from l2b.datasets.digits import Digits
from l2b.engines import DoubleBackward, Engine, FiniteDifference, Forward, LastLayer
from l2b.files import write_json
from l2b.models.preact_resnet import PreactResnet
from l2b.weighing import weigh

BATCH = 64
ENGINES: dict[str, Engine] = {
    "forward": Forward(),
    "double_backward": DoubleBackward(),
    "last_layer": LastLayer(),
    **{f"finite_difference, {x:g}": FiniteDifference(length=x) for x in (3e-4, 1e-2, 0.1, 1.0)},
}


def trained(steps: int) -> tuple[nn.Module, tuple[Tensor, Tensor, Tensor, Tensor]]:
    """A model that has begun to learn, and a noisy and a clean batch."""
    torch.manual_seed(0)
    split = Digits().load().train
    x = nn.functional.interpolate(split.inputs / 8 - 1, size=32, mode="bilinear")
    y = torch.where(torch.rand(len(x)) < 0.4, torch.randint(10, (len(x),)), split.labels)
    model = PreactResnet(width=16).build((1, 32, 32), 10)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for step in range(steps):
        rows = torch.arange(step * BATCH, (step + 1) * BATCH) % 1000
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(x[rows]), y[rows]).backward()
        optimiser.step()
    return model, (x[:BATCH], y[:BATCH], x[1000 : 1000 + BATCH], split.labels[1000 : 1000 + BATCH])


def main() -> None:
    """Compare, print, store."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=RESULTS / "precision.json")
    options = parser.parse_args()
    model, (x, y, clean_x, clean_y) = trained(steps=12)
    double = PreactResnet(width=16).build((1, 32, 32), 10).double()
    double.load_state_dict(model.state_dict())
    rows = []
    for name, engine in ENGINES.items():
        reference: Engine = engine if isinstance(engine, LastLayer) else Forward()
        exact = weigh(double, x.double(), y, clean_x.double(), clean_y, engine=reference).scores
        for precision in ("float32", "bfloat16"):
            low = (
                torch.autocast("cpu", torch.bfloat16) if precision == "bfloat16" else nullcontext()
            )
            with low:
                found = weigh(model, x, y, clean_x, clean_y, engine=engine).scores.double()
            error = ((found - exact).norm() / exact.norm()).item()
            kept = ((found > 0) == (exact > 0)).double().mean().item()
            rows.append({"engine": name, "precision": precision, "error": error, "signs": kept})
            print(f"{name:<26}{precision:<10}error {error:8.2e}   signs kept {kept:6.1%}")
    write_json(options.out, {**provenance(), "rows": rows})


if __name__ == "__main__":
    main()

"""Why weights of the last layer do better on masks: what scores say where two labels disagree.

python benchmarks/mask_scores.py [--seeds 3] [--epochs 3] [--volumes 40] [--out FILE]

A U-Net is trained as in benchmarks/segmentation.py for a few epochs. Then, for batches of noisy
slices and clean batches of several sizes, pixels are taken whose label as given differs from the
model's own, one of both being right. AUROC, in %, of the label as given being the right one by
how much higher its score is; once by the whole network's clean gradient, once by the last
layer's. Mean ± standard deviation over seeds.
"""

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from provenance import RESULTS, provenance
from segmentation import METHODS, settings
from sklearn.metrics import roc_auc_score
from spread import spread
from torch import Tensor

from l2b.data import Data
from l2b.engines import Engine, Forward, LastLayer
from l2b.files import write_json
from l2b.functional import functional
from l2b.lookahead import Paper
from l2b.methods.base import Learner
from l2b.scores import candidate_score
from l2b.streams import stream
from l2b.train import fit
from l2b.types import Batch
from l2b.weighing import look_ahead_gradient

TRAINED = "l2b, α + β = 1, soft, clean term, last layer"
ENGINES: dict[str, Engine] = {"whole network": Forward(), "last layer": LastLayer()}
SIZES = (16, 64, 128)  # of the clean batch, in slices
BATCHES, BATCH, CLEAN = 8, 16, 10


def one(seed: int, epochs: int, volumes: int) -> list[dict[str, Any]]:
    """Train once, then judge the scores of every engine by every clean batch."""
    run = replace(settings(seed, epochs, volumes, CLEAN), method=METHODS[TRAINED])
    data = run.prepare()
    learner = fit(data, run.model, run.method, run.training, seed=seed, progress=False).learner
    learner.network.module.train()
    rows = []
    for size in SIZES:
        draw = stream(seed, f"mask_scores.{size}")
        found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in ENGINES}
        for _ in range(BATCHES):
            noisy = torch.randperm(len(data.train), generator=draw)[:BATCH]
            clean = torch.randperm(len(data.clean), generator=draw)[:size]
            for name, engine in ENGINES.items():
                found[name].append(disputed(learner, data, noisy, clean, engine))
        for name, parts in found.items():
            lead, right = (torch.cat(p).numpy() for p in zip(*parts, strict=True))
            auroc = 100 * float(roc_auc_score(right, lead))
            rows.append({"seed": seed, "clean": size, "engine": name, "auroc": auroc})
    return rows


def disputed(
    learner: Learner, data: Data, noisy: Tensor, clean: Tensor, engine: Engine
) -> tuple[Tensor, Tensor]:
    """Lead of the label as given over the model's, and whether it is right, [pixels] each."""
    network, pool, known = learner.network, data.train, data.train.true
    assert known is not None
    trusted = Batch(
        index=clean,
        inputs=data.standardise(data.clean.inputs[clean]),
        labels=data.clean.labels[clean],
    )
    direction = look_ahead_gradient(
        network.module, trusted.inputs, trusted.labels, engine=engine, lookahead=Paper(),
        optimiser=network.optimiser, overlap=network.overlap,
    )  # fmt: skip
    net = functional(network.module, frozenset(direction))
    z, dz = engine(net.apply, net.params, data.standardise(pool.inputs[noisy]), direction)
    given, true, own = pool.labels[noisy], known[noisy], z.argmax(dim=1)
    apart = (given != own) & ((given == true) | (own == true))
    lead = candidate_score(z, dz, given) - candidate_score(z, dz, own)
    return lead[apart].detach(), (given == true)[apart]


def main() -> None:
    """Print a line for every engine and size, keep the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--volumes", type=int, default=40)
    parser.add_argument("--out", type=Path, default=RESULTS / "mask_scores.json")
    options = parser.parse_args()
    torch.set_num_threads(1)
    rows = [r for s in range(options.seeds) for r in one(s, options.epochs, options.volumes)]
    print("| clean slices | " + " | ".join(ENGINES) + " |\n" + "|---" * (len(ENGINES) + 1) + "|")
    for size in SIZES:
        cells = [
            spread([r["auroc"] for r in rows if (r["clean"], r["engine"]) == (size, name)])
            for name in ENGINES
        ]
        print(f"| {size} | " + " | ".join(cells) + " |")
    write_json(options.out, {**provenance(), "rows": rows})


if __name__ == "__main__":
    main()

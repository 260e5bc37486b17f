"""Peak memory of a step on masks: learning to bootstrap against plain training.

python benchmarks/mask_memory.py [--width 32] [--size 256] [--batch 16]

Every step runs in a process of its own, since a process never gives its peak back. UNet++ and a
clean batch as large as the noisy one; the peak is that of the whole process less that of one that
has loaded the same libraries and data and made the model, but taken no step.
"""

import argparse
import resource
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from provenance import RESULTS, provenance
from torch.nn import functional

import l2b
from l2b.engines import forward, last_layer
from l2b.files import write_json
from l2b.models.unet_plus_plus import UnetPlusPlus

STEPS = ("nothing", "plain", "last_layer", "forward")


def peak(step: str, width: int, size: int, batch: int) -> float:
    """MiB of this process at most, after two steps of one kind."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = UnetPlusPlus(width=width).build((1, size, size), 2)
    optimiser = torch.optim.SGD(model.parameters(), lr=0.005, momentum=0.9)
    x, y = torch.randn(2, batch, 1, size, size), torch.randint(2, (2, batch, size, size))
    for _ in range(0 if step == "nothing" else 2):
        optimiser.zero_grad(set_to_none=True)
        if step == "plain":
            loss = functional.cross_entropy(model(x[0]), y[0])
        else:
            engine = last_layer if step == "last_layer" else forward
            z, weights = l2b.weighed_pass(model, x[0], y[0], x[1], y[1], engine=engine)
            loss = l2b.bootstrapped_loss(z, y[0], weights)
        loss.backward()
        optimiser.step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main() -> None:
    """Measure one kind of step after the other and print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--width", type=int, default=32)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--out", type=Path, default=RESULTS / "mask_memory.json")
    options = parser.parse_args()
    found = {}
    for step in STEPS:
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
            job = pool.submit(peak, step, options.width, options.size, options.batch)
            found[step] = job.result()
        own, plain = found[step] - found["nothing"], found.get("plain", 0) - found["nothing"]
        ratio = f", {own / plain:.2f} times plain" if "plain" in found else ""
        print(f"{step:<12}{found[step]:8.0f} MiB, of which the step {own:.0f}{ratio}", flush=True)
    shape = {"width": options.width, "size": options.size, "batch": options.batch}
    write_json(options.out, {**provenance(), **shape, "peak_mib": found})


if __name__ == "__main__":
    main()

"""How much memory does a run on samples that stay on disk take, by their number?

python benchmarks/larger_than_memory.py [--rows 1000000 3000000 10000000] [--features 32]

Synthetic samples are written piece by piece into a temporary folder, which is removed at the end.
One epoch of learning to bootstrap on them runs in a process of its own, which watches what it
holds: anonymous memory (its own; VmHWM also counts pages of the file, which the system takes back
whenever it needs them).
"""

import argparse
import tempfile
import threading
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from provenance import RESULTS, provenance
from steering import steering

from l2b.datasets.array_folder import ArrayFolder
from l2b.experiment import Run
from l2b.files import write_json
from l2b.models.mlp import Mlp
from l2b.noise.none import NoNoise
from l2b.train import Training

CLASSES, CHECKED, TESTED, NOISE = 10, 2000, 10_000, 0.4
PIECE = 100_000  # rows written at a time
MIB = 2**20


def write(root: Path, rows: int, features: int) -> None:
    """Samples of a linear rule; two labels in five are drawn anew, but for the checked ones."""
    draw = np.random.default_rng(0)
    rule = draw.normal(size=(features, CLASSES)).astype(np.float32)
    labels = np.empty(rows, np.int64)
    samples = np.lib.format.open_memmap(
        str(root / "x_train.npy"), mode="w+", dtype=np.float32, shape=(rows, features)
    )
    for start in range(0, rows, PIECE):
        x = draw.standard_normal((min(PIECE, rows - start), features), dtype=np.float32)
        samples[start : start + len(x)] = x
        labels[start : start + len(x)] = (x @ rule).argmax(axis=1)
    samples.flush()
    wrong = draw.random(rows) < NOISE
    wrong[:CHECKED] = False
    labels[wrong] = draw.integers(0, CLASSES, int(wrong.sum()))
    x = draw.standard_normal((TESTED, features), dtype=np.float32)
    for name, array in (
        ("y_train", labels), ("clean_index", np.arange(CHECKED)), ("x_test", x),
        ("y_test", (x @ rule).argmax(axis=1)),
    ):  # fmt: skip
        np.save(root / f"{name}.npy", array)


def status(name: str) -> int:
    """A figure of this process in bytes, as the system tells it."""
    with Path("/proc/self/status").open() as lines:
        return 1024 * int(next(line for line in lines if line.startswith(name)).split()[1])


class Watch(threading.Thread):
    """Looks at this process's anonymous memory every few milliseconds."""

    def __init__(self) -> None:
        """Start with what is held now."""
        super().__init__(daemon=True)
        self.most = self.first = status("RssAnon")

    def run(self) -> None:
        """Until the process ends."""
        while True:
            self.most = max(self.most, status("RssAnon"))
            time.sleep(0.005)


def measured(root: Path, out: Path, batch: int) -> dict[str, float]:
    """One epoch in this process: what it held, took and learned."""
    torch.set_num_threads(1)
    watch = Watch()
    watch.start()
    start = time.perf_counter()
    training = Training(epochs=1, batch=batch, clean_batch=1000, device="cpu", threads=1)
    run = Run(
        data=ArrayFolder(root=root),
        noise=NoNoise(),
        model=Mlp(hidden=(128, 128)),
        method=steering(warmup=0),
        training=training,
        clean=CHECKED,
    )
    data = run.prepare()
    loaded = time.perf_counter()
    record = run.execute(out, progress=False, data=data, figures=False).record
    return {
        "anonymous_bytes": watch.most,
        "before_loading_bytes": watch.first,
        "high_water_bytes": status("VmHWM"),
        "loading_seconds": loaded - start,
        "training_seconds": time.perf_counter() - loaded,
        "test_accuracy": record["last_accuracy"],
    }


def main() -> None:
    """Write, train and measure for every number of rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1_000_000, 3_000_000, 10_000_000])
    parser.add_argument("--features", type=int, default=32)
    parser.add_argument("--batch", type=int, default=16_384)
    parser.add_argument("--folder", type=Path, help="where the temporary folder is made")
    parser.add_argument("--out", type=Path, default=RESULTS / "larger_than_memory.json")
    options = parser.parse_args()
    found = []
    for rows in options.rows:
        with tempfile.TemporaryDirectory(dir=options.folder) as place:
            root = Path(place) / "data"
            root.mkdir()
            write(root, rows, options.features)
            with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
                row = pool.submit(measured, root, Path(place) / "run", options.batch).result()
        on_disk = rows * options.features * 4
        found.append({"rows": rows, "on_disk_bytes": on_disk, **row})
        print(
            f"{rows:>12,} rows, {on_disk / MIB:7,.0f} MiB on disk: "
            f"{row['anonymous_bytes'] / MIB:6,.0f} MiB held at most (of which "
            f"{row['before_loading_bytes'] / MIB:,.0f} before loading), with pages of the file "
            f"{row['high_water_bytes'] / MIB:,.0f}; loading {row['loading_seconds']:.0f} s, "
            f"training {row['training_seconds']:.0f} s; test accuracy {row['test_accuracy']:.1%}",
            flush=True,
        )
    shape = {"features": options.features, "batch": options.batch}
    first, last = found[0], found[-1]
    if last["rows"] > first["rows"]:
        grown = last["anonymous_bytes"] - first["anonymous_bytes"]
        shape["bytes_per_row"] = grown / (last["rows"] - first["rows"])
        print(f"each further row takes {shape['bytes_per_row']:.0f} bytes of memory")
    write_json(options.out, {**provenance(), **shape, "found": found})


if __name__ == "__main__":
    main()

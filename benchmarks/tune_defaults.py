"""How L2B's defaults were chosen: development data only, every test split untouched.

python benchmarks/tune_defaults.py [--seeds 2] [--sets …] [--names …] [--workers 2] [--out FILE]

Digits: 300 training samples are held out. Fashion-MNIST: learn from the first 10,000 training
images, held out are the next 10,000; with rare classes 70 % of both are shirts. TREC: half of the
development questions are the clean set, the other half is held out. In the small sets there are
1,000 noisy and 150 clean samples to learn from. Accuracy on what is held out, at the last epoch
and at the epoch chosen by clean validation samples. Weights come from the last layer throughout:
engines agree within the spread (benchmarks/pareto.py), and this one is the cheapest. What is in
the file already is not run again.
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch
from in_processes import results
from provenance import RESULTS, provenance
from spread import spread
from steering import steering
from torch.nn.functional import adaptive_avg_pool2d
from tune_digits import development

from l2b.candidates import AllClasses, Triple
from l2b.data import prepare
from l2b.datasets import Source, Split
from l2b.datasets.digits import Digits
from l2b.datasets.fashion_mnist import FashionMnist
from l2b.datasets.trec import Trec
from l2b.engines import LastLayer
from l2b.files import write_json
from l2b.methods import Method
from l2b.methods.clean_only import CleanOnly
from l2b.methods.co_teaching import CoTeaching
from l2b.methods.cross_entropy import CrossEntropy
from l2b.methods.elr import Elr
from l2b.methods.fine_tune import FineTune
from l2b.methods.generalised_cross_entropy import GeneralisedCrossEntropy
from l2b.methods.gold_correction import GoldCorrection
from l2b.methods.gold_posterior import GoldPosterior
from l2b.methods.l2rw import L2RW
from l2b.methods.mlc import Mlc
from l2b.methods.mw_net import MwNet
from l2b.methods.pooled import Pooled
from l2b.models import ConvNet, Mlp, Model
from l2b.models.preact_resnet import PreactResnet
from l2b.noise import Noise
from l2b.noise.existing import Existing
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric
from l2b.normalise import (
    Normaliser,
    PerSample,
    PositiveShare,
    Shrinking,
    Sigmoid,
    Softmax,
    Standardised,
)
from l2b.pseudo import MovingAverage, PseudoLabels, Temporal
from l2b.train import Training, fit


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A development set with its noise, model and length."""

    source: Callable[[], Source]
    noise: Noise
    model: Model
    clean: int
    training: Training


def fashion() -> Source:
    """The first 10,000 training images to learn from, the next 10,000 to judge by."""
    source = FashionMnist(limit=20_000).load()
    x, y = source.train.inputs, source.train.labels
    half = len(y) // 2
    return replace(source, train=Split(x[:half], y[:half]), test=Split(x[half:], y[half:]))


def trec() -> Source:
    """Every other development question moves from the clean set to the held-out ones."""
    source = Trec().load()
    assert source.trusted is not None
    first = int(source.trusted[0])
    x, y, weak = source.train.inputs, source.train.labels, source.annotations["weak"]
    keep = torch.cat([torch.arange(first), source.trusted[::2]])
    held = source.trusted[1::2]
    return replace(
        source,
        train=Split(x[keep], y[keep]),
        test=Split(x[held], y[held]),
        annotations={"weak": weak[keep]},
        trusted=torch.arange(first, len(keep)),
    )


def rare() -> Source:
    """All shirts of `fashion` and 48 of every other class, to learn from and to judge by."""
    source = fashion()
    assert source.test is not None
    return replace(source, train=_mostly_shirts(source.train), test=_mostly_shirts(source.test))


def _mostly_shirts(split: Split) -> Split:
    shares = [(split.labels == c).nonzero().flatten() for c in range(10)]
    rows = torch.cat([share if c == SHIRTS else share[:48] for c, share in enumerate(shares)])
    rows = rows.sort().values
    return Split(split.inputs[rows], split.labels[rows])


def coarse() -> Source:
    """`rare` in three by three pixels, which say little more than what most are."""
    source = rare()
    assert source.test is not None
    return replace(source, train=_coarse(source.train), test=_coarse(source.test))


def _coarse(split: Split) -> Split:
    assert isinstance(split.inputs, torch.Tensor)
    small = adaptive_avg_pool2d(split.inputs.float(), 3)
    return Split(small.to(split.inputs.dtype), split.labels)


def few_images() -> Source:
    """`fashion` with 1,150 images to learn from."""
    source = fashion()
    x, y = source.train.inputs, source.train.labels
    return replace(source, train=Split(x[:1150], y[:1150]))


def few_questions() -> Source:
    """`trec` with 1,000 of its noisy questions and 150 of its clean ones."""
    source = trec()
    assert source.trusted is not None
    keep = torch.cat([torch.arange(1000), source.trusted[:150]])
    return replace(
        source,
        train=Split(source.train.inputs[keep], source.train.labels[keep]),
        annotations={name: labels[keep] for name, labels in source.annotations.items()},
        trusted=torch.arange(1000, len(keep)),
    )


def small_images() -> Source:
    """`fashion` with 3,250 images to learn from and 2,000 to judge by, every other pixel."""
    source = fashion()
    assert source.test is not None
    pairs = (source.train, 3250), (source.test, 2000)
    train, test = (Split(s.inputs[:n, :, ::2, ::2], s.labels[:n]) for s, n in pairs)
    return replace(source, train=train, test=test)


SHIRTS = 6
LARGE = Training(epochs=15, batch=128, clean_batch=128)
SYMMETRIC, STRONG, PAIRS = Symmetric(rate=0.4), Symmetric(rate=0.8), PairFlip(rate=0.4)
DIGITS = Trial(
    source=lambda: development(Digits().load()),
    noise=SYMMETRIC,
    model=ConvNet(),
    clean=50,
    training=Training(epochs=40),
)
FASHION = Trial(source=fashion, noise=SYMMETRIC, model=Mlp(), clean=250, training=LARGE)
DEEP = Trial(
    source=small_images,
    noise=SYMMETRIC,
    model=PreactResnet(width=8),
    clean=250,
    training=Training(epochs=60, batch=128, clean_batch=128),
)
TREC = Trial(
    source=trec,
    noise=Existing(annotation="weak"),
    model=Mlp(hidden=(128,)),
    clean=301,
    training=Training(epochs=20),
)
TRIALS = {
    "digits, symmetric 40": DIGITS,
    "digits, symmetric 80": replace(DIGITS, noise=STRONG),
    "digits, pairs 40": replace(DIGITS, noise=PAIRS),
    "fashion, symmetric 40": FASHION,
    "fashion, pairs 40": replace(FASHION, noise=PAIRS),
    "fashion, symmetric 40, long": replace(FASHION, training=replace(LARGE, epochs=60)),
    "fashion, conv net": replace(FASHION, model=ConvNet(), training=replace(LARGE, epochs=6)),
    "fashion, rare classes": replace(FASHION, source=rare, clean=150),
    "fashion, rare coarse": replace(FASHION, source=coarse, clean=150),
    "fashion, few": replace(FASHION, source=few_images, clean=150),
    "fashion, deep": DEEP,
    "digits, deep": replace(
        DIGITS, model=PreactResnet(width=8), training=replace(DIGITS.training, epochs=60)
    ),
    "trec, weak": TREC,
    "trec, few": replace(TREC, source=few_questions, clean=150),
}


def l2b(
    normalise: Normaliser | None = None,
    pseudo: PseudoLabels | None = None,
    warm: float | None = 0.0,
    **changes: Any,
) -> Callable[[int], Method]:
    """The method for a run of so many epochs; ``warm`` is a share of them, None is automatic."""

    def build(epochs: int) -> Method:
        return steering(
            engine=LastLayer(),
            normalise=normalise or PositiveShare(),
            pseudo=pseudo or MovingAverage(soft=False),
            warmup="auto" if warm is None else max(1, round(warm * epochs)),
            **changes,
        )

    return build


SOFT = Temporal()
CONTESTANTS: dict[str, Callable[[int], Method]] = {
    "cross_entropy": lambda _: CrossEntropy(),
    "clean_only": lambda _: CleanOnly(),
    "pooled": lambda _: Pooled(),
    "fine_tune": lambda _: FineTune(),
    "elr": lambda _: Elr(),
    "l2rw": lambda _: L2RW(engine=LastLayer()),
    "eq9": l2b(),
    "eq9, temporal": l2b(pseudo=SOFT),
    "eq9, temporal, warm": l2b(pseudo=SOFT, warm=0.25),
    "eq9, warm": l2b(warm=0.25),
    "per_sample": l2b(PerSample()),
    "per_sample, temporal": l2b(PerSample(), SOFT),
    "per_sample, average": l2b(PerSample(), MovingAverage()),
    "per_sample, temporal, warm": l2b(PerSample(), SOFT, 0.25),
    "per_sample T=1, temporal": l2b(PerSample(temperature=1.0), SOFT),
    "per_sample T=0.3, temporal": l2b(PerSample(temperature=0.3), SOFT),
    "softmax T=1, temporal": l2b(Standardised(then=Softmax()), SOFT),
    "sigmoid, temporal": l2b(Standardised(then=Sigmoid()), SOFT),
    "per_sample, temporal, clean 1": l2b(PerSample(), SOFT, clean_weight=1.0),
    "per_sample, temporal, clean 1 crossed": l2b(
        PerSample(), SOFT, clean_weight=1.0, cross_fit=True
    ),
    "per_sample, temporal, clean 0.2 crossed": l2b(
        PerSample(), SOFT, clean_weight=0.2, cross_fit=True
    ),
    "eq9, temporal, clean 1 crossed": l2b(pseudo=SOFT, clean_weight=1.0, cross_fit=True),
    "eq9, clean 1 crossed": l2b(clean_weight=1.0, cross_fit=True),
    "eq9, clean 0.2 crossed": l2b(clean_weight=0.2, cross_fit=True),
    "eq9, average kept longer": l2b(pseudo=MovingAverage(soft=False, decay=0.999)),
    "softmax T=1": l2b(Standardised(then=Softmax())),
    "per_sample, clean 0.2 crossed": l2b(PerSample(), clean_weight=0.2, cross_fit=True),
    "eq9, triple": l2b(pseudo=SOFT, candidates=Triple()),
    "eq9, triple of classes": l2b(candidates=Triple()),
    "per_sample, triple of classes": l2b(PerSample(), candidates=Triple()),
    "eq9, triple of classes, clean 0.2 crossed": l2b(
        candidates=Triple(), clean_weight=0.2, cross_fit=True
    ),
    "per_sample, triple of classes, clean 0.2 crossed": l2b(
        PerSample(), candidates=Triple(), clean_weight=0.2, cross_fit=True
    ),
    "eq9, triple of classes, clean 0.2 crossed, warm auto": l2b(
        warm=None, candidates=Triple(), clean_weight=0.2, cross_fit=True
    ),
    "per_sample, triple, clean 0.2 crossed": l2b(
        PerSample(), SOFT, candidates=Triple(), clean_weight=0.2, cross_fit=True
    ),
    "eq9, warm auto": l2b(warm=None),
    "per_sample, warm auto": l2b(PerSample(), warm=None),
    "eq9, temporal, warm auto": l2b(pseudo=SOFT, warm=None),
    "softmax T=1, warm auto": l2b(Standardised(then=Softmax()), warm=None),
    "per_sample, triple, warm auto": l2b(PerSample(), SOFT, None, candidates=Triple()),
    "eq9, clean 0.2 crossed, warm auto": l2b(warm=None, clean_weight=0.2, cross_fit=True),
    **{
        f"eq9, clean 0.2 crossed, warm auto, patience {p}": l2b(
            warm=None, clean_weight=0.2, cross_fit=True, warmup_patience=p
        )
        for p in (3, 6)
    },
    **{
        f"shrinking {scale:g}, clean 0.2 crossed, warm auto": l2b(
            Shrinking(scale=scale), warm=None, clean_weight=0.2, cross_fit=True
        )
        for scale in (1e-4, 1e-3)
    },
    "all classes, clean 0.2 crossed, warm auto": l2b(
        warm=None, candidates=AllClasses(), clean_weight=0.2, cross_fit=True
    ),
    "eq9, clean 0.2 crossed, warm auto, mixup 1": l2b(
        warm=None, clean_weight=0.2, cross_fit=True, mixup=1.0
    ),
    "per_sample, clean 1 crossed": l2b(PerSample(), clean_weight=1.0, cross_fit=True),
    "per_sample, triple of classes, clean 1 crossed": l2b(
        PerSample(), candidates=Triple(), clean_weight=1.0, cross_fit=True
    ),
    "per_sample, triple of classes, clean 1 crossed, warm auto": l2b(
        PerSample(), warm=None, candidates=Triple(), clean_weight=1.0, cross_fit=True
    ),
    "eq9, triple of classes, clean 1 crossed": l2b(
        candidates=Triple(), clean_weight=1.0, cross_fit=True
    ),
    "eq9, triple of classes, clean 1 crossed, warm auto": l2b(
        warm=None, candidates=Triple(), clean_weight=1.0, cross_fit=True
    ),
    "eq9, clean 1 crossed, warm auto": l2b(warm=None, clean_weight=1.0, cross_fit=True),
    "eq9, clean 1 crossed, start clean": l2b(
        warm=0.2, start="clean", clean_weight=1.0, cross_fit=True
    ),
    "eq9, clean 3 crossed": l2b(clean_weight=3.0, cross_fit=True),
    "mlc": lambda _: Mlc(engine=LastLayer()),
    "mw_net": lambda _: MwNet(engine=LastLayer()),
    "gold_correction": lambda _: GoldCorrection(),
    "gold_posterior": lambda _: GoldPosterior(),
    "generalised_cross_entropy": lambda _: GeneralisedCrossEntropy(),
    "co_teaching": lambda _: CoTeaching(),
    "per_sample, triple": l2b(PerSample(), SOFT, candidates=Triple()),
    "per_sample, all classes": l2b(PerSample(), SOFT, candidates=AllClasses()),
}  # fmt: skip


@cache
def loaded(trial: str) -> Source:
    """The development set, read once a process."""
    return TRIALS[trial].source()


def one(trial: str, name: str, seed: int) -> dict[str, Any]:
    """Held-out accuracy in percent of one run."""
    torch.set_num_threads(1)
    case = TRIALS[trial]
    data = prepare(loaded(trial), case.noise, clean=case.clean, validation=0.2, seed=seed)
    method = CONTESTANTS[name](case.training.epochs)
    training = replace(
        case.training, clean_batch=min(case.training.clean_batch, len(data.clean)), threads=1
    )
    history = fit(data, case.model, method, training, seed=seed, progress=False).history
    chosen = max(history, key=lambda row: row["validation_accuracy"])
    return {
        "set": trial, "name": name, "seed": seed,
        "last": 100 * history[-1]["test_accuracy"], "chosen": 100 * chosen["test_accuracy"],
    }  # fmt: skip


def table(rows: list[dict[str, Any]], figure: str) -> str:
    """Mean ± standard deviation by method and set, and each method's mean, as Markdown."""
    sets = list(dict.fromkeys(row["set"] for row in rows))
    lines = ["| | " + " | ".join([*sets, "mean"]) + " |", "|---" * (len(sets) + 2) + "|"]
    for name in [n for n in CONTESTANTS if any(row["name"] == n for row in rows)]:
        found = [[r[figure] for r in rows if (r["set"], r["name"]) == (s, name)] for s in sets]
        whole = all(found)
        mean = f"{sum(sum(f) / len(f) for f in found) / len(found):.1f}" if whole else "–"
        lines.append(f"| {name} | " + " | ".join([*(spread(f) for f in found), mean]) + " |")
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, several runs at a time; keep the figures after each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sets", nargs="+", choices=list(TRIALS), default=list(TRIALS))
    parser.add_argument("--names", nargs="+", choices=list(CONTESTANTS), default=list(CONTESTANTS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "tune_defaults.json")
    options = parser.parse_args()
    rows = json.loads(options.out.read_text())["rows"] if options.out.is_file() else []
    done = {(row["set"], row["name"], row["seed"]) for row in rows}
    wanted = [
        (trial, name, seed)
        for seed in range(options.seeds)
        for trial in options.sets
        for name in options.names
        if (trial, name, seed) not in done
    ]
    described = provenance()
    for found in results(one, wanted, options.workers):
        rows.append(found | {"commit": described["commit"]})
        write_json(options.out, {**described, "rows": rows})
    shown = [r for r in rows if r["set"] in options.sets and r["name"] in options.names]
    for figure in ("last", "chosen"):
        print(f"{figure} epoch\n\n{table(shown, figure)}\n")


if __name__ == "__main__":
    main()

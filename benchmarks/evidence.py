"""Is the default L2B the best? Nine settings, all methods and baselines, paired by seed.

python benchmarks/evidence.py [--balanced | --deep] [--seeds 5] [--settings …] [--methods …]
    [--workers 2] [--table] [--out FILE]

Budgets are those of `--preset cpu`, so that all of it takes about two hours on two cores: a small
conv net on digits; perceptrons on 10,000 images of Fashion-MNIST and of CIFAR-10, on ISIC 2019 and
on two sets of texts with weak labels (TF-IDF). The defaults were chosen on samples held out from
the *training* parts of digits, Fashion-MNIST and TREC (benchmarks/tune_defaults.py); the other
sets are untouched, but for one look at CIFAR-10N (docs/evidence.md). What is in the file already
is not run again (--table runs nothing at all), interrupted runs are resumed; tables and verdicts
are of all that is there. With --balanced, three settings with rare classes, which count as much as
the others: all methods train under `class_weight="balanced"`, and balanced accuracy judges. With
--deep, two settings for a GPU: a deep network on images that it has time to memorise.
"""

import argparse
import json
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

from provenance import RESULTS, provenance
from spread import gain

from l2b.catalog import default
from l2b.experiment import Run
from l2b.files import write_json
from l2b.grid import Grid, Results, Trial, execute, read_results
from l2b.grid.markdown import p_value, percent, rendered, table
from l2b.grid.results import Row, flat
from l2b.methods import Method
from l2b.methods.l2b import L2B
from l2b.presets import base_run
from l2b.stats import mean_sd

OURS = "l2b"
RUNS = Path("runs/evidence")  # where runs work, and go on if they were interrupted
WEAK = "--noise existing --noise.annotation weak"
TEXTS = "--model mlp --model.hidden [128] --training.epochs 20"
FLAT = "--model mlp --training.augment identity"
SETTINGS = {
    "digits, symmetric 40 %": "--data digits --noise symmetric --noise.rate 0.4",
    "digits, pairs 40 %": "--data digits --noise pair_flip --noise.rate 0.4",
    "Fashion-MNIST, symmetric 40 %": "--data fashion_mnist --noise symmetric --noise.rate 0.4",
    "Fashion-MNIST, instance 40 %": (
        "--data fashion_mnist --noise instance_dependent --noise.rate 0.4"
    ),
    "TREC, weak rules": f"--data trec {WEAK} {TEXTS} --clean 603",
    "CIFAR-10N worst": f"--data cifar10 --noise existing --noise.annotation worst {FLAT}",
    "CIFAR-10N random1": f"--data cifar10 --noise existing --noise.annotation random1 {FLAT}",
    "ISIC, symmetric 40 %": f"--data isic --noise symmetric --noise.rate 0.4 {FLAT}",
    "Yorùbá, weak rules": f"--data yoruba {WEAK} {TEXTS} --clean 189",
}
DEEP_NETWORK = (
    "--data cifar10 --data.limit 5000 --model preact_resnet --model.width 32 --clean 1000 "
    "--training.epochs 40 --training.batch 256 --training.clean_batch 128 "
    "--training.optimiser.lr 0.1 --training.precision bfloat16"
)
DEEP = {
    "CIFAR-10N worst, deep": f"{DEEP_NETWORK} --noise existing --noise.annotation worst",
    "CIFAR-10 symmetric 40 %, deep": f"{DEEP_NETWORK} --noise symmetric --noise.rate 0.4",
}
ALIKE = "--class_weight balanced"
BALANCED = {
    "ISIC, classes alike": f"{SETTINGS['ISIC, symmetric 40 %']} {ALIKE}",
    "CIFAR-10N worst, long tail": f"{SETTINGS['CIFAR-10N worst']} --imbalance 20 {ALIKE}",
    "Yorùbá, classes alike": f"{SETTINGS['Yorùbá, weak rules']} {ALIKE}",
}
EVERY = SETTINGS | BALANCED | DEEP
WITHOUT = {  # the same without class weights
    "ISIC, classes alike": "ISIC, symmetric 40 %",
    "Yorùbá, classes alike": "Yorùbá, weak rules",
}
METHODS = (
    "cross_entropy", "label_smoothing", "generalised_cross_entropy", "mixup", "bootstrap", "elr",
    "co_teaching", "clean_only", "pooled", "fine_tune", "gold_correction", "cleanlab_prune",
    "l2rw", "mw_net", "mlc", "as_published", OURS,
)  # fmt: skip


VARIANTS = {"l2b, mixup": L2B(mixup=1.0)}  # beside the methods, where they are asked for


def grid(settings: list[str], methods: list[str], seeds: int) -> Grid:
    """Every method in every setting, one seed after the other."""
    return Grid(
        trials=tuple(
            trial(setting, name, seed)
            for seed in range(seeds)
            for setting in settings
            for name in methods
        ),
        reference=OURS if OURS in methods else "",
    )


def trial(setting: str, name: str, seed: int) -> Trial:
    """One method in one setting."""
    return Trial(
        labels={"setting": setting, "method": name},
        run=replace(base(setting), method=method(name), seed=seed),
    )


def method(name: str) -> Method:
    """What a name stands for."""
    return VARIANTS.get(name) or default(Method, name)


def kept(asked: Grid, path: Path) -> Results:
    """What a file of figures holds of a grid."""
    found = json.loads(path.read_text())["rows"] if path.is_file() else []
    by_place = {(row["setting"], row["method"], row["seed"]): row for row in found}
    places = [place(trial) for trial in asked.trials]
    rows = tuple(
        Row(labels=trial.labels, seed=trial.run.seed, folder=path.parent, record=by_place[there])
        for trial, there in zip(asked.trials, places, strict=True)
        if there in by_place
    )
    return Results(
        grid=asked, folder=path.parent, rows=rows, failures={}, missing=len(places) - len(rows)
    )


def place(found: Trial | Row) -> tuple[str, str, int]:
    """Setting, method and seed of a run, or of one to be."""
    seed = found.run.seed if isinstance(found, Trial) else found.seed
    return found.labels["setting"], found.labels["method"], seed


def run_missing(asked: Grid, path: Path, workers: int) -> dict[str, str]:
    """Run what a file of figures lacks and add it; the errors of runs that failed, by name."""
    there = {place(row) for row in kept(asked, path).rows}
    missing = tuple(trial for trial in asked.trials if place(trial) not in there)
    if not missing:
        return {}
    wanted = replace(asked, trials=missing, reference="")
    try:
        execute(wanted, RUNS, workers=workers)
    finally:  # also of what was stopped
        results, described = read_results(wanted, RUNS), provenance()
        new = [flat(row) | {"commit": described["commit"]} for row in results.rows]
        old = json.loads(path.read_text())["rows"] if path.is_file() else []
        write_json(path, {**described, "rows": old + new})
    return dict(results.failures)


@cache
def base(setting: str) -> Run:
    """What all methods share in one setting."""
    return base_run(EVERY[setting].split(), "cpu")


def verdicts(results: Results, measure: str) -> str:
    """By setting: the best of the others, and how far the default is from it."""
    rows = []
    for setting in results.grid.settings:
        of = {
            name: results.values({**setting, "method": name}, measure)
            for name in results.grid.labels("method")
        }
        ours, others = of.pop(OURS, {}), {name: v for name, v in of.items() if v}
        if not ours or not others:
            continue
        best = max(others, key=lambda name: mean_sd(list(others[name].values()))[0])
        test = next(
            c.found
            for c in results.comparisons(measure)
            if c.setting == setting and c.other == best
        )
        change, error = gain(ours, others[best])
        level = error is not None and abs(change) <= error
        word = "level" if level else "ahead" if change > 0 else "behind"
        points = f"{100 * change:+.1f}" + ("" if error is None else f" ± {100 * error:.1f}")
        rows.append(
            [setting["setting"], percent(list(ours.values())), best,
             percent(list(others[best].values())), points, p_value(test.t), word]
        )  # fmt: skip
    heads = ["setting", OURS, "best other", "its figure", "difference ± SE", "p", "verdict"]
    return rendered(heads, rows)


def gaps(results: Results, measure: str) -> str:
    """By method: points behind the best of each setting, on average and at most."""
    names = results.grid.labels("method")
    behind: dict[str, list[float]] = {name: [] for name in names}
    for setting in results.grid.settings:
        found = {
            name: list(results.values({**setting, "method": name}, measure).values())
            for name in names
        }
        if all(found.values()):
            means = {name: mean_sd(values)[0] for name, values in found.items()}
            best = max(means.values())
            for name, mean in means.items():
                behind[name].append(100 * (best - mean))
    rows = [
        [name, f"{sum(b) / len(b):.1f}", f"{max(b):.1f}", str(sum(gap == 0 for gap in b))]
        for name, b in sorted(behind.items(), key=lambda item: sum(item[1]))
        if b
    ]
    return rendered(["method", "mean gap to the best", "largest gap", "times best"], rows)


def gained(alike: Results, without: Results) -> str:
    """By method: points of balanced accuracy that class weights bring, nothing else changed."""
    rows, means = [], {setting: [] for setting in WITHOUT}
    for name in alike.grid.labels("method"):
        cells = []
        for setting, other in WITHOUT.items():
            found = (
                results.values({"setting": s, "method": name}, "last_balanced_accuracy")
                for results, s in ((alike, setting), (without, other))
            )
            change, error = gain(*found)
            means[setting].append(change)
            cells.append(
                f"{100 * change:+.1f}" + ("" if error is None else f" ± {100 * error:.1f}")
            )
        rows.append([name, *cells])
    more = [f"{sum(m > 0 for m in found)} of {len(found)}" for found in means.values()]
    mean = [f"{100 * sum(found) / len(found):+.1f}" for found in means.values()]
    return rendered(["gain by class weights", *WITHOUT], [*rows, ["mean", *mean], ["gain", *more]])


def kinds(parser: argparse.ArgumentParser) -> None:
    """Options that choose another kind of settings."""
    group = parser.add_mutually_exclusive_group()
    group.add_argument("--balanced", action="store_true", help="where classes count alike")
    group.add_argument("--deep", action="store_true", help="a deep network, for a GPU")


def suffix(options: argparse.Namespace) -> str:
    """Of the files of a kind of settings."""
    return "_balanced" if options.balanced else "_deep" if options.deep else ""


def settings_of(parser: argparse.ArgumentParser, options: argparse.Namespace) -> list[str]:
    """The settings that were asked for, all of one kind; every one of the kind by default."""
    known = BALANCED if options.balanced else DEEP if options.deep else SETTINGS
    unknown = [name for name in options.settings or () if name not in known]
    if unknown:
        parser.error(f"no setting {unknown[0]!r} here; known: {', '.join(known)}")
    return options.settings or list(known)


def main() -> None:
    """Run what is missing, then print tables and verdicts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    kinds(parser)
    parser.add_argument("--settings", nargs="+")
    parser.add_argument("--methods", nargs="+", default=list(METHODS))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--table", action="store_true", help="of what is there; run nothing")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    settings = settings_of(parser, options)
    path = options.out or RESULTS / f"evidence{suffix(options)}.json"
    asked = grid(settings, options.methods, options.seeds)
    failures = {} if options.table else run_missing(asked, path, options.workers)
    results = kept(asked, path)
    judged, other = ("accuracy", "balanced_accuracy")[:: -1 if options.balanced else 1]
    for measure in (f"last_{judged}", f"chosen_{judged}"):
        parts = table(results, measure), verdicts(results, measure), gaps(results, measure)
        print("\n\n".join([f"\n{measure}", *parts]))
    print(f"\nlast_{other}\n\n{table(results, f'last_{other}')}")
    if options.balanced and set(WITHOUT) <= set(settings):
        plain = grid(list(WITHOUT.values()), options.methods, options.seeds)
        print(f"\n{gained(results, kept(plain, RESULTS / 'evidence.json'))}")
    for name, error in failures.items():
        print(f"{name} failed: {error}", file=sys.stderr)
    sys.exit(1 if results.missing else 0)


if __name__ == "__main__":
    main()

"""Does the automatic choice find the best? In the settings of benchmarks/evidence.py, by seed.

python benchmarks/auto.py [--seeds 3] [--settings …] [--budget 600] [--balanced | --deep]
    [--checked] [--workers 1] [--out FILE] [--against FILE] [--table]

What `L2BClassifier(method="auto")` does, on the very samples, with the network and the training of
`benchmarks/evidence.py`: all candidates are cross-validated on the clean samples, those that do
best together are trained on everything and vote, and one more network, the student, learns from
them and has half of the vote. Clean samples are those that every other method has; the validation
samples are not used. Compared, paired by seed, with the figures of every method in
benchmarks/results/evidence.json. What is in the file already is not run again. With --balanced,
the same where classes count alike (evidence_balanced.json), by balanced accuracy; with --deep, a
deep network on a GPU (evidence_deep.json). With --against, nothing is run: what the file has more
than another one, as of another rule or budget. With --table, nothing is run either: all nine
settings, of the files that they are in. With --checked the validation samples are checked samples
like the others: where other methods choose an epoch by them, the choice learns from them and elects
by them, so that all have the same labels; compared with the others at the epochs chosen. There
--table prints what the file has of as many seeds as --seeds says.
"""

import argparse
import json
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from evidence import EVERY, METHODS, base, kinds, settings_of, suffix
from in_processes import results
from provenance import RESULTS, provenance, rows_left
from spread import gain, spread

from l2b.data import Data
from l2b.estimation.learn import Plan, logits
from l2b.estimation.selection import candidates, elect
from l2b.estimation.task import Given
from l2b.evaluate import evaluate
from l2b.files import write_json
from l2b.grid.markdown import p_value, rendered
from l2b.stats import mean_sd, paired

RIVALS = tuple(name for name in METHODS if name not in ("l2b", "as_published"))
EPOCHS = "last", "chosen"
BASELINES = ("clean_only", "fine_tune", "l2b")
# All nine settings; what is in a later file replaces what an earlier one has.
CHOICES = tuple(RESULTS / name for name in ("auto_300.json", "auto_isic.json", "auto.json"))


def one(setting: str, seed: int, budget: float, checked: bool = False) -> dict[str, Any]:
    """Test accuracy in percent of one automatic choice, and what it chose.

    Args:
        setting: of benchmarks/evidence.py.
        seed: of data and training.
        budget: seconds.
        checked: whether validation samples are checked ones like the others.
    """
    torch.set_num_threads(1)
    run = replace(base(setting), seed=seed)
    data = run.prepare()
    assert data.test is not None
    given = samples(data, checked=checked)
    training = replace(run.training, threads=1)
    plan = Plan(
        model=run.model, training=training, validation=0.0, progress=False,
        class_weights=data.class_weights,
    )  # fmt: skip
    elected = elect(given, plan, budget=budget, seed=seed, say=lambda _: None)
    found, judged = elected.comparison, data.test
    modules = {
        "accuracy": elected.module,
        "committee": elected.committee,
        "student": elected.single.module,
    }
    figures: dict[str, float] = {}
    for name, module in modules.items():
        row = evaluate(partial(logits, module, device=elected.learned.device), judged, data)
        figures[name] = 100 * row["accuracy"]
        figures[f"{name}_balanced"] = 100 * row["balanced_accuracy"]
    return {
        "setting": setting,
        "seed": seed,
        "clean_samples": len(given.y_clean),
        **figures,
        "members": found.members,
        "temperatures": found.temperatures,
        "cross_validated": found.accuracy,
        "folds": found.folds,
        "left_out": found.left_out,
        "seconds": found.seconds,
    }


def samples(data: Data, *, checked: bool = False) -> Given:
    """Noisy and clean samples of a prepared set, as the estimator has them.

    Args:
        data: the set.
        checked: whether validation samples are clean ones like the others.
    """
    parts = [data.clean]
    if checked and data.validation is not None:
        parts.append(data.validation)
    return Given(
        x=data.standardise(data.train.inputs),
        y=data.train.labels,
        index=data.train.index,
        x_clean=data.standardise(torch.cat([part.inputs for part in parts])),
        y_clean=torch.cat([part.labels for part in parts]),
        classes=data.classes,
        tags=data.tags,
    )


def by_setting(rows: list[dict[str, Any]], measure: str) -> dict[str, dict[int, float]]:
    """What was measured, by setting in their usual order, then by seed."""
    found = {
        setting: {
            row["seed"]: row[measure]
            for row in rows
            if row["setting"] == setting and measure in row
        }
        for setting in EVERY
    }
    return {setting: seeds for setting, seeds in found.items() if seeds}


def table(
    rows: list[dict[str, Any]],
    others: dict[tuple[str, str], dict[int, float]],
    name: str,
    measure: str,
) -> str:
    """By setting: the choice, the best other method on these seeds, and the baselines."""
    lines = []
    for setting, ours in by_setting(rows, measure).items():
        there = {
            other: found
            for other in METHODS
            if (found := {s: v for s, v in others[other, setting].items() if s in ours})
        }
        if not there:
            continue
        cells = [cell for names in (METHODS, RIVALS) for cell in _against_best(ours, there, names)]
        cells += [difference(ours, there[other])[0] for other in BASELINES]
        lines.append([setting, spread(list(ours.values())), *cells])
    heads = [
        "setting", name, "best of all", f"{name} − best ± SE", "p",
        "best that is not L2B", f"{name} − best ± SE", "p",
    ]  # fmt: skip
    return rendered([*heads, *(f"− {other}" for other in BASELINES)], lines)


def parts(rows: list[dict[str, Any]], *measures: str) -> str:
    """By setting: committee and student apart, and what both together gain on the committee."""
    committee, student, both = (by_setting(rows, measure) for measure in measures)
    lines = []
    for setting, found in both.items():
        apart = committee[setting], student[setting], found
        cells = [spread(list(part.values())) for part in apart]
        lines.append([setting, *cells, *difference(found, committee[setting])])
    return rendered(
        ["setting", "committee", "student", "both", "both − committee ± SE", "p"], lines
    )


def changes(now: list[dict[str, Any]], before: list[dict[str, Any]], measures: list[str]) -> str:
    """By setting: what one file has more than another on the same seeds."""
    found = [(by_setting(now, measure), by_setting(before, measure)) for measure in measures]
    lines = [
        [setting, *(difference(ours[setting], theirs[setting])[0] for ours, theirs in found)]
        for setting in found[0][0]
        if setting in found[0][1]
    ]
    return rendered(["setting", *measures], lines)


def _against_best(
    ours: dict[int, float], there: dict[str, dict[int, float]], names: tuple[str, ...]
) -> list[str]:
    """The best of these methods on the seeds that both have, and how far it is away."""
    best = max(names, key=lambda name: mean_sd(list(there[name].values()))[0])
    return [f"{best} {spread(list(there[best].values()))}", *difference(ours, there[best])]


def voters(rows: list[dict[str, Any]]) -> str:
    """By setting: the mean weight of every candidate, and how many have one."""
    names = list(candidates())
    lines = []
    for setting in (*EVERY, ""):
        found = [row for row in rows if setting in ("", row["setting"])]
        if not found:
            continue
        count = [len(row["members"]) for row in found]
        mean = [sum(row["members"].get(n, 0.0) for row in found) / len(found) for n in names]
        seconds = sum(row["seconds"] for row in found) / len(found)
        members = f"{min(count)} to {max(count)}, mean {sum(count) / len(count):.1f}"
        shares = [f"{share:.0%}" for share in mean]
        lines.append([setting or "all", *shares, members, f"{seconds:.0f}"])
    return rendered(["setting", *names, "members", "seconds"], lines)


def difference(ours: dict[int, float], other: dict[int, float]) -> tuple[str, str]:
    """Mean difference ± its standard error, and the p of the paired t-test."""
    change, error = gain(ours, other)
    if error is None:
        return f"{change:+.1f}", "–"
    shared = sorted(ours.keys() & other.keys())
    test = paired([ours[s] for s in shared], [other[s] for s in shared])
    return f"{change:+.1f} ± {error:.1f}", p_value(test.t)


def main() -> None:
    """Run what is missing, keep the figures after each run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=3)
    kinds(parser)
    parser.add_argument("--settings", nargs="+")
    parser.add_argument("--budget", type=float, default=600.0, help="seconds for each choice")
    parser.add_argument("--workers", type=int, default=1, help="more than one shortens budgets")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--checked", action="store_true", help="validation samples are clean ones")
    parser.add_argument("--against", type=Path, help="compare with this file, run nothing")
    parser.add_argument("--table", action="store_true", help="of all settings; run nothing")
    options = parser.parse_args()
    kind, tail = suffix(options), "_balanced" if options.balanced else ""
    auto, student, committee = (f"{part}{tail}" for part in ("accuracy", "student", "committee"))
    file = f"auto{kind}{'_checked' if options.checked else ''}.json"
    path, settings = options.out or RESULTS / file, (options.budget,)
    if options.against:
        print(changes(of_choices(path), of_choices(options.against), [auto, committee, student]))
        return
    usual = of_choices(*CHOICES)
    rows = rows_left(path, settings)
    if options.table:
        there = of_choices(path) if options.checked else usual
        rows = [row for row in there if not options.checked or row["seed"] < options.seeds]
    judged = "balanced_accuracy" if options.balanced else "accuracy"
    last, chosen = (others(f"evidence{kind}.json", f"{epoch}_{judged}") for epoch in EPOCHS)
    done = {(row["setting"], row["seed"]) for row in rows}
    wanted = [
        (setting, seed)
        for seed in range(0 if options.table else options.seeds)
        for setting in settings_of(parser, options)
        if (setting, seed) not in done
    ]
    for found in results(
        one, [(*task, options.budget, options.checked) for task in wanted], options.workers
    ):
        rows.append(found)
        write_json(path, {**provenance(), "settings": settings, "rows": rows})
    if options.checked:
        print(table(rows, chosen, "auto", auto))
        print(f"\nOver the choice without them\n\n{changes(rows, usual, [auto])}")
        return
    tables = (
        f"Others at the last epoch\n\n{table(rows, last, 'auto', auto)}",
        f"Others at the epoch chosen by validation\n\n{table(rows, chosen, 'auto', auto)}",
        f"Others at the last epoch\n\n{table(rows, last, 'student', student)}",
        parts(rows, committee, student, auto),
        voters(rows),
    )
    print("\n\n".join(tables))


def of_choices(*paths: Path) -> list[dict[str, Any]]:
    """What files of choices hold, as far as there are any; of two for one seed, the later one."""
    rows = [row for path in paths if path.is_file() for row in json.loads(path.read_text())["rows"]]
    return list({(row["setting"], row["seed"]): row for row in rows}.values())


def others(file: str, measure: str) -> dict[tuple[str, str], dict[int, float]]:
    """Figures of benchmarks/evidence.py in percent, by method and setting, then by seed."""
    found = {(name, setting): {} for name in METHODS for setting in EVERY}
    for row in json.loads((RESULTS / file).read_text())["rows"]:
        found.setdefault((row["method"], row["setting"]), {})[row["seed"]] = 100 * row[measure]
    return found


if __name__ == "__main__":
    main()

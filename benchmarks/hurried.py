"""What the automatic choice finds where there is time for one round alone, on development data.

python benchmarks/hurried.py [--seeds 4] [--sets …] [--workers 2] [--out FILE]

`L2BClassifier(method="auto")` cross-validates its candidates in up to three rounds. On a slow
machine there may be time for one, which judges a third of the clean samples: of 40, 14, and
several methods get all of these right. Compared, held-out accuracy in percent of the committee of
the rounds' networks: after one round of all methods; after the further rounds that `Contest` allows
where there is time for `clean_only` and `l2b` in each, and what fits besides; and after three
rounds of all. Sets as in benchmarks/election.py. What is in the file already is not run again.
"""

import argparse
import math
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from auto import samples
from in_processes import results
from provenance import RESULTS, provenance, rows_left
from spread import gain, spread
from tune_defaults import TRIALS, loaded

from l2b.data import prepare
from l2b.estimation import selection
from l2b.estimation.learn import Plan, logits
from l2b.estimation.selection import Contest, candidates, joined
from l2b.evaluate import evaluate
from l2b.files import write_json
from l2b.grid.markdown import rendered

FIRST_SEED = 30  # others chose the rules
USUAL = "digits, symmetric 40", "digits, pairs 40"
WAYS = {"one": "one round of all", "foremost": "then the foremost", "all": "three rounds of all"}


def one(trial: str, seed: int) -> dict[str, Any]:
    """Accuracy in percent of the committee after each way, and who votes."""
    torch.set_num_threads(1)
    case = TRIALS[trial]
    data = prepare(loaded(trial), case.noise, clean=case.clean, validation=0.2, seed=seed)
    test = data.test
    assert test is not None
    training = replace(
        case.training, clean_batch=min(case.training.clean_batch, len(data.clean)), threads=1
    )
    plan = Plan(model=case.model, training=training, validation=0.0, progress=False)
    contest, methods = Contest(samples(data), plan, seed), candidates()
    for number, held in enumerate(selection._folds(contest.given.y_clean, seed)):
        contest.round(methods, held, seed + number, math.inf)
    found: dict[str, Any] = {"set": trial, "seed": seed}

    def look(way: str, part: Contest) -> None:
        p, labels = part.held_out
        members, temperatures = selection.vote(p, labels, part.worth(labels))
        committee = joined(members, temperatures, part.modules)
        row = evaluate(partial(logits, committee), test, data)
        found[way], found[f"{way}, members"] = 100 * row["accuracy"], members
        found[f"{way}, judged"] = len(labels)

    part = first_rounds(contest, list(methods), 1)
    look("one", part)
    for number in range(1, len(contest.judged)):
        least = sum(contest.cost[name] for name in list(methods)[: selection.FEWEST])
        names = part.next_round(part.spent + part.student_cost + 2.01 * least)
        if not names:
            break
        part = first_rounds(contest, names, number + 1)
    look("foremost", part)
    look("all", contest)
    return found


def first_rounds(contest: Contest, names: list[str], rounds: int) -> Contest:
    """What these methods had found after so many rounds: trainings are the same in less company."""
    part = Contest(contest.given, contest.plan, contest.seed)
    part.judged = contest.judged[:rounds]
    part.p = {name: contest.p[name][:rounds] for name in names}
    part.modules = {name: contest.modules[name][:rounds] for name in names}
    part.cost = {name: contest.cost[name] for name in names}
    return part


def table(rows: list[dict[str, Any]]) -> str:
    """By set: every way, and what the foremost gain on one round."""
    lines = []
    for name in dict.fromkeys(row["set"] for row in rows):
        of = {way: {r["seed"]: r[way] for r in rows if r["set"] == name} for way in WAYS}
        change, error = gain(of["foremost"], of["one"])
        cells = [spread(list(found.values())) for found in of.values()]
        lines.append([name, *cells, f"{change:+.1f}" + (f" ± {error:.1f}" if error else "")])
    return rendered(["set", *WAYS.values(), "foremost − one ± SE"], lines)


def main() -> None:
    """Run what is missing, keep the figures after each run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sets", nargs="+", choices=list(TRIALS), default=list(USUAL))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "hurried.json")
    options = parser.parse_args()
    rows = rows_left(options.out, ())
    done = {(row["set"], row["seed"]) for row in rows}
    seeds = range(FIRST_SEED, FIRST_SEED + options.seeds)
    wanted = [(name, seed) for seed in seeds for name in options.sets if (name, seed) not in done]
    for found in results(one, wanted, options.workers):
        rows.append(found)
        write_json(options.out, {**provenance(), "settings": (), "rows": rows})
    print(table(rows))


if __name__ == "__main__":
    main()

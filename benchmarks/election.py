"""Who should vote in the automatic choice? Rules of election compared, on development data.

python benchmarks/election.py [--seeds 2] [--sets …] [--workers 2] [--out FILE]

On the sets of benchmarks/tune_defaults.py (held out of the *training* splits), all candidates of
`L2BClassifier(method="auto")` are cross-validated on the clean samples and trained on everything,
without a limit of time. Then three rules make weights of the same held-out probabilities: greedy
votes by accuracy (Caruana et al. 2004, "Ensemble selection from libraries of models"), the
likeliest mixture of them as they are, and that of each at its own temperature, which is the rule
in use; and three groups of networks vote by them: those of the final trainings, those of the
rounds, or both. Then, what L2B contributes: the same without it. Last, one more network that
learns from the committee in use, in several ways, alone and with half of the vote; the same where
all have temperature 1; what becomes of other shares: that of one method among the members, and
that of one network; and of the vote of all these students together.
Held-out accuracy in percent. What is in the file already is not run again.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from auto import samples
from in_processes import results
from provenance import RESULTS, provenance, rows_left
from spread import gain, spread
from torch import Tensor, nn
from tune_defaults import TRIALS, loaded

from l2b.data import prepare
from l2b.estimation.committee import Committee, elected, tempered
from l2b.estimation.learn import Plan, learn, logits
from l2b.estimation.selection import Contest, candidates, compare, joined, taught, vote
from l2b.estimation.task import Given
from l2b.files import write_json
from l2b.grid.markdown import rendered

VOTES = 10
FIRST_SEED = 10  # others chose the defaults
KIND = ("temperatures",)  # what the rows have that those of earlier files lack
USUAL = (
    "digits, symmetric 40", "digits, pairs 40", "fashion, symmetric 40", "fashion, pairs 40",
    "trec, weak", "fashion, rare classes", "trec, few",
)  # fmt: skip


Rule = Callable[[dict[str, Tensor], Tensor], tuple[dict[str, float], dict[str, float]]]


def greedy(p: dict[str, Tensor], labels: Tensor) -> dict[str, float]:
    """One vote at a time to whom the committee's accuracy gains most by; ties by likelihood."""
    total, votes = torch.zeros_like(next(iter(p.values()))), []
    best, kept = (-1.0, 0.0), 1
    for number in range(1, VOTES + 1):
        scores = {name: _score((total + q) / number, labels) for name, q in p.items()}
        name = max(scores, key=scores.__getitem__)
        votes.append(name)
        total = total + p[name]
        if scores[name] > best:
            best, kept = scores[name], number
    return {name: votes[:kept].count(name) / kept for name in votes[:kept]}


def _score(p: Tensor, labels: Tensor) -> tuple[float, float]:
    right = (p.argmax(dim=1) == labels).double().mean().item()
    return right, p.gather(1, labels.unsqueeze(1)).clamp_min(1e-6).log().mean().item()


def at_one(rule: Callable[[dict[str, Tensor], Tensor], dict[str, float]]) -> Rule:
    """Weights by this rule, all temperatures 1."""
    return lambda p, labels: (weights := rule(p, labels), dict.fromkeys(weights, 1.0))


FORMER, IN_USE = "likeliest mixture", "likeliest mixture at their temperatures"
RULES: dict[str, Rule] = {
    "greedy votes": at_one(greedy),
    FORMER: at_one(elected),
    IN_USE: lambda p, labels: vote(p, labels, None),
}
GROUPS = ("final", "rounds", "both")
AT_ONE, COMMITTEE = f"{FORMER}, both", f"{IN_USE}, both"
WITHOUT = f"{COMMITTEE}, without l2b"
# Ways of learning from the committee: settings of `Distilled`.
STUDENTS: dict[str, dict[str, float]] = {
    "student": {},
    "student, clean weight 1": {"clean_weight": 1.0},
    "student, hardly any blends": {"concentration": 0.01},
}
ALL = "all three students"
PLAIN = "student, temperatures 1"
HALF = ", half of the vote"
SHARES = ("student, one method's vote", "student, one network's vote")
STUDENT_ROWS = [*(name for way in (*STUDENTS, PLAIN, ALL) for name in (way, way + HALF)), *SHARES]


def one(trial: str, seed: int) -> dict[str, Any]:
    """Held-out accuracy in percent of every candidate, and of every rule and group."""
    torch.set_num_threads(1)
    case = TRIALS[trial]
    data = prepare(loaded(trial), case.noise, clean=case.clean, validation=0.2, seed=seed)
    assert data.test is not None
    given = samples(data)
    training = replace(
        case.training, clean_batch=min(case.training.clean_batch, len(data.clean)), threads=1
    )
    plan = Plan(model=case.model, training=training, validation=0.0, progress=False)
    contest, methods = Contest(given, plan, seed), candidates()
    compare(contest, methods, budget=float("inf"))
    held, labels = data.standardise(data.test.inputs), data.test.labels
    votes: dict[str, dict[str, list[Tensor]]] = {group: {} for group in GROUPS}
    networks: dict[str, list[nn.Module]] = {}
    for name, method in methods.items():
        last = (contest.trained.get(name) or learn(given, method, plan, seed)).module
        rounds = list(dict.fromkeys(contest.modules[name]))
        both = networks[name] = list(dict.fromkeys([*rounds, last]))
        said = {module: torch.softmax(logits(module, held), dim=1) for module in both}
        for group, modules in zip(GROUPS, ([last], rounds, both), strict=True):
            votes[group][name] = [said[module] for module in modules]
    p, checked = contest.held_out
    chosen = {rule: elect(p, checked) for rule, elect in RULES.items()}
    found = {
        f"{rule}, {group}": _vote(*election, by, labels)
        for rule, election in chosen.items()
        for group, by in votes.items()
    }
    rest = {name: q for name, q in p.items() if name != "l2b"}
    found[WITHOUT] = _vote(*vote(rest, checked, None), votes["both"], labels)
    in_use, plain = (joined(*chosen[rule], networks) for rule in (IN_USE, FORMER))
    members = len(chosen[IN_USE][0])
    found |= _students(in_use, plain, members, given, plan, seed, held, labels)
    single = {name: _accuracy(q[0], labels) for name, q in votes["final"].items()}
    return {"set": trial, "seed": seed, "single": single, "elected": found}


def _students(
    teachers: nn.Module,
    plain: nn.Module,
    members: int,
    given: Given,
    plan: Plan,
    seed: int,
    held: Tensor,
    labels: Tensor,
) -> dict[str, float]:
    """What networks reach that learn from a committee, in every way, alone and with it.

    Args:
        teachers: the committee in use.
        plain: that of temperature 1.
        members: methods that vote in the first.
        given: noisy and checked samples.
        plan: how to train.
        seed: of trainings.
        held: inputs to judge by.
        labels: theirs.
    """
    said, voted = {}, {}
    for name, changes in (STUDENTS | {PLAIN: {}}).items():
        teaching = plain if name == PLAIN else teachers
        voted[name] = torch.softmax(logits(teaching, held), dim=1)
        said[name] = voted[name]
        if isinstance(teaching, Committee):
            lesson = replace(taught(teaching, given, torch.device("cpu")), **changes)
            student = learn(given, lesson, plan, seed).module
            said[name] = torch.softmax(logits(student, held), dim=1)
    usual, others = said["student"], voted["student"]
    said[ALL], voted[ALL] = torch.stack([said[way] for way in STUDENTS]).mean(dim=0), others
    found = {}
    for way, p in said.items():
        found |= {way: p, way + HALF: p + voted[way]}
    networks = len(teachers.members) if isinstance(teachers, Committee) else 1
    counts = (members, networks)
    found |= {s: usual + count * others for s, count in zip(SHARES, counts, strict=True)}
    return {name: _accuracy(p, labels) for name, p in found.items()}


def _vote(
    weights: dict[str, float],
    temperatures: dict[str, float],
    by: dict[str, list[Tensor]],
    labels: Tensor,
) -> float:
    mixed = [
        weight * torch.stack([tempered(p, temperatures[name]) for p in by[name]]).mean(dim=0)
        for name, weight in weights.items()
    ]
    return _accuracy(torch.stack(mixed).sum(dim=0), labels)


def _accuracy(p: Tensor, labels: Tensor) -> float:
    return 100 * (p.argmax(dim=1) == labels).double().mean().item()


def table(rows: list[dict[str, Any]]) -> str:
    """By rule and group, and the best single candidate of every run, which nobody knows."""
    sets = [name for name in TRIALS if any(row["set"] == name for row in rows)]
    keys = [*(f"{rule}, {group}" for rule in RULES for group in GROUPS), WITHOUT]
    keys += STUDENT_ROWS
    figures = {"best single candidate": lambda row: max(row["single"].values())} | {
        key: lambda row, key=key: row["elected"][key] for key in keys
    }
    lines = []
    for name, figure in figures.items():
        by_set = [[figure(row) for row in rows if row["set"] == s] for s in sets]
        mean = sum(sum(found) / len(found) for found in by_set) / len(sets)
        lines.append([name, *(spread(found) for found in by_set), f"{mean:.1f}"])
    return rendered(["who votes", *sets, "mean"], lines)


def added(rows: list[dict[str, Any]]) -> str:
    """What temperatures add, and what the student does by its share of the vote, in points."""
    sets = [name for name in TRIALS if any(row["set"] == name for row in rows)]
    lines = []
    for better, worse in (
        (COMMITTEE, AT_ONE),
        ("student", PLAIN),
        ("student" + HALF, PLAIN + HALF),
        *((share, COMMITTEE) for share in ("student" + HALF, *SHARES)),
    ):
        cells = []
        for name in sets:
            there = {row["seed"]: row["elected"] for row in rows if row["set"] == name}
            with_it, without = (
                {seed: found[key] for seed, found in there.items()} for key in (better, worse)
            )
            change, error = gain(with_it, without)
            cells.append(f"{change:+.1f}" if error is None else f"{change:+.1f} ± {error:.1f}")
        lines.append([better, worse, *cells])
    return rendered(["this", "over that", *sets], lines)


def main() -> None:
    """Run what is missing, keep the figures after each run, print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--sets", nargs="+", choices=list(TRIALS), default=list(USUAL))
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path, default=RESULTS / "election_temperatures.json")
    options = parser.parse_args()
    rows = rows_left(options.out, KIND)
    done = {(row["set"], row["seed"]) for row in rows}
    wanted = [
        (trial, FIRST_SEED + seed)
        for seed in range(options.seeds)
        for trial in options.sets
        if (trial, FIRST_SEED + seed) not in done
    ]
    for found in results(one, wanted, options.workers):
        rows.append(found)
        write_json(options.out, {**provenance(), "settings": KIND, "rows": rows})
    print(f"{table(rows)}\n\n{added(rows)}")


if __name__ == "__main__":
    main()

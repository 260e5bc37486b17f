"""Compare methods on the checked samples, within a time budget."""

import math
import time
from dataclasses import dataclass

import torch
from sklearn.model_selection import KFold, StratifiedKFold
from torch import Tensor

from l2b.estimation.committee import elected
from l2b.estimation.learn import Plan, learn, logits
from l2b.estimation.task import Given
from l2b.methods import Method
from l2b.methods.clean_only import CleanOnly
from l2b.methods.fine_tune import FineTune
from l2b.methods.gold_correction import GoldCorrection
from l2b.methods.gold_posterior import GoldPosterior
from l2b.methods.l2b import L2B
from l2b.methods.pooled import Pooled

FOLDS = 3
WITHOUT = "clean_only"
FEWEST = 2  # methods that are compared whatever it takes: without the noisy labels, and with


def candidates() -> dict[str, Method]:
    """What "auto" chooses from, in the order in which they are tried while there is time."""
    return {
        WITHOUT: CleanOnly(),
        "gold_posterior": GoldPosterior(),
        "fine_tune": FineTune(),
        "gold_correction": GoldCorrection(),
        "l2b": L2B(),
        "pooled": Pooled(),
    }


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """How well each method did on checked samples that it had not seen.

    Attributes:
        correct: for each method, whether each judged sample was right, [judged].
        members: weights of the methods that vote in the final model, the heaviest first.
        seconds: that the comparison took.
        folds: rounds that fitted into the time budget.
        left_out: methods for which there was no time.
    """

    correct: dict[str, Tensor]
    members: dict[str, float]
    seconds: float
    folds: int
    left_out: tuple[str, ...] = ()

    @property
    def chosen(self) -> str:
        """The method with the most weight."""
        return next(iter(self.members))

    @property
    def accuracy(self) -> dict[str, float]:
        """Share of right predictions, by method."""
        return {name: right.float().mean().item() for name, right in self.correct.items()}

    @property
    def noisy_labels_help(self) -> bool:
        """Whether the best use of the noisy labels beats doing without by two standard errors.

        Two, since it is the best of several, which flatters it.
        """
        gain, error = self.gain
        return gain > 2 * error

    @property
    def gain(self) -> tuple[float, float]:
        """Accuracy that the best use of the noisy labels adds, and its standard error."""
        others = [name for name in self.correct if name != WITHOUT]
        best = max(others, key=self.accuracy.__getitem__)
        change = self.correct[best].float() - self.correct[WITHOUT].float()
        error = change.std().item() / math.sqrt(len(change)) if len(change) > 1 else math.inf
        return change.mean().item(), error

    def summary(self) -> str:
        """What was found, for a person."""
        ranked = sorted(self.accuracy.items(), key=lambda item: -item[1])
        table = ", ".join(f"{name} {accuracy:.1%}" for name, accuracy in ranked)
        gain, error = self.gain
        verdict = (
            f"The noisy labels help: {gain:+.1%} ± {error:.1%}."
            if self.noisy_labels_help
            else f"The noisy labels do not help beyond doubt: {gain:+.1%} ± {error:.1%} against "
            "the checked samples alone. More checked samples would tell, or do more."
        )
        members = ", ".join(f"{name} ({weight:.0%})" for name, weight in self.members.items())
        judged = len(next(iter(self.correct.values())))
        hurried = (
            f" No time for {', '.join(self.left_out)}: raise time_budget." if self.left_out else ""
        )
        return (
            f"{verdict} Accuracy on {judged} checked samples, held out in {self.folds} of "
            f"{FOLDS} folds: {table}. Chosen: {members} ({self.seconds:.0f} s).{hurried}"
        )


def compare(
    given: Given, methods: dict[str, Method], plan: Plan, *, budget: float, seed: int
) -> Comparison:
    """Cross-validate every method on the checked samples.

    Every round trains all methods without one fold of the checked samples and judges all by
    it. The final training on everything takes about as long as one round at most, so a round
    starts only if it and the final training should end within the budget, and the first round
    ends early once half of the budget is spent. Its first two methods always run.

    Args:
        given: noisy and checked samples.
        methods: what to compare, by name; the most important ones first.
        plan: how to train.
        budget: seconds for the comparison and the final training.
        seed: of folds and trainings.
    """
    start = time.perf_counter()
    found: list[tuple[Tensor, dict[str, Tensor]]] = []
    tried, cost = dict(methods), {}
    for number, held in enumerate(_folds(given.y_clean, seed)):
        spent = time.perf_counter() - start
        if number and spent * (number + 2) / number > budget:
            break
        end = start + budget / 2 if number == 0 else math.inf
        found.append((held, _round(given, tried, plan, held, seed + number, end, cost)))
        tried = {name: methods[name] for name in found[0][1]}
    labels = given.y_clean[torch.cat([held for held, _ in found])]
    p = {name: torch.cat([each[name] for _, each in found]) for name in tried}
    seconds = time.perf_counter() - start
    return Comparison(
        correct={name: q.argmax(dim=1) == labels for name, q in p.items()},
        members=_affordable(elected(p, labels), cost, budget - seconds),
        seconds=seconds,
        folds=len(found),
        left_out=tuple(name for name in methods if name not in tried),
    )


def _round(
    given: Given,
    methods: dict[str, Method],
    plan: Plan,
    held: Tensor,
    seed: int,
    end: float,
    cost: dict[str, float],
) -> dict[str, Tensor]:
    """Probabilities that each method gives the held-out samples, [held, classes].

    After the time ``end`` no further method starts, but for the first two. What each took goes
    into ``cost``, in seconds.
    """
    kept = torch.ones(len(given.y_clean), dtype=torch.bool)
    kept[held] = False
    part, judged = given.learn_from(kept), given.checked(held)
    found: dict[str, Tensor] = {}
    for name, method in methods.items():
        if len(found) < FEWEST or time.perf_counter() < end:
            start = time.perf_counter()
            z = logits(learn(part, method, plan, seed).module, judged.inputs)
            found[name] = torch.softmax(z, dim=1)
            cost[name] = time.perf_counter() - start
    return found


def _affordable(
    members: dict[str, float], cost: dict[str, float], budget: float
) -> dict[str, float]:
    """The heaviest members whose final training fits into what is left, at least the first."""
    kept, spent = {}, 0.0
    for name, weight in members.items():
        spent += cost[name]
        if kept and spent > budget:
            break
        kept[name] = weight
    return {name: weight / sum(kept.values()) for name, weight in kept.items()}


def _folds(labels: Tensor, seed: int) -> list[Tensor]:
    """Stratified folds of the checked samples, as positions."""
    count = min(FOLDS, len(labels))
    smallest = int(torch.bincount(labels)[labels.unique()].min())
    kind = StratifiedKFold if smallest >= count else KFold
    folds = kind(count, shuffle=True, random_state=seed)
    return [torch.from_numpy(held) for _, held in folds.split(labels.numpy(), labels.numpy())]

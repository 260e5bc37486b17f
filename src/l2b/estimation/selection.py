"""Compare methods on the checked samples, within a time budget."""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from sklearn.model_selection import KFold, StratifiedKFold
from torch import Tensor, nn

from l2b.class_weights import sample_weights
from l2b.estimation.committee import Committee, elected, temperature, tempered
from l2b.estimation.comparison import FOLDS, Comparison
from l2b.estimation.contenders import candidates, learns_all, suited
from l2b.estimation.distil import Distilled
from l2b.estimation.learn import Learned, Plan, learn, probabilities
from l2b.estimation.parallel import each, together
from l2b.estimation.task import Given
from l2b.methods import Method
from l2b.methods.base import NoisyOnly
from l2b.targets import VOID

FEWEST = 2  # methods that are compared whatever it takes: without the noisy labels, and with
ENOUGH = 30  # judged samples; of fewer, several methods often get all right by chance


@dataclass(frozen=True, kw_only=True)
class Elected:
    """What "auto" leaves.

    Attributes:
        comparison: how it chose.
        method: the member with the most weight.
        learned: its final training.
        committee: the vote of all networks that the members have trained, or the only one.
        student: what learned from the committee; None where that is one network, or for want
            of time.
    """

    comparison: Comparison
    method: Method
    learned: Learned
    committee: nn.Module
    student: Learned | None

    @property
    def module(self) -> nn.Module:
        """The student has one half of the vote, those it learned from share the other."""
        if self.student is None:
            return self.committee
        return Committee([self.student.module, self.committee], [0.5, 0.5])

    @property
    def single(self) -> Learned:
        """The one network that stands for all."""
        return self.student or self.learned


def elect(
    given: Given,
    plan: Plan,
    *,
    budget: float,
    seed: int,
    say: Callable[[str], None],
    distil: bool = False,
) -> Elected:
    """Compare all candidates, train those that vote on everything, then let one learn from all.

    The networks of the comparison vote as well: a member's weight is shared evenly by those of
    its rounds and that of its final training. The first member always has a final training, the
    others have one while there is time, as has the student.

    Args:
        given: noisy and checked samples.
        plan: how to train.
        budget: seconds for all of it.
        seed: of folds and trainings.
        say: is told what was found, before the final trainings.
        distil: the student is what is wanted, whatever it takes.
    """
    methods = suited(candidates(), given)
    contest = Contest(given, plan, seed)
    found = compare(contest, methods, budget=budget)
    say(found.summary())
    left = budget - found.seconds - contest.student_cost
    finals = _affordable(list(found.members), contest.cost, left, plan.jobs)
    last = {name: contest.trained[name] for name in finals if name in contest.trained}
    new = [name for name in finals if name not in last]
    final = ((given, methods[name], plan, seed) for name in new)
    told = "training those that vote" if plan.progress else ""
    trained = each(_trained, final, plan.jobs, told=told, total=len(new))
    for name, (learned, _) in zip(new, trained, strict=True):
        last[name] = learned
    for name in finals:
        contest.modules[name].append(last[name].module)
    foremost = last[found.chosen]
    committee = joined(found.members, found.temperatures, contest.modules)
    student = None
    if isinstance(committee, Committee) and (
        distil or contest.spent + contest.student_cost <= budget
    ):
        student = learn(given, taught(committee, given, foremost.device), plan, seed)
    return Elected(
        comparison=found,
        method=methods[found.chosen],
        learned=foremost,
        committee=committee,
        student=student,
    )


def joined(
    members: dict[str, float],
    temperatures: dict[str, float],
    modules: dict[str, list[nn.Module]],
) -> nn.Module:
    """The vote of the members' networks, which share their weight evenly, or the only network.

    Args:
        members: weights, by method.
        temperatures: at which its networks vote, by method.
        modules: networks, by method; what learned once may be there several times.
    """
    voters = [
        (network, weight / len(networks), temperatures[name])
        for name, weight in members.items()
        for networks in [list(dict.fromkeys(modules[name]))]
        for network in networks
    ]
    networks, weights, at = (list(part) for part in zip(*voters, strict=True))
    return Committee(networks, weights, at) if len(networks) > 1 else networks[0]


def taught(committee: Committee, given: Given, device: torch.device) -> Distilled:
    """Training towards what a committee says of the noisy samples, asked on a device."""
    voters = zip(committee.weights, committee.temperatures, committee.members, strict=True)
    first, *others = (
        weight * tempered(probabilities(network, given.x, device), t)
        for weight, t, network in voters
    )
    for votes in others:
        first += votes
    return Distilled(targets=first)


def compare(contest: "Contest", methods: dict[str, Method], *, budget: float) -> Comparison:
    """Cross-validate every method on the checked samples.

    Every round trains all methods without one fold of the checked samples and judges all by
    it. Those that learn from the noisy labels alone train once, unless checked samples choose
    their epoch. The final training on everything takes about as long as one round at most, so a
    round starts only if it, the final training and the student's should end within the budget,
    and the first round ends early once half of the budget is spent. Its first two methods
    always run. Where fewer than 30 samples are judged and there is no time for all methods,
    another round takes the first two and those that did best besides, as many as fit.

    Args:
        contest: a new one; keeps the networks that were trained.
        methods: what to compare, by name; the most important ones first.
        budget: seconds for the comparison, the final training and the student's.
    """
    tried, end = dict(methods), contest.start + budget / 2
    for number, held in enumerate(_folds(contest.given.y_clean, contest.seed)):
        if number:
            names = contest.next_round(budget)
            if not names:
                break
            contest.keep(names)
            tried, end = {name: methods[name] for name in names}, math.inf
        contest.round(tried, held, contest.seed + number, end)
    p, labels = contest.held_out
    worth = contest.worth(labels)
    voters = {name: q for name, q in p.items() if learns_all(methods[name], contest.given)}
    members, temperatures = vote(voters, labels, worth)
    return Comparison(
        correct={name: q.argmax(dim=1) == labels for name, q in p.items()},
        worth=worth,
        members=members,
        temperatures=temperatures,
        seconds=contest.spent,
        folds=len(contest.judged),
        left_out=tuple(name for name in methods if name not in contest.p),
        of=contest.samples if contest.given.tags else None,
    )


def vote(
    p: dict[str, Tensor], labels: Tensor, worth: Tensor | None
) -> tuple[dict[str, float], dict[str, float]]:
    """Who votes: the weights of those elected, and at which temperatures.

    Args:
        p: held-out probabilities of each candidate, [judged, classes].
        labels: [judged].
        worth: how much each label counts, with mean 1, [judged]; None for all alike.
    """
    at = {name: temperature(q, labels, worth) for name, q in p.items()}
    members = elected({name: tempered(q, at[name]) for name, q in p.items()}, labels, worth)
    return members, {name: at[name] for name in members}


class Contest:
    """What the rounds have found so far.

    Attributes:
        p: by method and round, the probabilities of the held-out samples, [held, classes, *tags].
        judged: by round, the positions of these, [held].
        modules: by method, the network of each round.
        trained: what methods that learn from the noisy labels alone have learned.
        cost: seconds that another training of each method takes.
        start: when it began.
    """

    def __init__(self, given: Given, plan: Plan, seed: int) -> None:
        """Begin with nothing.

        Args:
            given: noisy and checked samples.
            plan: how to train.
            seed: of folds and trainings.
        """
        self.given, self.plan, self.seed = given, plan, seed
        self.p: dict[str, list[Tensor]] = {}
        self.judged: list[Tensor] = []
        self.modules: dict[str, list[nn.Module]] = {}
        self.trained: dict[str, Learned] = {}
        self.cost: dict[str, float] = {}
        self.start = time.perf_counter()

    @property
    def spent(self) -> float:
        """Seconds since the beginning."""
        return time.perf_counter() - self.start

    @property
    def round_cost(self) -> float:
        """Seconds that another round should take."""
        return together(self.cost.values(), self.plan.jobs)

    @property
    def student_cost(self) -> float:
        """Seconds that learning from the committee should take: about the longest training."""
        return max(self.cost.values())

    @property
    def held_out(self) -> tuple[dict[str, Tensor], Tensor]:
        """Of all rounds: probabilities of each method, [judged, classes]; true labels, [judged].

        Of several labels a sample, every known answer is judged by itself.
        """
        labels = self.given.y_clean[torch.cat(self.judged)]
        told = labels != VOID
        p = {name: torch.cat(rounds).movedim(1, -1)[told] for name, rounds in self.p.items()}
        return p, labels[told]

    @property
    def samples(self) -> Tensor:
        """Which judged sample each judged label is of, [judged]."""
        labels = self.given.y_clean[torch.cat(self.judged)]
        return (labels != VOID).nonzero()[:, 0]

    def worth(self, labels: Tensor) -> Tensor:
        """How much each judged sample counts, with mean 1, [judged].

        Args:
            labels: of the judged samples, [judged].
        """
        return sample_weights(self.plan.class_weights, labels).float()

    def next_round(self, budget: float) -> list[str]:
        """Who can have another round within the budget; nobody if it is over."""
        # The final training takes as long as a round at most.
        room = (budget - self.spent - self.student_cost) / 2
        names = list(self.p)
        if self.round_cost <= room:
            return names
        p, labels = self.held_out
        if len(labels) >= ENOUGH:
            return []
        right = {name: int((q.argmax(dim=1) == labels).sum()) for name, q in p.items()}
        ranked = names[:FEWEST] + sorted(names[FEWEST:], key=lambda name: -right[name])
        chosen: set[str] = set()
        for place, name in enumerate(ranked):
            if together((self.cost[n] for n in (*chosen, name)), self.plan.jobs) <= room:
                chosen.add(name)
            elif place < FEWEST:
                return []
        return [name for name in names if name in chosen]

    def keep(self, names: list[str]) -> None:
        """Forget the other methods."""
        for known in (self.p, self.modules, self.cost):
            for name in set(known) - set(names):
                del known[name]

    def round(self, methods: dict[str, Method], held: Tensor, seed: int, end: float) -> None:
        """Train each method without the held-out samples and judge it by them.

        After the time ``end`` no further method starts, but for the first two.
        """
        kept = torch.ones(len(self.given.y_clean), dtype=torch.bool)
        kept[held] = False
        self.judged.append(held)
        part, judged = self.given.learn_from(kept), self.given.checked(held)
        for name, learned in self._learned(methods, part, seed, end):
            p = probabilities(learned.module, judged.inputs, learned.device)
            self.p.setdefault(name, []).append(p)
            self.modules.setdefault(name, []).append(learned.module)

    def _learned(
        self, methods: dict[str, Method], part: Given, seed: int, end: float
    ) -> Iterator[tuple[str, Learned]]:
        """What each method has learned, those last that have before."""
        known = [name for name in methods if name in self.trained]
        begun: list[str] = []

        def tasks() -> Iterator[tuple[Given, Method, Plan, int]]:
            for number, (name, method) in enumerate(methods.items()):
                if name not in known and (number < FEWEST or time.perf_counter() < end):
                    begun.append(name)
                    given, draw = (self.given, self.seed) if self._once(method) else (part, seed)
                    yield given, method, self.plan, draw

        told = "comparing methods" if self.plan.progress else ""
        found = each(_trained, tasks(), self.plan.jobs, told=told, total=len(methods) - len(known))
        for number, (learned, seconds) in enumerate(found):
            name = begun[number]
            self.cost[name] = seconds
            if self._once(methods[name]):
                self.trained[name], self.cost[name] = learned, 0.0
            yield name, learned
        yield from ((name, self.trained[name]) for name in known)

    def _once(self, method: Method) -> bool:
        """Whether it learns the same whatever is held out."""
        return isinstance(method, NoisyOnly) and not self.plan.validation


def _trained(given: Given, method: Method, plan: Plan, seed: int) -> tuple[Learned, float]:
    """What a method learns, and the seconds that it takes; beside others, with one thread."""
    start = time.perf_counter()
    if plan.jobs > 1:
        plan = replace(plan, training=replace(plan.training, threads=1), progress=False)
    learned = learn(given, method, plan, seed)
    return learned, time.perf_counter() - start


def _affordable(
    members: list[str], cost: dict[str, float], budget: float, jobs: int = 1
) -> list[str]:
    """The foremost members whose final training fits into what is left, at least the first."""
    costs = [cost[name] for name in members]
    return [n for i, n in enumerate(members) if not i or together(costs[: i + 1], jobs) <= budget]


def _folds(labels: Tensor, seed: int) -> list[Tensor]:
    """Stratified folds of the checked samples, as positions; of several labels, random ones."""
    count = min(FOLDS, len(labels))
    if labels.ndim > 1:
        labels = torch.zeros(len(labels), dtype=torch.long)
    smallest = int(torch.bincount(labels)[labels.unique()].min())
    kind = StratifiedKFold if smallest >= count else KFold
    folds = kind(count, shuffle=True, random_state=seed)
    return [torch.from_numpy(held) for _, held in folds.split(labels.numpy(), labels.numpy())]

"""How much of everything to try."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Effort:
    """Sizes of the computations.

    Attributes:
        cases: random cases of the equivalence and of the normalisers.
        batches: random batches tried at every point.
        points: points of parameter space at which the worst batch is searched.
        samples: points at which L and σ of the smooth network are measured.
        ratios: step sizes of the sweeps.
        trajectory: steps of the run in which an adversary picks every batch.
        steps: steps of every run of the gap experiments.
        seeds: repetitions of the gap experiments.
    """

    cases: int
    batches: int
    points: int
    samples: int
    ratios: int
    trajectory: int
    steps: int
    seeds: int


FULL = Effort(
    cases=400, batches=300, points=20, samples=200, ratios=21, trajectory=60, steps=120, seeds=2
)
"""What `l2b theory` runs."""

QUICK = Effort(cases=40, batches=40, points=3, samples=40, ratios=6, trajectory=6, steps=5, seeds=1)
"""Every check and every figure, on the smallest sizes: what the tests run."""

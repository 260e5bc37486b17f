"""What a claim is: named checks, each a measured number against a limit."""

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Check:
    """One decisive number.

    Attributes:
        what: what was measured, in plain words.
        measured: the number.
        relation: how it must stand to the limit, ``<=`` or ``>=``.
        limit: the limit.
    """

    what: str
    measured: float
    relation: str
    limit: float

    @property
    def holds(self) -> bool:
        """Whether the number stands as it must; never for NaN."""
        if self.relation == "<=":
            return self.measured <= self.limit
        return self.measured >= self.limit

    def __str__(self) -> str:
        """The number, its limit, and whether it holds."""
        mark = "ok" if self.holds else "BROKEN"
        return f"{self.what}: {self.measured:.3g} (must be {self.relation} {self.limit:.3g}) {mark}"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim of the paper, checked.

    Attributes:
        name: one word.
        equations: where the paper makes it.
        summary: the decisive numbers in one line.
        checks: everything that must hold.
        numbers: what the figures are drawn from; plain lists and numbers.
    """

    name: str
    equations: str
    summary: str
    checks: tuple[Check, ...]
    numbers: dict[str, Any] = field(default_factory=dict)

    @property
    def holds(self) -> bool:
        """Whether there is something to check and all of it holds."""
        return bool(self.checks) and all(check.holds for check in self.checks)

    @property
    def verdict(self) -> str:
        """PASS or FAIL, the claim, and its decisive numbers, on one line."""
        mark = "PASS" if self.holds else "FAIL"
        return f"{mark}  {self.name} ({self.equations}): {self.summary}"

    def as_record(self) -> dict[str, Any]:
        """The claim for `theory.json`; numbers that JSON cannot hold become null."""
        checks = [{**asdict(check), "holds": check.holds} for check in self.checks]
        record = {
            "name": self.name,
            "equations": self.equations,
            "holds": self.holds,
            "summary": self.summary,
            "checks": checks,
            "numbers": self.numbers,
        }
        return _finite(record)


def at_most(what: str, measured: float, limit: float) -> Check:
    """A number that must not exceed its limit."""
    return Check(what=what, measured=float(measured), relation="<=", limit=float(limit))


def at_least(what: str, measured: float, limit: float) -> Check:
    """A number that must reach its limit."""
    return Check(what=what, measured=float(measured), relation=">=", limit=float(limit))


def never(what: str, occurrences: int) -> Check:
    """Something that must not have happened once."""
    return at_most(what, occurrences, 0)


def largest(values: Iterable[float]) -> float:
    """The largest value; NaN if there is none or one of them is NaN."""
    listed = list(values)
    if not listed or any(math.isnan(value) for value in listed):
        return math.nan
    return max(listed)


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value

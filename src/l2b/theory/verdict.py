"""All three claims in one go: verdicts, figures and a record."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from l2b.files import write_json
from l2b.theory.claims import Claim
from l2b.theory.convergence import convergence
from l2b.theory.effort import FULL, Effort
from l2b.theory.equivalence import equivalence
from l2b.theory.gaps import gaps
from l2b.theory.gradients import gradients

CLAIMS: dict[str, Callable[[Effort, torch.Generator], Claim]] = {
    "equivalence": equivalence,
    "gradients": gradients,
    "convergence": convergence,
    "gaps": gaps,
}


def run(
    out: Path | None,
    seed: int = 0,
    say: Callable[[str], object] = print,
    *,
    effort: Effort = FULL,
) -> bool:
    """Check the paper's three claims (Eqs. 9 and 11–41) by computation, and the gaps beside them.

    Args:
        out: folder for `theory.json` and the figures, made if absent; None writes nothing.
        seed: of every draw.
        say: what to do with each line of the verdict.
        effort: how much to try.

    Returns:
        Whether all claims hold.
    """
    started = time.perf_counter()
    with _double_precision():
        claims = [_claim(name, effort, seed) for name in CLAIMS]
    for claim in claims:
        say(claim.verdict)
        for check in claim.checks:
            if not check.holds:
                say(f"      {check}")
    holds = all(claim.holds for claim in claims)
    if out is not None:
        _write(Path(out), claims, seed, holds)
        say(f"Figures and theory.json in {out}")
    outcome = "All claims hold" if holds else "A claim FAILED"
    say(f"{outcome} ({time.perf_counter() - started:.0f} s)")
    return holds


def _claim(name: str, effort: Effort, seed: int) -> Claim:
    generator = torch.Generator().manual_seed(seed)
    try:
        return CLAIMS[name](effort, generator)
    except Exception as error:  # a claim that cannot be computed does not hold
        broken = f"{type(error).__name__}: {error}"
        return Claim(name=name, equations="not computed", summary=broken, checks=())


def _write(out: Path, claims: list[Claim], seed: int, holds: bool) -> None:
    from l2b.theory.pictures import draw  # matplotlib is needed for nothing else

    out.mkdir(parents=True, exist_ok=True)
    record = {
        "holds": holds,
        "seed": seed,
        "torch": torch.__version__,
        "claims": [claim.as_record() for claim in claims],
    }
    write_json(out / "theory.json", record)
    draw({claim.name: claim.numbers for claim in claims if claim.numbers}, out)


@contextmanager
def _double_precision() -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(before)

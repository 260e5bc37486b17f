"""The paper's theory as computations: each claim with a verdict, numbers and a picture."""

from l2b.theory.claims import Check, Claim
from l2b.theory.effort import FULL, QUICK, Effort
from l2b.theory.verdict import run

__all__ = ["FULL", "QUICK", "Check", "Claim", "Effort", "run"]

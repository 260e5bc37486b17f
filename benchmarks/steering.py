"""L2B whose clean samples only steer: what engines, costs and variants are compared on."""

from typing import Any

from l2b.methods.l2b import L2B


def steering(**settings: Any) -> L2B:
    """One epoch of warm-up, no clean term; settings change that."""
    return L2B(**{"warmup": 1, "clean_weight": 0.0, "cross_fit": False} | settings)

"""Independent random streams from one seed.

Every draw has a stream of its own, named by what it is for, so that no draw depends on how
many others came before it: not on the loader, not on the worker count, not on resuming.
"""

import hashlib

import torch


def stream_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed for the stream of this name, e.g. ``(seed, "noise")``."""
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *names: str | int) -> torch.Generator:
    """A CPU generator for the stream of this name."""
    return torch.Generator().manual_seed(stream_seed(seed, *names))

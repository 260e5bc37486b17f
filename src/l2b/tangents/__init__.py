"""Tangents beside an ordinary forward pass: z with its autograd history, ż without.

A second forward pass for ż would repeat the primal one. Here the training forward runs once,
recorded as always, and every operation's tangent is computed next to it, below autograd.
"""

from l2b.tangents.beside import with_tangents

__all__ = ["with_tangents"]

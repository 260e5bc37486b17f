"""Engines: ways to obtain ż, the derivative of the logits along the clean gradient.

The lower-case names are ready-made objects with default settings.
"""

from l2b.engines.base import Engine
from l2b.engines.double_backward import DoubleBackward
from l2b.engines.finite_difference import FiniteDifference
from l2b.engines.forward import Forward
from l2b.engines.last_layer import LastLayer

forward = Forward()
finite_difference = FiniteDifference()
last_layer = LastLayer()
double_backward = DoubleBackward()

__all__ = [
    "DoubleBackward",
    "Engine",
    "FiniteDifference",
    "Forward",
    "LastLayer",
    "double_backward",
    "finite_difference",
    "forward",
    "last_layer",
]

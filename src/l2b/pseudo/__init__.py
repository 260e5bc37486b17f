"""Sources of pseudo-labels: the model, views through it, a moving average of it, or its past.

``hard_self`` is the published choice, ready-made.
"""

from l2b.pseudo.base import InPieces, PseudoLabels, Source
from l2b.pseudo.moving_average import MovingAverage
from l2b.pseudo.self_labels import HardSelf, SelfLabels
from l2b.pseudo.temporal import Temporal
from l2b.pseudo.views import Views

hard_self = HardSelf()

__all__ = [
    "HardSelf",
    "InPieces",
    "MovingAverage",
    "PseudoLabels",
    "SelfLabels",
    "Source",
    "Temporal",
    "Views",
    "hard_self",
]

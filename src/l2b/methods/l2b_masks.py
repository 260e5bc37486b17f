"""Learning to bootstrap with the choices that work on masks."""

from dataclasses import dataclass, field
from typing import Literal

from l2b.amortise import Amortisation
from l2b.engines import Engine, LastLayer
from l2b.methods.l2b import L2B
from l2b.normalise import Normaliser, PerSample
from l2b.pseudo import MovingAverage, PseudoLabels


@dataclass(frozen=True, kw_only=True)
class L2BMasks(L2B):
    """L2B for masks: every pixel keeps its weight, what is learned is which label it goes to.

    With the published choices training collapses on masks (docs/masks.md). Here α + β = 1 at
    every pixel; training begins on the clean masks, so that pseudo-masks are worth something
    from the start, and goes on learning them beside; pseudo-masks are soft and follow the model
    quickly; the clean gradient is that of the last layer, averaged over about ten clean batches.
    All of it can be set otherwise, as for `L2B`.

    Attributes:
        engine: the last layer, whose scores tell right from wrong pixels better here.
        normalise: weights that sum to one at each pixel.
        pseudo: the moving average of the model, soft, over about ten steps.
        warmup: one epoch.
        start: on the clean masks, which did better than noisy ones (docs/masks.md).
        clean_weight: weight of the mean loss of the clean batch.
        cross_fit: no; there are few clean volumes, and all of them steer.
        amortise: the average of clean gradients.
    """

    engine: Engine = field(default_factory=LastLayer)
    normalise: Normaliser = field(default_factory=PerSample)
    pseudo: PseudoLabels = field(default_factory=lambda: MovingAverage(decay=0.9))
    warmup: int | Literal["auto"] = 1
    start: Literal["noisy", "clean"] = "clean"
    clean_weight: float = 1.0
    cross_fit: bool = False
    amortise: Amortisation = field(default_factory=lambda: Amortisation(gradient_memory=0.9))

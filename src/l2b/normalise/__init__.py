"""From raw scores to weights.

A normaliser takes scores [candidates, n, *pixels] in their true units and returns weights
of the same shape. Candidate 0 is the observed label (α), all others are instead of it (β): as
published, the pseudo-label alone. The ablations of the method are normalisers too, because they
differ in nothing else.
"""

from l2b.normalise.base import Normaliser
from l2b.normalise.fixed import Fixed
from l2b.normalise.image_weight import ImageWeight
from l2b.normalise.observed_only import ObservedOnly
from l2b.normalise.per_class import PerClass
from l2b.normalise.per_image import PerImage
from l2b.normalise.per_region import PerRegion
from l2b.normalise.per_sample import PerSample
from l2b.normalise.positive_share import PositiveShare
from l2b.normalise.pseudo_only import PseudoOnly
from l2b.normalise.shrinking import Shrinking
from l2b.normalise.sigmoid import Sigmoid
from l2b.normalise.softmax import Softmax
from l2b.normalise.standardised import Standardised

__all__ = [
    "Fixed",
    "ImageWeight",
    "Normaliser",
    "ObservedOnly",
    "PerClass",
    "PerImage",
    "PerRegion",
    "PerSample",
    "PositiveShare",
    "PseudoOnly",
    "Shrinking",
    "Sigmoid",
    "Softmax",
    "Standardised",
]

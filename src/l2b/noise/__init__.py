"""Noise models, one per file."""

from l2b.noise.asymmetric import Asymmetric
from l2b.noise.base import ClassConditional, MaskNoise, Noise
from l2b.noise.existing import Existing
from l2b.noise.instance_dependent import InstanceDependent
from l2b.noise.matrix import Matrix
from l2b.noise.none import NoNoise
from l2b.noise.pair_flip import PairFlip
from l2b.noise.symmetric import Symmetric

__all__ = [
    "Asymmetric",
    "ClassConditional",
    "Existing",
    "InstanceDependent",
    "MaskNoise",
    "Matrix",
    "NoNoise",
    "Noise",
    "PairFlip",
    "Symmetric",
]

"""The published mixture of mistakes in masks."""

from dataclasses import dataclass

import torch
from torch import Tensor

from l2b.catalog import unknown
from l2b.mask_severity import Deform
from l2b.noise.base import MaskNoise
from l2b.noise.mask_ellipse import MaskEllipse
from l2b.noise.mask_jitter import MaskJitter
from l2b.noise.mask_missing import MaskMissing
from l2b.noise.mask_morphology import MaskMorphology
from l2b.noise.mask_rotation import MaskRotation
from l2b.noise.mask_shift import MaskShift

KINDS: dict[str, MaskNoise] = {
    "rotation": MaskRotation(),
    "morphology": MaskMorphology(),
    "ellipse": MaskEllipse(),
    "jitter": MaskJitter(),
    "missing": MaskMissing(),
    "shift": MaskShift(),
}


@dataclass(frozen=True, kw_only=True)
class Mask(MaskNoise):
    """A mixture: every image suffers one kind of mistake, drawn evenly, to a target Dice.

    By default the published three: rotation, erosion or dilation, replacement by an ellipse. No
    class vanishes from an image, but where its kind is ``missing``.

    Attributes:
        dice: target Dice, met by making all kinds of mistakes worse alike; None takes them as
            they are.
        kinds: of rotation, morphology, ellipse, jitter, missing and shift.
    """

    dice: float | None = 0.6
    kinds: tuple[str, ...] = ("rotation", "morphology", "ellipse")

    def __post_init__(self) -> None:
        """Refuse kinds that do not exist."""
        super().__post_init__()
        for kind in self.kinds:
            if kind not in KINDS:
                raise ValueError(unknown("kind of mask noise", kind, sorted(KINDS)))
        if not self.kinds:
            raise ValueError("Mask needs at least one kind of mistake to draw from, got none.")

    def guarded(self, masks: Tensor, classes: int, generator: torch.Generator) -> Deform:
        """That of the kinds, each of which guards its own images and knows what is void."""
        del classes
        return self.deformation(masks, generator)

    def deformation(self, masks: Tensor, generator: torch.Generator) -> Deform:
        """A kind for every image, and the draws of that kind."""
        drawn = torch.randint(len(self.kinds), (len(masks),), generator=generator)
        parts, classes = [], int(masks.max()) + 1 if masks.numel() else 1
        for number, kind in enumerate(self.kinds):
            rows = (drawn == number).nonzero().squeeze(1)
            parts.append((rows, KINDS[kind].guarded(masks[rows], classes, generator)))

        def deform(amounts: Tensor) -> Tensor:
            found = masks.clamp_min(0)
            for rows, part in parts:
                found[rows] = part(amounts[rows])
            return found

        return deform

"""The shared array types, the axis legend, and the small records that layers pass on.

Axis legend: ``n`` samples of a batch, ``m`` clean samples, ``classes`` always on axis 1,
``*pixels`` any number of trailing axes (none for classification), ``candidates`` always
on axis 0 (observed label first, pseudo-label second).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

Inputs: TypeAlias = Tensor | tuple[Tensor, ...] | list[Tensor] | Mapping[str, Tensor]
"""What a model is called with: one tensor, positional tensors, or named tensors."""

Params: TypeAlias = dict[str, Tensor]
"""Parameters, or a direction in parameter space, by qualified name."""

Apply: TypeAlias = Callable[[Params, Inputs], Tensor]
"""A model as a pure function: parameters and inputs to logits [n, classes, *pixels]."""


class Probe(NamedTuple):
    """Logits and their derivative along one direction of parameter space.

    Attributes:
        z: logits, [n, classes, *pixels].
        dz: derivative of ``z`` along the direction, in logits per unit step.
    """

    z: Tensor
    dz: Tensor


class Cases(NamedTuple):
    """Which samples belong together: the slices of a volume, the images of a patient.

    Attributes:
        of: case of each sample, [N], int64, in [0, cases). A case's samples stand in the order
            of its slices.
        names: of each case, such as the stem of its file.
        spacing: distance from a voxel to the next along slices, rows and columns, in mm (of
            pictures in pixels of their files), [cases, 3], float32.
        patient: whom each case belongs to, [cases], int64. Splits keep patients whole.
        lengths: where samples are slabs of slices, how many slices each case really has, [cases],
            int64; its last slab is filled up with void. None for slices.
    """

    of: Tensor
    names: tuple[str, ...]
    spacing: Tensor
    patient: Tensor
    lengths: Tensor | None = None

    def rows(self, case: int) -> Tensor:
        """Positions of one case's samples, in the order of its slices."""
        return (self.of == case).nonzero().squeeze(1)

    def volume(self, masks: Tensor, case: int) -> Tensor:
        """One case's masks, of slabs the slices that they hold, [slices, height, width]."""
        own = masks[self.rows(case)]
        return own if self.lengths is None else own.flatten(0, 1)[: int(self.lengths[case])]

    def places(self) -> Tensor:
        """Number of each sample in its case, from 0, [N]."""
        found = torch.zeros_like(self.of)
        for case in self.of.unique().tolist():
            rows = self.rows(case)
            found[rows] = torch.arange(len(rows), device=rows.device)
        return found

    def there(self, depth: int) -> Tensor:
        """Which slices of slabs there are, and which a last slab is filled up with, [N, depth].

        Args:
            depth: slices of a slab.
        """
        number = torch.arange(depth, device=self.of.device) + depth * self.places().unsqueeze(1)
        if self.lengths is None:
            return torch.ones_like(number, dtype=torch.bool)
        return number < self.lengths[self.of].unsqueeze(1)

    def real(self, values: Tensor) -> Tensor:
        """Values of slabs as those of the slices that there are; others as they are.

        Args:
            values: of every voxel (and class or channel), [N, …, slices, height, width].

        Returns:
            [slices of all, …, height, width].
        """
        if self.lengths is None:
            return values
        return values.movedim(-3, 1)[self.there(values.shape[-3]).to(values.device)]

    def take(self, rows: Tensor) -> "Cases":
        """The cases of some samples alone; numbers and names stay as they were."""
        return self._replace(of=self.of[rows])

    def to(self, device: torch.device) -> "Cases":
        """The same cases on another device: all of their numbers, which index each other."""
        moved = {
            name: value.to(device)
            for name, value in self._asdict().items()
            if isinstance(value, Tensor)
        }
        return self._replace(**moved)


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What one clean batch says about one noisy batch.

    Attributes:
        alpha: weight of each observed label, [n, *pixels].
        beta: weight of each pseudo-label (of all other candidates), [n, *pixels].
        pseudo: pseudo-label, class indices [n, *pixels] or probabilities
            [n, classes, *pixels]; of several candidates, their weighted mean.
        scores: raw scores of the candidates before normalisation (times their priors, if
            they have any, and −inf where a prior is 0 or a pixel is void), [candidates, n,
            *pixels], in units of clean loss per unit step; negative where a label hurts.
    """

    alpha: Tensor
    beta: Tensor
    pseudo: Tensor
    scores: Tensor


@dataclass(frozen=True, kw_only=True)
class Batch:
    """One mini-batch, with the positions of its samples in the training set.

    Attributes:
        index: positions, [n], int64.
        inputs: what the model is called with.
        labels: class indices as given, [n, *pixels], int64.
    """

    index: Tensor
    inputs: Inputs
    labels: Tensor

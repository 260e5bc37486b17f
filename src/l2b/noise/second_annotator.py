"""Noise that is already there: the masks of a second annotator."""

from dataclasses import dataclass

from l2b.noise.existing import Existing


@dataclass(frozen=True, kw_only=True)
class SecondAnnotator(Existing):
    """Masks that another person drew, instead of those that count as the truth.

    Attributes:
        annotation: name of the second annotator's masks in the data.
    """

    annotation: str = "second_observer"

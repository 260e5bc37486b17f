"""Fonts for names in any script: another where the usual one lacks a sign, else an escape."""

import logging
from collections.abc import Collection

import matplotlib as mpl
from matplotlib.font_manager import FontProperties, findfont, fontManager, get_font

UNFIT = ("Last Resort", "Emoji")  # draw a box for every sign, or in colours that cannot be drawn
WEIGHTS = ("normal", "bold")  # in which names are drawn


def families_for(text: str) -> tuple[list[str], frozenset[str]]:
    """Families of fonts that draw a text.

    Args:
        text: all that is to be drawn.

    Returns:
        Families for ``font.family``, the usual ones first, and the signs that none of them has.
    """
    families = list(mpl.rcParams["font.family"])
    lacking = {sign for sign in text if sign != "\n"} - _signs(families)
    if lacking:  # and also later, as pictures are drawn
        logging.getLogger("matplotlib.font_manager").addFilter(_worth_telling)
    for name in sorted({font.name for font in fontManager.ttflist}):
        if not lacking:
            break
        if any(word in name for word in UNFIT):
            continue
        if found := lacking & _signs([name]):
            families.append(name)
            lacking -= found
    return families, frozenset(lacking)


def escaped(text: str, signs: Collection[str]) -> str:
    r"""A text in which some signs are written as Python does, such as \u75c5."""
    return "".join(s.encode("unicode_escape").decode() if s in signs else s for s in text)


def _signs(families: list[str]) -> set[str]:
    """What the first font of some families has in every weight."""
    paths = [findfont(FontProperties(family=families, weight=weight)) for weight in WEIGHTS]
    return set.intersection(*({chr(k) for k in get_font(path).get_charmap()} for path in paths))


def _worth_telling(record: logging.LogRecord) -> bool:
    """Whether matplotlib says more than that a font is not bold, as those for few scripts are."""
    return "Failed to find font weight" not in record.getMessage()

"""What tables of one label and of several have in common: cells, roles of columns, ids."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from l2b.features.columns import MISSING

NO_LABEL = MISSING - {"none", "?"}  # which may be classes


def check_roles(
    owner: str, answers: Mapping[str, str], columns: Mapping[str, str], size: int
) -> None:
    """Refuse two kinds of input at once, a column that is two things, and no pixels.

    Args:
        owner: the data set, for messages.
        answers: what the columns of labels are called among its settings, by their names.
        columns: names of the columns ``text``, ``image``, ``clean`` and ``id``; empty for none.
        size: height and width of images, in pixels.

    Raises:
        ValueError: naming the setting.
    """
    if columns["text"] and columns["image"]:
        raise ValueError(
            f"{owner} needs text or image, got both ({columns['text']!r}, {columns['image']!r}): "
            "a model reads one kind of input."
        )
    taken = {columns["clean"]: "clean"} | dict(answers)
    for role, column in columns.items():
        other = taken.get(column, role)
        if column and other != role:
            raise ValueError(
                f"{owner} needs another column as {role} than as {other}, got {column!r} for "
                "both: a model would learn from the answer."
            )
    if size < 1:
        raise ValueError(f"{owner} needs size >= 1, got {size}: it is in pixels.")


def sample_ids(names: Sequence[str], column: str, path: Path | str) -> tuple[str, ...]:
    """What samples are called: by a column of ids or else, as far as these differ, of images.

    Args:
        names: what each sample has in that column; empty if there is none.
        column: that somebody named as that of ids; empty if nobody did.
        path: of the file.

    Raises:
        ValueError: if one of the ids is empty, or occurs twice.
    """
    apart = once(names)
    if len(apart) == len(names):
        return tuple(names)
    if not column:
        return ()
    first = next(name for name in names if name not in apart)
    what = f"{first!r} twice" if first else "an empty one"
    raise ValueError(
        f"Column {column!r} of {path} must hold a different id in every row, got {what}: "
        "decisions could not be told apart. Leave id away to count rows."
    )


def once(names: Sequence[str]) -> dict[str, int]:
    """Places of the names that stand for one sample alone."""
    count = Counter(names)
    return {name: k for k, name in enumerate(names) if name and count[name] == 1}


def label_in(cell: str) -> str:
    """The label in a cell; empty if there is none (nothing, NA, N/A, NaN or null)."""
    label = cell.strip()
    return "" if label.lower() in NO_LABEL else label

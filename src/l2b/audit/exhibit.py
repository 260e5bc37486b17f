"""What a person sees of the audited samples: texts, pictures, or their first features."""

from pathlib import Path

import numpy as np
import torch

from l2b.audit.page import Exhibit
from l2b.audit.subject import Subject
from l2b.audit.table import AuditTable
from l2b.audit.thumbnails import is_image, thumbnails
from l2b.provenance import typed

FEATURES = 8  # shown of a sample that is neither text nor image
SPAN_SAMPLES = 256  # looked at to find the darkest and the brightest value


def exhibit(subject: Subject, table: AuditTable) -> Exhibit:
    """Texts and pictures of a run's samples, as far as they can still be found."""
    own = subject.own
    return Exhibit(
        title=Path(own.path).name if own else subject.path.resolve().name,
        previews=_previews(subject, table),
        thumbnails=_pictures(subject, table),
        tagged=bool(subject.tags),
        notes=subject.notes,
        apply_command=typed(["audit", str(subject.path), "--apply", "decisions.csv"]),
    )


def _previews(subject: Subject, table: AuditTable) -> list[str]:
    if subject.source is None:
        return []
    if subject.own is not None and subject.labels is not None:
        shown = list(subject.own.previews(subject.labels.rows))
        return [shown[k] for k in _places(subject, table)]
    inputs = subject.source.train.inputs
    if is_image(tuple(inputs.shape[1:])):
        return [f"image {table.key(row)}" for row in range(len(table))]
    rows = inputs[torch.from_numpy(_places(subject, table))].flatten(1)
    more = " …" if rows.shape[1] > FEATURES else ""
    return [" · ".join(f"{x:.3g}" for x in row) + more for row in rows[:, :FEATURES].tolist()]


def _places(subject: Subject, table: AuditTable) -> np.ndarray:
    """Position in the data set of the sample that each label is of, [N]."""
    labels = subject.labels
    return table.index if labels is None else np.searchsorted(labels.rows, table.index)


def _pictures(subject: Subject, table: AuditTable) -> dict[int, str]:
    """Thumbnails, least trusted labels first, as many as a page can hold."""
    if subject.source is None:
        return {}
    images = subject.source.train.inputs
    if not is_image(tuple(images.shape[1:])):
        return {}
    low, high = 0.0, 255.0
    if images.dtype != torch.uint8:
        some = images[:: max(1, len(images) // SPAN_SAMPLES)].float()
        low, high = float(some.min()), float(some.max())
    return thumbnails(images, _places(subject, table), table.order().tolist(), low, high)

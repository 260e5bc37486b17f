"""One self-contained page to look at an audit and decide: no network, nothing is run."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from l2b.audit.table import AuditTable
from l2b.files import write_text
from l2b.page import rendered

THRESHOLD = 0.5  # quality below which the page flags a label at first
PRECISION = 3  # decimals in the page


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What a person sees of the samples.

    Attributes:
        title: of the page.
        previews: a text for each sample, in the order of the table; empty if there is none.
        thumbnails: data URIs of images, by row of the table.
        tagged: whether there are several yes-or-no labels a sample, of two classes each.
        notes: what a reader must know.
        apply_command: the command that turns exported decisions into corrected labels.
    """

    title: str
    previews: Sequence[str] = ()
    thumbnails: dict[int, str]
    tagged: bool = False
    notes: Sequence[str] = ()
    apply_command: str


def write_page(path: Path, table: AuditTable, summary: dict[str, Any], exhibit: Exhibit) -> None:
    """Write ``audit.html``, whole or not at all.

    Args:
        path: the file.
        table: the audit; its least trusted label comes first on the page.
        summary: what `summarise` returned.
        exhibit: what a person sees of the samples.
    """
    text = rendered(
        "l2b.audit",
        "audit.html.j2",
        styles=("audit.css",),
        script="audit.js",
        data=_content(table, exhibit),
        title=exhibit.title,
        notes=exhibit.notes,
        apply_command=exhibit.apply_command,
        summary=summary,
    )
    write_text(path, text)


def _content(table: AuditTable, exhibit: Exhibit) -> dict[str, Any]:
    order = table.order()
    place = {int(row): k for k, row in enumerate(order)}
    sorted_table = table.take(order)
    previews = [exhibit.previews[row] for row in order] if exhibit.previews else [""] * len(table)
    pictures = {image: k for k, image in enumerate(dict.fromkeys(exhibit.thumbnails.values()))}
    columns: dict[str, Any] = {"preview": previews}
    for name in ("index", "observed", "suggested", "first_rejection", "true"):
        values = getattr(sorted_table, name)
        columns |= {} if values is None else {name: values.tolist()}
    for name in ("quality", "confidence", "alpha", "beta", "rejected", "neighbours"):
        values = np.round(getattr(sorted_table, name), PRECISION).tolist()
        columns[name] = [None if value != value else value for value in values]
    if table.ids:
        columns["id"] = list(sorted_table.ids)
    return {
        "key": _fingerprint(table),
        "threshold": THRESHOLD,
        "classes": list(table.classes),
        "tagged": exhibit.tagged,
        "columns": columns,
        "pictures": list(pictures),
        "thumbnails": {place[row]: pictures[image] for row, image in exhibit.thumbnails.items()},
    }


def _fingerprint(table: AuditTable) -> str:
    """Names the audit in the browser's storage, so that decisions never reach another one."""
    digest = hashlib.sha256("\x00".join(table.classes).encode())
    for values in (table.index, table.observed, table.quality):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]

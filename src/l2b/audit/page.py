"""One self-contained page to look at an audit and decide: no network, nothing is run."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader
from markupsafe import Markup

from l2b.audit.table import AuditTable
from l2b.files import write_text

THRESHOLD = 0.5  # quality below which the page flags a label at first
PRECISION = 3  # decimals in the page


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """What a person sees of the samples.

    Attributes:
        title: of the page.
        previews: a text for each sample, in the order of the table; empty if there is none.
        thumbnails: data URIs of images, by row of the table.
        notes: what a reader must know.
        apply_command: the command that turns exported decisions into corrected labels.
    """

    title: str
    previews: Sequence[str] = ()
    thumbnails: dict[int, str]
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
    script = _part("audit.js")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    text = (
        _environment()
        .get_template("audit.html.j2")
        .render(
            title=exhibit.title,
            notes=exhibit.notes,
            apply_command=exhibit.apply_command,
            summary=summary,
            style=Markup(_part("audit.css")),
            script=Markup(script),
            script_hash=Markup(f"sha256-{digest}"),
            data=Markup(embedded(_content(table, exhibit))),
        )
    )
    write_text(path, text)


def embedded(content: object) -> str:
    """JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Half of a surrogate pair has no UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


def _content(table: AuditTable, exhibit: Exhibit) -> dict[str, Any]:
    order = table.order()
    place = {int(row): k for k, row in enumerate(order)}
    sorted_table = table.take(order)
    previews = [exhibit.previews[row] for row in order] if exhibit.previews else [""] * len(table)
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
        "columns": columns,
        "thumbnails": {place[row]: image for row, image in exhibit.thumbnails.items()},
    }


def _fingerprint(table: AuditTable) -> str:
    """Names the audit in the browser's storage, so that decisions never reach another one."""
    digest = hashlib.sha256("\x00".join(table.classes).encode())
    for values in (table.index, table.observed, table.quality):
        digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()[:16]


@cache
def _environment() -> Environment:
    return Environment(loader=PackageLoader("l2b.audit"), autoescape=True)


def _part(name: str) -> str:
    """A file that is put into the page as it is; it must not end its own element."""
    return (Path(__file__).parent / "templates" / name).read_text(encoding="utf-8")

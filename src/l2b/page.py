"""Self-contained HTML pages: no network, everything escaped, nothing run but what is named."""

import base64
import hashlib
import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader
from markupsafe import Markup

SHARED = "l2b"


def rendered(
    package: str,
    template: str,
    *,
    styles: Sequence[str],
    script: str = "",
    data: object = None,
    **content: Any,
) -> str:
    """A page as one text.

    Args:
        package: whose folder ``templates`` holds the files named here.
        template: a Jinja template that extends ``page.html.j2``; what it shows is escaped.
        styles: style sheets after the shared one.
        script: a script that the page's policy allows, and nothing else; empty for none.
        data: what the script finds as JSON in the element ``data``.
        **content: what the template shows.
    """
    style = "".join([_part(SHARED, "page.css"), *(_part(package, name) for name in styles)])
    code = _part(package, script) if script else ""
    digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
    return (
        _environment(package)
        .get_template(template)
        .render(
            style=Markup(style),
            script=Markup(code),
            script_hash=Markup(f"sha256-{digest}"),
            data=Markup("" if data is None else embedded(data)),
            **content,
        )
    )


def embedded(content: object) -> str:
    """JSON that can stand in a script element: no text in it can end the element."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    # Half of a surrogate pair has no UTF-8.
    return text.encode("utf-8", "replace").decode("utf-8")


@cache
def _environment(package: str) -> Environment:
    loader = ChoiceLoader([PackageLoader(package), PackageLoader(SHARED)])
    return Environment(loader=loader, autoescape=True)


def _part(package: str, name: str) -> str:
    """A file that is put into the page as it is; it must not end its own element."""
    return (files(package) / "templates" / name).read_text(encoding="utf-8")

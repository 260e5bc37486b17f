"""Several yes-or-no labels a sample: each tag is audited by itself, all are told in one table."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from l2b.answers import answer_name, answers_of
from l2b.audit.table import AuditTable
from l2b.audit.views import View
from l2b.targets import VOID

NUMBERS = (
    "index", "quality", "confidence", "alpha", "beta", "rejected", "first_rejection", "neighbours",
)  # fmt: skip


def ledger_of_tag(ledger: Mapping[str, Any], number: int) -> dict[str, Any]:
    """What a ledger of several labels says of one, where somebody gave it.

    Args:
        ledger: of a run with tags; entry i · tags + k is of sample i and tag k.
        number: of the tag, from 0.
    """
    tags, kept = len(ledger["tags"]), ledger["observed"][:, number] != VOID
    found = {name: value for name, value in ledger.items() if name not in ("tags", "inputs_sha256")}
    for name in ("alpha", "beta", "pseudo", "loss"):
        found[name] = ledger[name][:, number::tags][:, kept]
    for name in ("observed", "true"):
        if name in ledger:
            found[name] = ledger[name][kept, number]
    return found | {"index": ledger["index"][kept]}


def view_of_tag(
    seen: View | None, ledger: Mapping[str, Any], y: np.ndarray, number: int
) -> tuple[View | None, np.ndarray]:
    """What is seen of the samples of which one label is known, and that label of the checked ones.

    Args:
        seen: of all samples of a run with tags; None if nothing is.
        ledger: of the run.
        y: labels of the checked samples, [M, tags].
        number: of the tag, from 0.
    """
    if seen is None:
        return None, y
    noisy, checked = ledger["observed"][:, number].numpy() != VOID, y[:, number] != VOID
    narrowed = View(
        noisy=seen.noisy[noisy],
        checked=seen.checked[checked],
        small=seen.small,
        believed=seen.believed[noisy, :, number],
        held_out=seen.held_out[checked, :, number],
    )
    return narrowed, y[checked, number]


def of_all_tags(parts: Sequence[tuple[str, AuditTable]]) -> AuditTable:
    """One table of all tags, sample by sample, in which the answers of each are its own classes.

    Args:
        parts: name and audit of each tag, whose classes are no and yes.

    Returns:
        Classes are named ``<tag>: no`` and ``<tag>: yes``; a label is called ``<sample>/<tag>``,
        and its index is that of its sample.
    """
    order = np.argsort(np.concatenate([table.index for _, table in parts]), kind="stable")

    def joined(name: str, step: int = 0) -> np.ndarray:
        columns = [getattr(table, name) + step * k for k, (_, table) in enumerate(parts)]
        return np.concatenate(columns)[order]

    names = [answer_name(table.key(row), tag) for tag, table in parts for row in range(len(table))]
    known = all(table.true is not None for _, table in parts)
    return AuditTable(
        classes=tuple(name for tag, table in parts for name in answers_of(tag, table.classes)),
        ids=tuple(names[k] for k in order),
        observed=joined("observed", 2),
        suggested=joined("suggested", 2),
        true=joined("true", 2) if known else None,
        **{name: joined(name) for name in NUMBERS},
    )

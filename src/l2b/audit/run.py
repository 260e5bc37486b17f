"""From the folder of a finished run to its audit: table, summary and page."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from l2b.audit.exhibit import exhibit
from l2b.audit.page import write_page
from l2b.audit.subject import Subject, read_subject
from l2b.audit.summary import summarise
from l2b.audit.table import AuditTable, write_table
from l2b.datasets import Source
from l2b.files import write_json
from l2b.folder import AUDIT as FOLDER
from l2b.folder import set_aside

PAIRS_SAID = 5


@dataclass(frozen=True, kw_only=True)
class Audit:
    """What `audit_run` found and wrote.

    Attributes:
        folder: holds audit.csv, summary.json, audit.html and, with pyarrow, audit.parquet.
        table: one entry per sample.
        summary: the content of ``summary.json``.
        subject: what was audited.
    """

    folder: Path
    table: AuditTable
    summary: dict[str, Any]
    subject: Subject

    def __str__(self) -> str:
        """A few lines for a terminal."""
        found = self.summary
        lines = [
            f"{found['samples']:,} labels audited; {found['suspects']:,} would be changed; "
            f"about {found['noise_rate']:.1%} are wrong (an estimate from the scores)."
        ]
        lines += [
            f"  {pair['observed']} → {pair['suggested']}: {pair['samples']:,}"
            for pair in found["frequent_confusions"][:PAIRS_SAID]
        ]
        lines += [f"  Note: {note}" for note in self.subject.notes]
        return "\n".join([*lines, f"  Look at them: {self.folder / 'audit.html'}"])


def audit_run(path: Path | str, *, source: Source | None = None) -> Audit:
    """Audit the labels that a run learned from, into ``audit`` in its folder.

    An audit that is there is replaced. Where the samples are gone, which tell much, it is set
    aside instead.

    Args:
        path: the run's folder.
        source: the run's data set, if it is at hand.

    Raises:
        FileNotFoundError: if there is no finished run in the folder.
        ValueError: if its files are damaged.
    """
    subject = read_subject(Path(path), source)
    table = subject.table()
    summary = summarise(table, subject.checked)
    folder = Path(path) / FOLDER
    if subject.source is None and (folder / "summary.json").is_file():
        aside = set_aside(folder)
        note = f"The audit before, which may have seen the samples, is in {aside} now."
        subject = replace(subject, notes=(*subject.notes, note))
    folder.mkdir(exist_ok=True)
    write_table(folder, table)
    write_json(folder / "summary.json", summary)
    write_page(folder / "audit.html", table, summary, exhibit(subject, table))
    return Audit(folder=folder, table=table, summary=summary, subject=subject)

"""From a run's ledger to one row per sample: how far its label can be trusted, and why."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from l2b.files import write_atomically
from l2b.quality import knowing_epochs, label_quality
from l2b.tables import defused, write_csv

COLUMNS = (
    "index", "id", "observed", "suggested", "suspect", "quality", "confidence", "alpha", "beta",
    "rejected", "first_rejection", "neighbours", "true",
)  # fmt: skip
DIGITS = 4  # of the numbers in audit.csv


@dataclass(frozen=True, kw_only=True)
class AuditTable:
    """One entry per training sample, in the order of the ledger.

    Attributes:
        classes: names of the classes.
        ids: the samples' ids; empty if they have none.
        index: position in the audited file or the data set's training split, [N].
        observed: label as given, [N].
        suggested: label that the run would give, [N].
        quality: 0 for surely wrong, 1 for surely right, [N].
        confidence: of the suggestion, in [0, 1], [N].
        alpha: mean weight of the label as given; 1 is standard training, [N].
        beta: mean weight of the prediction instead, likewise, [N].
        rejected: share of the epochs in which the label had no weight at all, [N].
        first_rejection: the first such epoch, from 1; 0 if there is none, [N].
        neighbours: share of the nearest samples that carry the same label, [N]; NaN unknown.
        true: true label where a benchmark knows it, else None.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    index: np.ndarray
    observed: np.ndarray
    suggested: np.ndarray
    quality: np.ndarray
    confidence: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray
    rejected: np.ndarray
    first_rejection: np.ndarray
    neighbours: np.ndarray
    true: np.ndarray | None = None

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.observed)

    @property
    def suspect(self) -> np.ndarray:
        """Whether the run would give another label, [N]."""
        return self.suggested != self.observed

    def order(self) -> np.ndarray:
        """Rows from the least to the most trusted label."""
        return np.lexsort((-self.confidence, self.quality))

    def take(self, rows: np.ndarray) -> "AuditTable":
        """The samples at these places, in this order."""
        found = {f.name: getattr(self, f.name) for f in fields(self)}
        kept = {k: v[rows] for k, v in found.items() if isinstance(v, np.ndarray)}
        ids = tuple(self.ids[row] for row in rows) if self.ids else ()
        return AuditTable(**{**found, **kept, "ids": ids})

    def key(self, row: int) -> str:
        """The id of a sample if there is one, else its index."""
        return self.ids[row] if self.ids else str(self.index[row])


def audit_table(
    ledger: Mapping[str, Any],
    *,
    ids: tuple[str, ...] = (),
    index: np.ndarray | None = None,
    neighbours: np.ndarray | None = None,
) -> AuditTable:
    """Judge every sample of a ledger.

    Args:
        ledger: what a run's ``ledger.safetensors`` holds.
        ids: the samples' ids, in the order of the ledger.
        index: positions to call the samples by; those of the ledger if None.
        neighbours: what `neighbour_agreement` returned, if the samples are at hand.
    """
    alpha, beta, observed = (ledger[name] for name in ("alpha", "beta", "observed"))
    heard = None
    if "clean_accuracy" in ledger:
        heard = knowing_epochs(ledger["clean_accuracy"], ledger["clean_samples"])
    judged = label_quality(
        alpha,
        beta,
        ledger["pseudo"],
        ledger["loss"],
        observed,
        classes=len(ledger["classes"]),
        heard=heard,
    )
    seen = ~alpha.isnan()
    rejected = (alpha == 0) & seen
    first = torch.where(rejected.any(dim=0), rejected.int().argmax(dim=0) + 1, 0)
    unknown = np.full(len(observed), np.nan)
    return AuditTable(
        classes=tuple(ledger["classes"]),
        ids=ids,
        index=ledger["index"].numpy() if index is None else index,
        observed=observed.numpy(),
        suggested=judged.suggested.numpy(),
        quality=judged.quality.numpy().astype(np.float64),
        confidence=judged.confidence.numpy().astype(np.float64),
        alpha=_mean(alpha),
        beta=_mean(beta),
        rejected=(rejected.sum(dim=0) / seen.sum(dim=0).clamp_min(1)).numpy().astype(np.float64),
        first_rejection=first.numpy(),
        neighbours=unknown if neighbours is None else neighbours,
        true=ledger["true"].numpy() if "true" in ledger else None,
    )


def write_table(folder: Path, table: AuditTable) -> None:
    """Write ``audit.csv``, least trusted label first, and ``audit.parquet`` if pyarrow is there.

    No cell of the CSV is run by a spreadsheet: texts that begin like a formula get an
    apostrophe in front. The Parquet file holds them as they are.
    """
    order = table.order()
    columns = [name for name in COLUMNS if name != "true" or table.true is not None]
    write_csv(folder / "audit.csv", columns, _cells(table, columns, order))
    try:
        import pyarrow as arrow
        from pyarrow.parquet import write_table as write_parquet
    except ImportError:
        return
    arrays = {name: _column(table, name, order) for name in columns}
    write_atomically(
        folder / "audit.parquet", lambda temporary: write_parquet(arrow.table(arrays), temporary)
    )


def _cells(table: AuditTable, columns: list[str], order: np.ndarray) -> Iterator[list[object]]:
    arrays = [_column(table, name, order) for name in columns]
    for row in zip(*arrays, strict=True):
        yield [_cell(value) for value in row]


def _cell(value: object) -> object:
    if isinstance(value, float):
        return "" if np.isnan(value) else f"{value:.{DIGITS}g}"
    return defused(value) if isinstance(value, str) else value


def _column(table: AuditTable, name: str, order: np.ndarray) -> list[Any]:
    if name == "id":
        return [table.ids[row] for row in order] if table.ids else [""] * len(order)
    values = getattr(table, name)[order].tolist()
    if name in ("observed", "suggested", "true"):
        return [table.classes[value] for value in values]
    return values


def _mean(weights: torch.Tensor) -> np.ndarray:
    """Mean over the epochs that saw a sample; 0 if none did."""
    return weights.float().nanmean(dim=0).nan_to_num(0.0).numpy().astype(np.float64)

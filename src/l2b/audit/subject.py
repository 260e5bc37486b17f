"""What is audited: a finished run, with its samples where they can still be found."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from l2b.audit.neighbours import neighbour_agreement
from l2b.audit.table import AuditTable, audit_table
from l2b.audit.tags import ledger_of_tag, of_all_tags, view_of_tag
from l2b.audit.views import View, view_of
from l2b.data import Data
from l2b.datasets import Source
from l2b.datasets.table import Table, TableLabels
from l2b.datasets.tags import TagLabels, Tags
from l2b.experiment import Run, read_run
from l2b.fingerprint import digest
from l2b.folder import RunFolder, read_module
from l2b.kept import as_kept
from l2b.loop import trains_on_clean
from l2b.noise.none import NoNoise
from l2b.provenance import started_elsewhere

JUDGES = (
    "The run was trained on its clean samples: only those kept aside to choose an epoch "
    "({share:.0%} of them) can judge its labels. The audit knows more with more of them "
    "(--validation), or where clean samples only steer (--clean_weight 0)."
)
STAND_INS = "stand_ins"  # in the ledger of a run that had no checked labels: their number


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A finished run.

    Attributes:
        path: its folder.
        run: its settings.
        ledger: its record of every sample in every epoch.
        source: its data set; None if that is gone or has changed.
        labels: those of the user's own table, if it learned from one; of several, where they are.
        notes: what a reader must know.
        problem: why there is no data set, one of the notes; empty where there is one.
    """

    path: Path
    run: Run
    ledger: dict[str, Any]
    source: Source | None
    labels: TableLabels | TagLabels | None
    notes: tuple[str, ...]
    problem: str = ""

    @property
    def on_own_table(self) -> bool:
        """Whether the run learned from a user's own table."""
        return isinstance(self.run.data, Table | Tags)

    @property
    def own(self) -> Table | Tags | None:
        """The user's own table, if the run learned from one that can still be read.

        Files of checked labels are those that it learned from, as the run has kept them.
        """
        found = as_kept(self.run.data, self.path)
        return found if isinstance(found, Table | Tags) and self.source is not None else None

    @property
    def index(self) -> np.ndarray:
        """Position of each audited sample in the data set, [N]."""
        return self.ledger["index"].numpy()

    @property
    def ids(self) -> tuple[str, ...]:
        """What every sample of the data set is called: ids of a table, names of files; or none."""
        if self.labels is not None:
            return self.labels.ids
        return () if self.source is None else self.source.names

    @property
    def checked(self) -> tuple[np.ndarray, np.ndarray] | None:
        """Observed and right labels of the checked samples, if these tell how many are wrong.

        Marks of yes and no do not, and neither do samples that were picked for checking.
        """
        if not isinstance(self.labels, TableLabels) or not isinstance(self.own, Table):
            return None
        if self.own.checked:
            return None
        known = self.labels.checked >= 0
        pair = self.labels.observed[known], self.labels.checked[known]
        return pair if (pair[0] != pair[1]).any() else None

    @property
    def tags(self) -> tuple[str, ...]:
        """Names of several yes-or-no labels a sample; empty where samples have one label."""
        return tuple(self.ledger.get("tags", ()))

    def table(self) -> AuditTable:
        """One entry per label, with the checked samples' second opinion where there is one."""
        data = self._data()
        module = None if data is None else self._module(data)
        seen = None if data is None or module is None else view_of(data, module)
        y = np.zeros(0) if data is None else data.clean.labels.numpy()
        if not self.tags:
            return self._judged(seen, y)
        parts = []
        for number, tag in enumerate(self.tags):
            one = replace(self, ledger=ledger_of_tag(self.ledger, number))
            narrowed = view_of_tag(seen, self.ledger, y, number)
            parts.append((tag, one._judged(*narrowed)))
        return of_all_tags(parts)

    def _judged(self, seen: View | None, y: np.ndarray) -> AuditTable:
        from l2b.audit.opinion import second_opinion  # slow to load

        table = self._own_judgement()
        return table if seen is None else second_opinion(table, seen, y)

    def _module(self, data: Data) -> nn.Module | None:
        """The run's network, if it is there."""
        weights, shape = self.path / "model.safetensors", tuple(data.train.inputs.shape[1:])
        if not weights.is_file():
            return None
        with torch.random.fork_rng(devices=[]):
            made = self.run.model.network(shape, len(data.classes), tags=len(self.tags))
        read_module(made, weights)
        return made

    def _data(self) -> Data | None:
        """What the run learned from, if its checked samples can judge it.

        Those that the method was trained on cannot; those kept aside to choose an epoch can.
        """
        run = self.run
        if self.source is None or self.ledger.get(STAND_INS):
            return None
        data = run.prepare_from(self.source)
        if not torch.equal(data.train.index, self.ledger["index"]):
            return None
        if not trains_on_clean(run.method, run.training):
            return data
        return None if data.validation is None else replace(data, clean=data.validation)

    def _own_judgement(self) -> AuditTable:
        if self.source is None:
            return audit_table(self.ledger)
        scaled = self.source.train.inputs[self.ledger["index"]].float()
        scaled.sub_(self.source.mean).div_(self.source.std)  # in place: it may be large
        near = neighbour_agreement(scaled, self.ledger["observed"].numpy())
        every, index = self.ids, self.index
        ids = tuple(every[k] for k in index) if every else ()
        place = index if self.labels is None else self.labels.rows[index]
        return audit_table(self.ledger, ids=ids, index=place, neighbours=near)


def read_subject(path: Path, source: Source | None = None) -> Subject:
    """A finished run and, if they can be found, its samples.

    Args:
        path: the run's folder.
        source: its data set, if it is at hand.

    Raises:
        FileNotFoundError: if there is no finished run in the folder.
        ValueError: if its files are damaged.
    """
    folder = RunFolder(path)
    run = read_run(path) if path.is_dir() else None
    if run is None or not (path / "ledger.safetensors").is_file():
        raise FileNotFoundError(
            f"{path} holds no finished run (run.yaml and ledger.safetensors): name the folder of "
            "an `l2b run`, or audit your own file with --csv."
        )
    ledger = folder.read_ledger()
    notes, problem = _stand_in_notes(ledger), ""
    if source is None:
        source, problem = _load(path, run, ledger)
        notes += [problem] if problem else []
    if trains_on_clean(run.method, run.training) and not ledger.get(STAND_INS):
        notes += [JUDGES.format(share=run.validation)]
    if source is not None and source.remark:
        notes.append(source.remark)
    found = Subject(
        path=path,
        run=run,
        ledger=ledger,
        source=source,
        labels=None,
        notes=tuple(notes),
        problem=problem,
    )
    return found if found.own is None else replace(found, labels=found.own.labels())


def _load(path: Path, run: Run, ledger: dict[str, Any]) -> tuple[Source | None, str]:
    """The data set, or why there is none."""
    try:
        with started_elsewhere(run.data, path):
            source = as_kept(run.data, path).load()
    except FileNotFoundError as error:
        return None, f"The samples cannot be shown: {error}"
    if _same(run, source, ledger):
        return source, ""
    return None, "The samples cannot be shown: the data set has changed since the run."


def _same(run: Run, source: Source, ledger: dict[str, Any]) -> bool:
    """Whether the run learned from this data set, as far as its ledger tells.

    Labels alone do not: rows that change places among those of one class leave them as they were.
    """
    index = ledger["index"]
    if len(index) and int(index.max()) >= len(source.train.labels):
        return False
    labels = source.doubtful(source.train.labels)[index]
    if tuple(ledger.get("tags", ())) != source.tags:
        return False
    if "true" in ledger and not bool((labels == ledger["true"]).all()):
        return False
    if isinstance(run.noise, NoNoise) and not torch.equal(labels, ledger["observed"]):
        return False
    if tuple(ledger["classes"]) != source.classes:
        return False
    told = ledger.get("inputs_sha256")  # older ledgers have none
    return told is None or told == digest(source.train.inputs[index])


def _stand_in_notes(ledger: dict[str, Any]) -> list[str]:
    if not ledger.get(STAND_INS):
        return []
    return [
        f"No label was checked: {ledger[STAND_INS]} that a cross-fitted linear model confirms "
        "stood in. That works where labels are wrong at random, less where they are wrong by "
        "rule: check some (--next 50) and audit again with --clean."
    ]

"""Confident learning: find wrong labels by cross-validation, leave them out, train again."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from l2b.ledger import StepRecord
from l2b.losses import cross_entropy
from l2b.methods.base import Learner, Method, Task, anew, first_part, plain_record
from l2b.network import Network
from l2b.types import Batch

ROWS_AT_ONCE = 2048


@dataclass(frozen=True, kw_only=True)
class CleanlabPrune(Method):
    """Prune and retrain: cleanlab finds wrong labels by cross-validation, a new model does without.

    Networks of the same kind learn all folds but one each; what each says of the fold that it
    has not seen goes to cleanlab's ``find_label_issues`` (confident learning: Northcutt, Jiang
    and Chuang 2021, arXiv 1911.00068, Section 3). A fresh network learns the rest.

    Attributes:
        noisy_share: share of the epochs given to cross-validation, in (0, 1). Both parts have
            the whole schedule of the learning rate. In the first every step trains all
            networks but one on each sample.
        folds: of the cross-validation, at least 2.
        clean_weight: weight of the mean clean loss beside the mean loss of what is left, in
            the second part; cleanlab itself uses no clean set.
    """

    noisy_share: float = 0.4
    folds: int = 5
    clean_weight: float = 0.0

    def __post_init__(self) -> None:
        """Refuse shares and folds that leave a part out."""
        if not 0 < self.noisy_share < 1 or self.folds < 2 or not self.clean_weight >= 0:
            raise ValueError(
                "CleanlabPrune needs 0 < noisy_share < 1, folds >= 2 and clean_weight >= 0, got "
                f"{self.noisy_share}, {self.folds} and {self.clean_weight}: labels are judged by "
                "networks that have not seen them, and the rest is learned after that."
            )

    @property
    def fits_clean(self) -> bool:
        """Only with a clean term."""
        return self.clean_weight > 0

    @property
    def takes_masks(self) -> bool:
        """No: whole samples are chosen or corrected."""
        return False

    def build(self, task: Task) -> Learner:
        """A learner in two parts.

        Raises:
            ImportError: without cleanlab.
        """
        _find_label_issues()
        return CleanlabPruneLearner(self, task)


class CleanlabPruneLearner(Learner):
    """Cross-validates, prunes once, then learns what is left."""

    def __init__(self, method: CleanlabPrune, task: Task) -> None:
        """Make one network per fold, and the one that is kept."""
        self.method, self.task = method, task
        self.turn = first_part(method, method.noisy_share, task.epochs)
        self.fold = [task.network(f"fold {k}") for k in range(method.folds)]
        self.final = task.network("main")
        self.network = self.fold[0]
        self.member = _folds(task.data.train.labels, method.folds)
        self.kept = torch.ones_like(self.member, dtype=torch.bool)

    def begin_epoch(self, epoch: int) -> None:
        """Prune when the first part is over; each part has the whole schedule."""
        first, count = (0, self.turn) if epoch < self.turn else (self.turn, self.task.epochs)
        if epoch == self.turn:
            self.kept = self._without_issues()
        networks = self.fold if epoch < self.turn else [self.final]
        self.network = networks[0]
        for network in networks:
            network.begin_epoch(anew(epoch, first, count, self.task.epochs))

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """One step of every fold's network, or of the final one."""
        if self.network is not self.final:
            return self._cross_validating_step(batch)
        z = self.network.logits(batch.inputs)
        losses = cross_entropy(z, batch.labels)
        kept = self.kept[batch.index]
        loss = (losses * kept).sum() / kept.sum().clamp_min(1)
        if self.method.clean_weight:
            on_clean = cross_entropy(self.network.logits(clean.inputs), clean.labels).mean()
            loss = loss + self.method.clean_weight * on_clean
        self.network.descend(loss)
        record = plain_record(batch, z, losses)
        return replace(record, alpha=kept * len(kept) / kept.sum().clamp_min(1))

    def state_dict(self) -> dict[str, Any]:
        """All networks, and what was pruned."""
        networks = [network.state_dict() for network in (*self.fold, self.final)]
        return {"networks": networks, "kept": self.kept, "pruned": self.network is self.final}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all of it."""
        for network, saved in zip((*self.fold, self.final), state["networks"], strict=True):
            network.load_state_dict(saved)
        self.kept = state["kept"].to(self.kept)
        self.network = self.final if state["pruned"] else self.fold[0]

    def _cross_validating_step(self, batch: Batch) -> StepRecord:
        member = self.member[batch.index]
        seen: list[tuple[Tensor, Tensor]] = []
        for k, network in enumerate(self.fold):
            z = network.logits(batch.inputs)
            losses = cross_entropy(z, batch.labels)
            others = member != k
            network.descend((losses * others).sum() / others.sum().clamp_min(1))
            seen.append((z.detach(), losses.detach()))
        z, losses = (torch.stack(values) for values in zip(*seen, strict=True))
        rows = torch.arange(len(member), device=member.device)
        return plain_record(batch, z[member, rows], losses[member, rows])

    def _without_issues(self) -> Tensor:
        """Which samples cleanlab finds no fault with, [N]."""
        pool, find = self.task.data.train, _find_label_issues()
        p = torch.zeros(len(pool), len(self.task.data.classes), dtype=torch.float64)
        for k, network in enumerate(self.fold):
            rows = (self.member == k).nonzero().squeeze(1)
            p[rows.cpu()] = _probabilities(network, self.task, rows).cpu()
        issues = find(labels=pool.labels.cpu().numpy(), pred_probs=p.numpy(), n_jobs=1)
        return torch.from_numpy(~np.asarray(issues)).to(self.kept.device)


def _probabilities(network: Network, task: Task, rows: Tensor) -> Tensor:
    """What a network says of some training samples, [rows, classes], float64."""
    network.module.eval()
    with torch.no_grad():
        z = [
            network.logits(task.data.standardise(task.data.train.inputs[part]))
            for part in rows.split(ROWS_AT_ONCE)
        ]
    return torch.softmax(torch.cat(z).double(), dim=1)


def _folds(labels: Tensor, folds: int) -> Tensor:
    """The fold of every sample, stratified by its observed label, in its own order, [N]."""
    member = torch.zeros_like(labels)
    start = 0
    for k in labels.unique().tolist():
        rows = (labels == k).nonzero().squeeze(1)
        member[rows] = (start + torch.arange(len(rows), device=rows.device)) % folds
        start += len(rows)
    return member


def _find_label_issues() -> Any:
    try:
        from cleanlab.filter import find_label_issues
    except ImportError as error:
        raise ImportError(
            "CleanlabPrune needs cleanlab, which is not installed: pip install 'l2b[audit]'."
        ) from error
    return find_label_issues

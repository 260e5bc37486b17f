"""One training on what the user gave."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from l2b import collectives
from l2b.catalog import name_of
from l2b.class_weights import ClassWeights
from l2b.compatible import check_fit
from l2b.estimation.chosen import Chosen, ChosenLearner
from l2b.estimation.rows import Features, SparseRows
from l2b.estimation.scaling import Scale
from l2b.estimation.task import Given
from l2b.functional import forward
from l2b.ledger import Ledger
from l2b.methods import Method
from l2b.models import Model
from l2b.notices import no_notices
from l2b.quality import judged_by_checked
from l2b.scoring import Scoring
from l2b.train import Training, fit

ROWS_AT_ONCE = 2048
CPU = torch.device("cpu")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all trainings of one estimator share.

    Attributes:
        model: what to train.
        training: how long and how fast.
        validation: share of the checked samples to choose an epoch by, in [0, 1).
        progress: show progress bars on a terminal.
        jobs: how many trainings of a comparison go side by side, in processes of one thread each.
        class_weights: how much classes count.
        scoring: what an epoch is chosen by.
    """

    model: Model
    training: Training
    validation: float
    progress: bool
    jobs: int = 1
    class_weights: ClassWeights = "none"
    scoring: Scoring = "auto"


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What one training left.

    Attributes:
        module: the network, on the CPU, in evaluation mode.
        device: where it was trained.
        ledger: every noisy sample in every epoch.
        history: one row of metrics per epoch.
        epoch: the epoch whose parameters were kept, from 0.
        known: accuracy by epoch on checked samples that were not trained on.
        judges: how many these are; see `judged_by_checked`.
    """

    module: nn.Module
    device: torch.device
    ledger: Ledger
    history: list[dict[str, Any]]
    epoch: int
    known: list[float]
    judges: int


def learn(given: Given, method: Method, plan: Plan, seed: int) -> Learned:
    """Train once; keep the last epoch, or the best one on the checked samples kept aside."""
    data = given.data(plan.validation, seed, plan.class_weights, plan.scoring)
    used = method
    if data.validation is not None:
        used = Chosen(method=used, validation=data.validation)
    # An estimator is one process's own, whoever else is there.
    with collectives.alone(), no_notices():
        check_fit(method, data, plan.training)  # by its own name
        outcome = fit(
            data,
            plan.model,
            used,
            plan.training,
            seed=seed,
            progress=plan.progress,
            label=name_of(method),
        )
    learner = outcome.learner
    if isinstance(learner, ChosenLearner):
        learner.finish()
    device = next(learner.network.module.parameters()).device
    module = learner.network.module.to("cpu").eval()
    last = plan.training.epochs - 1
    epoch = _first(outcome.chosen_epoch, last)
    known, judges = judged_by_checked(outcome.history, data)
    return Learned(
        module=module,
        device=device,
        ledger=outcome.ledger,
        history=outcome.history,
        epoch=epoch,
        known=known,
        judges=judges,
    )


def logits(module: nn.Module, x: Tensor | SparseRows, device: torch.device = CPU) -> Tensor:
    """Logits of scaled samples, [N, classes], on the CPU, computed on a device block by block."""
    with lent(module, device):
        return _logits(module, x, device)


def probabilities(module: nn.Module, x: Tensor | SparseRows, device: torch.device) -> Tensor:
    """Probabilities of scaled samples, [N, classes], float32 on the CPU, computed on a device."""
    return torch.softmax(logits(module, x, device), dim=1).float()


def raw_logits(module: nn.Module, scale: Scale, x: Features, device: torch.device = CPU) -> Tensor:
    """Logits of raw samples, scaled a block at a time; otherwise as `logits`."""
    with lent(module, device):
        return torch.cat([_logits(module, scale(block), device) for block in _blocks(x)])


def _logits(module: nn.Module, x: Tensor | SparseRows, device: torch.device) -> Tensor:
    with torch.no_grad():
        blocks = (forward(module, block.to(device)) for block in x.split(ROWS_AT_ONCE))
        return torch.cat([z.cpu() for z in blocks])


def usual_device(*, cpu: bool) -> torch.device:
    """A GPU of CUDA if there is one, unless the CPU is asked for."""
    return torch.device("cuda" if torch.cuda.is_available() and not cpu else "cpu")


@contextmanager
def lent(module: nn.Module, device: torch.device) -> Iterator[None]:
    """A module that lives on the CPU, on another device for as long as it is asked there."""
    try:
        module.to(device)
        yield
    finally:
        module.to(CPU)


def _blocks(x: Features) -> Iterator[Features]:
    for block in range(math.ceil(x.shape[0] / ROWS_AT_ONCE)):
        yield x[block * ROWS_AT_ONCE : (block + 1) * ROWS_AT_ONCE]


def _first(chosen: int | None, otherwise: int) -> int:
    return otherwise if chosen is None else chosen

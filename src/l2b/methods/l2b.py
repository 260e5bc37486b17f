"""Learning to bootstrap."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from torch import Tensor

from l2b import collectives
from l2b.amortise import Amortisation, CleanGradient, WeightMemory
from l2b.best_epoch import BestEpoch
from l2b.candidates import Candidates, Pair
from l2b.engines import Engine, Forward
from l2b.functional import full_precision, functional
from l2b.halves import Halves, Split
from l2b.layout import best_layout
from l2b.ledger import StepRecord
from l2b.lookahead import LookAhead, Paper
from l2b.losses import bootstrapped_loss, cross_entropy, weighed_targets
from l2b.methods.base import (
    Learner,
    Method,
    Task,
    check_warm_up,
    clean_step,
    mean_loss,
    plain_record,
    plain_step,
    told_warm_up,
)
from l2b.methods.mixup import Blends
from l2b.normalise import Normaliser, PositiveShare
from l2b.notices import notice
from l2b.pseudo import InPieces, MovingAverage, PseudoLabels
from l2b.pseudo.views import Views, check_viewable
from l2b.targets import labels, voids
from l2b.types import Batch, Probe, Weights
from l2b.weighing import AcrossProcesses, look_ahead_gradient, weights_from


@dataclass(frozen=True, kw_only=True)
class L2B(Method):
    """Learning to bootstrap: two learned weights per sample, observed and pseudo (Eq. 3).

    The defaults are those that did best on development data (benchmarks/tune_defaults.py, written
    up in docs/evidence.md). The method exactly as published is `AsPublished`.

    Attributes:
        engine: how logits are differentiated along the clean gradient.
        normalise: how scores become weights; the ablations are normalisers.
        pseudo: where pseudo-labels come from.
        candidates: which labels compete; as published, observed and pseudo-label.
        lookahead: where the clean gradient is taken.
        warmup: epochs of plain cross-entropy before weights are learned; "auto" learns as long as
            that makes the model better on the clean samples, and weighs on from the parameters of
            the best epoch (momentum and averaged models go on as they are): where nothing is
            memorised in the time there is, all of it is plain training. A clean start, which
            these samples cannot judge, then takes one epoch.
        warmup_patience: epochs in a row without a better one that end an automatic warm-up; two
            can be chance. Deep networks rise by fits and starts, and may deserve more
            (docs/evidence.md).
        start: what the warm-up trains on: the ``noisy`` labels, as published, or the
            ``clean`` samples, where the noise follows a rule that warm-up would learn.
        clean_weight: weight of the mean loss of clean samples that is added to Eq. 3; 0 as
            published. It is on the scale of the noisy batch, whose weights sum to 1.
        cross_fit: where clean samples are trained on, train on one half of them and weigh by the
            other, swapped every epoch, so that fitted samples do not silence the clean gradient.
            Not done where a class has a single clean sample, which only one half could have; of
            masks, where there is one clean patient. A clean batch of which a half has fewer than
            two samples (for each process) is not split.
        mixup: a of the Beta(a, a) of mixup (Zhang et al. 2018); 0, as published, for none. Samples
            are weighed as they are, and learned in blends of two: λx_i + (1 − λ)x_j towards
            λ(α_i y_i + β_i ŷ_i) + (1 − λ)(α_j y_j + β_j ŷ_j), for one more pass a step. With 1 it
            did better on development data where most labels are wrong, and is about level
            elsewhere (docs/evidence.md). Not for masks.
        amortise: what may be used again for a few steps, to save time.
    """

    engine: Engine = field(default_factory=Forward)
    normalise: Normaliser = field(default_factory=PositiveShare)
    pseudo: PseudoLabels = field(default_factory=lambda: MovingAverage(soft=False))
    candidates: Candidates = field(default_factory=Pair)
    lookahead: LookAhead = field(default_factory=Paper)
    warmup: int | Literal["auto"] = "auto"
    warmup_patience: int = 3
    start: Literal["noisy", "clean"] = "noisy"
    clean_weight: float = 0.2
    cross_fit: bool = True
    mixup: float = 0.0
    amortise: Amortisation = field(default_factory=Amortisation)

    def __post_init__(self) -> None:
        """Refuse settings that have no meaning, alone or together."""
        check_warm_up(self.warmup, or_auto=True)
        if self.warmup_patience < 1:
            raise ValueError(
                f"warmup_patience must be at least 1 epoch, got {self.warmup_patience}: so many in "
                "a row without a better one end an automatic warm-up."
            )
        if self.start not in ("noisy", "clean"):
            raise ValueError(f"L2B needs start 'noisy' or 'clean', got {self.start!r}.")
        if not self.clean_weight >= 0:
            raise ValueError(
                f"L2B needs clean_weight >= 0, got {self.clean_weight}: a negative weight would "
                "train away from the checked labels."
            )
        if not 0 <= self.mixup < math.inf:
            raise ValueError(
                f"L2B needs finite mixup >= 0, got {self.mixup}: it is the parameter of a Beta "
                "distribution, or 0 for no blends."
            )
        if self.amortise.weights_every > 1 and not isinstance(self.candidates, Pair):
            raise ValueError(
                "amortise.weights_every > 1 remembers the weights of two labels, not those of "
                f"{type(self.candidates).__name__}: set it to 1 or choose --candidates pair."
            )

        self.candidates.refuse(self.normalise)

    @property
    def fits_clean(self) -> bool:
        """With a clean term or a clean start; as published, clean samples only steer."""
        return self.clean_weight > 0 or (self.start == "clean" and self.warmup != 0)

    @property
    def asks_clean(self) -> str:
        """When an automatic warm-up ends."""
        ends = self.warmup == "auto" and self.start == "noisy"
        return "when to end its warm-up (set --method.warmup to a number)" if ends else ""

    def build(self, task: Task) -> Learner:
        """A learner that weighs every batch."""
        told_warm_up(self.warmup, task.epochs)
        if task.data.masks and isinstance(self.normalise, PositiveShare):
            notice(
                "On masks, one unit of weight for all pixels of a batch (Eq. 9) lets training "
                "collapse: --method l2b_masks has choices that do not, or set --normalise."
            )
        return L2BLearner(self, task)


class L2BLearner(Learner):
    """Cross-entropy while warming up, then the two-weight objective."""

    steers = True
    shared = True

    def __init__(self, method: L2B, task: Task) -> None:
        """Make the network and the source of its pseudo-labels."""
        several = "several labels" if task.data.tags else "masks" if task.data.masks else ""
        if method.amortise.weights_every > 1 and several:
            raise ValueError(
                f"amortise.weights_every must be 1 for {several}: weights are remembered per "
                f"sample, not for each part. gradient_every saves time for {several} too."
            )
        if method.mixup and several:
            raise ValueError(
                f"mixup must be 0 for {several}: blends are of samples with one label each."
            )
        self.method = method
        self.network = task.network("main")
        self.blends = Blends(method.mixup) if method.mixup else None
        source = method.pseudo.build(self.network.module, len(task.data.train))
        self.pseudo = InPieces(source, self.network.pieces)
        self.gradient = CleanGradient(method.amortise)
        remembered = method.amortise.weights_every > 1
        self.memory = WeightMemory(len(task.data.train) if remembered else 0)
        halves = _halves(task) if method.cross_fit and method.fits_clean else None
        self.halves = halves if halves and halves.whole else None
        self.warming, self.epoch, self.number = method.warmup != 0, 0, 0
        self.task, self.best = task, BestEpoch()
        self._refuse_unsteppable()

    def begin_epoch(self, epoch: int) -> None:
        """Leave the warm-up when it is over."""
        self.warming, self.epoch, self.number = self._still_warming(epoch), epoch, 0
        super().begin_epoch(epoch)  # judging left the network in evaluation mode
        self.steers = not (self.warming and self.method.start == "clean")
        self.gradient.forget()

    def step(self, batch: Batch, clean: Batch) -> StepRecord:
        """Weigh the batch by the clean batch, then one step on the weighted losses."""
        due = self.number % self.method.amortise.weights_every == 0
        self.number += 1
        parts = Split(clean, clean, 1.0)
        if self.halves and not (self.warming and self.method.start == "noisy"):
            parts = self.halves.split(clean, self.epoch)
        if self.warming:
            return self._warm_up(batch, parts)
        z, weights = (
            self._weighed_pass(batch, parts.to_weigh) if due else self._recalled_pass(batch)
        )
        if self.blends:
            z = z.detach()  # blends are learned instead: nothing is kept for a backward pass
        losses = cross_entropy(z, batch.labels)
        # A sum over all processes, of which `descend` takes the mean.
        loss = self._objective(batch, z, weights) * collectives.ranks()
        self.network.descend(loss + self._clean_term(parts) if self.method.clean_weight else loss)
        self.pseudo.update(self.network.module, z.detach(), batch.index)
        record = _weighed(plain_record(batch, z, losses), weights, batch.labels)
        if due and self.method.amortise.weights_every > 1:
            self.memory.keep(batch.index, record.alpha, record.beta)
        return record

    def state_dict(self) -> dict[str, Any]:
        """The network, the pseudo-labels' past, the remembered weights and the clean gradient."""
        past = {
            "pseudo": self.pseudo.state_dict(),
            "memory": self.memory.state_dict(),
            "gradient": self.gradient.state_dict(),
            "number": self.number,
            "warming": self.warming,
            "best": self.best.state_dict(),
        }
        return {**super().state_dict(), **past}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore all of them."""
        super().load_state_dict(state)
        self.pseudo.load_state_dict(state["pseudo"])
        self.memory.load_state_dict(state["memory"])
        device = next(self.network.module.parameters()).device
        self.gradient.load_state_dict(state["gradient"], device)
        self.number, self.warming = state["number"], state["warming"]
        self.best.load_state_dict(state["best"])

    def _refuse_unsteppable(self) -> None:
        """Raise now what the first weighing would, which may be many epochs away."""
        module, method = self.network.module, self.method
        if isinstance(method.pseudo, Views):
            check_viewable(self.task.data.train.inputs)
        net = functional(module, method.engine.scope(module))
        method.lookahead(module, net.params, self.network.optimiser)

    def _still_warming(self, epoch: int) -> bool:
        if self.method.warmup != "auto":
            return epoch < self.method.warmup
        if self.method.start == "clean":
            return epoch < 1
        if self.warming and epoch > 0:
            self.best.judge(self.predict, self.network.module, self.task.data)
            if self.best.waited >= self.method.warmup_patience:
                self.best.bring_back(self.network.module)
                self.best.forget()
                return False
        return self.warming

    def _warm_up(self, batch: Batch, parts: Split) -> StepRecord:
        if self.method.start == "clean":
            record, z = clean_step(self.network, batch, parts.to_fit, parts.share)
        else:
            record, z = plain_step(self.network, batch)
        self.pseudo.update(self.network.module, z, batch.index)
        return record

    def _clean_term(self, parts: Split) -> Tensor:
        return self.method.clean_weight * parts.share * mean_loss(self.network, parts.to_fit)

    def _objective(self, batch: Batch, z: Tensor, weights: Weights) -> Tensor:
        """Eq. 3, of the samples or of their blends."""
        if self.blends is None:
            loss = bootstrapped_loss(z, batch.labels, weights)
            return loss + self._overlap(z, batch.labels, weights)
        targets = weighed_targets(z.shape[1], batch.labels, weights).to(z)
        inputs, targets = self.blends.across_processes(batch.inputs, targets)
        return cross_entropy(self.network.logits(inputs), targets).sum()

    def _overlap(self, z: Tensor, observed: Tensor, weights: Weights) -> Tensor:
        """What the run adds for whole masks, under the same weights."""
        overlap = self.network.overlap
        return overlap(z, observed, weights.alpha) + overlap(z, weights.pseudo, weights.beta)

    def _recalled_pass(self, batch: Batch) -> tuple[Tensor, Weights]:
        z = self.network.logits(batch.inputs)
        pseudo = self.pseudo(z.detach(), batch.inputs, batch.index)
        return z, self.memory.recall(batch.index, pseudo)

    def _weighed_pass(self, batch: Batch, clean: Batch) -> tuple[Tensor, Weights]:
        module, method = self.network.module, self.method
        with self.network.autocast():
            direction = self.gradient(
                lambda: look_ahead_gradient(
                    module,
                    clean.inputs,
                    clean.labels,
                    engine=method.engine,
                    lookahead=method.lookahead,
                    optimiser=self.network.optimiser,
                    overlap=self.network.overlap,
                    pieces=self.network.pieces,
                )
            )
            z, dz = self.network.probe(
                best_layout(module, batch.inputs),
                lambda inputs: method.engine.beside(module, inputs, direction),
            )
            weights = weights_from(
                Probe(z.detach(), dz),
                batch.inputs,
                batch.labels,
                normalise=AcrossProcesses(method.normalise),
                pseudo=self.pseudo,
                candidates=method.candidates,
                index=batch.index,
            )
        return full_precision(z), weights


def _halves(task: Task) -> Halves:
    clean = task.data.clean
    cases = clean.cases
    return Halves(clean.labels, None if cases is None else cases.patient[cases.of])


def _weighed(record: StepRecord, weights: Weights, observed: Tensor) -> StepRecord:
    void = voids(observed)
    everyones = observed.numel() * collectives.ranks()
    count = everyones if void is None else collectives.total((~void).sum())
    return replace(
        record,
        alpha=weights.alpha * count,
        beta=weights.beta * count,
        pseudo=labels(weights.pseudo),
    )

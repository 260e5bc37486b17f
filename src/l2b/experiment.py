"""A run: everything that determines a result, and its execution."""

import math
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from l2b import collectives
from l2b.advise import StepAdvice, advise_step_size
from l2b.catalog import name_of
from l2b.config import dump, load
from l2b.data import Data, prepare
from l2b.datasets import Dataset, Source
from l2b.datasets.digits import Digits
from l2b.evaluate import check_judges, measure
from l2b.features import Columns
from l2b.fingerprint import digest
from l2b.folder import RunFolder, read_module
from l2b.kept import as_kept, keep_checked, read_checked
from l2b.methods import Method
from l2b.methods.l2b import L2B
from l2b.metrics import is_plain
from l2b.models import Model
from l2b.models.auto import Auto
from l2b.noise import Noise
from l2b.noise.symmetric import Symmetric
from l2b.notices import no_notices, notice
from l2b.provenance import started_elsewhere, typed
from l2b.quality import judged_by_checked
from l2b.result import accuracies, at_chosen, tag_results, volume_scores
from l2b.scoring import Scoring
from l2b.streams import stream_seed
from l2b.train import Outcome, Training, check, fit, recalled


@dataclass(frozen=True, kw_only=True)
class Run:
    """One experiment: equal runs give equal results, on CPUs bit for bit with as many threads.

    Attributes:
        data: where samples come from.
        noise: how labels are corrupted.
        model: what is trained.
        method: how it learns.
        training: how long and how fast.
        clean: number of trusted samples, drawn stratified and removed from training; of masks,
            the number of trusted patients, with all of their images. Where the data marks its
            checked samples, those that are not drawn have no part.
        validation: share of them kept aside to choose an epoch by.
        imbalance: size of the first class over that of the last, at least 1: training samples
            are thinned out to a long tail before the noise strikes; 1 keeps them all.
        class_weight: "balanced" draws noisy samples evenly from the classes of their observed
            labels, clean ones from those of their true ones, and chooses an epoch by balanced
            accuracy; "none" takes samples as they come. Not for masks.
        scoring: what an epoch is chosen and runs are compared by: "accuracy",
            "balanced_accuracy", or "auroc", the area under the ROC curve, mean over the classes
            or the labels. The automatic warm-up ends by it. "auto" is Dice for masks, balanced
            accuracy under class weights, and accuracy else.
        seed: of every random draw.
    """

    data: Dataset = field(default_factory=Digits)
    noise: Noise = field(default_factory=lambda: Symmetric(rate=0.4))
    model: Model = field(default_factory=Auto)
    method: Method = field(default_factory=L2B)
    training: Training = field(default_factory=Training)
    clean: int = 50
    validation: float = 0.2
    imbalance: float = 1.0
    class_weight: Literal["none", "balanced"] = "none"
    scoring: Scoring = "auto"
    seed: int = 0

    def prepare(self) -> Data:
        """Load the data, draw the noise, set the clean set aside."""
        return self.prepare_from(self.data.load())

    def prepare_from(self, source: Source) -> Data:
        """The same for data that was loaded before."""
        data = prepare(
            source,
            self.noise,
            clean=self.clean,
            validation=self.validation,
            seed=self.seed,
            imbalance=self.imbalance,
            class_weights=self.class_weight,
            scoring=self.scoring,
        )
        check_judges(data)
        return data

    def execute(
        self,
        out: Path | str | None = None,
        *,
        resume: bool = False,
        overwrite: bool = False,
        progress: bool = True,
        data: Data | None = None,
        figures: bool = True,
    ) -> "Result":
        """Run, and leave a folder that can be read, repeated and resumed.

        Processes that a launcher has started (torchrun, accelerate, `l2b run --launch`) share
        every batch; the first alone writes.

        Args:
            out: the run's folder; None keeps everything in memory.
            resume: go on from the folder's last checkpoint, if it has one; of a run that has ended
                and whose checkpoints are gone, give back what it found.
            overwrite: replace the run that is in the folder.
            progress: show a progress bar on a terminal.
            data: what `prepare` returned, if it is at hand.
            figures: also draw the pictures of the folder, which takes a second or two.

        Raises:
            FileExistsError: if the folder is not empty and no flag says what to do.
            FileNotFoundError: if the data set is missing.
            ValueError: if settings and data do not fit, or a resumed folder holds another
                run.
            Stopped: if SIGTERM came; everything is saved, and ``resume`` goes on.
        """
        start = time.perf_counter()
        out = None if out is None else Path(out)
        collectives.start(cpu=self.training.device == "cpu")
        with started_elsewhere(self.data, out if resume else None):
            learned = as_kept(self.data, out, gone=True) if resume and out else self.data
            data = self.prepare_from(learned.load()) if data is None else data
        first = collectives.rank() == 0
        folder = None if out is None else RunFolder(out)
        if folder is not None and first:
            checked = read_checked(learned)  # before the run that is replaced goes
            self._open(folder, data, resume=resume, overwrite=overwrite)
            keep_checked(folder.path, checked)
        collectives.barrier()
        if folder is not None and resume and _over(folder):
            return self._recalled(folder, data, figures=figures)
        outcome = fit(
            data,
            self.model,
            self.method,
            self.training,
            seed=self.seed,
            folder=folder,
            progress=progress,
            label=name_of(self.method),
        )
        seconds = outcome.seconds_before + time.perf_counter() - start
        record = self._record(data, outcome, seconds)
        if folder is not None and first:
            folder.write_model(outcome.learner.network.module)
            folder.write_scale(_scale(data))
            folder.write_ledger(ledger_state(data, outcome))
            folder.write_result(record)
            if figures:
                _draw(folder, data, outcome)
        return Result(run=self, data=data, outcome=outcome, record=record)

    def _open(self, folder: RunFolder, data: Data, *, resume: bool, overwrite: bool) -> None:
        if resume and overwrite:
            raise ValueError(
                "A run cannot both go on (--resume) and be replaced (--overwrite): choose one."
            )
        if not resume:  # nothing is removed or written for a run that cannot begin
            with no_notices():  # the run itself says them
                check(data, self.model, self.method, self.training, seed=self.seed)
            self._tell_unreadable()
        elif folder.read_config() is None and folder.checkpoints.places():
            raise ValueError(
                f"{folder.path} holds checkpoints and no run.yaml, which says what they are of: "
                "nothing can go on from them. Choose another --out."
            )
        folder.open(resume=resume, overwrite=overwrite)
        there = folder.read_config()
        if resume and there is not None and load(Run, there) != load(Run, dump(self)):
            place = str(folder.path)
            same = ["run", "--config", str(folder.path / "run.yaml"), "--resume", "--out", place]
            raise ValueError(
                f"{place} holds a run with other settings (see run.yaml there): resume it with "
                f"exactly those ({typed(same)}), or choose another --out."
            )
        folder.write_config(dump(self))

    def _tell_unreadable(self) -> None:
        """Say beforehand that nothing will be able to read the run's settings back."""
        text = dump(self)
        try:
            load(Run, text)
        except Exception as error:  # a class of the user's may refuse in any way
            why = str(error).rstrip(".?")
            notice(
                f"The run's folder will hold its results, but cannot be loaded, resumed or "
                f"audited: {why}."
            )

    def _recalled(self, folder: RunFolder, data: Data, *, figures: bool) -> "Result":
        """What a run has found that is over, as it stands in its folder."""
        record = folder.read_result() or {}
        if other_than(record, data):
            raise ValueError(
                f"{folder.path} learned from other data than its data set gives now: the files or "
                "the noise changed since the run. Put the files back as they were, or start afresh "
                "(--overwrite)."
            )
        settings = data, self.model, self.method, self.training
        outcome = recalled(*settings, seed=self.seed, folder=folder)
        if figures and collectives.rank() == 0:
            _draw(folder, data, outcome)
        return Result(run=self, data=data, outcome=outcome, record=record)

    def _record(self, data: Data, outcome: Outcome, seconds: float) -> dict[str, Any]:
        return {
            "method": name_of(self.method),
            "data": name_of(self.data),
            "noise": name_of(self.noise),
            "noise_rate": data.noise_rate,
            "noise_hash": data.noise_hash,
            "data_hash": data.data_hash,
            **({"noise_dice": data.noise_dice} if data.masks else {}),
            "seed": self.seed,
            "judged_by": measure(data),
            **accuracies(outcome, data),
            "chosen_validation": at_chosen(outcome, f"validation_{measure(data)}"),
            "plain_throughout": outcome.learner.steers and all(map(is_plain, outcome.history)),
            **volume_scores(data, outcome),
            **tag_results(data, outcome),
            "train_samples": len(data.train),
            "clean_samples": len(data.clean),
            "validation_samples": 0 if data.validation is None else len(data.validation),
            "remark": data.remark,
            "seconds": round(seconds, 3),
            "versions": {name: version(name) for name in ("l2b", "torch", "numpy")}
            | {"python": platform.python_version()},
            "device": _device(outcome),
            "threads": outcome.threads,
        }


def _draw(folder: RunFolder, data: Data, outcome: Outcome) -> None:
    from l2b.report import run_figures  # slow to load, for matplotlib

    run_figures(folder.figures, data, outcome)


def _over(folder: RunFolder) -> bool:
    """Whether the run has ended, and nothing is left that it could go on from."""
    first = collectives.rank() == 0
    return collectives.anywhere(
        first and folder.read_result() is not None and not folder.checkpoints.places()
    )


def read_run(path: Path) -> Run | None:
    """The settings of the run in a folder; None if it holds none.

    Raises:
        ValueError: naming the file, if it cannot be read.
    """
    text = RunFolder(path).read_config()
    try:
        return None if text is None else load(Run, text)
    except ValueError as error:
        raise ValueError(f"{path / 'run.yaml'} cannot be read: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a run found.

    Attributes:
        run: its settings.
        data: what it learned from.
        outcome: model, ledger and history.
        record: the content of ``result.json``.
    """

    run: Run
    data: Data
    outcome: Outcome
    record: dict[str, Any]


def step_size_advice(run: Run, weights: Path | None = None) -> StepAdvice:
    """How far a run's learning rate is from the one that provably never hurts.

    Args:
        run: gives the data, the model, the batch size and the learning rate.
        weights: parameters of a former run; None takes the start of training.

    Raises:
        ValueError: if the parameters are not of this model, or classes are drawn alike.
    """
    if run.class_weight != "none":
        raise ValueError(
            f"The step size is known for samples as they come, not for class_weight "
            f"{run.class_weight}, which draws them by class: leave it at none."
        )
    data = run.prepare()
    if data.train.labels.ndim > 1:
        raise ValueError(
            "The step size is known for one label per sample, not for masks or several labels: "
            "see docs/theory.md."
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(stream_seed(run.seed, "initialise", "main"))
        module = run.model.build(tuple(data.train.inputs.shape[1:]), len(data.classes))
    if weights is not None:
        read_module(module, weights)
    return advise_step_size(
        module,
        (data.standardise(data.train.inputs), data.train.labels),
        (data.standardise(data.clean.inputs), data.clean.labels),
        step=run.training.optimiser.lr,
        batch=run.training.batch,
    )


def other_than(record: Mapping[str, Any], data: Data) -> str:
    """What differs from what a run learned from: "labels", "samples", or nothing ("").

    Args:
        record: of the run, as in ``result.json``; of an older one, which tells less, less is known.
        data: what its data set and noise give now.
    """
    hashes = ("labels", "noise_hash", data.noise_hash), ("samples", "data_hash", data.data_hash)
    return next((what for what, key, now in hashes if record.get(key, now) != now), "")


def _scale(data: Data) -> dict[str, Any]:
    """What the model's inputs and outputs mean."""
    return {
        "mean": data.mean.cpu(),
        "std": _spread(data).cpu(),
        "shape": list(data.train.inputs.shape[1:]),
        "classes": list(data.classes),
        "masks": data.masks,
        "values": list(data.values),
        "tags": list(data.tags),
        "bytes": data.train.inputs.dtype == torch.uint8,
        "encoding": None if data.encoding is None else data.encoding.plain(),
    }


def _spread(data: Data) -> Tensor:
    """What new samples are divided by: infinite for a column of a table that was constant.

    The model has learned nothing of such a column, which must not move its answer later.
    """
    if not isinstance(data.encoding, Columns):
        return data.std
    constant = (data.std == 1) & (data.train.inputs == data.mean).all(dim=0)
    return data.std.masked_fill(constant, math.inf)


def ledger_state(data: Data, outcome: Outcome) -> dict[str, Any]:
    """The ledger with what is needed to read it.

    These are index, observed and true labels, and how well each epoch knew the checked samples
    that were not trained on: the clean ones or, if it learned from these, those kept aside. Where
    nobody checked any, there is the number of stand-ins instead, which judge nothing. A digest of
    the samples tells later whether a data set still holds them, each in its place.
    """
    pool = data.train
    true = {} if pool.true is None else {"true": pool.true}
    known, judges = judged_by_checked(outcome.history, data)
    if data.stand_ins:
        true |= {"stand_ins": data.stand_ins}
    elif judges and not data.masks:
        true |= {"clean_accuracy": torch.tensor(known), "clean_samples": judges}
    return {
        **outcome.ledger.state_dict(),
        "index": pool.index,
        "observed": pool.labels,
        "inputs_sha256": digest(pool.inputs),
        **true,
        "classes": list(data.classes),
        **({"tags": list(data.tags)} if data.tags else {}),
    }


def _device(outcome: Outcome) -> str:
    device = next(outcome.learner.network.module.parameters()).device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type

"""Train on a user's own table and audit it, in one go."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from l2b.audit.run import Audit, audit_run
from l2b.config import parse
from l2b.data import Data, prepare
from l2b.datasets import Source
from l2b.datasets.table import Table
from l2b.datasets.tags import Tags
from l2b.estimation.defaults import sized_training
from l2b.experiment import Run
from l2b.folder import AUDIT
from l2b.noise.none import NoNoise
from l2b.tables import TableFile

SETTLED = ("data", "noise", "clean", "validation", "imbalance")  # by the table itself
STEPS = 60_000  # that the default training takes at most
FEWEST_EPOCHS = 5
RATE = 0.1


def audit_own(
    table: Table | Tags,
    out: Path | str,
    *,
    settings: Sequence[str] = (),
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> Audit:
    """Train on a table, then audit its labels.

    Without checked labels, those that a cross-fitted linear model confirms with most
    confidence stand in for them, and the audit says so.

    Args:
        table: the file and its columns; of several yes-or-no labels a sample, `Tags`.
        out: folder for the run, which can be resumed, repeated and audited again.
        settings: words of ``l2b run`` such as ``--epochs 30``, over defaults that suit the
            size of the table.
        overwrite: replace the run that is in the folder.
        resume: go on with the training that was stopped there.
        progress: show a progress bar on a terminal.

    Raises:
        FileExistsError: if the folder is not empty, and not to be overwritten.
        FileNotFoundError: if the file, or an image that it names, is missing.
        ValueError: if the file cannot be audited; the message says what to change.
    """
    if not (overwrite or resume) and Path(out).is_dir() and any(Path(out).iterdir()):
        raise FileExistsError(
            f"{out} is not empty: choose another --out, go on with a training that was stopped "
            "there (--resume), or replace what is there with --overwrite."
        )
    _refuse_removed(table, Path(out))
    source = table.load()
    asked = parse(Run, [*_model_words(table, settings), *settings])
    data = _prepared(source, asked)
    run = _run(table, data, settings)
    run.execute(Path(out), overwrite=overwrite, resume=resume, progress=progress, data=data)
    return audit_run(out, source=source)


def _refuse_removed(table: Table | Tags, out: Path) -> None:
    """The new run still has to read its table when the former audit has stepped aside."""
    if (out / AUDIT).resolve() in Path(table.path).resolve().parents:
        raise ValueError(
            f"{table.path} is in the audit of {out}, which would be replaced: choose another --out."
        )


def image_column(path: Path, folder: Path) -> str:
    """The first column whose first cell names a file in the folder.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if there is no such column.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}: --images names that of the images.")
    table = TableFile(path)
    columns = table.columns
    for row in table.rows(columns):
        for name, cell in zip(columns, row, strict=True):
            if cell.strip() and (folder / cell.strip()).is_file():
                return name
        break
    raise ValueError(
        f"No column of {path} names a file in {folder}: paths must begin in that folder. Or name "
        "the column with --image."
    )


def _prepared(source: Source, asked: Run) -> Data:
    """Everything the run learns from; samples stand in for checked ones if there are none."""
    seed, settings = asked.seed, {"class_weights": asked.class_weight, "scoring": asked.scoring}
    prepared = partial(prepare, noise=NoNoise(), validation=0.0, seed=seed, **settings)
    if source.trusted is not None:
        return prepared(source, clean=len(source.trusted))
    from l2b.estimation.trusted import stand_ins  # slow to load, for scikit-learn

    inputs = ((source.train.inputs.float() - source.mean) / source.std).flatten(1)
    chosen = torch.from_numpy(stand_ins(inputs.numpy(), source.train.labels.numpy(), seed))
    rows = chosen.reshape(len(chosen), -1).any(dim=1).nonzero().squeeze(1)
    marked = replace(source, trusted=rows, checked=chosen if source.tags else None)
    data = prepared(marked, clean=len(rows))
    # They stay among the samples to be audited.
    everything = replace(
        data.train,
        inputs=source.train.inputs,
        labels=source.train.labels,
        index=torch.arange(len(source.train.labels)),
    )
    return replace(data, train=everything, stand_ins=len(rows))


def _run(table: Table | Tags, data: Data, settings: Sequence[str]) -> Run:
    """Settings that suit the table, and the user's own words over them."""
    samples = len(data.train)
    if not samples:
        raise ValueError(
            f"Every row of {table.path} is checked, so no label is left to audit: mark as checked "
            "only what a person has looked at."
        )
    sized = sized_training(samples, epochs=None, batch=64, lr=RATE, device="auto")
    epochs = max(FEWEST_EPOCHS, min(sized.epochs, STEPS * sized.batch // samples))
    words = [
        f"--training.epochs={epochs}",
        f"--training.batch={sized.batch}",
        f"--training.clean_batch={sized.clean_batch}",
        f"--training.optimiser.lr={RATE}",
        *_method_words(data, settings),
    ]
    chosen = parse(Run, [*_model_words(table, settings), *words, *settings])
    usual = Run()
    said = {word.removeprefix("--").split("=")[0].split(".")[0] for word in settings}
    settled = [
        name for name in SETTLED if name in said or getattr(chosen, name) != getattr(usual, name)
    ]
    if settled:
        raise ValueError(f"--{settled[0]} is settled by the table: leave it out.")
    return replace(chosen, data=table, noise=NoNoise(), clean=len(data.clean), validation=0.0)


def _model_words(table: Table | Tags, settings: Sequence[str]) -> list[str]:
    """One hidden layer for words, unless the user chooses a model."""
    if _chosen("model", settings) or not table.text:
        return []
    return ["--model=mlp", "--model.hidden=[128]"]


def _method_words(data: Data, settings: Sequence[str]) -> list[str]:
    """The cheapest L2B, which finds wrong labels as well as any (benchmarks/detection.py)."""
    if _chosen("method", settings):
        return []
    return [
        f"--method={'l2b_tags' if data.tags else 'l2b'}",
        "--method.engine=last_layer",
        "--method.pseudo=temporal",
        "--method.pseudo.soft=false",
        "--method.warmup=auto",
        "--method.clean_weight=0",  # what is trained on cannot judge
    ]


def _chosen(part: str, settings: Sequence[str]) -> bool:
    return any(word.partition("=")[0] in (f"--{part}", f"--{part}.name") for word in settings)

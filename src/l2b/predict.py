"""What the model of a finished run says of new samples, as a file."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from rich.progress import track
from torch import Tensor

from l2b.datasets.base_table import label_in
from l2b.datasets.image_folder import SUFFIXES, is_hidden
from l2b.datasets.table import Table
from l2b.datasets.tags import Tags
from l2b.decode import decode_images
from l2b.experiment import Run, read_run
from l2b.features import chunks
from l2b.files import spelled_out
from l2b.folder import RunFolder
from l2b.tables import TableFile, defused, told_apart, write_csv
from l2b.trained import EVENS, TrainedModel, load_model

MOST_SHOWN = 8  # classes in the summary
HEADS = "predicted", "probability"


@dataclass(frozen=True, kw_only=True)
class Samples:
    """New samples, a chunk at a time.

    Attributes:
        heads: names of the columns that tell them apart.
        chunks: their cells in these columns, the samples, and their labels as given, where the
            file has the column that the run learned; else none.
        bytes: whether the samples are bytes (uint8), or floats; None if neither.
    """

    heads: tuple[str, ...]
    chunks: Iterable[tuple[list[tuple[str, ...]], Tensor, list[str]]]
    bytes: bool | None = None


@dataclass(frozen=True, kw_only=True)
class Predicted:
    """What was predicted.

    Attributes:
        path: the file of predictions.
        samples: how many there are.
        counts: samples by predicted class, the most frequent first; of several yes-or-no labels a
            sample, by each for which yes is predicted.
        sureness: mean probability of the predicted class.
        agreed: share of the labels in the file that are the predicted ones; None without labels.
        labelled: how many labels there are.
    """

    path: Path
    samples: int
    counts: dict[str, int]
    sureness: float
    agreed: float | None
    labelled: int

    def __str__(self) -> str:
        """A summary for a person."""
        shown = [f"{name} {count / self.samples:.1%}" for name, count in self.counts.items()]
        more = f", and {len(shown) - MOST_SHOWN} more" if len(shown) > MOST_SHOWN else ""
        lines = [
            f"{self.samples:,} samples: {', '.join(shown[:MOST_SHOWN])}{more}",
            f"  mean probability of the predicted class: {self.sureness:.1%}",
        ]
        if self.agreed is not None:
            lines.append(f"  agrees with {self.agreed:.1%} of the {self.labelled:,} labels there")
        return "\n".join([*lines, f"  everything is in {self.path}"])


def predict(
    run: Path | str,
    source: Path | str,
    out: Path | str | None = None,
    *,
    images: Path | str | None = None,
    epoch: Literal["last", "chosen"] = "last",
    progress: bool = True,
) -> Predicted:
    """Predict the labels of new samples with the model of a finished run, as a CSV file.

    Args:
        run: its folder.
        source: a CSV or Parquet file with the columns that the run learned from; a folder of
            images; or an array of samples, ``.npy`` [N, *shape].
        out: the file to write; ``predictions.csv`` in the run's folder if None.
        images: where the paths of a table of images begin; if None the table's own folder, or, of
            the file that the run learned from, where they began then.
        epoch: as for `load_model`.
        progress: show a progress bar.

    Raises:
        FileNotFoundError: if there is no such run or source.
        ValueError: if the source is not what the run learned from, or the file to write is there
            and holds no predictions.
        IsADirectoryError: if it is a folder.
    """
    folder, source = Path(run), Path(source)
    model = load_model(folder, epoch)
    settings = read_run(folder) or Run()
    path = Path(out) if out is not None else folder / "predictions.csv"
    said = [head for tag in model.tags for head in (tag, f"{tag} probability")] or HEADS
    scale = RunFolder(folder).read_scale()
    if scale["masks"]:
        raise ValueError(
            f"{folder} is a run on masks, which no row of a table holds: take `l2b predict` with a "
            "folder to draw them into (--out), or l2b.load_model."
        )
    samples = _samples(model, settings, source, None if images is None else Path(images))
    heads = told_apart([*samples.heads, *map(defused, said)])
    _refuse_loss(path, heads)
    _refuse_other_units(scale.get("bytes"), samples.bytes, source)
    counts: Counter[str] = Counter(dict.fromkeys(model.tags, 0))
    sums = {"samples": 0, "sure": 0.0, "agreed": 0, "labelled": 0}

    def rows() -> Iterator[Sequence[str]]:
        parts = track(
            samples.chunks, "predict", transient=True, disable=not progress, show_speed=False
        )
        for keys, inputs, labels in parts:
            p = model.predict_proba(inputs)
            sums["samples"] += len(p)
            if model.tags:
                yield from _of_tags(model, keys, p, counts, sums)
                continue
            top = p.max(dim=1)
            names = [model.classes[k] for k in top.indices.tolist()]
            counts.update(names)
            sums["sure"] += top.values.sum().item()
            said = [(own, name) for own, name in zip(labels, names, strict=False) if own]
            sums["labelled"] += len(said)
            sums["agreed"] += sum(own == name for own, name in said)
            for key, name, p in zip(keys, names, top.values.tolist(), strict=True):
                yield [*map(defused, key), defused(name), f"{p:.4f}"]

    write_csv(path, heads, rows())
    labelled = int(sums["labelled"])
    return Predicted(
        path=path,
        samples=int(sums["samples"]),
        counts=dict(counts.most_common()),
        sureness=sums["sure"] / sums["samples"],
        agreed=sums["agreed"] / labelled if labelled else None,
        labelled=labelled,
    )


def _of_tags(
    model: TrainedModel,
    keys: Sequence[tuple[str, ...]],
    p: Tensor,
    counts: Counter[str],
    sums: dict[str, float],
) -> Iterator[list[str]]:
    """Rows of several yes-or-no labels: each answer, and the probability that it is yes."""
    yes = p > EVENS
    counts.update(dict(zip(model.tags, yes.sum(dim=0).tolist(), strict=True)))
    sums["sure"] += torch.maximum(p, 1 - p).mean(dim=1).sum().item()
    for key, said, likely in zip(keys, yes.tolist(), p.tolist(), strict=True):
        pairs = zip(said, likely, strict=True)
        cells = [cell for answer, q in pairs for cell in (model.classes[answer], f"{q:.4f}")]
        yield [*map(defused, key), *cells]


def _refuse_loss(path: Path, heads: Sequence[str]) -> None:
    """Refuse to write over anything but predictions."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the file to write.")
    if not path.exists():
        return
    with path.open("rb") as file:
        first = file.readline(1000).strip()
    if not first.endswith(",".join(heads[-2:]).encode()):
        raise ValueError(
            f"{path} is there and holds no predictions, and would be lost: choose another --out."
        )


def _refuse_other_units(learned: bool | None, given: bool | None, source: Path) -> None:
    """Bytes from 0 to 255 are no floats, which mostly lie in [0, 1]; None tells neither."""
    if learned is None or given is None or learned == given:
        return
    kinds = {True: "bytes (uint8, as pictures have)", False: "floats"}
    raise ValueError(
        f"The run learned from samples that are {kinds[learned]}, got {kinds[given]} in {source}: "
        f"give an array (.npy) of {'uint8' if learned else 'floats'}, in the units of the data "
        "that the run learned from."
    )


def _samples(model: TrainedModel, run: Run, source: Path, images: Path | None) -> Samples:
    table = run.data.table if isinstance(run.data, Tags) else run.data
    of_images = source.is_file() and isinstance(table, Table) and bool(table.image)
    if images is not None and (not of_images or source.suffix.lower() == ".npy"):
        raise ValueError(
            f"--images tells where the paths of a table of images begin, got {source} and a run on "
            f"samples of shape {model.shape}: leave it away."
        )
    if source.is_dir():
        return _of_folder(model, source)
    if not source.is_file():
        raise FileNotFoundError(
            f"There is no {source}: give a table, a folder of images, or an array (.npy)."
        )
    if source.suffix.lower() == ".npy":
        return _of_array(source)
    if isinstance(table, Table):
        return _of_table(model, table, source, images)
    raise ValueError(
        f"The run learned from samples of shape {model.shape}, no table, got {source}: give a "
        "folder of images or an array of such samples (.npy)."
    )


def _of_table(model: TrainedModel, learned: Table, source: Path, images: Path | None) -> Samples:
    file, encoding = TableFile(source), model.encoding
    columns = file.columns
    answers = [] if model.tags else [learned.label]  # what of several is right is not counted
    own = [name for name in (learned.id, *answers) if name and name in columns]
    wanted = list(encoding.names) if encoding else [learned.image]
    names = [*own, *wanted]
    file.check_columns(names)
    by_id, labelled = learned.id in own, bool(answers) and learned.label in own
    paths = None if encoding else _images(learned, source, images)

    def parts() -> Iterator[tuple[list[tuple[str, ...]], Tensor, list[str]]]:
        done = 0
        for chunk in chunks(file.rows(names)):
            if paths is not None:
                part = paths[done : done + len(chunk)]
                inputs = decode_images(part, model.shape[-1], name=source, resize=True)
            else:
                inputs = model.encoded([row[len(own) :] for row in chunk], done)
            keys = [(str(done + k), *([row[0]] if by_id else [])) for k, row in enumerate(chunk)]
            labels = [label_in(row[len(own) - 1]) for row in chunk] if labelled else []
            yield keys, inputs, labels
            done += len(chunk)
        if not done:
            raise ValueError(f"{source} holds no rows: there is nothing to predict.")

    heads = ("row", learned.id) if by_id else ("row",)
    return Samples(heads=heads, chunks=parts(), bytes=None if encoding else True)


def _images(learned: Table, source: Path, folder: Path | None) -> list[Path]:
    """The images that a table names, in this folder; see `predict`."""
    rows = sum(1 for _ in TableFile(source).rows([learned.image]))
    same = Path(learned.path).is_file() and source.samefile(learned.path)
    base = str(folder) if folder is not None else learned.folder if same else ""
    return replace(learned, path=source, folder=base).images(np.arange(rows))


def _of_folder(model: TrainedModel, source: Path) -> Samples:
    if len(model.shape) != 3 or model.shape[0] != 3:
        raise ValueError(
            f"The run learned from samples of shape {model.shape}, no colour images, got the "
            f"folder {source}: give an array of such samples (.npy)."
        )
    found = (p for p in source.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
    paths = sorted(p for p in found if not is_hidden(p.relative_to(source)))
    if not paths:
        raise ValueError(f"{source} must hold images ({', '.join(SUFFIXES)}), got none.")

    def parts() -> Iterator[tuple[list[tuple[str, ...]], Tensor, list[str]]]:
        for chunk in chunks(paths):
            pixels = decode_images(chunk, model.shape[-1], name=source, resize=True)
            names = [spelled_out(str(path.relative_to(source))) for path in chunk]
            yield [(name,) for name in names], pixels, []

    return Samples(heads=("image",), chunks=parts(), bytes=True)


def _of_array(source: Path) -> Samples:
    try:
        values = np.load(source, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError, EOFError) as error:
        raise ValueError(f"{source} cannot be read as an array ({error}).") from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        what = values.dtype if isinstance(values, np.ndarray) else "several arrays, as .npz does"
        raise ValueError(
            f"{source} must hold one array of numbers, got {what}: write it with np.save, samples "
            "first."
        )
    if not values.ndim or not len(values):
        raise ValueError(f"{source} holds no samples: there is nothing to predict.")
    dtype = np.uint8 if values.dtype == np.uint8 else np.float32  # as the model sees them

    def parts() -> Iterator[tuple[list[tuple[str, ...]], Tensor, list[str]]]:
        for rows in chunks(range(len(values))):
            with np.errstate(over="ignore"):  # what is infinite then is refused
                part = np.array(values[rows[0] : rows[-1] + 1], dtype=dtype)
            yield [(str(row),) for row in rows], torch.from_numpy(part), []

    kind = True if dtype == np.uint8 else False if values.dtype.kind == "f" else None
    return Samples(heads=("row",), chunks=parts(), bytes=kind)

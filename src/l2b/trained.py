"""The model of a finished run, for samples that it has not seen."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn

from l2b.evaluate import PIXELS_AT_ONCE, ROWS_AT_ONCE
from l2b.experiment import read_run
from l2b.features import Encoding, Words, encoding_from
from l2b.folder import RunFolder, read_module
from l2b.notices import notice
from l2b.tables import as_text

EVENS = 0.5
FILES = {"last": "model", "chosen": "chosen"}


class TrainedModel(nn.Module):
    """A run's network behind the scaling of its samples: raw samples in, logits out.

    Attributes:
        classes: names of the classes, in the order of the logits.
        shape: of one sample.
        network: from scaled samples to logits.
        encoding: what rows of a table become, if the run learned from texts or columns.
        tags: of several yes-or-no labels a sample, the name of each; else empty.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        network: nn.Module,
        mean: Tensor,
        std: Tensor,
        classes: list[str],
        shape: list[int],
        encoding: Encoding | None = None,
        tags: Sequence[str] = (),
    ) -> None:
        """Put them together.

        Args:
            network: from scaled samples to logits [n, classes, *pixels].
            mean: subtracted from every raw sample.
            std: then divided by.
            classes: their names.
            shape: of one sample.
            encoding: what rows of a table become.
            tags: names of several yes-or-no labels a sample, whose logits are [n, 2, tags].
        """
        super().__init__()
        self.network, self.classes, self.shape = network, tuple(classes), tuple(shape)
        self.encoding, self.tags = encoding, tuple(tags)
        self.register_buffer("mean", mean)
        self.register_buffer("std", std)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits [n, classes, *pixels] of raw samples [n, *shape], which may be integers."""
        return self.network((inputs.to(self.mean.device).float() - self.mean) / self.std)

    def encode(self, rows: Any) -> Tensor:
        """Samples of new texts, or of new rows of the table that the run learned from.

        Args:
            rows: texts; or, if it learned from columns, a data frame of pandas, or a mapping for
                each row from their names to cells: strings, numbers, and None for what is missing.
                Categories are spelled as in the table: a frame that was read from such a file with
                ``dtype=str`` has them so.

        Returns:
            [rows, features], for `predict` and `predict_proba`.

        Raises:
            ValueError: if the run did not learn from texts or columns, if these are not such, a
                column is missing, or holds what it did not hold then.
        """
        records = rows.to_dict("records") if hasattr(rows, "iloc") and rows.ndim == 2 else rows
        return self.encoded([self._cells(row) for row in records])

    def encoded(self, rows: Sequence[tuple[str, ...]], start: int = 0) -> Tensor:
        """The same of cells in the order of ``encoding.names``, as a file holds them.

        A category that was not there when the model learned counts as none, and is told.

        Args:
            rows: their cells.
            start: number of the first row, for messages.
        """
        features = torch.from_numpy(self._reader().encode(rows, start))
        unseen = Counter(name for row in rows for name in self._reader().unseen(row))
        for name, count in unseen.items():
            notice(
                f"Column {name!r} holds what it never held when the model learned, in {count} of "
                f"rows {start} to {start + len(rows) - 1}: these count as missing there."
            )
        return features

    def _reader(self) -> Encoding:  # no property, whose error an exporter would run into
        if self.encoding is None:
            raise ValueError(
                f"This model takes samples of shape {self.shape} as they are: it did not learn "
                "from texts or columns of a table."
            )
        return self.encoding

    def _cells(self, row: object) -> tuple[str, ...]:
        names = self._reader().names
        if isinstance(self._reader(), Words):
            if isinstance(row, str):
                return (row,)
            raise ValueError(f"This model takes texts, got {type(row).__name__}: give strings.")
        if not isinstance(row, Mapping):
            raise ValueError(
                f"This model takes rows as mappings from {', '.join(names)} to cells, got "
                f"{type(row).__name__}: give a data frame of pandas, or a list of mappings."
            )
        missing = [name for name in names if name not in row]
        if missing:
            raise ValueError(
                f"A row must have the column {missing[0]!r}, which the model learned from, got "
                f"{', '.join(map(str, row)) or 'none'}."
            )
        return tuple(as_text(row[name]) for name in names)

    def predict_proba(self, inputs: Tensor) -> Tensor:
        """Probability of every class (of tags, of yes), on the CPU, block by block.

        Args:
            inputs: raw samples, as in the data that the run learned from, a tensor or array
                [n, *shape].

        Returns:
            [n, classes, *pixels], float32; of several yes-or-no labels, [n, tags].

        Raises:
            ValueError: if the samples have another shape, or are not finite as float32.
        """
        inputs = torch.as_tensor(inputs)
        if tuple(inputs.shape[1:]) != self.shape or not len(inputs):
            raise ValueError(
                f"The model takes one or more samples of shape {self.shape}, got a tensor of shape "
                f"{tuple(inputs.shape)}: the first axis counts them."
            )
        rows = max(1, min(ROWS_AT_ONCE, PIXELS_AT_ONCE // math.prod(self.shape[1:])))
        if not all(block.float().isfinite().all() for block in inputs.split(rows)):
            raise ValueError(
                "The model takes finite samples, got NaN or infinite values, and they are read as "
                "float32 (up to 3.4e38)."
            )
        was = self.training
        self.eval()
        with torch.no_grad():
            blocks = [torch.softmax(self(block), dim=1).cpu() for block in inputs.split(rows)]
        self.train(was)
        p = torch.cat(blocks)
        return p[:, 1] if self.tags else p

    def predict(self, inputs: Tensor) -> Tensor:
        """The most likely class of every sample (pixel), as positions in ``classes``, [n, *pixels].

        Of several yes-or-no labels, 1 for yes and 0 for no, [n, tags].

        Args:
            inputs: as for `predict_proba`.
        """
        p = self.predict_proba(inputs)
        return (p > EVENS).long() if self.tags else p.argmax(dim=1)


def load_model(path: Path | str, epoch: Literal["last", "chosen"] = "last") -> TrainedModel:
    """The model that a finished run has left in its folder, on the CPU, in evaluation mode.

    It takes samples as the run's data set gives them, before scaling: features, images as
    [channels, height, width] of the run's size. Where it learned from texts or columns of a
    table, `TrainedModel.encode` makes such samples of others.

    Args:
        path: the run's folder.
        epoch: "last", or "chosen" for the best one on the clean samples kept aside.

    Raises:
        FileNotFoundError: if there is no finished run, or no epoch was chosen.
        ValueError: if files are damaged, or there is no such epoch.
    """
    if epoch not in FILES:
        raise ValueError(f"epoch must be one of {', '.join(FILES)}, got {epoch!r}.")
    folder = RunFolder(Path(path))
    run = read_run(folder.path) if folder.path.is_dir() else None
    scale, weights = folder.path / "scale.safetensors", folder.path / f"{FILES[epoch]}.safetensors"
    if run is None or not scale.is_file():
        raise FileNotFoundError(
            f"{path} holds no finished run (run.yaml and scale.safetensors): name the folder of an "
            "`l2b run`."
        )
    if not weights.is_file():
        raise FileNotFoundError(
            f"{path} holds no {weights.name}: no clean sample was kept aside to choose an epoch "
            'by. Take epoch="last".'
        )
    found = folder.read_scale()
    model = run.model.suited(masks=found["masks"])
    if getattr(model, "weights", None) is not None:  # what it began with is not needed again
        model = replace(model, weights=None)
    with torch.random.fork_rng(devices=[]):
        tags = found.get("tags", [])  # older runs do not tell
        network = model.network(tuple(found["shape"]), len(found["classes"]), tags=len(tags))
    read_module(network, weights)
    plain = found.get("encoding")
    made = TrainedModel(
        network,
        found["mean"],
        found["std"],
        found["classes"],
        found["shape"],
        None if plain is None else encoding_from(plain),
        tags,
    )
    return made.eval()

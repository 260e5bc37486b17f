"""The folder of one run: what lies where, written so that a crash loses nothing."""

import itertools
import json
import math
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_model, save_model
from torch import nn

from l2b.checkpoint import Checkpoints
from l2b.files import (
    read_json,
    read_text,
    read_tree,
    remove_partial,
    write_atomically,
    write_json,
    write_text,
    write_tree,
)
from l2b.notices import notice

CHECKED = "checked_files"  # folder of copies, see `kept`

# In the order of removal: what is left after a crash in between is never taken for a run.
OWN = (
    "checkpoints", "result.json", "metrics.jsonl", "model.safetensors", "chosen.safetensors",
    "scale.safetensors", "ledger.safetensors", "figures", "tensorboard", "predictions.csv",
    CHECKED, "run.yaml",
)  # fmt: skip

AUDIT = "audit"  # folder of what an audit found


@dataclass(frozen=True)
class RunFolder:
    """Paths and writers of one run's folder.

    Attributes:
        path: the folder.
    """

    path: Path

    def open(self, *, resume: bool, overwrite: bool) -> None:
        """Make the folder, or check that it may be used.

        Raises:
            FileExistsError: if it holds anything and neither flag says what to do with it.
            OSError: if it cannot be made or written.
        """
        try:
            self._open(resume=resume, overwrite=overwrite)
        except FileExistsError:
            raise
        except OSError as error:
            raise OSError(
                error.errno,
                f"Cannot write into the folder {self.path} ({error.strerror}): choose another "
                "--out.",
            ) from error

    def _open(self, *, resume: bool, overwrite: bool) -> None:
        if self.path.exists() and not self.path.is_dir():
            raise FileExistsError(f"{self.path} is a file: --out must name a folder.")
        if self.path.is_dir() and any(self.path.iterdir()) and not resume:
            if not overwrite:
                raise FileExistsError(
                    f"{self.path} is not empty: choose another --out, continue that run with "
                    "--resume, or replace it with --overwrite."
                )
            self._refuse_foreign()
            self._set_aside()
            self._clear()
        self.path.mkdir(parents=True, exist_ok=True)
        remove_partial(self.path)
        probe = self.path / ".writable"
        probe.touch()
        probe.unlink()

    def _refuse_foreign(self) -> None:
        """Files that are called like a run's may be somebody's, where there is no run."""
        found = [name for name in (*OWN, AUDIT) if (self.path / name).exists()]
        if found and not (self.path / "run.yaml").exists():
            raise FileExistsError(
                f"{self.path} holds {found[0]} and no run (run.yaml), so nothing there is "
                "replaced: choose another --out, or remove it yourself."
            )

    def _set_aside(self) -> None:
        """Keep the audit of a run that is replaced, which people edit, under another name."""
        audit = self.path / AUDIT
        if audit.is_dir():
            notice(f"The audit of the run that is replaced is in {set_aside(audit)} now.")

    def _clear(self) -> None:
        """Remove the files of a run, and nothing else."""
        for name in OWN:
            found = self.path / name
            if found.is_dir() and not found.is_symlink():
                shutil.rmtree(found)  # never through a link
            else:
                found.unlink(missing_ok=True)

    @property
    def figures(self) -> Path:
        """Where pictures go."""
        figures = self.path / "figures"
        figures.mkdir(exist_ok=True)
        return figures

    def write_config(self, text: str) -> None:
        """Write ``run.yaml``."""
        write_text(self.path / "run.yaml", text)

    def read_config(self) -> str | None:
        """The text of ``run.yaml``, or None if there is none.

        Raises:
            ValueError: naming the file, if it is not UTF-8.
        """
        path = self.path / "run.yaml"
        return read_text(path) if path.exists() else None

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Write ``metrics.jsonl``: one row per epoch, null for a number that is not finite."""
        rows = "".join(json.dumps(_finite(row), allow_nan=False) + "\n" for row in history)
        write_text(self.path / "metrics.jsonl", rows)

    def read_metrics(self, epochs: int | None = None) -> list[dict[str, Any]]:
        """The rows of ``metrics.jsonl``; a loss of null was not finite, and is infinite.

        Args:
            epochs: how many there must be; None takes any number.

        Raises:
            FileNotFoundError: if there is no such file.
            ValueError: if it is damaged.
        """
        path = self.path / "metrics.jsonl"
        try:
            rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        except ValueError as error:
            raise ValueError(f"{path} is damaged ({error}): run it again.") from error
        if epochs is not None and len(rows) != epochs:
            raise ValueError(
                f"{path} must have a row for each of {epochs} epochs, got {len(rows)}: it is "
                "damaged, run it again."
            )
        return [{key: _loss(key, value) for key, value in row.items()} for row in rows]

    @property
    def checkpoints(self) -> Checkpoints:
        """Where the run can go on from."""
        return Checkpoints(self.path / "checkpoints")

    def write_model(self, module: nn.Module, name: str = "model") -> None:
        """Write a module's parameters and buffers."""
        path = self.path / f"{name}.safetensors"
        write_atomically(path, lambda temporary: save_model(module, str(temporary)))

    def write_scale(self, state: object) -> None:
        """Write what the model's inputs and outputs mean; see `read_scale`."""
        write_tree(self.path / "scale.safetensors", state)

    def read_scale(self) -> Any:
        """What raw samples are scaled by, their shape, the classes, and whether labels are masks.

        Also whether samples are bytes (uint8), and what stands for each class in masks that are
        pictures, which older runs do not tell.

        Raises:
            FileNotFoundError: if the run has not ended.
        """
        return read_tree(self.path / "scale.safetensors")

    @property
    def is_on_masks(self) -> bool:
        """Whether there is a finished run on masks.

        Raises:
            ValueError: if it is damaged.
        """
        return (self.path / "scale.safetensors").is_file() and bool(self.read_scale()["masks"])

    def write_ledger(self, state: object) -> None:
        """Write the per-sample record."""
        write_tree(self.path / "ledger.safetensors", state)

    def read_ledger(self) -> Any:
        """The per-sample record.

        Raises:
            FileNotFoundError: if the run has not ended.
        """
        return read_tree(self.path / "ledger.safetensors")

    def write_result(self, result: dict[str, Any]) -> None:
        """Write ``result.json``."""
        write_json(self.path / "result.json", result)

    def read_result(self) -> dict[str, Any] | None:
        """The content of ``result.json``, or None if the run has not ended."""
        path = self.path / "result.json"
        return read_json(path) if path.exists() else None


def _finite(row: dict[str, Any]) -> dict[str, Any]:
    """A row of metrics as strict readers of JSON accept it."""
    return {
        key: None if isinstance(value, float) and not math.isfinite(value) else value
        for key, value in row.items()
    }


def _loss(key: str, value: Any) -> Any:
    """What `_finite` made null of, where that can only have been a loss."""
    return math.inf if value is None and key.endswith("_loss") else value


def set_aside(folder: Path) -> Path:
    """Give a folder the first free name of ``<folder>-1``, ``<folder>-2``, …, and return it."""
    free = free_name(folder)
    folder.rename(free)
    return free


def free_name(folder: Path, first: int = 1) -> Path:
    """The first of ``<folder>-<first>``, and so on, that is not there."""
    others = (folder.with_name(f"{folder.name}-{number}") for number in itertools.count(first))
    return next(path for path in others if not path.exists())


def read_module(module: nn.Module, path: Path) -> None:
    """Load a module's parameters and buffers from a file that a run wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if the file is damaged or of another model.
    """
    try:
        load_model(module, path)
    except (RuntimeError, SafetensorError) as error:
        line = " ".join(str(error).split())
        raise ValueError(
            f"{path} does not hold the parameters of this {type(module).__name__} ({line[:200]}): "
            "give the settings of the run that wrote it."
        ) from error

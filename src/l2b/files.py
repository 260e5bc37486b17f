"""Files that are whole or not there, and archives without pickles."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

STRUCTURE = "structure"


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place at once.

    Args:
        path: the file to make or replace.
        write: is called with the temporary path, which has the suffix of ``path``.

    Raises:
        OSError: as the file system says; the old file, if any, is intact.
    """
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    stem = path.name.removesuffix(suffix)
    temporary = path.with_name(f".{stem}.{os.getpid()}{suffix}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all."""
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))


def write_json(path: Path, content: object) -> None:
    """Write JSON that strict readers accept (no NaN), whole or not at all."""
    write_text(path, json.dumps(content, indent=2, allow_nan=False) + "\n")


def write_tree(path: Path, tree: object) -> None:
    """Write nested dicts and lists of tensors and plain values as one safetensors file.

    Args:
        path: the file to make or replace.
        tree: tensors, str, int, float, bool and None in dicts (with str or int keys),
            lists and tuples; tuples come back as lists.

    Raises:
        TypeError: on anything else.
    """
    tensors: dict[str, Tensor] = {}
    structure = json.dumps(_take_tensors(tree, tensors))
    metadata = {STRUCTURE: structure}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def read_tree(path: Path) -> Any:
    """Read what `write_tree` wrote; nothing in the file is executed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged or not from `write_tree`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            structure = (file.metadata() or {})[STRUCTURE]
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return _put_tensors(json.loads(structure), tensors)
    except (SafetensorError, KeyError, json.JSONDecodeError) as error:
        raise ValueError(
            f"{path} is damaged or was not written by this library ({error}): restore it "
            "from a copy, or start the run afresh."
        ) from error


def _take_tensors(node: object, tensors: dict[str, Tensor]) -> object:
    if isinstance(node, Tensor):
        name = f"{len(tensors):05d}"
        tensors[name] = node.detach().cpu().contiguous().clone()
        return {"tensor": name}
    if isinstance(node, dict):
        return {"dict": [[key, _take_tensors(value, tensors)] for key, value in node.items()]}
    if isinstance(node, list | tuple):
        return {"list": [_take_tensors(value, tensors) for value in node]}
    if node is None or isinstance(node, str | int | float | bool):
        return node
    raise TypeError(f"A checkpoint cannot hold a {type(node).__name__}.")


def _put_tensors(node: Any, tensors: dict[str, Tensor]) -> Any:
    if not isinstance(node, dict):
        return node
    if "tensor" in node:
        return torch.clone(tensors[node["tensor"]])
    if "list" in node:
        return [_put_tensors(value, tensors) for value in node["list"]]
    return {key: _put_tensors(value, tensors) for key, value in node["dict"]}

"""Files that are whole or not there, and archives without pickles."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

CONTENT = "sha256 and structure"  # one entry: of several, the order would differ by chance
PARTIAL = ".partial"  # in the names of files that are being written


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Let ``write`` fill a temporary file beside ``path``, then put it in place at once.

    Args:
        path: the file to make or replace.
        write: is called with the temporary path, which has the suffix of ``path``.

    Raises:
        OSError: naming the file and what the file system said; the old file, if any, is
            intact.
    """
    suffix = "".join(path.suffixes[-2:]) if path.suffix == ".gz" else path.suffix
    stem = path.name.removesuffix(suffix)
    temporary = path.with_name(f".{stem}.{os.getpid()}{PARTIAL}{suffix}")
    try:
        write(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
        _sync_folder(path.parent)
    except (OSError, SafetensorError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OSError(
            getattr(error, "errno", None) or 0,
            f"Could not write {path} ({reason}): what was written before is intact. Free space "
            "or choose a folder that can be written.",
        ) from error
    finally:
        _discard(temporary)


def remove_partial(folder: Path) -> None:
    """Remove what a killed process was writing."""
    for left in folder.glob(f".*{PARTIAL}*"):
        left.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Write text, whole or not at all; see `spelled_out`."""
    found = spelled_out(text)
    write_atomically(path, lambda temporary: temporary.write_text(found, encoding="utf-8"))


def spelled_out(text: str) -> str:
    """The text as UTF-8 can hold it: bytes of file names that are no UTF-8 stand as escapes."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def read_text(path: Path) -> str:
    """The text in a file of the user.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: naming the file, if it is not UTF-8.
    """
    with named_if_not_utf8(path):
        return path.read_text(encoding="utf-8-sig")


@contextmanager
def named_if_not_utf8(path: Path) -> Iterator[None]:
    """What is read inside is UTF-8, or the error says which file is not.

    Raises:
        ValueError: naming the file.
    """
    try:
        yield
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8 text (byte {error.object[error.start]:#x}): save it as UTF-8."
        ) from error


def read_json(path: Path) -> dict[str, Any]:
    """The mapping in a JSON file that this program wrote.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(
            f"{path} is damaged ({error}): remove it, and the command that made it makes it again."
        ) from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a mapping, got {type(found).__name__}: remove it.")
    return found


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
    metadata = {CONTENT: f"{_digest(structure, tensors)} {structure}"}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata))


def read_tree(path: Path) -> Any:
    """Read what `write_tree` wrote; nothing in the file is executed.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is damaged (its SHA-256 is not the one that was written) or not from
            `write_tree`.
    """
    try:
        with safe_open(path, framework="pt") as file:
            digest, _, structure = (file.metadata() or {})[CONTENT].partition(" ")
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if _digest(structure, tensors) != digest:
            raise KeyError("its content has another SHA-256 than was written")
        return _put_tensors(json.loads(structure), tensors)
    except FileNotFoundError:
        raise
    except (SafetensorError, LookupError, ValueError, TypeError, OSError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged or was not written by this library ({error}): restore it "
            "from a copy, or start the run afresh."
        ) from error


def physical_memory() -> int:
    """Bytes of memory in this machine; 2^40 where the system does not say."""
    if "SC_PHYS_PAGES" not in getattr(os, "sysconf_names", {}):
        return 2**40
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _digest(structure: str, tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of everything that a file holds, in hexadecimal."""
    digest = hashlib.sha256(structure.encode())
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        if tensor.numel():
            digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sync_folder(folder: Path) -> None:
    """Make a new name last through a power cut, where the system can do that."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with suppress(OSError):  # some network file systems refuse; the file itself is safe
            os.fsync(handle)
    finally:
        os.close(handle)


def _discard(temporary: Path) -> None:
    with suppress(OSError):  # a folder that cannot be written; the reason is being raised already
        temporary.unlink(missing_ok=True)


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

"""Settings as text and back: dataclasses ↔ YAML ↔ command line.

A dataclass field whose type is a family (data set, noise, method, …) is written as its name
plus its own fields. On the command line every field goes by its dotted name, or by the last
part of it where that is unambiguous: ``--rate`` for ``--noise.rate``.
"""

import argparse
import dataclasses
import difflib
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np
import yaml
from docstring_parser import parse as parse_docstring
from jsonargparse import ArgumentParser

from l2b.catalog import find, name_of, names, refuse_undecorated, root_of
from l2b.plain_yaml import plain_yaml

T = TypeVar("T")
REQUIRED = "required"


@dataclasses.dataclass(frozen=True)
class Leaf:
    """One setting.

    Attributes:
        path: its dotted name.
        hint: its type.
        default: its value if nothing is said.
        help: its documentation.
        family: the base class if the setting is the name of an extension.
    """

    path: str
    hint: Any
    default: Any
    help: str
    family: type | None = None


def dump(settings: object) -> str:
    """Settings as YAML, every field written out."""
    return yaml.safe_dump(encode(settings), sort_keys=False, allow_unicode=True)


def load(cls: type[T], text: str, base: str = "") -> T:
    """Settings from YAML; what is not said has its default.

    Args:
        cls: the dataclass of the settings.
        text: YAML.
        base: YAML that is read first: of what both say, by whatever names, ``text`` counts.

    Raises:
        ValueError: on text that is no YAML, unknown names or wrong values.
    """
    return parse(cls, _as_arguments(text), base)


def encode(value: Any, path: str = "") -> Any:
    """A dataclass as plain dicts, lists and scalars.

    Args:
        value: settings.
        path: their dotted name, for messages.

    Raises:
        ValueError: if one of them is nothing that can be written, or no field of its class.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        family = _is_family(root_of(type(value)))
        if family:
            refuse_undecorated(type(value))
        names = [field.name for field in dataclasses.fields(value)]
        fields = {name: encode(getattr(value, name), f"{path}.{name}") for name in names}
        return {"name": name_of(value), **fields} if family else fields
    if isinstance(value, tuple | list):
        return [encode(item, path) for item in value]
    if isinstance(value, dict):
        return {key: encode(item, f"{path}.{key}") for key, item in value.items()}
    if isinstance(value, np.generic):
        return value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Path):
        return str(value)
    raise ValueError(
        f"Settings are numbers, texts and lists of these, which a file can hold, got "
        f"{type(value).__name__} as {path.removeprefix('.')}."
    )


def parse(cls: type[T], args: Sequence[str], text: str = "") -> T:
    """Settings from command-line words, over those of a YAML text.

    A word that names another method, data set or the like than the text does replaces it as a
    whole: what the text sets below that name is of the other one.

    Args:
        cls: the dataclass of the settings.
        args: words such as ``--noise.rate 0.4`` or ``--method=l2b``.
        text: YAML that is read first.

    Raises:
        ValueError: with one clear line on unknown names or wrong values.
    """
    pairs = _all_pairs(cls, args, text)
    leaves = _chosen_leaves(cls, pairs)
    hints = {leaf.path: leaf.hint for leaf in leaves}
    paths = [(_resolve(key, leaves), value) for key, value in pairs]
    resolved = [(path, _null(value, hints[path])) for path, value in paths]
    parser = settings_parser(leaves)
    try:
        found = parser.parse_args([f"--{path}={value}" for path, value in resolved])
    except argparse.ArgumentError as error:
        raise ValueError(_refused(str(error), leaves, dict(resolved))) from error
    _refuse_missing(leaves, {path for path, _ in resolved})
    return _build(cls, "", {leaf.path: found[leaf.path] for leaf in leaves})


def _refused(error: str, leaves: list[Leaf], given: dict[str, str]) -> str:
    """Which value is wrong, and what it should be."""
    key = re.search(r'key "([^"]+)"', error)
    leaf = next((leaf for leaf in leaves if key is not None and leaf.path == key.group(1)), None)
    if leaf is None or leaf.path not in given:
        return f"{_one_line(error)} See `l2b run --help`."
    last = leaf.path.rpartition(".")[2]
    others = [o.path for o in leaves if o is not leaf and o.path.rpartition(".")[2] == last]
    hint = f"Or was --{others[0]} meant? " if others else ""
    wanted = f"--{leaf.path} must be {_kind(leaf.hint)}, got {given[leaf.path]!r}. "
    return f"{wanted}{hint}See `l2b run --help`."


def _kind(hint: Any) -> str:
    """A type in words."""
    parts = get_args(hint)
    if get_origin(hint) is Literal:
        return ("one of " if len(parts) > 1 else "") + ", ".join(map(str, parts))
    if get_origin(hint) is tuple:
        return f"a list, [a, b, …], of which each is {_kind(parts[0])}"
    if parts and get_origin(hint) is not dict:
        return " or ".join(map(_kind, parts))
    words = {bool: "true or false", int: "a whole number", float: "a number", str: "a text"}
    more = {Path: "a path", NoneType: "none"}
    return (words | more).get(hint, "a mapping of names to values")


def said(cls: type, args: Sequence[str], text: str = "") -> set[str]:
    """Dotted names of the settings that ``args`` say, over those of a YAML text; see `parse`.

    Raises:
        ValueError: on unknown names.
    """
    leaves = _chosen_leaves(cls, _all_pairs(cls, args, text))
    return {_resolve(key, leaves) for key, _ in _pairs(args)}


def chosen_names(cls: type, args: Sequence[str]) -> dict[str, str]:
    """The names that command-line words choose, by their settings, such as ``data.name``.

    Args:
        cls: the dataclass of the settings.
        args: as for `parse`; some may be settings of what has not been chosen.

    Raises:
        ValueError: on unknown names.
    """
    return _chosen_names(cls, _pairs(args))


def settings_parser(leaves: list[Leaf], description: str = "") -> ArgumentParser:
    """A typed parser of these settings, which also prints their help."""
    parser = ArgumentParser(exit_on_error=False, description=description, add_help=False)
    for leaf in leaves:
        shown = leaf.help.replace("%", "%%")
        parser.add_argument(
            f"--{leaf.path}",
            type=leaf.hint,
            default=None if leaf.default is REQUIRED else leaf.default,
            help=shown,
        )
    return parser


def chosen_leaves(cls: type, args: Sequence[str]) -> list[Leaf]:
    """All settings that exist under the names chosen in ``args``."""
    return _chosen_leaves(cls, _pairs(args))


def _all_pairs(cls: type, args: Sequence[str], text: str) -> list[tuple[str, str]]:
    """What the text says and the words do not replace, then the words."""
    written, typed = _pairs(_as_arguments(text)), _pairs(args)
    before, after = _chosen_names(cls, written), _chosen_names(cls, [*written, *typed])
    other = [name for name in before if after.get(name, before[name]) != before[name]]
    below = tuple(name.removesuffix("name") for name in other)
    if not below:
        return [*written, *typed]
    leaves = list(_leaves(cls, "", None, before))
    kept = [pair for pair in written if not (_match(pair[0], leaves) or "").startswith(below)]
    return [*kept, *typed]


def _null(value: str, hint: Any) -> str:
    """`none` as YAML spells it, for settings that may be none and are no text."""
    kinds = get_args(hint)
    optional = NoneType in kinds and not {str, Path} & set(kinds)
    return "null" if optional and value.lower() == "none" else value


def _chosen_leaves(cls: type, said: list[tuple[str, str]]) -> list[Leaf]:
    return list(_leaves(cls, "", None, _chosen_names(cls, said)))


def _chosen_names(cls: type, said: list[tuple[str, str]]) -> dict[str, str]:
    """The names that are said, by their paths, such as method.name."""
    # A name decides which settings exist below it, so names are settled from the top down.
    names_said: dict[str, str] = {}
    while True:
        families = [leaf for leaf in _leaves(cls, "", None, names_said) if leaf.family]
        before = dict(names_said)
        for key, value in said:
            path = _match(key, families)
            if path is not None:
                names_said[path] = value
        if names_said == before:
            return names_said


def _leaves(cls: type, prefix: str, default: Any, chosen: dict[str, str]) -> Iterator[Leaf]:
    hints = _hints(cls)
    documented = {p.arg_name: p.description for p in parse_docstring(cls.__doc__ or "").params}
    for field in dataclasses.fields(cls):
        path, hint = f"{prefix}{field.name}", hints[field.name]
        value = getattr(default, field.name) if default is not None else _default(field)
        text = " ".join((documented.get(field.name) or "").split())
        if _is_family(hint):
            yield from _family_leaves(hint, path, value, text, chosen)
        elif isinstance(hint, type) and dataclasses.is_dataclass(hint):
            yield from _leaves(hint, f"{path}.", value, chosen)
        else:
            yield Leaf(path, hint, value, text)


def _family_leaves(
    base: type, path: str, value: Any, text: str, chosen: dict[str, str]
) -> Iterator[Leaf]:
    usual = name_of(value)
    name = chosen.get(f"{path}.name", usual)
    text = f"{text} One of: {', '.join(names(base))}; or your own, module:Class."
    yield Leaf(f"{path}.name", str, usual, text, family=base)
    yield from _leaves(find(base, name), f"{path}.", value if name == usual else None, chosen)


def _build(cls: type[T], prefix: str, values: dict[str, Any]) -> T:
    hints = _hints(cls)
    arguments: dict[str, Any] = {}
    for field in dataclasses.fields(cls):  # pyright: ignore[reportArgumentType]
        path, hint = f"{prefix}{field.name}", hints[field.name]
        if _is_family(hint):
            arguments[field.name] = _build(find(hint, values[f"{path}.name"]), f"{path}.", values)
        elif dataclasses.is_dataclass(hint) and isinstance(hint, type):
            arguments[field.name] = _build(hint, f"{path}.", values)
        else:
            arguments[field.name] = values[path]
    return cls(**arguments)


def _hints(cls: type) -> dict[str, Any]:
    """Types of the fields."""
    try:
        return get_type_hints(cls)
    except NameError as error:
        raise ValueError(
            f"The types of the fields of {cls.__module__}:{cls.__qualname__} cannot be read "
            f"({error}): import them where the class is defined, not under TYPE_CHECKING."
        ) from error


def _refuse_missing(leaves: list[Leaf], said: set[str]) -> None:
    for leaf in leaves:
        if leaf.default is REQUIRED and leaf.path not in said:
            raise ValueError(f"--{leaf.path} is required, got nothing: {leaf.help or 'say it.'}")


def _match(key: str, leaves: list[Leaf]) -> str | None:
    """The path that a key stands for: exact, with ``.name``, or its only ending."""
    paths = [leaf.path for leaf in leaves]
    for exact in (key, f"{key}.name"):
        if exact in paths:
            return exact
    ends = [p for p in paths if p.removesuffix(".name").endswith(f".{key}")]
    return ends[0] if len(ends) == 1 else None


def _resolve(key: str, leaves: list[Leaf]) -> str:
    path = _match(key, leaves)
    if path is not None:
        return path
    paths = [leaf.path.removesuffix(".name") for leaf in leaves]
    ends = [p for p in paths if p.endswith(f".{key}")]
    if ends:
        raise ValueError(f"--{key} could be --{' or --'.join(ends)}: write the whole name.")
    short = {p.rpartition(".")[2]: p for p in paths} | {p: p for p in paths}
    near = difflib.get_close_matches(key, list(short), n=1, cutoff=0.5)
    hint = f"did you mean --{short[near[0]]}?" if near else "see `l2b run --help`."
    raise ValueError(f"There is no setting --{key}; {hint}")


def _pairs(words: Sequence[str]) -> list[tuple[str, str]]:
    pairs, position = [], 0
    while position < len(words):
        word = words[position]
        if not word.startswith("--") or len(word) == 2:
            raise ValueError(f"Expected a setting such as --seed 0, got {word!r}.")
        key, equals, value = word[2:].partition("=")
        if not equals:
            following = words[position + 1] if position + 1 < len(words) else "--"
            bare = following.startswith("--")  # a flag without a value is switched on
            value, position = ("true" if bare else following), position + (0 if bare else 1)
        pairs.append((key.replace("-", "_"), value))
        position += 1
    return pairs


def _as_arguments(text: str) -> list[str]:
    try:
        tree = plain_yaml(text) if text.strip() else {}
    except yaml.YAMLError as error:
        raise ValueError(
            f"The settings are not plain YAML ({_one_line(str(error))}): write names, numbers, "
            "texts and lists only, as run.yaml of a finished run does."
        ) from error
    if not isinstance(tree, dict):
        raise ValueError(
            f"The settings must be named values (a YAML mapping), got {type(tree).__name__}: "
            "write one `name: value` a line, as run.yaml of a finished run does."
        )
    return [f"--{path}={value}" for path, value in _flatten(tree, "")]


def _flatten(tree: dict[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in tree.items():
        if isinstance(value, dict) and value and key != "options":
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value if isinstance(value, str) else _scalar(value)


def _scalar(value: Any) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=10**9)
    return text.removesuffix("\n").removesuffix("\n...").strip()


def _default(field: dataclasses.Field) -> Any:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    return REQUIRED if field.default is dataclasses.MISSING else field.default


def _is_family(hint: Any) -> bool:
    return inspect.isabstract(hint) and dataclasses.is_dataclass(hint)


def _one_line(text: str) -> str:
    return " ".join(text.split())

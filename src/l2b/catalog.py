"""Find extensions by name: the file name is the registration.

Families kept in a folder (engines, noise, normalisers, methods and others) have one public class
a file, named by the file; what they share is in files called base or base_…. Families kept in one
module (look-ahead points, candidate labels) name their classes in snake case. An extension from
elsewhere goes by where it is: ``package.module:Class``.
"""

import dataclasses
import difflib
import functools
import importlib
import inspect
import pkgutil
import re
from types import ModuleType
from typing import Any, TypeVar

T = TypeVar("T")


def names(base: type) -> list[str]:
    """Names of everything here that extends ``base``, sorted."""
    home = importlib.import_module(_home(base))
    if hasattr(home, "__path__"):
        return sorted(
            m.name for m in pkgutil.iter_modules(home.__path__) if not m.name.startswith("base")
        )
    return sorted(_snake(found.__name__) for found in _classes(home, base))


def find(base: type[T], name: str) -> type[T]:
    """The class that extends ``base`` under this name; ``module:Class`` is imported.

    Raises:
        ValueError: if there is none, with the nearest right name; or if what ``module:Class``
            names cannot be imported, does not extend ``base``, or has settings that are no fields.
    """
    if ":" in name:
        return _from_elsewhere(base, name)
    if name not in names(base):
        more = " One that is not of this library goes by package.module:Class."
        raise ValueError(unknown(_kind(base), name, names(base)) + (more if "." in name else ""))
    home = _home(base)
    module = importlib.import_module(home)
    if hasattr(module, "__path__"):
        module = importlib.import_module(f"{home}.{name}")
        return _classes(module, base)[0]
    return next(found for found in _classes(module, base) if _snake(found.__name__) == name)


def default(base: type[T], name: str) -> T:
    """The extension under this name, with its default settings.

    Raises:
        ValueError: if there is none; the message holds the nearest right name.
    """
    return find(base, name)()


def name_of(extension: object) -> str:
    """The name under which an extension, or its class, is found."""
    cls = extension if isinstance(extension, type) else type(extension)
    base = root_of(cls)
    home, module = _home(base), cls.__module__
    if home != base.__module__ and module.rpartition(".")[0] == home:
        return module.rpartition(".")[2]
    if module == home:
        return _snake(cls.__name__)
    # What a spawned process calls the script that started it.
    return f"{'__main__' if module == '__mp_main__' else module}:{cls.__qualname__}"


def root_of(cls: type) -> type:
    """The family's base: the first dataclass that the class descends from."""
    return [base for base in cls.__mro__ if dataclasses.is_dataclass(base)][-1]


def summary(base: type, name: str) -> str:
    """The first line of an extension's documentation."""
    return (inspect.getdoc(find(base, name)) or "").partition("\n")[0]


def unknown(kind: str, name: str, known: list[str], where: str = "") -> str:
    """The message for a wrong name, with the nearest right one."""
    plain = {entry.lower().replace("_", ""): entry for entry in known}
    wanted = name.lower().replace("-", "").replace("_", "")
    close = difflib.get_close_matches(wanted, list(plain), n=5, cutoff=0.5)
    near = max(close, key=lambda entry: _likeness(entry, wanted), default=None)
    hint = f"did you mean {plain[near]!r}? Known" if near else "known"
    place = f" {where}" if where else ""
    return f"No {kind}{place} is called {name!r}; {hint}: {', '.join(known) or 'none'}."


def _likeness(entry: str, wanted: str) -> tuple[float, bool]:
    """How alike two names are; of equally alike ones, that with the same first letter."""
    ratio = difflib.SequenceMatcher(None, entry, wanted).ratio()
    return ratio, entry[:1] == wanted[:1]


def _kind(base: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", " ", base.__name__).lower()


def _from_elsewhere(base: type[T], name: str) -> type[T]:
    """The class at ``module:Class``."""
    module, _, path = name.partition(":")
    kind = _kind(base)
    if not all(part.isidentifier() for part in [*module.split("."), *path.split(".")]):
        raise ValueError(
            f"The {kind} {name!r} cannot be found by its name: one that is not of this library "
            "stands at the top of a module, and goes by package.module:Class."
        )
    home = _imported(kind, name, module)
    try:
        found: Any = functools.reduce(getattr, path.split("."), home)
    except AttributeError as error:
        if module == "__main__":
            raise ValueError(
                f"The {kind} {name!r} was defined in a script or a notebook, and is found from "
                "there alone."
            ) from error
        there = [known for known, value in vars(home).items() if _extends(value, base)]
        raise ValueError(unknown(kind, path, there, f"in {module}")) from error
    if not _extends(found, base):
        raise ValueError(
            f"{name!r} is no {kind}: it must be a class that derives from "
            f"{base.__module__}.{base.__qualname__}."
        )
    if inspect.isabstract(found):
        missing = ", ".join(sorted(found.__abstractmethods__))
        raise ValueError(f"The {kind} {name!r} must define {missing}, which its base leaves open.")
    refuse_undecorated(found)
    return found


def _imported(kind: str, name: str, module: str) -> ModuleType:
    try:
        return importlib.import_module(module)
    except Exception as error:  # the module is the user's, and may fail in any way
        lost = isinstance(error, ModuleNotFoundError) and f"{module}.".startswith(f"{error.name}.")
        way = f"mend its module {module}"
        if lost:
            way = "install its module, or name the folder that holds it in PYTHONPATH"
        if lost and module.endswith(".py"):
            way = f"write the module without its ending, {name.replace('.py:', ':')}"
        raise ValueError(
            f"The {kind} {name!r} cannot be imported ({type(error).__name__}: {error}): {way}."
        ) from error


def refuse_undecorated(cls: type) -> None:
    """Refuse an extension with settings that are no fields, which nothing would write down.

    Raises:
        ValueError: naming the class.
    """
    for own in cls.__mro__[: cls.__mro__.index(root_of(cls))]:
        settings = "__init__" in vars(own) or inspect.get_annotations(own)
        if settings and "__dataclass_fields__" not in vars(own):
            raise ValueError(
                f"{own.__module__}:{own.__qualname__} has settings that are no fields, and would "
                "be lost: decorate it with @dataclass(frozen=True, kw_only=True)."
            )


def _extends(found: object, base: type) -> bool:
    return inspect.isclass(found) and issubclass(found, base)


def _home(base: type) -> str:
    return base.__module__.removesuffix(".base")


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _classes(module: ModuleType, base: type[T]) -> list[type[T]]:
    return [
        found
        for found in vars(module).values()
        if inspect.isclass(found)
        and issubclass(found, base)
        and not inspect.isabstract(found)
        and found.__module__ == module.__name__
    ]

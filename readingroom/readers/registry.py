"""Find readers by entry point, load each on its own, and say of each why it can't be used if it can't.

A third party's package adds a reader by naming a class in the entry point group ``readingroom.readers``. One that can't
be imported, constructed, or whose weights don't match its card is listed with its error; the others are unharmed.
"""

import logging
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from importlib.resources import files
from pathlib import Path
from types import ModuleType

import yaml
from pydantic import ValidationError

from readingroom.core.errors import BadInput, NotFound, ReadingRoomError
from readingroom.readers.contract import Card, Reader

GROUP = "readingroom.readers"

_log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class LoadedReader:
    """One entry point: a ready ``reader``, or the ``error`` that kept it from being one (then ``reader`` is None)."""

    name: str
    version: str
    reader: Reader | None
    error: str = ""
    distribution: str = ""
    """Package and version it came from."""


def load_readers(entries: list[EntryPoint] | None = None) -> list[LoadedReader]:
    """Return every reader installed, by name. ``entries`` replaces the installed entry points in tests.

    Two entry points of one name: neither is loaded, because nobody could tell which one read a study.
    """
    found = list(entry_points(group=GROUP)) if entries is None else entries
    # An editable install beside a wheel lists the same entry point twice: that is one reader.
    unique = {(e.name, e.value): e for e in found}
    names = [name for name, _ in unique]
    loaded = []
    for (name, _), entry in sorted(unique.items()):
        if names.count(name) > 1:
            loaded.append(LoadedReader(name, "", None, "Two packages install a reader of this name.", _package(entry)))
        else:
            loaded.append(_load(entry))
    return loaded


def is_installed(name: str) -> bool:
    """Whether a package installs a reader of this name; nothing of it is imported."""
    return any(entry.name == name for entry in entry_points(group=GROUP))


def _load(entry: EntryPoint) -> LoadedReader:
    version = ""
    try:
        reader = entry.load()()
        card = getattr(reader, "card", None)
        if not isinstance(card, Card):
            raise BadInput("It has no card of type readingroom.readers.contract.Card.")
        version = card.version
        if not isinstance(reader, Reader):
            raise BadInput("It does not offer what readingroom.readers.contract.Reader asks for.")
        if card.name != entry.name:
            raise BadInput(f"Its card says {card.name!r} and its entry point {entry.name!r}.")
        if not reader.configuration_sha256:
            raise BadInput("It gives no configuration hash.")
    except Exception as error:  # whatever a third party's code raises, the others must load
        _log.warning("reader %s cannot be used: %s", entry.name, type(error).__name__)
        return LoadedReader(entry.name, version, None, _sentence(error), _package(entry))
    return LoadedReader(entry.name, version, reader, "", _package(entry))


def companion(name: str, module: str) -> ModuleType:
    """Return the module ``evaluate`` beside the reader of this name, loadable or not.

    By convention a reader's package holds ``evaluate.py`` with ``evaluate(reader, data, command, report)`` and, if it
    can be trained, ``recipe.yaml`` (``recipe_of``). Raises NotFound where reader or module is not installed.
    """
    path = f"{_package_of(name)}.{module}"
    try:
        return import_module(path)
    except ModuleNotFoundError as error:
        if error.name != path:
            raise
        raise NotFound(f"The reader {name!r} has no {module} command.") from None


def recipe_of(name: str) -> Path:
    """Return the path of the recipe beside the reader of this name. Raises NotFound where there is none."""
    found = files(_package_of(name)).joinpath("recipe.yaml")
    if not isinstance(found, Path) or not found.is_file():
        raise NotFound(f"The reader {name!r} has no recipe: it cannot be trained here.")
    return found


def _package_of(name: str) -> str:
    found = [e for e in entry_points(group=GROUP) if e.name == name]
    if not found:
        known = ", ".join(sorted({e.name for e in entry_points(group=GROUP)}))
        raise NotFound(f"There is no reader {name!r}.", f"Installed: {known or 'none'}.")
    return found[0].module.rpartition(".")[0] or found[0].module


def _sentence(error: Exception) -> str:
    if isinstance(error, ReadingRoomError):
        return str(error)
    return f"{type(error).__name__}: {error}"[:500]


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else ""


def load_card(path: Path) -> Card:
    """Read a ``card.yaml``. Raises BadInput naming the field that is wrong."""
    try:
        return Card.model_validate(yaml.safe_load(path.read_text("utf-8")))
    except (OSError, yaml.YAMLError) as error:
        raise BadInput(f"The card {path.name} cannot be read: {type(error).__name__}.") from None
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise BadInput(f"The card {path.name} is wrong: {wrong}.") from None

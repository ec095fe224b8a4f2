"""From a package to a reader that reads, in a child: the bytes that are used are those that were signed."""

import logging
from collections.abc import Sequence
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from tempfile import mkdtemp

import yaml

from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.inference.session import checked_bytes
from readingroom.learning.models.serving import Package, packages_named
from readingroom.learning.models.statement import NETWORK, Statement
from readingroom.readers.contract import Reader
from readingroom.readers.packaged.reader import PackagedReader
from readingroom.readers.registry import GROUP, LoadedReader, load_readers

_log = logging.getLogger(__name__)


def load_all(names: Sequence[str], packages: Sequence[Package]) -> list[LoadedReader]:
    """Load the installed readers of these names (all of them where none is named), each replaced by its package."""
    replaced = packages_named(packages)
    entries = [e for e in entry_points(group=GROUP) if (not names or e.name in names) and e.name not in replaced]
    return sorted([*load_readers(entries), *map(load, packages)], key=lambda one: one.name)


def load(package: Package) -> LoadedReader:
    """Load one package. Never raises: what is wrong is its error."""
    try:
        if package.error:
            raise BadInput(package.error)
        return LoadedReader(package.reader, package.version, _reader(package), "", "added here")
    except Exception as error:  # weights of others run here: whatever they raise, the others must load
        _log.warning("reader %s cannot be used: %s", package.reader, type(error).__name__)
        words = str(error) if isinstance(error, ReadingRoomError) else f"It stopped with {type(error).__name__}."
        return LoadedReader(package.reader, package.version, None, words, "added here")


def _reader(package: Package) -> Reader:
    statement = Statement.from_text(package.statement)
    if statement.manifest is not None:
        return PackagedReader(statement.manifest, statement.card, Path(package.files[NETWORK]))
    return _with_other_weights(_entry(package.reader), statement, package.files)


def _entry(name: str) -> EntryPoint:
    found = [entry for entry in entry_points(group=GROUP) if entry.name == name]
    if not found:
        raise BadInput(f"The reader {name}, whose weights these are, is not installed.")
    return found[0]


def _with_other_weights(entry: EntryPoint, statement: Statement, files: dict[str, str]) -> Reader:
    """Construct the installed reader on a folder laid out as its own is: ``card.yaml`` and ``weights``."""
    # In the child's working folder, which goes with it.
    folder = Path(mkdtemp(prefix="reader-"))
    (folder / "weights").mkdir()
    for name, sha256 in statement.files.items():
        (folder / "weights" / name).write_bytes(checked_bytes(Path(files[name]), sha256))
    (folder / "card.yaml").write_text(yaml.safe_dump(statement.card.model_dump(mode="json")), "utf-8")
    try:
        reader = entry.load()(folder)
    except TypeError:
        raise BadInput(f"The reader {entry.name} takes no other weights than its own.") from None
    if not isinstance(reader, Reader) or reader.card != statement.card:
        raise BadInput(f"The reader {entry.name} did not take the card of these weights.")
    return reader

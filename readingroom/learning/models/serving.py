"""Which added versions read here, live or in shadow, as a child that runs readers is told of them.

A version whose signature does not fit is told of with its error: it fails in sight, and no other takes its place.
"""

from collections.abc import Sequence

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from readingroom.core.config import Settings
from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.core.secrets import load_secrets
from readingroom.learning.models.life import State, in_state, lives
from readingroom.learning.models.statement import Statement, check
from readingroom.learning.models.store import path_of
from readingroom.learning.models.tables import ModelVersion


class Package(BaseModel):
    """A version to load: what was signed, and where each file lies. The loader compares every hash."""

    model_config = ConfigDict(frozen=True)

    reader: str
    version: str
    title: str = ""
    statement: str = ""
    files: dict[str, str] = {}
    error: str = ""


def live_packages(session: Session, settings: Settings) -> list[Package]:
    """Return the added versions that are live, one for each reader that has one."""
    return [_package(settings, row) for row in in_state(session, State.LIVE) if reads_here(settings, row.reader)]


def shadow_versions(session: Session, settings: Settings) -> list[ModelVersion]:
    """Return the versions that run in shadow."""
    return [row for row in in_state(session, State.SHADOW) if reads_here(settings, row.reader)]


def package_of(session: Session, settings: Settings, reader: str, version: str) -> Package | None:
    """Return the added version of this name, whatever its state; None where it was never added."""
    row = next((life.row for life in lives(session, reader) if life.row.version == version), None)
    return _package(settings, row) if row else None


def reads_here(settings: Settings, reader: str) -> bool:
    """Whether the setting ``readers`` lets a reader of this name read."""
    return not settings.readers or reader in settings.readers


def want_reads_here(settings: Settings, reader: str) -> None:
    """Raise BadInput where it may not: nobody should wait for a version that never runs."""
    if not reads_here(settings, reader):
        raise BadInput(f"The setting readers does not name {reader}, so it would not run.", "Add it in config.toml.")


def packages_named(packages: Sequence[Package]) -> set[str]:
    """Return the readers whose installed version is replaced."""
    return {package.reader for package in packages}


def _package(settings: Settings, row: ModelVersion) -> Package:
    try:
        statement: Statement = check(load_secrets(settings), row.statement, row.signature)
    except ReadingRoomError as error:
        return Package(reader=row.reader, version=row.version, error=str(error))
    if (statement.card.name, statement.card.version) != (row.reader, row.version):
        return Package(reader=row.reader, version=row.version, error="What was signed is another reader version.")
    return Package(
        reader=row.reader,
        version=row.version,
        title=statement.card.title,
        statement=row.statement,
        files={name: str(path_of(settings, sha256)) for name, sha256 in statement.files.items()},
    )

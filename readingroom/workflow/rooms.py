"""What the steps of a workflow work with: the settings, the index, the archive. One per process."""

from dataclasses import dataclass

from readingroom.archive.receive import Archive
from readingroom.archive.store import LocalStore, open_store
from readingroom.core.config import Settings
from readingroom.core.database import Database


@dataclass(frozen=True)
class Rooms:
    """The rooms below, opened."""

    settings: Settings
    database: Database
    store: LocalStore
    archive: Archive

    @classmethod
    def open(cls, settings: Settings) -> "Rooms":
        database, store = Database(settings.index_url), open_store(settings)
        return cls(settings, database, store, Archive(settings, database, store))

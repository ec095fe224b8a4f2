"""The house that the tests of cohorts share."""

import pytest
from cohort_support import Place

from readingroom.core.config import Settings
from readingroom.core.database import Database


@pytest.fixture
def place(settings: Settings, database: Database) -> Place:
    """On SQLite and on PostgreSQL."""
    return Place(settings, database)


@pytest.fixture
def sqlite_place(settings: Settings, sqlite_database: Database) -> Place:
    return Place(settings, sqlite_database)

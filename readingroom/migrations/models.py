"""Every table of every room, for Alembic. Imported by ``env`` when migrations run, never by a room."""

import readingroom.access.audit.tables
import readingroom.access.tables
import readingroom.archive.tables
import readingroom.core.audit
import readingroom.core.outbox
import readingroom.learning.drift.tables
import readingroom.learning.models.tables
import readingroom.learning.tables
import readingroom.readers.tables
import readingroom.report.tables
import readingroom.review.tables
import readingroom.workflow.tables
import readingroom.worklist.tables
import readingroom.worklist.urgent.tables  # noqa: F401
from readingroom.core.database import Base

metadata = Base.metadata

"""Reader versions, what became of each, and what those in shadow said. The database lets nobody change the first two.

What a version in shadow says has a table of its own: whatever shows readings to people knows nothing of it.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class ModelVersion(Base):
    """One version of a reader that was added here; append-only."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("reader", "version"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    reader: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(32))
    statement: Mapped[str] = mapped_column(Text)
    """``statement.Statement`` as its one JSON text: what is signed."""
    signature: Mapped[str] = mapped_column(String(200))


class ModelChange(Base):
    """A version came into a state: when, by whom, why; append-only. The last one of a version is its state."""

    __tablename__ = "model_change"

    id: Mapped[int] = mapped_column(primary_key=True)
    model_id: Mapped[str] = mapped_column(ForeignKey("model_version.id"), index=True)
    action: Mapped[str] = mapped_column(String(16))
    """``add``, ``shadow``, ``promote``, ``rollback``, ``retire``: what somebody did, to this version or another."""
    state: Mapped[str] = mapped_column(String(16))
    """A ``life.State``."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    actor: Mapped[str] = mapped_column(String(128))
    why: Mapped[str] = mapped_column(Text)


class ShadowReading(Base):
    """What a version in shadow said of one study revision, and how that compares with what its live one said."""

    __tablename__ = "shadow_reading"
    __table_args__ = (UniqueConstraint("model_id", "study_id", "revision"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    model_id: Mapped[str] = mapped_column(ForeignKey("model_version.id"))
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    revision: Mapped[int] = mapped_column()
    state: Mapped[str] = mapped_column(String(24))
    """A ``findings.model.ReaderState``."""
    reason: Mapped[str] = mapped_column(Text, default="")
    body: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """``findings.model.Reading`` as JSON, where it has run."""
    compared: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """``compare.Pair`` as JSON, where a live version had read the same."""
    finished_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

"""Readings as kept: one row per reader, version and study revision, and the state of each from the start."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class ReadingRow(Base):
    """State and result of one reader version on one study revision."""

    __tablename__ = "reading"
    __table_args__ = (UniqueConstraint("study_id", "revision", "reader", "version"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    revision: Mapped[int] = mapped_column()
    reader: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(32))
    card_title: Mapped[str] = mapped_column(Text, default="")
    """Title of the reader's card: the page shows it without loading the reader."""
    state: Mapped[str] = mapped_column(String(24), index=True)
    """A ``findings.model.ReaderState``."""
    reason: Mapped[str] = mapped_column(Text, default="")
    series_instance_uids: Mapped[list[str]] = mapped_column(Json, default=list)
    """The series the reader said it applies to."""
    progress: Mapped[float] = mapped_column(default=0.0)
    progress_step: Mapped[str] = mapped_column(String(64), default="")
    body: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """``findings.model.Reading`` as JSON once it has run."""
    summary: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """What the worklist needs of ``body``: ``{"findings": [id], "top_probability": float, "triage": int,
    "reason": str}``."""
    arrays: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """Segment or heat map name -> store key of its bytes."""
    objects: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """Role (``sr``, ``seg``) -> SOPInstanceUID of the object written of it, once written."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    started_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    finished_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)

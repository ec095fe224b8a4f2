"""Worklist tasks that are not a first reading: late images after signing, a rejected image under a signed report."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, UtcDateTime
from readingroom.core.ids import new_id


class Task(Base):
    """Something a person must look at. ``key`` makes raising it twice one task."""

    __tablename__ = "task"
    # Those that nobody has ticked off, of one kind: the worker asks every second.
    __table_args__ = (
        Index("ix_task_open", "kind", sqlite_where=text("done_at IS NULL"), postgresql_where=text("done_at IS NULL")),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    key: Mapped[str] = mapped_column(String(128), unique=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    kind: Mapped[str] = mapped_column(String(32))
    """``late-images``, ``image-rejected``, ``identity-conflict``, ``correction-after-signing``."""
    text: Mapped[str] = mapped_column(Text)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    done_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    done_by: Mapped[str] = mapped_column(String(128), default="")

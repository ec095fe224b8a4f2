"""Reports: one per study, drafted, signed once, then only added to."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class ReportRow(Base):
    """The working state of a report. ``body``: a ``report.model.ReportBody``, frozen once signed."""

    __tablename__ = "report"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), unique=True)
    state: Mapped[str] = mapped_column(String(16), default="draft")
    """``draft``, ``final`` (signed), ``written`` (signed and its objects are stored)."""
    revision: Mapped[int] = mapped_column()
    """Study revision it is about."""
    etag: Mapped[int] = mapped_column(default=1)
    """Counts edits: a save that names an older one is refused."""
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    signed_by: Mapped[str] = mapped_column(String(128), default="")
    signed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)
    objects: Mapped[dict[str, Any]] = mapped_column(Json, default=dict)
    """Role (``sr``, ``seg``, ``pdf``, ``fhir``) -> SOPInstanceUID or store key, once written; what is written anew with
    the nth addendum has roles of its own (``sr-addendum-n``, ``pdf-addendum-n``, ``fhir-addendum-n``)."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class Addendum(Base):
    """Text added after signing, by whom and when. Append-only."""

    __tablename__ = "addendum"
    __table_args__ = (UniqueConstraint("report_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    report_id: Mapped[str] = mapped_column(ForeignKey("report.id"))
    number: Mapped[int] = mapped_column()
    text: Mapped[str] = mapped_column(Text)
    author: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

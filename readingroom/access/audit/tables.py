"""Seals of the audit's chain, what the last check of it found, and how far it was sent."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, UtcDateTime


class AuditSeal(Base):
    """A signed head of the chain (``seals.Seal``). Append-only, as the events are."""

    __tablename__ = "audit_seal"

    number: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    event: Mapped[int] = mapped_column()
    hash: Mapped[str] = mapped_column(String(64))
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    previous: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(8))
    signature: Mapped[str] = mapped_column(String(64))


class AuditCheck(Base):
    """What the worker's last look at the whole chain found; one row. Shown on the page: proof is ``audit verify``."""

    __tablename__ = "audit_check"

    id: Mapped[int] = mapped_column(primary_key=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    events: Mapped[int] = mapped_column()
    """The chain was intact up to this event."""
    problem: Mapped[str] = mapped_column(String(400), default="")


class AuditCursor(Base):
    """Where a receiver of the audit stands: every event up to ``event`` has reached it."""

    __tablename__ = "audit_cursor"

    receiver: Mapped[str] = mapped_column(String(300), primary_key=True)
    event: Mapped[int] = mapped_column(default=0)
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_error: Mapped[str] = mapped_column(String(200), default="")

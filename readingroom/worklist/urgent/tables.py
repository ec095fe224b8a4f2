"""Urgent alerts as kept: one a study revision and code, what happened to each and when, and what is sent of it.

No row holds a name or identifier of a patient: an alert knows the study by our own id.
"""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id

_OPEN = text("closed_at IS NULL")
_DUE = text("escalate_at IS NOT NULL")
_WAITING = text("state = 'waiting'")


class UrgentAlert(Base):
    """An urgent finding that people must know of. Its state is what the columns say (``state.state_of``)."""

    __tablename__ = "urgent_alert"
    __table_args__ = (
        UniqueConstraint("study_id", "revision", "code_value", "code_scheme"),
        # The pages ask for the open ones all the time, the worker for those that are due.
        Index("ix_urgent_alert_open", "study_id", sqlite_where=_OPEN, postgresql_where=_OPEN),
        Index("ix_urgent_alert_due", "escalate_at", sqlite_where=_DUE, postgresql_where=_DUE),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"))
    revision: Mapped[int] = mapped_column()
    code_value: Mapped[str] = mapped_column(String(16))
    code_scheme: Mapped[str] = mapped_column(String(16))
    code_meaning: Mapped[str] = mapped_column(String(64))
    reading_id: Mapped[str] = mapped_column(ForeignKey("reading.id"))
    reader: Mapped[str] = mapped_column(String(64))
    finding_ids: Mapped[list[str]] = mapped_column(Json)
    """The findings of this code that the reader made, most probable first."""
    probability: Mapped[float | None] = mapped_column()
    level: Mapped[int] = mapped_column()
    """Urgency (``worklist.priority``)."""
    raised_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    shown_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When a page first showed it to somebody who may acknowledge it, and who that was."""
    shown_to: Mapped[str] = mapped_column(String(128), default="")
    acknowledged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    acknowledged_by: Mapped[str] = mapped_column(String(128), default="")
    step: Mapped[int] = mapped_column(default=0)
    """How often it has been escalated."""
    escalate_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    """When it goes further unless somebody acknowledges it; None: never."""
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    closed_why: Mapped[str] = mapped_column(String(32), default="")
    """``signed``, ``rejected``, ``raised-again`` (by a later revision) or ``not-found-again``."""


class UrgentEvent(Base):
    """What happened to an alert; rows are only ever added."""

    __tablename__ = "urgent_event"

    id: Mapped[int] = mapped_column(primary_key=True)
    alert_id: Mapped[str] = mapped_column(ForeignKey("urgent_alert.id"), index=True)
    kind: Mapped[str] = mapped_column(String(16))
    """``raised``, ``shown``, ``acknowledged``, ``escalated``, ``sent`` or ``closed``."""
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    actor: Mapped[str] = mapped_column(String(128))
    """The account, or ``system``."""
    detail: Mapped[str] = mapped_column(String(64), default="")
    """The channel it was sent by, the step it was escalated to, why it was closed."""


class UrgentMessage(Base):
    """One message about an alert by one channel to one recipient (empty for a webhook)."""

    __tablename__ = "urgent_message"
    __table_args__ = (
        UniqueConstraint("alert_id", "channel", "recipient"),
        Index("ix_urgent_message_waiting", "next_try_at", sqlite_where=_WAITING, postgresql_where=_WAITING),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    alert_id: Mapped[str] = mapped_column(ForeignKey("urgent_alert.id"))
    channel: Mapped[str] = mapped_column(String(32))
    recipient: Mapped[str] = mapped_column(String(128), default="")
    """Name of the account that is written to."""
    step: Mapped[int] = mapped_column(default=0)
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    """``waiting``, ``sent`` or ``cancelled``."""
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_error: Mapped[str] = mapped_column(Text, default="")
    """Why it waits or was cancelled, in our words: never what a server said."""
    sent_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

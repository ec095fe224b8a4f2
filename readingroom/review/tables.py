"""Verdicts: what people decided about findings. Append-only events, never changed."""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class VerdictRow(Base):
    """One decision. The newest verdict on a finding counts; ``add`` carries a whole finding in ``after``."""

    __tablename__ = "verdict"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    number: Mapped[int] = mapped_column(index=True)
    """Position in the study's sequence of verdicts, from 1."""
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    revision: Mapped[int] = mapped_column()
    reading_id: Mapped[str | None] = mapped_column(ForeignKey("reading.id"))
    """None for a finding a person added, ``no-further-findings`` and ``context``."""
    finding_id: Mapped[str] = mapped_column(String(64), default="", index=True)
    kind: Mapped[str] = mapped_column(String(24))
    """``accept``, ``edit``, ``reject``, ``add``, ``withdraw``, ``no-further-findings``, or ``context``:
    what tables ask about the patient, in ``after``."""
    actor: Mapped[str] = mapped_column(String(128))
    shown_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    decided_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    before: Mapped[dict[str, Any] | None] = mapped_column(Json)
    after: Mapped[dict[str, Any] | None] = mapped_column(Json)
    reason_code: Mapped[str] = mapped_column(String(32), default="")
    reason_text: Mapped[str] = mapped_column(Text, default="")
    reading_mode: Mapped[str] = mapped_column(String(16), default="concurrent")
    """``ai-first``, ``concurrent``, ``after-own-read``."""

"""The drift watch as kept: who is watched, its streams of numbers, their points, and how far has been looked.

Numbers about at least a point's readings together; no patient, no study.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class DriftWatch(Base):
    """A version of a reader on one kind of scanner (``measures.Watched``)."""

    __tablename__ = "drift_watch"
    __table_args__ = (UniqueConstraint("reader", "version", "manufacturer", "model", "kernel"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    reader: Mapped[str] = mapped_column(String(64))
    version: Mapped[str] = mapped_column(String(32))
    manufacturer: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(String(64))
    kernel: Mapped[str] = mapped_column(String(64))
    alert_id: Mapped[str | None] = mapped_column(String(32))
    """The newest alert raised about it (``access.tables.Alert``)."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class DriftStream(Base):
    """One measure of a watch: its baseline, what has come since the last point, and where it stands."""

    __tablename__ = "drift_stream"
    __table_args__ = (UniqueConstraint("watch_id", "measure"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    watch_id: Mapped[str] = mapped_column(ForeignKey("drift_watch.id"))
    measure: Mapped[str] = mapped_column(String(64))
    chart: Mapped[str] = mapped_column(String(8))
    """A ``charts.Chart``."""
    state: Mapped[str] = mapped_column(String(16), default="gathering")
    """A ``streams.State``."""
    baseline: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """``charts.Baseline`` once there is one."""
    baseline_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
    baseline_until: Mapped[datetime | None] = mapped_column(UtcDateTime)
    pending: Mapped[list[float]] = mapped_column(Json, default=list)
    """Values that wait until they are enough for the baseline, or for a point."""
    pending_from: Mapped[datetime | None] = mapped_column(UtcDateTime)
    level: Mapped[float | None] = mapped_column()
    """Statistic of the newest point on this baseline."""
    points: Mapped[int] = mapped_column(default=0)
    points_before: Mapped[int] = mapped_column(default=0)
    """Of those, how many were held against an earlier baseline."""
    in_control: Mapped[int] = mapped_column(default=0)
    """How many of the newest points, one after the other, are in control."""
    alarm_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    last_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DriftPoint(Base):
    """One point of a chart, with the limits it was held against. Append-only."""

    __tablename__ = "drift_point"
    __table_args__ = (UniqueConstraint("stream_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    stream_id: Mapped[str] = mapped_column(ForeignKey("drift_stream.id"))
    number: Mapped[int] = mapped_column()
    """Position in the stream, from 1; a new baseline goes on counting."""
    from_at: Mapped[datetime] = mapped_column(UtcDateTime)
    until_at: Mapped[datetime] = mapped_column(UtcDateTime)
    n: Mapped[int] = mapped_column()
    value: Mapped[float] = mapped_column()
    statistic: Mapped[float] = mapped_column()
    centre: Mapped[float] = mapped_column()
    lower: Mapped[float | None] = mapped_column()
    upper: Mapped[float | None] = mapped_column()
    out: Mapped[bool] = mapped_column()


class DriftRestart(Base):
    """Somebody said that a change is known and the baseline of a watch begins anew. Append-only."""

    __tablename__ = "drift_restart"

    id: Mapped[int] = mapped_column(primary_key=True)
    watch_id: Mapped[str] = mapped_column(ForeignKey("drift_watch.id"), index=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    actor: Mapped[str] = mapped_column(String(128))
    reason: Mapped[str] = mapped_column(Text)


class DriftCursor(Base):
    """How far one source of facts has been looked through."""

    __tablename__ = "drift_cursor"

    source: Mapped[str] = mapped_column(String(16), primary_key=True)
    """``readings``, ``reports``. Both rows are there from the first day, so that two workers wait for each other."""
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    ref: Mapped[str] = mapped_column(String(32))
    """Id of the last row looked at among those of that moment."""

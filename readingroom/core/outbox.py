"""The outbox: what a transaction on the index wants the workflow to do, written in that same transaction.

Two databases share no transaction. An outbox row either commits with the change it follows from or not at
all; the worker relays rows in order and the workflow engine drops a row it has already seen (same key).
"""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from sqlalchemy import String, select, update
from sqlalchemy.orm import Mapped, Session, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Database, Json, UtcDateTime
from readingroom.core.permissions import Permission, job


class OutboxRow(Base):
    """One thing to do. ``topic`` names the workflow, ``key`` makes it happen once, ``payload`` holds ids only."""

    __tablename__ = "outbox"

    id: Mapped[int] = mapped_column(primary_key=True)
    topic: Mapped[str] = mapped_column(String(64))
    key: Mapped[str] = mapped_column(String(200), unique=True)
    payload: Mapped[dict[str, Any]] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    relayed_at: Mapped[datetime | None] = mapped_column(UtcDateTime, index=True)


def emit(session: Session, topic: str, key: str, payload: dict[str, Any]) -> bool:
    """Add a row to the running transaction; a key that is already there adds nothing and returns False."""
    if session.scalar(select(OutboxRow.id).where(OutboxRow.key == key)) is not None:
        return False
    session.add(OutboxRow(topic=topic, key=key, payload=payload))
    return True


@job(Permission.WORKFLOW_RUN)
def relay(database: Database, hand_over: Callable[[str, str, dict[str, Any]], None], limit: int = 100) -> int:
    """Hand waiting rows over, oldest first, and mark each. Returns how many.

    ``hand_over(topic, key, payload)`` must be idempotent by key: a crash between it and the mark hands the row
    over again.
    """
    with database.read() as session:
        rows = session.scalars(
            select(OutboxRow).where(OutboxRow.relayed_at.is_(None)).order_by(OutboxRow.id).limit(limit)
        ).all()
    for row in rows:
        hand_over(row.topic, row.key, row.payload)
        with database.write() as session:
            session.execute(update(OutboxRow).where(OutboxRow.id == row.id).values(relayed_at=utc_now()))
    return len(rows)

"""Leases of workers: each says that it lives; the work of one that stopped saying so is taken over."""

from datetime import datetime

from sqlalchemy import String
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, UtcDateTime


class WorkerLease(Base):
    """One worker. ``executor_id`` is the name its workflows run under."""

    __tablename__ = "worker_lease"

    executor_id: Mapped[str] = mapped_column(String(128), primary_key=True)
    heartbeat_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)

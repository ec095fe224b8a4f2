"""Heartbeats of workers. The engine recovers a worker's own unfinished work when it starts again; a worker that never
comes back (another machine, gone) has its work taken over once its lease has run out.
"""

from datetime import timedelta

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from readingroom.core.clock import utc_now
from readingroom.workflow.tables import WorkerLease

HEARTBEAT_SECONDS = 5.0
LEASE_SECONDS = 60.0


def beat(session: Session, executor_id: str) -> None:
    """Say that this worker lives."""
    session.merge(WorkerLease(executor_id=executor_id, heartbeat_at=utc_now()))


def leave(session: Session, executor_id: str) -> None:
    """Run this worker's lease out now: it stops on purpose, so another may take its work over at once."""
    session.merge(WorkerLease(executor_id=executor_id, heartbeat_at=utc_now() - timedelta(seconds=LEASE_SECONDS)))


def expired(session: Session, executor_id: str) -> list[str]:
    """Return the other workers whose lease has run out."""
    limit = utc_now() - timedelta(seconds=LEASE_SECONDS)
    rows = select(WorkerLease.executor_id).where(
        WorkerLease.heartbeat_at <= limit, WorkerLease.executor_id != executor_id
    )
    return list(session.scalars(rows))


def forget(session: Session, executor_id: str) -> None:
    """Remove the lease of a worker whose work has been taken over."""
    session.execute(delete(WorkerLease).where(WorkerLease.executor_id == executor_id))

"""Leases of workers: who lives, who is gone, who left on purpose."""

from datetime import timedelta

from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.workflow import leases
from readingroom.workflow.tables import WorkerLease


def test_a_lease_runs_out_and_is_taken_over_once(database: Database) -> None:
    with database.write() as session:
        leases.beat(session, "me")
        leases.beat(session, "other")
        leases.beat(session, "other")
        assert leases.expired(session, "me") == []
    with database.write() as session:
        session.get_one(WorkerLease, "other").heartbeat_at = utc_now() - timedelta(seconds=leases.LEASE_SECONDS + 1)
        session.get_one(WorkerLease, "me").heartbeat_at = utc_now() - timedelta(hours=1)
    with database.write() as session:
        assert leases.expired(session, "me") == ["other"], "never oneself"
        leases.forget(session, "other")
        assert leases.expired(session, "me") == []


def test_who_leaves_on_purpose_is_taken_over_at_once(database: Database) -> None:
    with database.write() as session:
        leases.beat(session, "other")
        leases.leave(session, "other")
    with database.read() as session:
        assert leases.expired(session, "me") == ["other"]

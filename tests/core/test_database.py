"""The index database on both engines: append-only tables, outbox once per key, UTC times."""

import pytest
from sqlalchemy import delete, select, text, update
from sqlalchemy.exc import DBAPIError

from readingroom.core.audit import AuditCode, AuditEvent, record
from readingroom.core.database import Database
from readingroom.core.outbox import OutboxRow, emit, relay


def test_audit_events_cannot_be_changed_or_deleted(database: Database) -> None:
    with database.write() as session:
        record(session, AuditCode.QUERY, "query", "alice")
    for statement in (update(AuditEvent).values(actor="mallory"), delete(AuditEvent)):
        with pytest.raises(DBAPIError), database.write() as session:
            session.execute(statement)
    with database.read() as session:
        event = session.scalars(select(AuditEvent)).one()
    assert event.actor == "alice"
    assert event.at.tzinfo is not None


def test_outbox_hands_each_key_over_once_and_again_after_a_crash(database: Database) -> None:
    with database.write() as session:
        assert emit(session, "topic", "key-1", {"n": 1})
        assert not emit(session, "topic", "key-1", {"n": 2})
    seen: list[tuple[str, object]] = []

    def crash(topic: str, key: str, payload: dict[str, object]) -> None:
        raise RuntimeError("killed between hand-over and mark")

    with pytest.raises(RuntimeError):
        relay(database, crash)
    assert relay(database, lambda topic, key, payload: seen.append((key, payload["n"]))) == 1
    assert relay(database, lambda topic, key, payload: seen.append((key, payload["n"]))) == 0
    assert seen == [("key-1", 1)]


def test_outbox_row_goes_with_its_transaction(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as session:
        emit(session, "topic", "key-2", {})
        raise ZeroDivisionError
    with database.read() as session:
        assert session.scalars(select(OutboxRow)).all() == []


def test_sqlite_is_in_wal_with_full_sync(sqlite_database: Database) -> None:
    with sqlite_database.read() as session:
        assert session.scalar(text("PRAGMA journal_mode")) == "wal"
        assert session.scalar(text("PRAGMA synchronous")) == 2
        assert session.scalar(text("PRAGMA foreign_keys")) == 1


def test_database_errors_do_not_quote_values(sqlite_database: Database) -> None:
    with pytest.raises(DBAPIError) as error, sqlite_database.write() as session:
        session.execute(text("INSERT INTO patient (PatientName) VALUES (:name)"), {"name": "Planted^Name"})
    assert "Planted" not in str(error.value)

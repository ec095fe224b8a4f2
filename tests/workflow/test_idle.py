"""What the worker asks all the time while nothing happens is answered by index, however many studies there are."""

import re
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import event, insert
from sqlalchemy.orm import Session

from readingroom.archive.revisions import due_studies, receiving_since
from readingroom.archive.tables import Patient, Study
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.outbox import OutboxRow, relay
from readingroom.workflow.revise import is_settled, settle_held
from readingroom.worklist.tables import Task

STUDIES = 2_000
# SQLite calls an index that it walks a scan too.
_WALK = re.compile(r"(SCAN|Seq Scan on) (study|task|outbox)\b(?!.*INDEX)")


@pytest.fixture
def full(database: Database) -> Database:
    """An index of studies that have all been read; one more is held, with its task, and one has not been revised."""
    moment = utc_now() - timedelta(days=1)
    read = {"held": "", "changed": 5, "revised_changed": 5, "state": "read", "last_received_at": moment}
    rows = [{"id": str(n), "StudyInstanceUID": f"1.{n}", "patient_pk": 1, **read} for n in range(STUDIES)]
    rows[7]["held"], rows[8]["changed"] = "two patients", 6
    with database.write() as session:
        session.add(Patient(id=1, PatientID="ONE"))
        session.flush()
        session.execute(insert(Study), rows)
        told = [{"topic": "x", "key": str(n), "payload": {}, "relayed_at": moment} for n in range(STUDIES)]
        session.execute(insert(OutboxRow), told)
        done = [
            {"key": str(n), "study_id": str(n), "kind": "late-images", "text": "", "done_at": moment}
            for n in range(STUDIES)
        ]
        session.execute(insert(Task), done)
        assert settle_held(session) == 1
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE")
    return database


def plans(database: Database, look: Callable[[Database], Any]) -> list[str]:
    """Return how the database means to answer each thing that ``look`` asks."""
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if statement.startswith("SELECT"):
            asked.append((statement, parameters))

    event.listen(database.engine, "before_cursor_execute", note)
    look(database)
    event.remove(database.engine, "before_cursor_execute", note)
    explain = "EXPLAIN QUERY PLAN " if database.engine.dialect.name == "sqlite" else "EXPLAIN "
    found = []
    with database.engine.connect() as connection:
        for statement, parameters in asked:
            rows = connection.exec_driver_sql(explain + statement, parameters).all()
            found.append("\n".join(str(row[-1]) for row in rows))
    assert found
    return found


def reading(ask: Callable[[Session], Any]) -> Callable[[Database], None]:
    def look(database: Database) -> None:
        with database.read() as session:
            ask(session)

    return look


@pytest.mark.parametrize(
    "look",
    [
        reading(lambda session: due_studies(session, utc_now(), 10)),
        reading(lambda session: receiving_since(session, utc_now() - timedelta(seconds=5))),
        reading(is_settled),
        lambda database: relay(database, lambda *_: None),
    ],
    ids=["due", "receiving", "held", "outbox"],
)
def test_asked_all_the_time_answered_by_index(full: Database, look: Callable[[Database], Any]) -> None:
    walked = [line for plan in plans(full, look) for line in plan.splitlines() if _WALK.search(line)]
    assert walked == []


def test_the_answers_are_right(full: Database) -> None:
    with full.write() as session:
        assert due_studies(session, utc_now(), 10) == ["8"]
        assert not receiving_since(session, utc_now() - timedelta(seconds=5))
        session.get_one(Study, "8").last_received_at = utc_now()
        session.flush()
        assert due_studies(session, utc_now(), 10) == []
        assert receiving_since(session, utc_now() - timedelta(seconds=5))
        assert is_settled(session)
        session.get_one(Study, "9").held = "two patients"
        session.flush()
        assert not is_settled(session)
        assert settle_held(session) == 1
        assert is_settled(session)
        session.get_one(Study, "7").held = ""
        session.flush()
        assert not is_settled(session)
        settle_held(session)
        assert is_settled(session)

"""The worklist: what it lists, in which order, and in how many queries."""

from datetime import timedelta

import pytest
from sqlalchemy import event

from readingroom.access.actor import SYSTEM
from readingroom.archive.tables import Instance, Patient, Series, Study, StudyRevision
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.review.decisions import finding_counts, verdict_count
from readingroom.review.tables import VerdictRow
from readingroom.worklist import items, tasks


def add_study(
    database: Database,
    name: str,
    *,
    hours: float = 0.0,
    priority: int = 0,
    probability: float | None = None,
    report: str = "",
    held: str = "",
) -> str:
    """A study with one image and one reading, received ``hours`` ago."""
    received = utc_now() - timedelta(hours=hours)
    with database.write() as session:
        patient = Patient(PatientID=f"ID-{name}", PatientName=f"{name}^Test")
        session.add(patient)
        session.flush()
        study = Study(
            patient_pk=patient.id, StudyInstanceUID=f"1.2.{abs(hash(name))}", priority=priority, created_at=received,
            last_received_at=received, revision=1, state="read", held=held, AccessionNumber=f"A-{name}",
        )  # fmt: skip
        session.add(study)
        session.flush()
        series = Series(study_id=study.id, SeriesInstanceUID=f"1.3.{abs(hash(name))}", Modality="CT")
        session.add(series)
        session.flush()
        session.add(
            Instance(
                series_pk=series.id, patient_pk=patient.id, SOPInstanceUID=f"1.4.{abs(hash(name))}", SOPClassUID="1.2",
                TransferSyntaxUID="1.2", store_key="k", size=1, dataset_sha256="0" * 64,
            )
        )  # fmt: skip
        session.add(StudyRevision(study_id=study.id, number=1, digest="0" * 64, instances=[]))
        summary = {"findings": ["f"], "top_probability": probability, "triage": 0, "reason": "tiny: Nodule"}
        session.add(
            ReadingRow(
                study_id=study.id, revision=1, reader="tiny", version="1",
                state="found" if probability else "read-nothing-found", summary=summary if probability else None,
            )
        )  # fmt: skip
        if report:
            session.add(ReportRow(study_id=study.id, revision=1, state=report, body={}))
        return study.id


def listed(database: Database, **query: object) -> list[str]:
    with database.read() as session:
        page = items.worklist(session, SYSTEM, finding_counts, verdict_count, **query)  # type: ignore[arg-type]
    return [item.patient.PatientName.split("^")[0] for item in page.items]


def test_most_urgent_first(database: Database) -> None:
    add_study(database, "Routine", hours=1)
    add_study(database, "Found", probability=0.9)
    add_study(database, "Stat", priority=2)
    add_study(database, "Forgotten", hours=100)
    assert listed(database) == ["Forgotten", "Stat", "Found", "Routine"]
    assert listed(database, offset=1, limit=2) == ["Stat", "Found"]


def test_status_and_search(database: Database) -> None:
    signed = add_study(database, "Signed", report="final")
    add_study(database, "Held", held="two patients")
    add_study(database, "Open_100%")
    assert listed(database) == ["Open_100%"]
    assert listed(database, status="signed") == ["Signed"]
    assert listed(database, status="held") == ["Held"]
    assert len(listed(database, status="all")) == 3
    assert listed(database, status="all", q="signed^") == ["Signed"]
    assert listed(database, status="all", q="A-Held") == ["Held"]
    assert listed(database, q="%") == ["Open_100%"]
    assert listed(database, status="all", q="'; DROP TABLE study; --") == []
    with database.write() as session:
        assert tasks.raise_task(session, "late", signed, "late-images", "1 image came late.")
        assert not tasks.raise_task(session, "late", signed, "late-images", "1 image came late.")
    assert sorted(listed(database)) == ["Open_100%", "Signed"]


def test_tasks_are_ticked_off_once(database: Database) -> None:
    study_id = add_study(database, "Task")
    with database.write() as session:
        tasks.raise_task(session, "k", study_id, "late-images", "Text.")
        (task,) = tasks.open_tasks(session, study_id)
    with database.write() as session:
        with pytest.raises(NotFound):
            tasks.done(session, "another-study", task.id, "rada")
        tasks.done(session, study_id, task.id, "rada")
        tasks.done(session, study_id, task.id, "somebody else")
    with database.read() as session:
        assert tasks.open_tasks(session, study_id) == []
        assert session.get_one(type(task), task.id).done_by == "rada"


def test_as_many_queries_for_many_studies_as_for_one(sqlite_database: Database) -> None:
    counts: list[int] = []
    seen: list[str] = []
    event.listen(sqlite_database.engine, "before_cursor_execute", lambda _c, _cur, text, *_: seen.append(text))
    for number in (1, 20):
        for n in range(number):
            add_study(sqlite_database, f"S{number}-{n}", probability=0.5)
        before = len(seen)
        listed(sqlite_database)
        counts.append(len(seen) - before)
    assert counts[0] == counts[1] < 24


def test_etag_changes_with_what_is_shown(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    now = utc_now()
    monkeypatch.setattr(items, "utc_now", lambda: now)
    study_id = add_study(database, "One")

    def tag(**query: object) -> str:
        with database.read() as session:
            return items.etag(session, SYSTEM, verdict_count, **query)  # type: ignore[arg-type]

    first = tag()
    assert tag() == first != tag(q="x")
    with database.write() as session:
        session.query(ReadingRow).update({"progress": 0.5})
    second = tag()
    with database.write() as session:
        tasks.raise_task(session, "k", study_id, "late-images", "Text.")
    third = tag()
    with database.write() as session:
        session.add(VerdictRow(number=1, study_id=study_id, revision=1, finding_id="f", kind="reject", actor="rada"))
    assert len({first, second, third, tag()}) == 4

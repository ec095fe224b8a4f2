"""A report's life in the index, on both databases: drafted, saved, signed once with every check, added to."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from readingroom.archive.tables import Patient, Study
from readingroom.core.audit import AuditEvent
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, NotFound, ReadingRoomError
from readingroom.core.outbox import OutboxRow
from readingroom.findings.codes import code
from readingroom.findings.model import Finding, PatientPlace, ReaderState
from readingroom.objects.content import Person, ReaderRun, StudyHeader
from readingroom.report import service
from readingroom.report.model import Flag, ReportFinding, ReportInputs
from readingroom.report.tables import ReportRow

SECRET = "PAT-SECRET-77"
ACCESSION = "ACC-SECRET-9"
RUN = ReaderRun(reader="lung-nodule", version="1.0", state=ReaderState.FOUND)
AT = datetime(2026, 3, 4, 5, 6, 7, tzinfo=UTC)


def make_study(database: Database, **values: object) -> str:
    with database.write() as session:
        patient = Patient(PatientID=SECRET, PatientName="Secret^Person")
        session.add(patient)
        session.flush()
        study = Study(
            patient_pk=patient.id, StudyInstanceUID="1.2.3", AccessionNumber=ACCESSION, **{"revision": 1, **values}
        )
        session.add(study)
        session.flush()
        return study.id


def finding(name: str = "f1") -> ReportFinding:
    place = PatientPlace(frame_of_reference_uid="1.2.3.4", position_lps_mm=(1, 2, 3))
    return ReportFinding(
        finding=Finding(id=name, code=code("nodule"), place=place, probability=0.9), decision="accepted", run=RUN
    )


def inputs(*findings: ReportFinding, **values: object) -> ReportInputs:
    header = StudyHeader(PatientID=SECRET, PatientName="Secret^Person", AccessionNumber=ACCESSION)
    return ReportInputs(**{"revision": 1, "header": header, "findings": findings, "readers": (RUN,), **values})


def sign(database: Database, study_id: str, given: ReportInputs, flags: tuple[Flag, ...] = (), **values: object) -> str:
    call = {
        "etag": 1,
        "revision": 1,
        "patient_id": SECRET,
        "accession_number": ACCESSION,
        "acknowledged": (),
        "actor": "ada",
        "signer": Person(name="Dr. Ada", role="radiologist"),
        "at": AT,
        **values,
    }
    with database.write() as session:
        return service.sign(session, study_id=study_id, inputs=given, flags=flags, **call).id  # type: ignore[arg-type]


def test_signing_freezes_emits_once_and_is_audited(database: Database) -> None:
    study_id = make_study(database)
    given = inputs(finding())
    with database.write() as session:
        service.get_or_draft(session, study_id, given)
    report_id = sign(database, study_id, given)
    with database.read() as session:
        row = service.find(session, study_id)
        assert row is not None
        assert (row.state, row.signed_by, row.signed_at) == ("final", "ada", AT)
        body = service.body_of(row)
        assert body.signature is not None
        assert body.signature.name == "Dr. Ada"
        assert body.findings == given.findings
        outbox = session.scalars(select(OutboxRow)).all()
        assert [(o.topic, o.key, o.payload) for o in outbox] == [
            ("report.signed", f"report-{report_id}", {"report_id": report_id, "study_id": study_id})
        ]
        events = session.scalars(select(AuditEvent).where(AuditEvent.action == "report.sign")).all()
        assert [event.actor for event in events] == ["ada"]
        assert SECRET not in str(events[0].detail)
    with pytest.raises(Conflict, match="signed"):
        sign(database, study_id, given, etag=2)
    with database.write() as session, pytest.raises(Conflict):
        service.save(session, study_id, etag=2, sections={"impression": "x"}, actor="ada")
    with database.write() as session, pytest.raises(Conflict):
        service.redraft(session, study_id, given, "ada")
    with database.write() as session:
        # What the verdicts become afterwards no longer reaches a signed report.
        row = service.get_or_draft(session, study_id, inputs())
        assert service.body_of(row).findings == given.findings
    # Nor does anything that goes past the service: the database refuses it. Only what was written may be noted.
    for change in ({"body": {}}, {"state": "draft"}, {"signed_by": "eve"}, {"revision": 9}):
        with pytest.raises(DBAPIError), database.write() as session:
            session.execute(update(ReportRow).where(ReportRow.id == report_id).values(**change))
    with pytest.raises(DBAPIError), database.write() as session:
        session.execute(delete(ReportRow).where(ReportRow.id == report_id))
    with database.write() as session:
        written = update(ReportRow).where(ReportRow.id == report_id)
        session.execute(written.values(state="written", objects={"sr": "1.2"}))


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"etag": 7}, "changed meanwhile"),
        ({"revision": 2}, "current revision"),
        ({"patient_id": "OTHER"}, "patient identifier"),
        ({"patient_id": ""}, "patient identifier"),
        ({"accession_number": "OTHER"}, "accession number"),
        ({"flags": (Flag(code="held-x", text="t", blocks_signing=True),), "acknowledged": ("held-x",)}, "blocks"),
        ({"flags": (Flag(code="undecided", text="t", needs_acknowledgement=True),)}, "undecided is not acknow"),
    ],
)
def test_signing_refuses_and_names_what_differs(database: Database, values: dict, named: str) -> None:
    study_id = make_study(database)
    given = inputs(finding())
    with database.write() as session:
        service.get_or_draft(session, study_id, given)
    with pytest.raises(Conflict, match=named) as caught:
        sign(database, study_id, given, **values)
    assert SECRET not in str(caught.value)
    assert ACCESSION not in str(caught.value)
    with database.read() as session:
        row = service.find(session, study_id)
        assert row is not None
        assert row.state == "draft"
        assert session.scalar(select(OutboxRow.id)) is None


def test_signing_refuses_a_held_study_and_a_new_revision(database: Database) -> None:
    study_id = make_study(database)
    given = inputs()
    with database.write() as session:
        service.get_or_draft(session, study_id, given)
    with database.write() as session:
        study = session.get(Study, study_id)
        assert study is not None
        study.held = "Two patients."
    with pytest.raises(Conflict, match="held"):
        sign(database, study_id, given)
    with database.write() as session:
        study = session.get(Study, study_id)
        assert study is not None
        study.held, study.revision = "", 2
    with pytest.raises(Conflict, match="current revision"):
        sign(database, study_id, given)


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"findings": ()}, "accepted findings"),
        ({"readers": ()}, "state of a reader"),
        ({"partial": "3 images missing."}, "partial"),
        ({"header": StudyHeader(PatientID=SECRET, PatientName="Corrected")}, "header"),
    ],
)
def test_signing_refuses_a_draft_older_than_the_study(database: Database, values: dict, named: str) -> None:
    study_id = make_study(database)
    given = inputs(finding())
    with database.write() as session:
        service.get_or_draft(session, study_id, given)
    with pytest.raises(Conflict, match=named) as caught:
        sign(database, study_id, given.model_copy(update=values))
    assert "Corrected" not in str(caught.value)


def test_an_acknowledged_flag_is_kept_with_the_signature(database: Database) -> None:
    study_id = make_study(database)
    flag = Flag(code="undecided", text="1 finding nobody has judged.", needs_acknowledgement=True)
    with database.write() as session:
        service.get_or_draft(session, study_id, inputs())
    sign(database, study_id, inputs(), (flag,), acknowledged=("undecided", "unknown"))
    with database.read() as session:
        row = service.find(session, study_id)
        assert row is not None
        assert service.present(session, row).flags == (flag,)


def test_a_draft_follows_verdicts_and_keeps_edited_text(database: Database) -> None:
    study_id = make_study(database)
    with database.write() as session:
        row = service.get_or_draft(session, study_id, inputs())
        assert row.etag == 1
        assert "No findings accepted." in service.body_of(row).sections.findings
    with database.write() as session:
        row = service.save(session, study_id, etag=1, sections={"impression": "My words\x00\ud800"}, actor="ada")
        assert row.etag == 2
        assert service.body_of(row).sections.impression == "My words"
    with database.write() as session:
        assert service.get_or_draft(session, study_id, inputs()).etag == 2
    with database.write() as session:
        row = service.get_or_draft(session, study_id, inputs(finding()))
        body = service.body_of(row)
        assert row.etag == 3
        assert body.sections.impression == "My words"
        assert "Nodule" in body.sections.findings
        assert body.outdated == ("impression",)
    with pytest.raises(Conflict, match="text-outdated"):
        sign(database, study_id, inputs(finding()), etag=3)
    with database.write() as session:
        row = service.save(session, study_id, etag=3, sections={"impression": "Nodule, my words"}, actor="ada")
        assert service.body_of(row).outdated == ()
    sign(database, study_id, inputs(finding()), etag=4)


def test_saving_refuses_an_older_etag_and_unknown_sections(database: Database) -> None:
    study_id = make_study(database)
    with database.write() as session, pytest.raises(NotFound):
        service.save(session, study_id, etag=1, sections={}, actor="ada")
    with database.write() as session:
        service.get_or_draft(session, study_id, inputs())
    with database.write() as session:
        service.save(session, study_id, etag=1, sections={"findings": "one"}, actor="ada")
    with database.write() as session, pytest.raises(Conflict, match="meanwhile"):
        service.save(session, study_id, etag=1, sections={"findings": "two"}, actor="bob")
    with database.write() as session, pytest.raises(BadInput):
        service.save(session, study_id, etag=2, sections={"signature": "x"}, actor="ada")
    with database.read() as session:
        row = service.find(session, study_id)
        assert row is not None
        assert service.body_of(row).sections.findings == "one"


def test_addenda_belong_to_signed_reports_and_are_numbered(database: Database) -> None:
    study_id = make_study(database)
    with database.write() as session:
        service.get_or_draft(session, study_id, inputs())
    with database.write() as session, pytest.raises(Conflict):
        service.add_addendum(session, study_id, "x", author="Dr. Ada", actor="ada")
    sign(database, study_id, inputs())
    for text in ("first", "second"):
        with database.write() as session:
            service.add_addendum(session, study_id, text, author="Dr. Ada", actor="ada")
    with database.write() as session, pytest.raises(BadInput):
        service.add_addendum(session, study_id, " \x00 ", author="Dr. Ada", actor="ada")
    with database.read() as session:
        row = service.find(session, study_id)
        assert row is not None
        shown = service.present(session, row)
        assert [(one.number, one.text) for one in shown.addenda] == [(1, "first"), (2, "second")]
        assert shown.signed_by == "Dr. Ada"


def at_once(work: Callable[[int], object], times: int = 4) -> list[object]:
    """Run ``work`` in threads that start together; return results and errors."""
    barrier = threading.Barrier(times)

    def run(number: int) -> object:
        barrier.wait()
        try:
            return work(number)
        except ReadingRoomError as error:
            return error

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(run, range(times)))


def test_drafted_and_signed_by_several_at_once_is_one_report_signed_once(database: Database) -> None:
    study_id = make_study(database)
    given = inputs(finding())

    def open_it(_number: int) -> str:
        with database.write() as session:
            return service.get_or_draft(session, study_id, given).id

    assert len(set(at_once(open_it))) == 1
    results = at_once(lambda number: sign(database, study_id, given, actor=f"actor {number}"))
    assert sum(isinstance(result, Conflict) for result in results) == 3
    with database.read() as session:
        assert len(session.scalars(select(OutboxRow)).all()) == 1
        assert len(session.scalars(select(AuditEvent).where(AuditEvent.action == "report.sign")).all()) == 1

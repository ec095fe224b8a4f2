"""Studies with an urgent finding, as the workflow would leave them: for tests of alerts."""

from collections.abc import Sequence
from datetime import datetime

from readingroom.archive.tables import Patient, Study, StudyRevision
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.ids import new_id
from readingroom.core.urgent_channels import Urgent
from readingroom.findings.model import Code, Finding, ReaderState, Reading, StudyPlace
from readingroom.readers.tables import ReadingRow
from readingroom.workflow.read_step import summary_of
from readingroom.worklist.urgent.raising import raise_urgent
from readingroom.worklist.urgent.tables import UrgentAlert

BLEED = Code(value="1386000", scheme="SCT", meaning="Intracranial hemorrhage")
CLOT = Code(value="59282003", scheme="SCT", meaning="Pulmonary embolism")
NODULE = Code(value="27925004", scheme="SCT", meaning="Nodule")
PLANTED = "Plantagenet"


def finding(code: Code = BLEED, probability: float | None = 0.91, name: str = "f1") -> Finding:
    return Finding(id=name, code=code, place=StudyPlace(), probability=probability)


def add_study(database: Database, *, received_at: datetime | None = None, project: int | None = None) -> str:
    """A study of a planted patient with its first revision."""
    with database.write() as session:
        patient = Patient(PatientID=f"PLANTED-{new_id()[:8]}", PatientName=f"{PLANTED}^Quilla")
        session.add(patient)
        session.flush()
        study = Study(
            patient_pk=patient.id, StudyInstanceUID=f"1.2.{int(new_id()[:12], 16)}", revision=1, state="read",
            StudyDescription="CT head", created_at=received_at or utc_now(), last_received_at=utc_now(),
        )  # fmt: skip
        if project is not None:
            study.project_id = project
        session.add(study)
        session.flush()
        session.add(StudyRevision(study_id=study.id, number=1, digest="0" * 64, instances=[]))
        return study.id


def read(
    database: Database,
    study_id: str,
    findings: Sequence[Finding] = (),
    *,
    revision: int = 1,
    state: ReaderState | None = None,
    reader: str = "tiny",
    settings: Urgent | None = None,
    operating_point: float | None = 0.5,
) -> str:
    """Keep a reading and raise what it asks for, as the workflow's step does; return the reading's id."""
    ended = state or (ReaderState.FOUND if findings else ReaderState.NOTHING_FOUND)
    said = Reading(reader=reader, version="1", state=ended, findings=tuple(findings), operating_point=operating_point)
    with database.write() as session:
        session.get_one(Study, study_id).revision = revision
        row = ReadingRow(
            study_id=study_id, revision=revision, reader=reader, version="1", card_title="Tiny", state=ended,
            body=said.model_dump(mode="json"), summary=summary_of(said), finished_at=utc_now(),
        )  # fmt: skip
        session.add(row)
        session.flush()
        raise_urgent(session, settings or Urgent(), row, said)
        return row.id


def alerts(database: Database, study_id: str) -> list[UrgentAlert]:
    """The study's alerts, oldest first."""
    with database.read() as session:
        rows = session.query(UrgentAlert).filter_by(study_id=study_id).order_by(UrgentAlert.raised_at, UrgentAlert.id)
        return list(rows)

"""What the events of the audit are about: the log holds our own keys only, and this finds what they stand for."""

from collections.abc import Collection, Sequence

from sqlalchemy import ColumnElement, or_, select
from sqlalchemy.orm import Session

from readingroom.access.audit.message import Subject
from readingroom.archive.tables import Patient, Study
from readingroom.core.audit import AuditEvent


def subjects(session: Session, events: Sequence[AuditEvent]) -> dict[int, Subject]:
    """Return, by the events' numbers, the study and the patient of each that has one."""
    of_study = {
        study.id: _subject(study.StudyInstanceUID, study.patient)
        for study in session.scalars(select(Study).where(Study.id.in_({e.study_id for e in events if e.study_id})))
    }
    of_patient = {
        patient.id: _subject("", patient)
        for patient in session.scalars(
            select(Patient).where(Patient.id.in_({e.patient_id for e in events if e.patient_id}))
        )
    }
    found = {}
    for event in events:
        subject = of_study.get(event.study_id or "") or of_patient.get(event.patient_id or 0)
        if subject is not None:
            found[event.id] = subject
    return found


def about_patients(keys: Collection[int]) -> ColumnElement[bool]:
    """Return the condition of the events that are about these patients or one of their studies."""
    studies = select(Study.id).where(Study.patient_pk.in_(keys))
    return or_(AuditEvent.study_id.in_(studies), AuditEvent.patient_id.in_(keys))


def _subject(uid: str, patient: Patient) -> Subject:
    return Subject(uid, patient.PatientID, patient.IssuerOfPatientID, patient.id)

"""Whose study it is. A patient is (PatientID, IssuerOfPatientID); a study whose images name two is held: nothing is
read or delivered until all of them agree again.
"""

import hashlib
from typing import Literal

from sqlalchemy import Connection, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from readingroom.archive.header_scan import Header
from readingroom.archive.tables import Instance, Patient, Series, Study
from readingroom.core.errors import BadInput

TWO_PATIENTS = "Its images name two patients. Correct or reject the wrong ones; it is then released by itself."


def patient_key(header: Header, study_id: str) -> tuple[str, str, str]:
    """Return (PatientID, IssuerOfPatientID, own study): without a PatientID the patient belongs to the one study."""
    PatientID = header.values.get("PatientID", "")
    if not PatientID:
        return "", "", study_id
    return _fitting(PatientID, 64), _fitting(header.values.get("IssuerOfPatientID", ""), 128), ""


def _fitting(text: str, length: int) -> str:
    """Return ``text`` cut to a column's length; what is cut off goes into a digest, or two patients became one."""
    if len(text) <= length:
        return text
    return f"{text[: length - 25]}#{hashlib.sha256(text.encode()).hexdigest()[:24]}"


def find_patient(session: Session, PatientID: str, IssuerOfPatientID: str) -> Patient | None:
    """Return the patient of that identifier, if any image or message has named them."""
    return session.scalar(
        select(Patient).where(
            Patient.PatientID == PatientID, Patient.IssuerOfPatientID == IssuerOfPatientID, Patient.own_study == ""
        )
    )


def enter_patient(session: Session, PatientID: str, IssuerOfPatientID: str) -> Patient:
    """Return the patient of that identifier, entered now where no image has come yet. Raises BadInput without one."""
    if not PatientID:
        raise BadInput("A patient is known by a PatientID.", "Send one.")
    found = find_patient(session, PatientID, IssuerOfPatientID)
    if found is not None:
        return found
    try:
        with session.begin_nested():
            found = Patient(PatientID=PatientID, IssuerOfPatientID=IssuerOfPatientID)
            session.add(found)
    except IntegrityError:
        # Somebody else entered them at the same moment.
        found = find_patient(session, PatientID, IssuerOfPatientID)
        assert found is not None
    return found


def settle(connection: Connection, study_id: str) -> Literal["same", "held", "released", "moved"]:
    """Hold, release or move the study, as the patients its visible images name say."""
    patients = connection.scalars(
        select(Instance.patient_pk)
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_id == study_id, Instance.origin == "received", Instance.hidden == "")
        .distinct()
        .limit(2)
    ).all()
    study = connection.execute(select(Study.patient_pk, Study.held).where(Study.id == study_id)).one()
    if len(patients) > 1:
        if study.held:
            return "same"
        connection.execute(update(Study).where(Study.id == study_id).values(held=TWO_PATIENTS))
        return "held"
    moved = len(patients) == 1 and patients[0] != study.patient_pk
    if moved:
        connection.execute(update(Study).where(Study.id == study_id).values(patient_pk=patients[0]))
    if study.held == TWO_PATIENTS:
        connection.execute(update(Study).where(Study.id == study_id).values(held=""))
        return "released"
    return "moved" if moved else "same"

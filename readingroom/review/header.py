"""The study header a report carries, from the index: corrections of a name or number are seen in it at once."""

from readingroom.archive.tables import Study
from readingroom.objects.content import StudyHeader
from readingroom.objects.source import tidy_header


def header_of_study(study: Study) -> StudyHeader:
    """Return who and what the study is about, as the index has it now, each value valid for its VR."""
    patient = study.patient
    return tidy_header(
        StudyHeader(
            PatientName=patient.PatientName,
            PatientID=patient.PatientID,
            IssuerOfPatientID=patient.IssuerOfPatientID,
            PatientBirthDate=patient.PatientBirthDate,
            PatientSex=patient.PatientSex,
            AccessionNumber=study.AccessionNumber,
            StudyInstanceUID=study.StudyInstanceUID,
            StudyID=study.StudyID,
            StudyDate=study.StudyDate,
            StudyTime=study.StudyTime,
            StudyDescription=study.StudyDescription,
            ReferringPhysicianName=study.ReferringPhysicianName,
        )
    )

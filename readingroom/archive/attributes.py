"""The attributes QIDO-RS can match and return: one table, from DICOM keyword to column."""

from dataclasses import dataclass
from typing import Any, Literal

from pydicom.datadict import keyword_for_tag, tag_for_keyword

from readingroom.archive.tables import Instance, Patient, Series, Study

# Tables rather than mapped classes: conditions on them are built several times faster.
PATIENT, STUDY = Patient.__table__.c, Study.__table__.c
SERIES, INSTANCE = Series.__table__.c, Instance.__table__.c

Level = Literal["study", "series", "instance"]
Kind = Literal["uid", "text", "name", "date", "time", "integer"]


@dataclass(frozen=True)
class Attribute:
    """One indexed attribute. ``kind``: how it is matched (PS3.4 C.2.2.2)."""

    keyword: str
    tag: str
    vr: str
    level: Level
    kind: Kind
    column: Any


def _attribute(column: Any, vr: str, level: Level, kind: Kind) -> Attribute:
    return Attribute(column.key, f"{tag_for_keyword(column.key):08X}", vr, level, kind, column)


_ALL = (
    _attribute(STUDY.StudyDate, "DA", "study", "date"),
    _attribute(STUDY.StudyTime, "TM", "study", "time"),
    _attribute(STUDY.AccessionNumber, "SH", "study", "text"),
    _attribute(STUDY.ReferringPhysicianName, "PN", "study", "name"),
    _attribute(STUDY.StudyDescription, "LO", "study", "text"),
    _attribute(PATIENT.PatientName, "PN", "study", "name"),
    _attribute(PATIENT.PatientID, "LO", "study", "text"),
    _attribute(PATIENT.IssuerOfPatientID, "LO", "study", "text"),
    _attribute(PATIENT.PatientBirthDate, "DA", "study", "date"),
    _attribute(PATIENT.PatientSex, "CS", "study", "text"),
    _attribute(STUDY.StudyInstanceUID, "UI", "study", "uid"),
    _attribute(STUDY.StudyID, "SH", "study", "text"),
    _attribute(SERIES.Modality, "CS", "series", "text"),
    _attribute(SERIES.SeriesDescription, "LO", "series", "text"),
    _attribute(SERIES.BodyPartExamined, "CS", "series", "text"),
    _attribute(SERIES.SeriesInstanceUID, "UI", "series", "uid"),
    _attribute(SERIES.SeriesNumber, "IS", "series", "integer"),
    _attribute(INSTANCE.SOPClassUID, "UI", "instance", "uid"),
    _attribute(INSTANCE.SOPInstanceUID, "UI", "instance", "uid"),
    _attribute(INSTANCE.InstanceNumber, "IS", "instance", "integer"),
    _attribute(INSTANCE.NumberOfFrames, "IS", "instance", "integer"),
    _attribute(INSTANCE.Rows, "US", "instance", "integer"),
    _attribute(INSTANCE.Columns, "US", "instance", "integer"),
)

ATTRIBUTES: dict[str, Attribute] = {attribute.keyword: attribute for attribute in _ALL}
MODALITIES_IN_STUDY = "ModalitiesInStudy"
ORDER: dict[Level, int] = {"study": 0, "series": 1, "instance": 2}


def keyword_of(name: str) -> str:
    """Return the keyword of an attribute named by keyword or by eight hex digits; the name itself where unknown."""
    if len(name) == 8:
        try:
            return keyword_for_tag(int(name, 16)) or name.upper()
        except ValueError:
            return name
    return name

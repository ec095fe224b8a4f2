"""What the norms say of the measures that came with a study, all regions of them: the reader's own reading holds few.

Only where the reader ``alzheimer`` has read the study as it is now: consent and what is live were asked then.
"""

from functools import cache

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.archive.revisions import revision_files
from readingroom.archive.store import Store
from readingroom.archive.tables import Study
from readingroom.core.errors import NotFound
from readingroom.findings.model import ReaderState
from readingroom.intake.age import age_years
from readingroom.intake.measured import measures_in
from readingroom.readers.alzheimer.assess import Answer, Assessor, Sex
from readingroom.readers.alzheimer.regions import freesurfer_names
from readingroom.readers.tables import ReadingRow
from readingroom.review.header import header_of_study

READER = "alzheimer"
_READ = (ReaderState.FOUND, ReaderState.NOTHING_FOUND, ReaderState.PARTIAL)


class Person(BaseModel):
    model_config = ConfigDict(frozen=True)

    age_years: float | None
    sex: Sex | None


class StudyNorms(BaseModel):
    """``person``: as the study's header says."""

    model_config = ConfigDict(frozen=True)

    person: Person
    answer: Answer


@cache
def assessor() -> Assessor:
    """The installed norms, read once a process."""
    return Assessor()


def study_norms(session: Session, store: Store, study_id: str) -> StudyNorms:
    """Return the answer for the current revision. Raises NotFound where the installed reader has not read it."""
    study = session.get(Study, study_id)
    if study is None:
        raise NotFound("There is no such study.")
    row = session.scalar(
        select(ReadingRow).where(
            ReadingRow.study_id == study_id, ReadingRow.revision == study.revision, ReadingRow.reader == READER,
            ReadingRow.version == assessor().card.version, ReadingRow.state.in_(_READ),
        )
    )  # fmt: skip
    if row is None:
        raise NotFound("The reader alzheimer has not read this study.", "It reads FreeSurfer's measures, if there are.")
    wanted = set(row.series_instance_uids)
    files = [f for f in revision_files(session, study_id, study.revision) if f.SeriesInstanceUID in wanted]
    measured = freesurfer_names(measures_in([store.source(file.store_key) for file in files]))
    header = header_of_study(study)
    age = age_years("", header.PatientBirthDate, header.StudyDate)
    sex: Sex | None = next((one for one in ("F", "M", "O") if one == header.PatientSex), None)
    return StudyNorms(person=Person(age_years=age, sex=sex), answer=assessor().assess(measured, age, sex))

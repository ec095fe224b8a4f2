"""What was found in earlier studies of the same patient, for readers that compare.

A prior is a study of this very patient (identifier and issuer, one row of the index), of an earlier day, that whoever
sees the present study may know of: of the same project or, where both are for care, of another; never a restricted or
held one. What the radiologist signed counts before what the reader said. Places stay in the frame they were given in.
"""

from collections.abc import Iterable
from datetime import date
from typing import Any

from sqlalchemy import ColumnElement, and_, select
from sqlalchemy.orm import Session

from readingroom.access.consent import says_no
from readingroom.access.tables import Project
from readingroom.archive.tables import Study
from readingroom.archive.visibility import PURPOSE_OF_KIND
from readingroom.core.permissions import ProjectKind
from readingroom.findings.model import Evidence, Finding, ReaderState, Reading
from readingroom.readers.tables import ReadingRow
from readingroom.report.model import ReportBody
from readingroom.report.tables import ReportRow
from readingroom.worklist.items import SIGNED_STATES

MOST = 10
"""So many priors, the latest: no table we know looks at more."""
_WHOLE = (ReaderState.FOUND, ReaderState.NOTHING_FOUND)
"""The reader looked at all of it: what it did not find was not there for it."""


def priors_of(session: Session, study: Study, reader: str) -> list[dict[str, Any]]:
    """Return the priors of ``study`` for this reader, latest first, as JSON: days before, findings.

    ``read``: the same reader looked at the whole of that study, so that a prior without findings says something.
    Findings carry no free text, evidence or segment. Empty where the study has no date.
    """
    today = _day(study.StudyDate)
    if today is None:
        return []
    earlier = session.scalars(
        select(Study)
        .where(
            Study.patient_pk == study.patient_pk,
            Study.id != study.id,
            Study.StudyDate != "",
            Study.StudyDate < study.StudyDate,
            Study.held == "",
            ~Study.restricted,
            Study.simulated == study.simulated,
            Study.revision > 0,
            _in_a_project_that_permits(session, study),
        )
        .order_by(Study.StudyDate.desc(), Study.id)
    )
    found = []
    for one in earlier:
        then = _day(one.StudyDate)
        said = _said(session, one, reader) if then is not None else None
        if then is None or said is None:
            continue
        findings, read = said
        plain = [_plain(finding).model_dump(mode="json") for finding in findings]
        found.append({"days_before": (today - then).days, "read": read, "findings": plain})
        if len(found) == MOST:
            break
    return found


def _in_a_project_that_permits(session: Session, study: Study) -> ColumnElement[bool]:
    """The condition on an earlier study: its findings may be shown beside those of ``study``."""
    kind = ProjectKind(session.get_one(Project, study.project_id).kind)
    if kind is ProjectKind.CARE:
        care = select(Project.id).where(Project.kind == ProjectKind.CARE.value)
        return Study.project_id.in_(care)
    purpose = PURPOSE_OF_KIND[kind]
    return and_(Study.project_id == study.project_id, ~says_no(Study.patient_pk, purpose))


def _said(session: Session, study: Study, reader: str) -> tuple[tuple[Finding, ...], bool] | None:
    """Return the findings of an earlier study, and whether this reader looked at all of it; None: nobody said."""
    report = session.scalar(select(ReportRow).where(ReportRow.study_id == study.id, ReportRow.state.in_(SIGNED_STATES)))
    if report is not None:
        return _signed(session, ReportBody.model_validate(report.body), study, reader)
    own = _reading(session, study, study.revision, reader)
    return (own.findings, True) if own is not None else None


def _signed(session: Session, body: ReportBody, study: Study, reader: str) -> tuple[tuple[Finding, ...], bool] | None:
    if body.partial:
        return None
    own = _reading(session, study, body.revision, reader)
    # What the reader found and nobody judged was there to be seen: its absence from the report makes nothing new.
    unjudged = {one.finding_id for one in body.verdicts if one.decision == "undecided"}
    left: Iterable[Finding] = own.findings if own is not None else ()
    findings = (*(item.finding for item in body.findings), *(one for one in left if one.id in unjudged))
    return (findings, own is not None) if findings or own is not None else None


def _reading(session: Session, study: Study, revision: int, reader: str) -> Reading | None:
    """Return what the reader said of the whole study, by the version that read it last; None where it did not."""
    row = session.scalar(
        select(ReadingRow)
        .where(
            ReadingRow.study_id == study.id,
            ReadingRow.revision == revision,
            ReadingRow.reader == reader,
            ReadingRow.state.in_(_WHOLE),
        )
        .order_by(ReadingRow.finished_at.desc(), ReadingRow.version.desc())
        .limit(1)
    )
    return Reading.model_validate(row.body) if row is not None and row.body else None


def _plain(finding: Finding) -> Finding:
    """The finding without what a reader has no business with: a person's words, another reading's arrays."""
    return finding.model_copy(update={"comment": "", "evidence": Evidence(), "segment": "", "earlier": ()})


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if len(text) == 8 else None
    except ValueError:
        return None

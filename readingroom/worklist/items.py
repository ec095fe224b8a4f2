"""The worklist: one line a study, most urgent first, in a fixed number of queries whatever the number of studies.

The order needs only narrow columns of every open study; the rest is fetched for the page shown. What people decided
about findings belongs to ``review``, a floor above: the caller hands in the functions that count it.
"""

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import Select, and_, exists, func, or_, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.tables import Project
from readingroom.archive.tables import Instance, Patient, Series, Study, StudyRevision
from readingroom.archive.visibility import visible
from readingroom.core.clock import utc_now
from readingroom.core.permissions import Permission
from readingroom.findings.model import ReaderState
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.worklist.priority import Triage, counted_arrival, priority_reason, urgency
from readingroom.worklist.tables import Task
from readingroom.worklist.urgent.tables import UrgentAlert, UrgentEvent
from readingroom.worklist.urgent.views import UrgentMark, marks, triage_of

Status = Literal["open", "signed", "held", "all"]
SIGNED_STATES = ("final", "written")


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PatientView(_Model):
    PatientName: str
    PatientID: str
    PatientBirthDate: str
    PatientSex: str


class ReaderView(_Model):
    """State of one reader on the study's current revision."""

    reader: str
    version: str
    state: str
    reason: str
    progress: float


class FindingCounts(_Model):
    """``shown``: what readers found and people added, on the current revision."""

    shown: int = 0
    accepted: int = 0
    rejected: int = 0
    undecided: int = 0
    top_probability: float | None = None


CountFindings = Callable[[Session, Sequence[str]], Mapping[str, FindingCounts]]
"""``count(session, study ids)`` -> counts of those studies; ``review.decisions.finding_counts``."""

CountVerdicts = Callable[[Session], int]
"""``verdicts(session)`` -> how many verdicts there are; ``review.decisions.verdict_count``."""


class StudySummary(_Model):
    """What is shown of a study wherever it is named."""

    study_id: str
    patient: PatientView
    AccessionNumber: str
    StudyDate: str
    StudyDescription: str
    modalities: tuple[str, ...]
    instances: int
    priority: int
    priority_reason: str
    state: str
    held: str
    simulated: bool
    partial: str
    project: str
    restricted: bool
    revision: int
    readers: tuple[ReaderView, ...]
    report_state: str
    received_at: datetime
    age_seconds: float


class WorklistItem(StudySummary):
    """One line of the worklist. ``tasks``: how many wait for somebody. ``urgent``: where its open alert stands."""

    findings: FindingCounts
    tasks: int
    urgent: UrgentMark | None


class Worklist(_Model):
    total: int
    items: tuple[WorklistItem, ...]
    etag: str


def worklist(
    session: Session,
    actor: Actor,
    count: CountFindings,
    verdicts: CountVerdicts,
    *,
    q: str = "",
    status: Status = "open",
    offset: int = 0,
    limit: int = 50,
) -> Worklist:
    """Return the page of the worklist that ``actor`` may see.

    ``q`` is looked for in name, identifier, accession number and description.
    ``open`` holds what waits for a first report and everything with a task that nobody has ticked off.
    """
    rows = session.execute(
        _filtered(
            select(Study.id, Study.priority, Study.created_at, Study.revision).join(
                Patient, Patient.id == Study.patient_pk
            ),
            actor,
            q,
            status,
        )
    ).all()
    triage = _triage(session, {row.id: row.revision for row in rows})
    none = Triage()
    order = sorted(
        rows, key=lambda row: (counted_arrival(row.created_at, row.priority, triage.get(row.id, none)), row.id)
    )
    page = [row.id for row in order[offset : offset + limit]]
    summaries = summarise(session, page, triage=triage)
    waiting = _open_tasks(session, page)
    counts = count(session, page)
    urgent = marks(session, page)
    items = tuple(
        WorklistItem(
            **dict(summaries[study_id]),
            findings=counts.get(study_id, FindingCounts()),
            tasks=waiting.get(study_id, 0),
            urgent=urgent.get(study_id),
        )
        for study_id in page
    )
    tag = etag(session, actor, verdicts, q=q, status=status, offset=offset, limit=limit)
    return Worklist(total=len(rows), items=items, etag=tag)


def etag(
    session: Session,
    actor: Actor,
    verdicts: CountVerdicts,
    *,
    q: str = "",
    status: Status = "open",
    offset: int = 0,
    limit: int = 50,
) -> str:
    """Return a tag that changes whenever the page could: counters over the tables it comes from, and the minute."""
    # Verdicts are only ever added, so that their number tells every decision.
    counters: list[Any] = [q, status, offset, limit, int(utc_now().timestamp() // 60), verdicts(session)]
    # Not the tables alone: what the asker may see of them.
    counters += [actor.account_id, actor.projects_for(Permission.STUDY_QUERY)]
    counters.append(session.scalar(select(func.count()).select_from(Study).where(visible(actor))))
    statements: tuple[Select[*tuple[Any, ...]], ...] = (
        select(
            func.count(Study.id),
            func.max(Study.last_received_at),
            func.sum(Study.changed),
            func.sum(Study.revision),
            func.sum(Study.priority),
            func.sum(func.length(Study.held)),
            func.sum(func.length(Study.state)),
        ),
        select(
            func.count(ReadingRow.id), func.max(ReadingRow.started_at), func.max(ReadingRow.finished_at)
        ).add_columns(func.sum(ReadingRow.progress), func.sum(func.length(ReadingRow.state))),
        select(func.count(ReportRow.id), func.sum(ReportRow.etag), func.sum(func.length(ReportRow.state))),
        select(func.count(Task.id), func.count(Task.done_at)),
        # Every change of an alert is an event, and events are only ever added.
        select(func.max(UrgentEvent.id)),
        select(func.max(Patient.id), func.sum(func.length(Patient.PatientName))),
    )
    for statement in statements:
        counters.extend(session.execute(statement).one())
    return hashlib.sha256(repr(counters).encode()).hexdigest()[:32]


def summarise(
    session: Session, study_ids: Sequence[str], *, triage: Mapping[str, Triage] | None = None
) -> dict[str, StudySummary]:
    """Return the summary of each study that exists, by id, in six queries."""
    studies = session.scalars(select(Study).where(Study.id.in_(study_ids))).unique().all()
    revisions = {study.id: study.revision for study in studies}
    if triage is None:
        triage = _triage(session, revisions)
    images = _images(session, study_ids)
    readers = _readers(session, revisions)
    reports = dict(
        session.execute(select(ReportRow.study_id, ReportRow.state).where(ReportRow.study_id.in_(study_ids))).all()
    )
    partial = {
        (row.study_id, row.number): row.partial
        for row in session.execute(
            select(StudyRevision.study_id, StudyRevision.number, StudyRevision.partial).where(
                StudyRevision.study_id.in_(study_ids)
            )
        )
    }
    projects = dict(session.execute(select(Project.id, Project.name)).all())
    now = utc_now()
    return {
        study.id: StudySummary(
            study_id=study.id,
            patient=PatientView(
                PatientName=study.patient.PatientName,
                PatientID=study.patient.PatientID,
                PatientBirthDate=study.patient.PatientBirthDate,
                PatientSex=study.patient.PatientSex,
            ),
            AccessionNumber=study.AccessionNumber,
            StudyDate=study.StudyDate,
            StudyDescription=study.StudyDescription,
            modalities=images[study.id][0],
            instances=images[study.id][1],
            priority=urgency(study.priority, triage.get(study.id, Triage())),
            priority_reason=priority_reason(study.priority, triage.get(study.id, Triage())),
            state=study.state,
            held=study.held,
            simulated=study.simulated,
            partial=partial.get((study.id, study.revision), ""),
            project=projects[study.project_id],
            restricted=study.restricted,
            revision=study.revision,
            readers=readers[study.id],
            report_state=reports.get(study.id, "none"),
            received_at=study.created_at,
            age_seconds=max((now - study.created_at).total_seconds(), 0.0),
        )
        for study in studies
    }


def _filtered(statement: Select[*tuple[Any, ...]], actor: Actor, q: str, status: Status) -> Select[*tuple[Any, ...]]:
    statement = statement.where(visible(actor))
    signed = exists().where(ReportRow.study_id == Study.id, ReportRow.state.in_(SIGNED_STATES))
    has_task = exists().where(Task.study_id == Study.id, Task.done_at.is_(None))
    if status == "open":
        statement = statement.where(or_(and_(Study.held == "", ~signed), has_task))
    elif status == "signed":
        statement = statement.where(signed)
    elif status == "held":
        statement = statement.where(Study.held != "")
    if q.strip():
        columns = (Patient.PatientName, Patient.PatientID, Study.AccessionNumber, Study.StudyDescription)
        statement = statement.where(or_(*(column.icontains(q.strip(), autoescape=True) for column in columns)))
    return statement


def _triage(session: Session, revisions: Mapping[str, int]) -> dict[str, Triage]:
    """Return what the readings of each study's current revision and its open alerts ask for, if anything.

    An alert outlasts the reading it came from: while a later revision is read, its study stays where it is.
    """
    rows = session.execute(
        select(ReadingRow.study_id, ReadingRow.revision, ReadingRow.summary)
        .join(Study, and_(Study.id == ReadingRow.study_id, Study.revision == ReadingRow.revision))
        .where(ReadingRow.state.in_((ReaderState.FOUND, ReaderState.PARTIAL)))
    )
    asked = [
        (row.study_id, Triage(row.summary["triage"], row.summary["top_probability"] or 0.0, row.summary["reason"]))
        for row in rows
        if row.summary and row.summary.get("findings")
    ]
    asked += [
        (alert.study_id, triage_of(alert))
        for alert in session.scalars(select(UrgentAlert).where(UrgentAlert.closed_at.is_(None)))
    ]
    found: dict[str, Triage] = {}
    for study_id, new in asked:
        old = found.get(study_id, Triage())
        if study_id in revisions and (new.level, new.top_probability) > (old.level, old.top_probability):
            found[study_id] = new
    return found


def _images(session: Session, study_ids: Sequence[str]) -> dict[str, tuple[tuple[str, ...], int]]:
    """Return modalities and number of the images received, of each study."""
    modalities: dict[str, set[str]] = defaultdict(set)
    number: dict[str, int] = defaultdict(int)
    rows = session.execute(
        select(Series.study_id, Series.Modality, func.count(Instance.id))
        .join(Instance, Instance.series_pk == Series.id)
        .where(Series.study_id.in_(study_ids), Instance.origin == "received", Instance.hidden == "")
        .group_by(Series.study_id, Series.Modality)
    )
    for study_id, modality, instances in rows:
        modalities[study_id].add(modality)
        number[study_id] += instances
    return {study_id: (tuple(sorted(modalities[study_id])), number[study_id]) for study_id in study_ids}


def _readers(session: Session, revisions: Mapping[str, int]) -> dict[str, tuple[ReaderView, ...]]:
    found: dict[str, list[ReaderView]] = {study_id: [] for study_id in revisions}
    rows = session.execute(
        select(
            ReadingRow.study_id,
            ReadingRow.revision,
            ReadingRow.reader,
            ReadingRow.version,
            ReadingRow.state,
            ReadingRow.reason,
            ReadingRow.progress,
        )
        .where(ReadingRow.study_id.in_(list(revisions)))
        .order_by(ReadingRow.reader, ReadingRow.version)
    )
    for row in rows:
        if row.revision == revisions[row.study_id]:
            found[row.study_id].append(
                ReaderView(
                    reader=row.reader, version=row.version, state=row.state, reason=row.reason, progress=row.progress
                )
            )
    return {study_id: tuple(views) for study_id, views in found.items()}


def _open_tasks(session: Session, study_ids: Sequence[str]) -> dict[str, int]:
    rows = session.execute(
        select(Task.study_id, func.count(Task.id))
        .where(Task.study_id.in_(study_ids), Task.done_at.is_(None))
        .group_by(Task.study_id)
    )
    return {study_id: number for study_id, number in rows}

"""Alerts as people see them: a line for each, with its times, and the mark on the worklist's row."""

from collections.abc import Sequence
from datetime import datetime

from pydantic import BaseModel, ConfigDict
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.archive.tables import Study
from readingroom.archive.visibility import visible
from readingroom.core.permissions import Permission
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.worklist.priority import Triage, in_words
from readingroom.worklist.urgent.state import State, state_of
from readingroom.worklist.urgent.tables import UrgentAlert, UrgentEvent

WAITING = (State.RAISED, State.SHOWN, State.ESCALATED)
"""Nobody has acknowledged it."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class UrgentMark(_Model):
    """Where the most urgent open alert of a study stands."""

    alert_id: str
    finding: str
    state: State
    acknowledged_by: str


class UrgentTimes(_Model):
    """The way of one urgent finding from the first image to the signature; None where it has not come to that."""

    received: datetime
    read: datetime | None
    raised: datetime
    shown: datetime | None
    acknowledged: datetime | None
    signed: datetime | None


class UrgentView(_Model):
    """One alert. ``told``: a page has shown it to whoever asks; ``may_acknowledge``: whoever asks may."""

    alert_id: str
    study_id: str
    StudyDescription: str
    simulated: bool
    finding: str
    """In words, with the probability."""
    reader: str
    state: State
    waiting: bool
    step: int
    shown_to: str
    acknowledged_by: str
    closed_why: str
    times: UrgentTimes
    told: bool
    may_acknowledge: bool


class UrgentList(_Model):
    """``waiting``: how many of those whom the asker may see nobody has acknowledged."""

    waiting: int
    items: tuple[UrgentView, ...]


def triage_of(alert: UrgentAlert) -> Triage:
    """Return what an open alert asks of the worklist."""
    return Triage(alert.level, alert.probability or 0.0, in_words(alert.code_meaning, alert.probability))


def marks(session: Session, study_ids: Sequence[str]) -> dict[str, UrgentMark]:
    """Return the mark of each study with an open alert: of one that still waits before one that does not."""
    rows = session.scalars(
        select(UrgentAlert).where(UrgentAlert.study_id.in_(study_ids), UrgentAlert.closed_at.is_(None))
    )
    found: dict[str, UrgentMark] = {}
    for alert in sorted(rows, key=lambda one: (one.acknowledged_at is None, one.level, one.probability or 0.0)):
        found[alert.study_id] = UrgentMark(
            alert_id=alert.id,
            finding=in_words(alert.code_meaning, alert.probability),
            state=state_of(alert),
            acknowledged_by=alert.acknowledged_by,
        )
    return found


def urgent_list(session: Session, actor: Actor, *, everything: bool = False, limit: int = 200) -> UrgentList:
    """Return the alerts of studies that ``actor`` may see: those that wait, longest first, or also all others.

    Others follow newest first. What somebody may not see is not counted either.
    """
    waits = and_(UrgentAlert.closed_at.is_(None), UrgentAlert.acknowledged_at.is_(None))
    statement = (
        select(UrgentAlert, Study, ReadingRow.finished_at, ReportRow.signed_at)
        .join(Study, Study.id == UrgentAlert.study_id)
        .join(ReadingRow, ReadingRow.id == UrgentAlert.reading_id)
        .outerjoin(ReportRow, ReportRow.study_id == Study.id)
        .where(visible(actor))
    )
    rows = session.execute(statement.where(waits).order_by(UrgentAlert.raised_at, UrgentAlert.id)).all()
    waiting = len(rows)
    if everything:
        others = statement.where(~waits).order_by(UrgentAlert.raised_at.desc(), UrgentAlert.id)
        rows = [*rows, *session.execute(others.limit(max(limit - waiting, 0))).all()]
    ids = [row.UrgentAlert.id for row in rows]
    may = set(
        session.scalars(
            select(UrgentAlert.id)
            .join(Study, Study.id == UrgentAlert.study_id)
            .where(UrgentAlert.id.in_(ids), visible(actor, Permission.FINDING_JUDGE))
        )
    )
    told = set(
        session.scalars(
            select(UrgentEvent.alert_id).where(
                UrgentEvent.alert_id.in_(ids), UrgentEvent.kind == "shown", UrgentEvent.actor == actor.name
            )
        )
    )
    items = tuple(
        _view(alert, study, read, signed, told=alert.id in told, may_acknowledge=alert.id in may)
        for alert, study, read, signed in rows
    )
    return UrgentList(waiting=waiting, items=items)


def _view(
    alert: UrgentAlert,
    study: Study,
    read: datetime | None,
    signed: datetime | None,
    *,
    told: bool,
    may_acknowledge: bool,
) -> UrgentView:
    state = state_of(alert)
    return UrgentView(
        alert_id=alert.id,
        study_id=study.id,
        StudyDescription=study.StudyDescription,
        simulated=study.simulated,
        finding=in_words(alert.code_meaning, alert.probability),
        reader=alert.reader,
        state=state,
        waiting=state in WAITING,
        step=alert.step,
        shown_to=alert.shown_to,
        acknowledged_by=alert.acknowledged_by,
        closed_why=alert.closed_why,
        times=UrgentTimes(
            received=study.created_at,
            read=read,
            raised=alert.raised_at,
            shown=alert.shown_at,
            acknowledged=alert.acknowledged_at,
            signed=signed,
        ),
        told=told,
        may_acknowledge=may_acknowledge and state in WAITING,
    )

"""The audit for people: who saw a patient, what somebody did, whether the chain holds. Reading it is audited itself.

Questions travel in bodies, as identifiers have no place in an address. Only here is a patient named beside an event.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Self

from fastapi import APIRouter, Depends, Request
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import ColumnElement, func, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.audit.actions import CODES
from readingroom.access.audit.message import action_of
from readingroom.access.audit.syslog import cursor_name
from readingroom.access.audit.tables import AuditCheck, AuditCursor, AuditSeal
from readingroom.access.tables import Account
from readingroom.archive.subjects import about_patients
from readingroom.archive.tables import Patient, Study
from readingroom.core.audit import AuditCode, AuditEvent, record
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.core.permissions import Permission
from readingroom.web.permissions import requires
from readingroom.web.seen import Seen
from readingroom.worklist.items import PatientView

router = APIRouter(prefix="/audit")
MAX_PAGE = 500
SEEN = (AuditCode.INSTANCES_ACCESSED, AuditCode.EXPORT, AuditCode.PATIENT_RECORD)
"""What nobody does without having seen something of the patient."""
_asked = Seen()

MayRead = Annotated[Actor, Depends(requires(Permission.AUDIT_READ))]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Page(_Model):
    offset: int = Field(default=0, ge=0, le=10_000_000)
    limit: int = Field(default=100, ge=1, le=MAX_PAGE)


class PatientQuestion(_Page):
    """Who saw a patient: the one of a study, or the one of an identifier. ``everything``: not only who saw."""

    study_id: str = Field(default="", max_length=32)
    patient_id: str = Field(default="", max_length=64)
    everything: bool = False

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if bool(self.study_id) == bool(self.patient_id):
            raise ValueError("either study_id or patient_id")
        return self


class PersonQuestion(_Page):
    """What an account, an AE title or a process did, from ``since`` and before ``until``."""

    actor: str = Field(min_length=1, max_length=128)
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class StudyNamed(_Model):
    study_id: str
    patient: PatientView
    StudyDate: str
    StudyDescription: str


class Line(_Model):
    """One event. ``words``: what was done; ``kind``: DICOM's name for it."""

    number: int
    at: datetime
    actor: str
    display_name: str
    host: str
    action: str
    words: str
    kind: str
    outcome: str
    study: StudyNamed | None
    detail: dict[str, Any]


class Person(_Model):
    """Somebody who saw the patient: how often, first and last."""

    actor: str
    display_name: str
    role: str
    times: int
    first: datetime
    last: datetime


class PatientAnswer(_Model):
    patients: list[PatientView]
    people: list[Person]
    total: int
    items: list[Line]


class PersonAnswer(_Model):
    total: int
    items: list[Line]


@router.get("")
def state(request: Request, actor: MayRead) -> dict[str, Any]:
    """How far the audit is written, sealed, looked through and sent; and whom one can ask about."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    with database.read() as session:
        head = session.execute(select(AuditEvent.id, AuditEvent.at).order_by(AuditEvent.id.desc()).limit(1)).first()
        seal = session.scalar(select(AuditSeal).order_by(AuditSeal.number.desc()).limit(1))
        check = session.get(AuditCheck, 1)
        receiver = settings.audit_syslog
        cursor = session.get(AuditCursor, cursor_name(receiver)) if receiver else None
        accounts = session.execute(select(Account.name, Account.display_name).order_by(Account.name)).all()
    events = head.id if head else 0
    return {
        "events": events,
        "last_at": head.at if head else None,
        "sealed": {"event": seal.event, "at": seal.at} if seal else None,
        "checked": {"event": check.events, "at": check.at, "problem": check.problem} if check else None,
        "sent": {
            "waiting": events - (cursor.event if cursor else 0),
            "at": cursor.sent_at if cursor else None,
            "last_error": cursor.last_error if cursor else "",
        }
        if receiver
        else None,
        "accounts": [{"name": row.name, "display_name": row.display_name} for row in accounts],
    }


@router.post("/patient")
def patient(body: PatientQuestion, request: Request, actor: MayRead) -> PatientAnswer:
    """Who saw this patient, in any of the patient's studies: people, then events, newest first."""
    database: Database = request.app.state.database
    with database.write() as session:
        found = _patients(session, body)
        keys = [one.id for one in found]
        for key in keys:
            _note(session, actor, "audit-patient", f"patient {key}", patient_id=key)
        about = about_patients(keys)
        saw = about & AuditEvent.code.in_(SEEN)
        total, items = _lines(session, about if body.everything else saw, body)
        return PatientAnswer(
            patients=[_view(one) for one in found], people=_people(session, saw), total=total, items=items
        )


@router.post("/person")
def person(body: PersonQuestion, request: Request, actor: MayRead) -> PersonAnswer:
    """What this person did, newest first. Raises NotFound for somebody the audit does not know."""
    database: Database = request.app.state.database
    did: ColumnElement[bool] = AuditEvent.actor == body.actor
    with database.write() as session:
        # A name that was never written down is not written down now: a typed one may be a patient's.
        if session.scalar(select(AuditEvent.id).where(did).limit(1)) is None:
            raise NotFound("Nobody of that name has done anything here.", "Check the name.")
        _note(session, actor, "audit-person", f"person {body.actor}", detail={"about": body.actor})
        if body.since is not None:
            did &= AuditEvent.at >= body.since
        if body.until is not None:
            did &= AuditEvent.at < body.until
        total, items = _lines(session, did, body)
        return PersonAnswer(total=total, items=items)


def _patients(session: Session, body: PatientQuestion) -> list[Patient]:
    statement = select(Patient)
    if body.study_id:
        statement = statement.join(Study, Study.patient_pk == Patient.id).where(Study.id == body.study_id)
    else:
        statement = statement.where(Patient.PatientID == body.patient_id.strip()).order_by(Patient.id)
    found = list(session.scalars(statement))
    if not found:
        raise NotFound("There is no such patient here.", "Check the identifier.")
    return found


def _note(session: Session, actor: Actor, action: str, what: str, **about: Any) -> None:
    """Record the question once, not for each of its pages."""
    if _asked.first(actor.session or actor.name, what):
        record(session, AuditCode.AUDIT_LOG_USED, action, actor.name, **about)


def _lines(session: Session, condition: ColumnElement[bool], page: _Page) -> tuple[int, list[Line]]:
    total = session.scalar(select(func.count()).select_from(AuditEvent).where(condition)) or 0
    events = session.scalars(
        select(AuditEvent).where(condition).order_by(AuditEvent.id.desc()).offset(page.offset).limit(page.limit)
    ).all()
    names = _accounts(session, [event.actor for event in events])
    studies = {
        study.id: study
        for study in session.scalars(select(Study).where(Study.id.in_({e.study_id for e in events if e.study_id})))
    }
    return total, [
        Line(
            number=event.id,
            at=event.at,
            actor=event.actor,
            display_name=names[event.actor].display_name if event.actor in names else "",
            host=event.host,
            action=event.action,
            words=action_of(event).words,
            kind=CODES[AuditCode(event.code)],
            outcome=event.outcome,
            study=_named(studies.get(event.study_id or "")),
            detail=event.detail,
        )
        for event in events
    ]


def _people(session: Session, condition: ColumnElement[bool]) -> list[Person]:
    rows = session.execute(
        select(AuditEvent.actor, func.count(), func.min(AuditEvent.at), func.max(AuditEvent.at))
        .where(condition)
        .group_by(AuditEvent.actor)
        .order_by(func.max(AuditEvent.id).desc())
    ).all()
    names = _accounts(session, [actor for actor, *_ in rows])
    return [
        Person(
            actor=actor,
            display_name=names[actor].display_name if actor in names else "",
            role=names[actor].role if actor in names else "",
            times=times,
            first=first,
            last=last,
        )
        for actor, times, first, last in rows
    ]


def _accounts(session: Session, names: Sequence[str]) -> dict[str, Account]:
    return {account.name: account for account in session.scalars(select(Account).where(Account.name.in_(set(names))))}


def _named(study: Study | None) -> StudyNamed | None:
    if study is None:
        return None
    return StudyNamed(
        study_id=study.id,
        patient=_view(study.patient),
        StudyDate=study.StudyDate,
        StudyDescription=study.StudyDescription,
    )


def _view(found: Patient) -> PatientView:
    return PatientView(
        PatientName=found.PatientName,
        PatientID=found.PatientID,
        PatientBirthDate=found.PatientBirthDate,
        PatientSex=found.PatientSex,
    )

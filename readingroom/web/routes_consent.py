"""What the patient of a study allows their data to be used for: shown, written down by hand, taken back."""

from datetime import date, datetime, time, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.orm import Session

from readingroom.access import consent
from readingroom.access.actor import Actor
from readingroom.access.tables import ConsentRow
from readingroom.access.uses import Use, uses_of
from readingroom.archive.tables import Study
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.permissions import Permission
from readingroom.core.purposes import Purpose, legal_bases
from readingroom.web.permissions import requires
from readingroom.web.seen import Seen

router = APIRouter(prefix="/studies/{study_id}/consent")
_shown = Seen()


class Decided(BaseModel):
    """A decision as a form has it. ``decided_on`` and ``until`` are days at the site; ``until`` still counts."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["given", "refused", "withdrawn"]
    purposes: tuple[Purpose, ...] = Field(min_length=1, max_length=len(Purpose))
    basis: str = Field(default="consent", max_length=32)
    reference: str = Field(default="", max_length=200)
    decided_on: date | None = None
    until: date | None = None


@router.get("")
def show(
    study_id: str, request: Request, actor: Annotated[Actor, Depends(requires(Permission.CONSENT_READ))]
) -> dict[str, Any]:
    """Where the study's patient stands on each purpose, how it came to that, and what was made of their data."""
    database: Database = request.app.state.database
    with database.read() as session:
        patient_id = _study(session, study_id).patient_pk
        view = _view(session, patient_id, request.app.state.settings)
    if _shown.first(actor.session or actor.name, study_id):
        with database.write() as session:
            record(
                session,
                AuditCode.PATIENT_RECORD,
                "consent-read",
                actor.name,
                study_id=study_id,
                patient_id=patient_id,
            )
    return view


@router.post("")
def write(
    study_id: str,
    body: Decided,
    request: Request,
    actor: Annotated[Actor, Depends(requires(Permission.CONSENT_WRITE))],
) -> dict[str, Any]:
    """Write a decision down; answers where the patient stands then."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    statement = consent.Statement(
        kind=consent.Kind(body.kind),
        purposes=body.purposes,
        basis=body.basis,
        reference=body.reference.strip(),
        starts_at=_begins(body.decided_on, settings),
        ends_at=_ends(body.until, settings),
    )
    with database.write() as session:
        study = _study(session, study_id)
        if study.held:
            raise Conflict("This study is held: it may be another patient's.", "Resolve what holds it first.")
        consent.decide(session, study.patient_pk, statement, actor=actor.name)
        return _view(session, study.patient_pk, settings)


def _study(session: Session, study_id: str) -> Study:
    found = session.get(Study, study_id)
    if found is None:
        raise NotFound("There is no such study.")
    return found


def _view(session: Session, patient_id: int, settings: Settings) -> dict[str, Any]:
    now = utc_now()
    stands = consent.standing(session, patient_id, settings.purposes, now)
    rows, uses = consent.history(session, patient_id), uses_of(session, patient_id)
    purposes = [
        {
            "purpose": purpose,
            "allowed": decision.allowed,
            "kind": decision.kind,
            "basis": decision.basis,
            "reason": decision.reason,
            "since": decision.since,
            "until": decision.until,
            "history": [_line(row) for row in reversed(rows) if row.purpose == purpose],
            "uses": [_use(use) for use in uses if use.purpose == purpose],
        }
        for purpose, decision in stands.items()
    ]
    return {"purposes": purposes, "bases": [basis.model_dump(mode="json") for basis in legal_bases().values()]}


def _line(row: ConsentRow) -> dict[str, Any]:
    names = ("kind", "basis", "reference", "source", "actor", "starts_at", "ends_at", "recorded_at")
    return {name: getattr(row, name) for name in names}


def _use(use: Use) -> dict[str, Any]:
    made = {"room": use.made.room, "what": use.made.what, "ref": use.made.ref}
    return {**made, "actor": use.actor, "at": use.at, "removed_at": use.removed_at}


def _begins(day: date | None, settings: Settings) -> datetime | None:
    """Return when a decision of that day counts from. Today's counts from now: it goes before what was said earlier."""
    zone = ZoneInfo(settings.site_timezone)
    today = utc_now().astimezone(zone).date()
    if day is None or day == today:
        return None
    if day > today:
        raise BadInput("The day of the decision has not come yet.", "Give the day on the form.")
    return datetime.combine(day, time(), zone)


def _ends(day: date | None, settings: Settings) -> datetime | None:
    """Return the first moment after that day."""
    return datetime.combine(day + timedelta(days=1), time(), ZoneInfo(settings.site_timezone)) if day else None

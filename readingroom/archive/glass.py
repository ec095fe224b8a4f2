"""Breaking the glass: one account opens one patient's closed study for an hour, says why, and administrators are told.

Closed studies show to nobody that they exist, so whoever needs one names it as the emergency does: by the patient's
identifier, the accession number, or an address somebody gave them. An attempt that finds nothing is written down and
raises an alert as well, and few of them are allowed, or this would be a way to ask who is a patient here.
"""

import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from typing import Literal

from pydantic import BaseModel, ConfigDict
from sqlalchemy import ColumnElement, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.alerts import count_since, raise_alert
from readingroom.archive.tables import GlassBreak, Patient, Study
from readingroom.archive.visibility import visible
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, Forbidden, NotFound, ReadingRoomError
from readingroom.core.permissions import Permission

OPEN_FOR = timedelta(hours=1)
MISSES, MISSES_WITHIN = 5, timedelta(hours=1)
MOST_STUDIES = 100
MISSED = "glass-missed"

By = Literal["patient_id", "accession_number", "study_id"]
_COLUMNS: dict[By, ColumnElement[str]] = {
    "patient_id": Patient.PatientID,  # type: ignore[dict-item]
    "accession_number": Study.AccessionNumber,  # type: ignore[dict-item]
    "study_id": Study.id,  # type: ignore[dict-item]
}


class GlassReason(BaseModel):
    """One reason. ``needs_text``: the code alone says too little."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: str
    meaning: str
    needs_text: bool


@dataclass(frozen=True)
class Opened:
    """The studies that were closed and are open now, until ``until``."""

    study_ids: tuple[str, ...]
    until: datetime


@cache
def glass_reasons() -> dict[str, GlassReason]:
    """Return the reasons by code, in the order of the table."""
    table = json.loads(files("readingroom.archive").joinpath("glass_reasons.json").read_text("utf-8"))
    return {row["code"]: GlassReason.model_validate(row) for row in table["reasons"]}


def break_glass(database: Database, actor: Actor, by: By, value: str, reason: str, text: str) -> Opened:
    """Open the closed studies that ``value`` names to ``actor``, until an hour from now.

    Raises BadInput for a reason that is none, NotFound where nothing is closed to them under that name (Forbidden
    after a few of those), Conflict where it is the name of two patients.
    """
    meaning = _check(reason, text)
    with database.write() as session:
        if count_since(session, MISSED, actor.name, utc_now() - MISSES_WITHIN) >= MISSES:
            raise Forbidden("Too many attempts found nothing.", "Wait an hour, or ask an administrator.")
        found = _closed(session, actor, by, value.strip())
        if isinstance(found, ReadingRoomError):
            _tell(session, actor, MISSED, None, reason, f"Looked by {by.replace('_', ' ')}. {meaning} {text}")
        else:
            until = utc_now() + OPEN_FOR
            for study_id in found:
                session.add(
                    GlassBreak(
                        account_id=actor.account_id, study_id=study_id, reason=reason, at=utc_now(), expires_at=until
                    )
                )
                _tell(session, actor, "glass-broken", study_id, reason, f"{meaning} {text}")
    # Only now: what was written down of an attempt stays, whatever came of it.
    if isinstance(found, ReadingRoomError):
        raise found
    return Opened(found, until)


def _check(code: str, text: str) -> str:
    """Return the reason in words."""
    reason = glass_reasons().get(code)
    if reason is None:
        raise BadInput("Breaking the glass needs a reason from the table.", f"One of: {', '.join(glass_reasons())}.")
    if reason.needs_text and not text.strip():
        raise BadInput(f"The reason '{reason.meaning}' needs a few words.", "Say why.")
    return f"{reason.meaning}."


def _closed(session: Session, actor: Actor, by: By, value: str) -> tuple[str, ...] | ReadingRoomError:
    """Return the studies of one patient that are closed to the actor under this name, or why there are none."""
    named = select(Study.id, Study.patient_pk).join(Patient, Patient.id == Study.patient_pk)
    rows = session.execute(
        named.where(_COLUMNS[by] == value, _COLUMNS[by] != "", ~visible(actor, Permission.STUDY_READ))
        .order_by(Study.created_at.desc())
        .limit(MOST_STUDIES)
    ).all()
    if not rows:
        return NotFound("Nothing is closed to you under that name.", "Check it, and look on your worklist.")
    if len({row.patient_pk for row in rows}) > 1:
        return Conflict("That is the name of two patients.", "Give the accession number of the study.")
    return tuple(row.id for row in rows)


def _tell(session: Session, actor: Actor, action: str, study_id: str | None, reason: str, words: str) -> None:
    """Audit with the code alone; the words, which may say anything, are for the administrators' eyes."""
    outcome = "success" if study_id else "failure"
    record(
        session,
        AuditCode.SECURITY_ALERT,
        action,
        actor.name,
        study_id=study_id,
        outcome=outcome,
        detail={"reason": reason},
    )
    raise_alert(session, action, actor.name, words.strip(), study_id=study_id)

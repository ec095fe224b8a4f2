"""What has been made or learned from which patient: written down as it happens, listed when somebody asks.

A room writes ``used`` when it puts a patient into a cohort, trains a model on them or makes a case of them. After a
withdrawal the worker calls the room's remover (``workflow/withdrawn.py``), and what that took out is written as
``removed``. What stays in the list was learned and can't be unlearned: a person decides what follows from it.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.consent import permitted_among
from readingroom.access.tables import UseRow
from readingroom.core.audit import AuditCode, record
from readingroom.core.config import PurposeDefaults
from readingroom.core.errors import Forbidden
from readingroom.core.purposes import Purpose


@dataclass(frozen=True)
class Made:
    """What a room made: its word for people (``cohort``, ``model``, ``case``) and its opaque id in that room."""

    room: str
    what: str
    ref: str


@dataclass(frozen=True)
class Use:
    """One thing a patient's data went into. ``removed_at``: when they were taken out of it again."""

    purpose: Purpose
    made: Made
    actor: str
    at: datetime
    removed_at: datetime | None = None


def used(
    session: Session,
    patient_ids: Collection[int],
    purpose: Purpose,
    made: Made,
    *,
    defaults: PurposeDefaults,
    actor: str,
) -> None:
    """Write down that these patients' data went into ``made``, in the transaction that puts them there.

    Raises Forbidden where one of them doesn't permit it; nothing is written then.
    """
    answers = permitted_among(session, patient_ids, purpose, defaults=defaults, actor=actor)
    denied = sum(not answer.allowed for answer in answers.values())
    if denied:
        raise Forbidden(
            f"{denied} of {len(answers)} patients do not permit use of their data for {purpose}.",
            "Leave them out.",
            code="not-permitted",
        )
    for patient_id in answers:
        session.add(_row(patient_id, purpose, "used", made, actor))
    detail = {"purpose": purpose.value, "patients": len(answers), "room": made.room, "what": made.what, "ref": made.ref}
    record(session, AuditCode.PATIENT_RECORD, "data-used", actor, detail=detail)


def removed(session: Session, patient_id: int, purpose: Purpose, made: Iterable[Made]) -> int:
    """Write down that a patient was taken out of what a room had made. Returns of how many; again changes nothing."""
    still = {use.made for use in uses_of(session, patient_id) if use.purpose == purpose and use.removed_at is None}
    gone = [one for one in dict.fromkeys(made) if one in still]
    for one in gone:
        session.add(_row(patient_id, purpose, "removed", one, "system"))
        detail = {"purpose": purpose.value, "room": one.room, "what": one.what, "ref": one.ref}
        record(session, AuditCode.PATIENT_RECORD, "data-removed", "system", patient_id=patient_id, detail=detail)
    return len(gone)


def uses_of(session: Session, patient_id: int) -> tuple[Use, ...]:
    """Return all that was made or learned from a patient, oldest first."""
    found: dict[tuple[Purpose, Made], Use] = {}
    rows = session.scalars(select(UseRow).where(UseRow.patient_id == patient_id).order_by(UseRow.id))
    for row in rows:
        key = Purpose(row.purpose), Made(row.room, row.what, row.ref)
        if row.kind == "used":
            found[key] = Use(*key, actor=row.actor, at=row.at)
        else:
            found[key] = Use(*key, actor=found[key].actor, at=found[key].at, removed_at=row.at)
    return tuple(found.values())


def _row(patient_id: int, purpose: Purpose, kind: str, made: Made, actor: str) -> UseRow:
    return UseRow(
        patient_id=patient_id, purpose=purpose, kind=kind, room=made.room, what=made.what, ref=made.ref, actor=actor
    )

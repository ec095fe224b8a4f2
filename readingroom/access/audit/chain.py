"""Verifying: whether the audit is what was written, event by event, and which is the first that is not.

Found are any altered, deleted, inserted or reordered event; a chain written anew where it was sealed; and a chain cut
off before what was sealed. What was written since the last seal is protected by the chain alone.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.alerts import raise_alert
from readingroom.access.audit.seals import Seal, read_file, seals_of
from readingroom.access.audit.tables import AuditCheck
from readingroom.core.audit import FIRST, AuditCode, AuditEvent, chained_hash, record
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput
from readingroom.core.secrets import SecretBox, load_secrets

PAGE = 5000
_UNREADABLE = (ValueError, TypeError, AttributeError, KeyError)
_EVENTS = AuditEvent.__table__
_Row = Mapping[str, Any]


@dataclass(frozen=True)
class Verified:
    """What a look at the whole audit found. ``problem`` is empty where everything is as it was written."""

    events: int
    """The chain is intact up to this event."""
    sealed: int
    """Up to this event the audit is sealed."""
    sealed_at: datetime | None
    problem: str = ""
    first_wrong: int | None = None
    """The first event that is wrong or missing; None where only a seal is."""

    @property
    def intact(self) -> bool:
        return not self.problem


def verify(session: Session, box: SecretBox, file: Sequence[Seal] = ()) -> Verified:
    """Look at every event and every seal of the database, and at the seals that the file beside it holds."""
    try:
        kept, unreadable = seals_of(session), ""
    except BadInput as error:
        kept, unreadable = [], error.message
    sealing = unreadable or _seal_problem(kept, file, box)
    # A seal that one of our keys made is true wherever it was found.
    heads = {seal.event: seal for seal in (*kept, *file) if seal.made_by(box)}
    last = max(heads, default=0)
    intact, wrong, problem = _walk(session, {event: seal.hash for event, seal in heads.items()})
    if not problem and last > intact:
        wrong, problem = intact + 1, f"Events {intact + 1} to {last} are missing: they had been sealed."
    words = " ".join(part for part in (problem, sealing) if part)
    return Verified(intact, last, heads[last].at if last else None, words, wrong)


def _walk(session: Session, sealed: Mapping[int, str]) -> tuple[int, int | None, str]:
    """Return up to which event the chain is intact, the first wrong event, and what is wrong with it."""
    number, previous, confirmed = 0, FIRST, 0
    for event, row in _rows(session):
        if event != number + 1:
            if event <= number:
                return number, event, f"Event {event} was inserted."
            return number, number + 1, f"Event {number + 1} is missing."
        try:
            right = row is not None and chained_hash(previous, row) == row["hash"]
        except _UNREADABLE:
            right = False
        if not right or row is None:
            return number, event, f"Event {event} was altered, or does not follow the one before it."
        if sealed.get(event, row["hash"]) != row["hash"]:
            return confirmed, confirmed + 1, f"Events {confirmed + 1} to {event} were written anew: the seal differs."
        number, previous = event, row["hash"]
        if event in sealed:
            confirmed = event
    return number, None, ""


def _rows(session: Session) -> Iterator[tuple[int, _Row | None]]:
    """Yield each event with its number, in order; None for one that cannot even be read."""
    after: int | None = None
    while True:
        page = select(_EVENTS).order_by(_EVENTS.c.id).limit(PAGE)
        if after is not None:
            page = page.where(_EVENTS.c.id > after)
        try:
            rows: list[tuple[int, _Row | None]] = [
                (row["id"], cast(_Row, row)) for row in session.execute(page).mappings()
            ]
        except _UNREADABLE:
            rows = list(_one_by_one(session, page))
        yield from rows
        if not rows:
            return
        after = rows[-1][0]


def _one_by_one(session: Session, page: Any) -> Iterator[tuple[int, _Row | None]]:
    for number in session.scalars(page.with_only_columns(_EVENTS.c.id)).all():
        try:
            row = session.execute(select(_EVENTS).where(_EVENTS.c.id == number)).mappings().one()
            yield number, cast(_Row, row)
        except _UNREADABLE:
            yield number, None


def _seal_problem(kept: Sequence[Seal], file: Sequence[Seal], box: SecretBox) -> str:
    previous = ""
    for number, seal in enumerate(kept, 1):
        if seal.number != number:
            return f"Seal {number} is missing."
        if not seal.made_by(box):
            return f"Seal {number} was altered, or its key is not here."
        if seal.previous != previous:
            return f"Seal {number} does not follow the one before it."
        previous = seal.signature
    found, before = {seal.number: seal for seal in kept}, 0
    for seal in file:
        if seal.number <= before or not seal.made_by(box):
            return f"Seal {seal.number} in the file was altered, or its key is not here."
        if found.get(seal.number) != seal:
            return f"Seal {seal.number} of the file is missing from the database, or differs there."
        before = seal.number
    return ""


def verify_here(settings: Settings, database: Database) -> Verified:
    """Verify with the site's keys and the file of seals of this home folder. Raises BadInput without a key."""
    box = load_secrets(settings)
    try:
        file, unreadable = read_file(settings.audit_seals_file), ""
    except BadInput as error:
        file, unreadable = [], error.message
    with database.read() as session:
        found = verify(session, box, file)
    if unreadable:
        words = f"{found.problem} {unreadable}".strip()
        return Verified(found.events, found.sealed, found.sealed_at, words, found.first_wrong)
    return found


def check(settings: Settings, database: Database) -> Verified:
    """Verify and keep what was found for the page to show; what was not known before is an alert, here and there."""
    found = verify_here(settings, database)
    with database.write() as session:
        row = session.get(AuditCheck, 1) or AuditCheck(id=1, problem="")
        if found.problem and found.problem != row.problem:
            detail = {"event": found.first_wrong, "intact_to": found.events}
            record(session, AuditCode.SECURITY_ALERT, "audit-altered", "system", outcome="compromised", detail=detail)
            raise_alert(session, "audit-altered", "system", found.problem)
        row.at, row.events, row.problem = utc_now(), found.events, found.problem[:400]
        session.add(row)
    return found

"""The audit sink: append-only events of who did what to which study, chained by hash, kept in the index database.

Codes are those of PS3.15 A.5; ``access/audit`` reads the events, seals the chain and sends them on. Detail holds
opaque ids and counts only. Each event's hash covers its content and the hash of the event before it. An event is
numbered, chained and written when its transaction commits, as the last thing that transaction does: the chain's lock
(PostgreSQL; on SQLite a writing transaction is alone anyway) is held for no more than one insert and the commit, and
as no lock is taken after it, no two transactions can wait for each other. The database itself refuses UPDATE and
DELETE on the table (triggers in the migration).
"""

import hashlib
import json
import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import String, event, insert, select, text
from sqlalchemy.orm import Mapped, Session, SessionTransaction, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Database, Json, UtcDateTime

log = logging.getLogger(__name__)

FIRST = "0" * 64
"""What stands for the hash of the event before the first."""
# Any number will do; it only has to be the same in every process.
_LOCK = 7_046_422
_WAITING = "audit events of this transaction"
_HOST: ContextVar[str] = ContextVar("host of whoever acts", default="")


class AuditCode(StrEnum):
    """Event identifiers (PS3.16 CID 400), by code value."""

    APPLICATION_ACTIVITY = "110100"
    AUDIT_LOG_USED = "110101"
    BEGIN_TRANSFERRING = "110102"
    INSTANCES_ACCESSED = "110103"
    INSTANCES_TRANSFERRED = "110104"
    STUDY_DELETED = "110105"
    EXPORT = "110106"
    IMPORT = "110107"
    NETWORK_ENTRY = "110108"
    PATIENT_RECORD = "110110"
    QUERY = "110112"
    SECURITY_ALERT = "110113"
    USER_AUTHENTICATION = "110114"


class AuditEvent(Base):
    """One event. ``id`` counts without gaps. ``actor`` is an account, an AE title or a process; never a patient.

    ``outcome``: ``success``, ``failure`` (may be tried again), ``refused``, or ``compromised`` (a protection failed).
    ``host``: the network address the actor came from, where there is one.
    """

    __tablename__ = "audit_event"

    id: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime, index=True)
    code: Mapped[str] = mapped_column(String(16))
    action: Mapped[str] = mapped_column(String(64))
    outcome: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(128), index=True)
    host: Mapped[str] = mapped_column(String(64))
    study_id: Mapped[str | None] = mapped_column(String(32), index=True)
    patient_id: Mapped[int | None] = mapped_column(index=True)
    """The index's own key of a patient, where an event is about a patient and no study."""
    detail: Mapped[dict[str, Any]] = mapped_column(Json)
    hash: Mapped[str] = mapped_column(String(64))
    """SHA-256, in hex, over all the columns before it and the hash of the event before (``chained_hash``)."""


def record(
    session: Session,
    code: AuditCode,
    action: str,
    actor: str,
    *,
    study_id: str | None = None,
    patient_id: int | None = None,
    outcome: str = "success",
    host: str = "",
    detail: Mapping[str, Any] | None = None,
) -> None:
    """Add one event to the running transaction: it is chained and written when that commits, or not at all.

    ``action`` is a line of ``access/audit/actions.py``. ``host`` defaults to that of ``acting_from``.
    """
    waiting = session.info.setdefault(_WAITING, [])
    values = {
        "at": utc_now(),
        "code": AuditCode(code).value,
        "action": _fitting(action, 64),
        "outcome": _fitting(outcome, 16),
        "actor": _fitting(actor, 128),
        "host": _fitting(host or _HOST.get(), 64),
        "study_id": study_id,
        "patient_id": patient_id,
        "detail": _plain(dict(detail or {})),
    }
    waiting.append((_transactions(session), values))


def record_alone(database: Database, code: AuditCode, action: str, actor: str, **more: Any) -> None:
    """Record in a transaction of its own. What was done stays done where that fails; the log says so."""
    try:
        with database.write() as session:
            record(session, code, action, actor, **more)
    except Exception as error:
        log.error("audit event %s could not be written: %s", code, type(error).__name__)


@contextmanager
def acting_from(host: str) -> Iterator[None]:
    """What is recorded meanwhile, in this thread or request, was done from this network address."""
    token = _HOST.set(host)
    try:
        yield
    finally:
        _HOST.reset(token)


def chained_hash(previous: str, row: Mapping[str, Any]) -> str:
    """Return the hash of an event whose columns are ``row``, after the event whose hash is ``previous``."""
    content = [
        previous,
        row["id"],
        row["at"].astimezone(UTC).isoformat(timespec="microseconds"),
        row["code"],
        row["action"],
        row["outcome"],
        row["actor"],
        row["host"],
        row["study_id"],
        row["patient_id"],
        row["detail"],
    ]
    return hashlib.sha256(json.dumps(content, separators=(",", ":"), sort_keys=True).encode()).hexdigest()


def _fitting(words: str, length: int) -> str:
    # An event is never lost because a peer called itself something that no column can hold.
    return words.encode("utf-8", "replace").decode().replace("\0", "?")[:length]


def _plain(value: Any) -> Any:
    """``value`` in what reads back from JSON on every database exactly as it was written."""
    if isinstance(value, Mapping):
        return {_fitting(str(key), 200): _plain(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if value is None or isinstance(value, bool | int):
        return value
    # PostgreSQL writes a float its own way, and the hash would differ.
    return _fitting(str(value), 2000)


def _transactions(session: Session) -> tuple[SessionTransaction, ...]:
    """The running transaction of a session and the savepoints within it, innermost first."""
    running: SessionTransaction | None = (
        session.get_nested_transaction() or session.get_transaction() or session.begin()
    )
    found = []
    while running is not None:
        found.append(running)
        running = running.parent
    return tuple(found)


@event.listens_for(Session, "before_commit")
def _write(session: Session) -> None:
    """Chain and write what was recorded, before everything is committed."""
    waiting = session.info.get(_WAITING)
    if not waiting or session.in_nested_transaction():
        return
    # Every other lock of the transaction is taken by now: the chain's is the last.
    session.flush()
    connection = session.connection()
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    last = connection.execute(select(AuditEvent.id, AuditEvent.hash).order_by(AuditEvent.id.desc()).limit(1)).first()
    number, previous = last or (0, FIRST)
    rows = []
    for _, values in waiting:
        number += 1
        row = {"id": number, **values}
        row["hash"] = previous = chained_hash(previous, row)
        rows.append(row)
    connection.execute(insert(AuditEvent), rows)
    waiting.clear()


@event.listens_for(Session, "after_soft_rollback")
def _drop(session: Session, transaction: SessionTransaction) -> None:
    """Forget what was recorded within what was rolled back."""
    waiting = session.info.get(_WAITING)
    if waiting:
        waiting[:] = [(within, values) for within, values in waiting if transaction not in within]


@event.listens_for(Session, "after_transaction_end")
def _forget(session: Session, transaction: SessionTransaction) -> None:
    """A transaction that was left without a commit leaves nothing for the next one."""
    if transaction.parent is None:
        session.info.pop(_WAITING, None)

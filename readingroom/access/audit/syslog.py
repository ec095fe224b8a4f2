"""The audit sent on: RFC 5424 messages over TLS, counted by octets (RFC 5425), with the XML of PS3.15 A.5 in them.

Where the receiver stands is a cursor in the database that moves only when a batch has arrived, so that every event
arrives at least once, across restarts and failures on either side. RFC 5425 has no acknowledgement of its own: a batch
has arrived when, after our closing of TLS, the receiver has closed as well (it has then read to the end) and no reset
of the connection follows (which is what unread bytes cause). What was sent twice has the same number and hash.
"""

import logging
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from datetime import UTC
from typing import Final

from sqlalchemy import select as sql
from sqlalchemy.orm import Session

from readingroom.access.audit.message import Subject, Us, audit_message
from readingroom.access.audit.tables import AuditCursor
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.config import AuditSyslog, Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Permission, job
from readingroom.core.tls import client_context

log = logging.getLogger(__name__)

FACILITY, NOTICE, WARNING = 10, 5, 4
MESSAGE_ID = "DICOM+RFC3881"
BATCH: Final = 500
LOOK_SECONDS: Final = 1.0
FAILED_SECONDS: Final = 10.0
TIMEOUT_SECONDS: Final = 20.0
_RESET_MS: Final = 200
"""How long after its end a reset of the connection would take to reach us."""

Subjects = Callable[[Session, Sequence[AuditEvent]], Mapping[int, Subject]]
"""``subjects(session, events)`` -> what each event, by its number, is about; ``archive.subjects.subjects``."""


@job(Permission.AUDIT_KEEP)
def run_audit_sender(settings: Settings, database: Database, subjects: Subjects, stop: threading.Event) -> None:
    """Send what is new, until ``stop`` is set."""
    receiver = settings.audit_syslog
    assert receiver is not None
    failing = False
    while not stop.is_set():
        try:
            sent = send_batch(receiver, database, subjects, Us(settings.aet, socket.gethostname()))
            failing = False
        except Exception as error:
            # Once, not every ten seconds for a night; the page shows it meanwhile.
            if not failing:
                log.error("the audit cannot be sent to %s: %s", receiver.host, type(error).__name__)
            failing = True
            _note(database, receiver, type(error).__name__)
            stop.wait(FAILED_SECONDS)
            continue
        if sent < BATCH:
            stop.wait(LOOK_SECONDS)


def send_batch(receiver: AuditSyslog, database: Database, subjects: Subjects, us: Us) -> int:
    """Send the events after the cursor, a batch at most, and move it. Returns how many. Raises OSError."""
    with database.read() as session:
        row = session.get(AuditCursor, cursor_name(receiver))
        after = row.event if row is not None else 0
        events = session.scalars(
            sql(AuditEvent).where(AuditEvent.id > after).order_by(AuditEvent.id).limit(BATCH)
        ).all()
        if not events:
            return 0
        about = subjects(session, events)
    deliver(receiver, [syslog_message(event, about.get(event.id, Subject()), us) for event in events])
    with database.write() as session:
        row = session.get(AuditCursor, cursor_name(receiver)) or AuditCursor(receiver=cursor_name(receiver))
        row.event, row.sent_at, row.last_error = events[-1].id, utc_now(), ""
        session.add(row)
    return len(events)


def cursor_name(receiver: AuditSyslog) -> str:
    return f"{receiver.host}:{receiver.port}"


def syslog_message(event: AuditEvent, subject: Subject, us: Us) -> bytes:
    """Return one SYSLOG-MSG of RFC 5424."""
    severity = NOTICE if event.outcome == "success" else WARNING
    moment = event.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    node = "".join(c for c in us.node if "!" <= c <= "~")[:255] or "-"
    head = f"<{FACILITY * 8 + severity}>1 {moment} {node} readingroom {os.getpid()} {MESSAGE_ID} - \ufeff"
    return head.encode() + audit_message(event, subject, us)


def deliver(receiver: AuditSyslog, messages: Collection[bytes]) -> None:
    """Send the messages over a connection of their own and return once they have arrived. Raises OSError, BadInput."""
    # Read each time, so that a renewed certificate counts at once.
    context = client_context(receiver.ca, receiver.certificate, receiver.key)
    with (
        socket.create_connection((receiver.host, receiver.port), TIMEOUT_SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=receiver.host) as secure,
    ):
        secure.sendall(b"".join(b"%d %s" % (len(message), message) for message in messages))
        number = secure.fileno()
        # Some receivers answer the end of TLS by the end of the connection.
        with suppress(ssl.SSLEOFError):
            secure.unwrap()
        poll = select.poll()
        poll.register(number, 0)
        if poll.poll(_RESET_MS):
            raise ConnectionResetError("the receiver left something unread")


def _note(database: Database, receiver: AuditSyslog, error: str) -> None:
    try:
        with database.write() as session:
            row = session.get(AuditCursor, cursor_name(receiver)) or AuditCursor(
                receiver=cursor_name(receiver), event=0
            )
            row.last_error = error
            session.add(row)
    except Exception as failure:
        log.error("the audit's cursor cannot be written: %s", type(failure).__name__)

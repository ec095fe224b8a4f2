"""Sending alerts by webhook and mail, in the deliver process; tried again, ever later, until the server has accepted.

Each channel has a thread of its own: one that is down holds up no other. Just before it goes out each message is asked
about once more: is the alert still waiting for somebody, and may they be told of this study? A message goes out at
least once; its id is the same at each attempt, so that a receiver can tell.
"""

import logging
import smtplib
import threading
from datetime import timedelta
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from readingroom.access.actor import actor_of
from readingroom.access.tables import Account, Project
from readingroom.archive.deliver import wait_seconds
from readingroom.archive.tables import Study
from readingroom.archive.visibility import visible
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput
from readingroom.core.permissions import Permission, job
from readingroom.core.tls import client_context
from readingroom.core.urgent_channels import UrgentMail, UrgentWebhook
from readingroom.worklist.urgent.message import (
    ID_HEADER,
    SIGNATURE_HEADER,
    Message,
    as_json,
    as_mail,
    link_to,
    signature,
)
from readingroom.worklist.urgent.tables import UrgentAlert, UrgentEvent, UrgentMessage

log = logging.getLogger(__name__)

Channel = UrgentWebhook | UrgentMail

_POLL_SECONDS: Final = 0.5
_STRAY_SECONDS: Final = 5.0
_TIMEOUT_SECONDS: Final = 20.0
NOT_WANTED: Final = "Somebody had acknowledged it, or it had ended."
NOT_THEIRS: Final = "They may not know of this study."


class NotSent(Exception):
    """The server did not accept it now. The text is ours."""


@job(Permission.URGENT_SEND)
def run_urgent_sender(settings: Settings, database: Database, stop: threading.Event) -> None:
    """Send what is due on every channel, until ``stop`` is set; a message on its way is finished first."""
    threads = [
        threading.Thread(target=send_on, args=(settings, database, channel, stop), name=channel.name, daemon=True)
        for channel in settings.urgent.channels
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


@job(Permission.URGENT_SEND)
def send_on(settings: Settings, database: Database, channel: Channel, stop: threading.Event) -> None:
    """Send what is due on one channel, until ``stop`` is set."""
    while not stop.is_set():
        try:
            if send_due(settings, database, channel):
                continue
        except Exception as error:
            # An error's text may quote parameters of a query: only its kind is logged.
            log.error("urgent alerts by %s: %s", channel.name, type(error).__name__)
            stop.wait(_STRAY_SECONDS)
        stop.wait(_POLL_SECONDS)


def send_due(settings: Settings, database: Database, channel: Channel) -> bool:
    """Try the message that has been due longest on a channel; return whether there was one."""
    with database.read() as session:
        row = session.scalars(
            select(UrgentMessage)
            .where(
                UrgentMessage.channel == channel.name,
                UrgentMessage.state == "waiting",
                UrgentMessage.next_try_at <= utc_now(),
            )
            .order_by(UrgentMessage.next_try_at, UrgentMessage.id)
            .limit(1)
        ).first()
        if row is None:
            return False
        alert = session.get_one(UrgentAlert, row.alert_id)
        stopped = why_not(session, channel, row, alert)
        simulated = session.get_one(Study, alert.study_id).simulated
    if stopped:
        _set(database, row, state="cancelled", last_error=stopped)
        return True
    message = Message(
        id=row.id,
        alert_id=alert.id,
        finding=alert.code_meaning,
        reader=alert.reader,
        raised_at=alert.raised_at,
        step=row.step,
        link=link_to(settings.web_address, alert.study_id),
        simulated=simulated,
    )
    try:
        if isinstance(channel, UrgentWebhook):
            _post(channel, message)
        else:
            _mail(channel, message, channel.people[row.recipient], settings.site_timezone)
    except (NotSent, BadInput) as error:
        _failed(database, channel, row, str(error))
    else:
        _sent(database, channel, row, alert)
    return True


def why_not(session: Session, channel: Channel, row: UrgentMessage, alert: UrgentAlert) -> str:
    """Return why a message must not go out; empty where it may."""
    if alert.closed_at is not None or alert.acknowledged_at is not None:
        return NOT_WANTED
    if isinstance(channel, UrgentWebhook):
        # Nobody knows who reads it: nothing of a restricted study.
        may = select(Study.id).join(Project, Project.id == Study.project_id)
        may = may.where(Study.id == alert.study_id, ~Study.restricted, Project.name.in_(channel.projects))
        return "" if session.scalar(may) is not None else NOT_THEIRS
    account = session.scalar(select(Account).where(Account.name == row.recipient, Account.disabled.is_(False)))
    if account is None or row.recipient not in channel.people:
        return NOT_THEIRS
    theirs = visible(actor_of(session, account), Permission.FINDING_JUDGE)
    seen = session.scalar(select(Study.id).where(Study.id == alert.study_id, theirs))
    return "" if seen is not None else NOT_THEIRS


def _post(channel: UrgentWebhook, message: Message) -> None:
    # Imported here: a house without webhooks needs no HTTP client.
    import httpx

    body = as_json(message)
    headers = {
        "Content-Type": "application/json",
        ID_HEADER: message.id,
        SIGNATURE_HEADER: signature(channel.secret(), int(utc_now().timestamp()), body),
    }
    try:
        with httpx.Client(timeout=_TIMEOUT_SECONDS, verify=client_context(channel.ca, None, None)) as client:
            status = client.post(channel.url, content=body, headers=headers).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NotSent(f"The server cannot be reached ({type(error).__name__}).") from None
    if not 200 <= status < 300:
        raise NotSent(f"The server answered {status}.")


def _mail(channel: UrgentMail, message: Message, to: str, zone: str) -> None:
    mail = as_mail(message, sender=channel.sender, to=to, zone=zone, now=utc_now())
    context = client_context(channel.ca, None, None)
    try:
        if channel.tls == "tls":
            server: smtplib.SMTP = smtplib.SMTP_SSL(
                channel.host, channel.port, timeout=_TIMEOUT_SECONDS, context=context
            )
        else:
            server = smtplib.SMTP(channel.host, channel.port, timeout=_TIMEOUT_SECONDS)
        with server:
            if channel.tls == "starttls":
                server.starttls(context=context)
            if channel.user:
                server.login(channel.user, channel.password())
            server.send_message(mail)
    except (smtplib.SMTPException, OSError) as error:
        # Its text repeats what the server said.
        raise NotSent(f"The mail server did not take it ({type(error).__name__}).") from None


def _sent(database: Database, channel: Channel, row: UrgentMessage, alert: UrgentAlert) -> None:
    host = channel.host if isinstance(channel, UrgentMail) else urlsplit(channel.url).hostname or ""
    now = utc_now()
    with database.write() as session:
        session.execute(
            update(UrgentMessage)
            .where(UrgentMessage.id == row.id)
            .values(state="sent", sent_at=now, attempts=row.attempts + 1, last_error="")
        )
        session.add(
            UrgentEvent(
                alert_id=alert.id, kind="sent", actor=row.recipient or channel.name, detail=channel.name, at=now
            )
        )
        record(
            session,
            AuditCode.PATIENT_RECORD,
            "urgent-sent",
            row.recipient or channel.name,
            study_id=alert.study_id,
            host=host,
            detail={"alert": alert.id, "channel": channel.name},
        )


def _failed(database: Database, channel: Channel, row: UrgentMessage, why: str) -> None:
    attempts = row.attempts + 1
    log.warning("urgent message %s by %s, attempt %d: %s", row.id, channel.name, attempts, why)
    next_try_at = utc_now() + timedelta(seconds=wait_seconds(attempts))
    _set(database, row, attempts=attempts, next_try_at=next_try_at, last_error=why)


def _set(database: Database, row: UrgentMessage, **values: object) -> None:
    with database.write() as session:
        session.execute(update(UrgentMessage).where(UrgentMessage.id == row.id).values(**values))

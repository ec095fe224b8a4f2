"""What a message about an urgent finding says: the finding in words, when it was raised, where the study is. Pure.

No name, no identifier, no accession number: the study is an address of ours that tells nothing to whoever may not see
it. Research use only, as everywhere.
"""

import hashlib
import hmac
import json
from dataclasses import dataclass
from datetime import datetime
from email.message import EmailMessage
from email.utils import format_datetime
from zoneinfo import ZoneInfo

NOTICE = "Research use only. Not cleared for clinical use."
SIGNATURE_HEADER = "X-Reading-Room-Signature"
ID_HEADER = "X-Reading-Room-Message"


@dataclass(frozen=True)
class Message:
    """One message. ``id`` is the same at each attempt; ``step``: 0 at once, else the escalation."""

    id: str
    alert_id: str
    finding: str
    reader: str
    raised_at: datetime
    step: int
    link: str
    simulated: bool
    """The study is made up: nobody is in danger."""


def link_to(web_address: str, study_id: str) -> str:
    """Return where the study is opened; without an address of the site its path alone."""
    return f"{web_address.rstrip('/')}/study/{study_id}"


def as_json(message: Message) -> bytes:
    """Return the body of a webhook."""
    body = {
        "kind": "urgent-finding",
        "message": message.id,
        "alert": message.alert_id,
        "finding": message.finding,
        "reader": message.reader,
        "raised_at": message.raised_at.isoformat(),
        "step": message.step,
        "simulated": message.simulated,
        "study": message.link,
        "notice": NOTICE,
    }
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()


def signature(secret: str, at: int, body: bytes) -> str:
    """Return ``t=AT,v1=HEX``: HMAC-SHA256 (RFC 2104) by the shared key over ``AT.body``; ``at`` in Unix seconds.

    The time is signed too, so that a receiver can refuse what is old and was recorded by somebody.
    """
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


def as_mail(message: Message, *, sender: str, to: str, zone: str, now: datetime) -> EmailMessage:
    """Return the mail; times are the site's."""
    mail = EmailMessage()
    mail["From"], mail["To"] = sender, to
    mail["Date"] = format_datetime(now)
    mail["Message-ID"] = f"<{message.id}@{sender.partition('@')[2]}>"
    waiting = "" if message.step == 0 else " (nobody has acknowledged it)"
    made_up = "Simulated: " if message.simulated else ""
    mail["Subject"] = f"{made_up}Urgent finding: {message.finding}{waiting}"
    raised = message.raised_at.astimezone(ZoneInfo(zone))
    mail.set_content(
        f"{made_up}A reader reports {message.finding}.\n\n"
        f"Reader: {message.reader}\nRaised: {raised:%Y-%m-%d %H:%M} ({zone}){waiting}\nStudy: {message.link}\n\n"
        f"Open the study, look at it, and acknowledge the alert there.\n\n{NOTICE}\n"
    )
    return mail

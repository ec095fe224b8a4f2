"""Tickets: what the server remembers between two requests of one sign-in, until it is used or a few minutes old.

A challenge a passkey signs, who has given a right password and owes a code, the state of a trip to the OpenID
provider, the first administrator's link. The browser holds 256 random bits, the database their SHA-256.
"""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from sqlalchemy import delete, func, select
from sqlalchemy.orm import Session

from readingroom.access.limits import TooManyAttempts
from readingroom.access.tables import Ticket
from readingroom.core.clock import utc_now

LIFETIME = timedelta(minutes=5)
MOST = 10_000
"""Anybody may ask for tickets that belong to no account, so there is a most of those."""


class Purpose(StrEnum):
    SECOND_FACTOR = "second-factor"
    PASSKEY_SIGN_IN = "passkey-sign-in"
    PASSKEY_PROOF = "passkey-proof"
    PASSKEY_REGISTER = "passkey-register"
    OIDC = "oidc"
    SET_UP = "set-up"


@dataclass(frozen=True)
class Held:
    """A ticket that was shown: whose it is, and what was noted on it."""

    account_id: int | None
    detail: Mapping[str, Any]


def issue(
    session: Session,
    purpose: Purpose,
    *,
    account_id: int | None = None,
    detail: Mapping[str, Any] | None = None,
    lifetime: timedelta = LIFETIME,
    now: datetime | None = None,
) -> str:
    """Return the token of a new ticket, and forget those that are too old. Raises TooManyAttempts."""
    now = now or utc_now()
    session.execute(delete(Ticket).where(Ticket.expires_at <= now))
    nobodys = select(func.count()).select_from(Ticket).where(Ticket.account_id.is_(None))
    if account_id is None and (session.scalar(nobodys) or 0) >= MOST:
        raise TooManyAttempts
    token = secrets.token_urlsafe(32)
    session.add(
        Ticket(
            token_sha256=_digest(token),
            purpose=purpose.value,
            account_id=account_id,
            detail=dict(detail or {}),
            expires_at=now + lifetime,
        )
    )
    return token


def look(session: Session, purpose: Purpose, token: str, *, now: datetime | None = None) -> Held | None:
    """Return the ticket of this token and purpose while it is valid; it stays."""
    row = session.get(Ticket, _digest(token))
    if row is None or row.purpose != purpose or row.expires_at <= (now or utc_now()):
        return None
    return Held(row.account_id, row.detail)


def take(session: Session, purpose: Purpose, token: str, *, now: datetime | None = None) -> Held | None:
    """Return the ticket as ``look`` does; nobody gets it again, not even somebody who asks at the same moment."""
    held = look(session, purpose, token, now=now)
    gone = session.execute(delete(Ticket).where(Ticket.token_sha256 == _digest(token), Ticket.purpose == purpose.value))
    return held if gone.rowcount == 1 else None  # type: ignore[attr-defined]


def void(session: Session, purpose: Purpose, account_id: int | None = None) -> None:
    """Take back all tickets of a purpose; those of one account where it is named."""
    statement = delete(Ticket).where(Ticket.purpose == purpose.value)
    session.execute(statement if account_id is None else statement.where(Ticket.account_id == account_id))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

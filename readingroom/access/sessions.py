"""Sessions of signed-in browsers.

The cookie holds 256 random bits; the database only their SHA-256, so that reading the database signs nobody in.
A session ends when idle, at its absolute end, at sign-out, or when its account is disabled. It remembers when the
person last showed who they are: what changes an account's ways in asks again after minutes, signing after hours.
"""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from readingroom.access.tables import Account, WebSession
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import NotFound, ReadingRoomError

IDLE = timedelta(hours=1)
ABSOLUTE = timedelta(hours=12)
# ``seen_at`` is written at most this often: a page polls every few seconds.
TOUCH_EVERY = timedelta(minutes=1)
FRESH = timedelta(minutes=10)


class ProofNeeded(ReadingRoomError):
    """The session is good, but it is too long ago that the person showed who they are."""

    code = "proof-needed"

    def __init__(self) -> None:
        super().__init__("Show again that it is you.", "Then this goes on.")


@dataclass(frozen=True)
class NewSession:
    """What the browser gets: the cookie's value and the token its pages send back with each change."""

    token: str
    csrf: str
    expires_at: datetime


@dataclass(frozen=True)
class OpenSession:
    """A valid session and its account. ``stale`` asks the caller to ``touch`` it."""

    token_sha256: str
    csrf: str
    account: Account
    stale: bool
    strong: bool


def open_session(
    session: Session, account_id: int, *, strong: bool = False, browser: str = "", now: datetime | None = None
) -> NewSession:
    """Begin a session (``strong``: by more than a password; ``browser``: as it names itself); forget ended ones."""
    now = now or utc_now()
    session.execute(delete(WebSession).where(WebSession.expires_at < now))
    new = NewSession(secrets.token_urlsafe(32), secrets.token_urlsafe(32), now + ABSOLUTE)
    session.add(
        WebSession(
            token_sha256=_digest(new.token),
            account_id=account_id,
            csrf=new.csrf,
            created_at=now,
            seen_at=now,
            expires_at=new.expires_at,
            proved_at=now,
            strong=strong,
            browser="".join(c for c in browser if c.isprintable())[:200],
        )
    )
    return new


def find_session(session: Session, token: str, *, now: datetime | None = None) -> OpenSession | None:
    """Return the session of this cookie while it is valid and its account is not disabled."""
    now = now or utc_now()
    row = session.scalar(select(WebSession).where(WebSession.token_sha256 == _digest(token)))
    if row is None or row.expires_at <= now or row.seen_at + IDLE <= now or row.account.disabled:
        return None
    return OpenSession(row.token_sha256, row.csrf, row.account, row.seen_at + TOUCH_EVERY <= now, row.strong)


def touch(session: Session, token_sha256: str, *, now: datetime | None = None) -> None:
    """Note that the session is in use."""
    session.execute(update(WebSession).where(WebSession.token_sha256 == token_sha256).values(seen_at=now or utc_now()))


def prove(session: Session, token_sha256: str, *, strong: bool = False, now: datetime | None = None) -> None:
    """Note that the person has just shown who they are (``strong``: by more than a password)."""
    row = session.get(WebSession, token_sha256)
    if row is not None:
        row.proved_at = now or utc_now()
        row.strong = row.strong or strong


def want_proof(session: Session, token_sha256: str, within: timedelta = FRESH, *, now: datetime | None = None) -> None:
    """Raise ProofNeeded where the person last showed who they are longer ago than ``within``."""
    row = session.get(WebSession, token_sha256)
    if row is None or row.proved_at + within <= (now or utc_now()):
        raise ProofNeeded


def close_session(session: Session, token: str, *, actor: str) -> None:
    """Sign out."""
    session.execute(delete(WebSession).where(WebSession.token_sha256 == _digest(token)))
    record(session, AuditCode.USER_AUTHENTICATION, "sign-out", actor)


def sessions_of(session: Session, account_id: int, *, now: datetime | None = None) -> list[WebSession]:
    """Return the account's sessions that are open, the last used first."""
    now = now or utc_now()
    rows = select(WebSession).where(
        WebSession.account_id == account_id, WebSession.expires_at > now, WebSession.seen_at > now - IDLE
    )
    return list(session.scalars(rows.order_by(WebSession.seen_at.desc())))


def end_session(session: Session, account_id: int, session_id: str, *, actor: str) -> None:
    """End one of the account's sessions, wherever it is open. Raises NotFound."""
    row = session.scalar(select(WebSession).where(WebSession.id == session_id, WebSession.account_id == account_id))
    if row is None:
        raise NotFound("There is no such session.")
    session.delete(row)
    record(session, AuditCode.USER_AUTHENTICATION, "session-ended", actor)


def revoke_all(session: Session, account_id: int, *, keep: str = "") -> None:
    """End every session of an account, but for the one that ``keep`` is the digest of."""
    session.execute(delete(WebSession).where(WebSession.account_id == account_id, WebSession.token_sha256 != keep))


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

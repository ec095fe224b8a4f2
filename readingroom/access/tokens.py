"""API tokens: what a program shows instead of a password.

A token holds 256 random bits and is shown once; the database keeps its SHA-256. It belongs to an account, carries a
part of what the account's role may do, in one project or all of the account's, and ends at a day that is fixed when it
is made. It never signs a report, breaks a glass, or manages accounts: those need a person at the screen.
"""

import hashlib
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from readingroom.access.projects import find_project
from readingroom.access.tables import Account, ApiToken, Membership
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput, NotFound
from readingroom.core.permissions import FOR_TOKENS, ROLE_PERMISSIONS, Permission, Role

LONGEST_DAYS = 366
# ``used_at`` is written at most this often.
TOUCH_EVERY = timedelta(minutes=1)
_MARK = "rr_"
"""What a token begins with, so that one that got out is known for what it is."""
_NAME = re.compile(r"[^\x00-\x1f\x7f]{1,64}")


@dataclass(frozen=True)
class NewToken:
    """A token that has just been made; ``text`` is shown this once."""

    id: str
    text: str
    expires_at: datetime


def scopes_of(role: Role) -> frozenset[Permission]:
    """Return what a token of an account of ``role`` may carry."""
    return ROLE_PERMISSIONS[role] & FOR_TOKENS


def create_token(
    session: Session,
    account: Account,
    name: str,
    scopes: Sequence[Permission],
    days: int,
    *,
    project: str = "",
    actor: str,
    now: datetime | None = None,
) -> NewToken:
    """Make a token for ``account``. Raises BadInput for a scope its role lacks, NotFound for a project it is not in."""
    if not _NAME.fullmatch(name.strip()):
        raise BadInput("A token has a name of 1 to 64 characters.", "Say what uses it.")
    if not 1 <= days <= LONGEST_DAYS:
        raise BadInput(f"A token is good for 1 to {LONGEST_DAYS} days.", "Make a new one when it ends.")
    most = scopes_of(Role(account.role))
    if not scopes or not set(scopes) <= most:
        raise BadInput("A token carries a part of what its account may do.", f"Of these: {', '.join(sorted(most))}.")
    now = now or utc_now()
    text = _MARK + secrets.token_urlsafe(32)
    row = ApiToken(
        token_sha256=_digest(text),
        account_id=account.id,
        name=name.strip(),
        scopes=sorted(scope.value for scope in set(scopes)),
        project_id=_project_of(session, account, project) if project else None,
        created_at=now,
        expires_at=now + timedelta(days=days),
    )
    session.add(row)
    session.flush()
    detail = {"account": account.name, "token": row.id, "scopes": row.scopes, "project": project}
    record(session, AuditCode.SECURITY_ALERT, "token-created", actor, detail=detail)
    return NewToken(row.id, text, row.expires_at)


def _project_of(session: Session, account: Account, name: str) -> int:
    project = find_project(session, name)
    if session.get(Membership, (account.id, project.id)) is None:
        raise NotFound("The account is not a member of that project.", "Make it one first.")
    return project.id


def find_token(session: Session, text: str, *, now: datetime | None = None) -> ApiToken | None:
    """Return the token while it is good and its account is not disabled."""
    if not text.startswith(_MARK):
        return None
    row = session.scalar(select(ApiToken).where(ApiToken.token_sha256 == _digest(text)))
    if row is None or row.revoked_at is not None or row.expires_at <= (now or utc_now()) or row.account.disabled:
        return None
    return row


def is_stale(token: ApiToken) -> bool:
    """Whether its last use was noted long enough ago to be noted again."""
    return token.used_at is None or token.used_at + TOUCH_EVERY <= utc_now()


def touch(session: Session, token_id: str) -> None:
    """Note that the token is in use."""
    session.execute(update(ApiToken).where(ApiToken.id == token_id).values(used_at=utc_now()))


def tokens_of(session: Session, account_id: int | None = None) -> list[ApiToken]:
    """Return the tokens of an account, or of all, newest first; those revoked or ended too."""
    rows = select(ApiToken).order_by(ApiToken.created_at.desc(), ApiToken.id)
    return list(session.scalars(rows if account_id is None else rows.where(ApiToken.account_id == account_id)))


def revoke_token(session: Session, token_id: str, *, account_id: int | None = None, actor: str) -> None:
    """End a token now; ``account_id``: only one of that account's. Raises NotFound. Again changes nothing."""
    row = session.get(ApiToken, token_id)
    if row is None or account_id not in (None, row.account_id):
        raise NotFound("There is no such token.")
    if row.revoked_at is None:
        row.revoked_at = utc_now()
        detail = {"account": row.account.name, "token": row.id}
        record(session, AuditCode.SECURITY_ALERT, "token-revoked", actor, detail=detail)


def revoke_all_tokens(session: Session, account_id: int, *, actor: str) -> None:
    """End every token of an account."""
    for row in tokens_of(session, account_id):
        revoke_token(session, row.id, actor=actor)


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()

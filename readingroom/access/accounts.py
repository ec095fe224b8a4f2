"""Accounts: who may sign in, with which role, and the check of a password.

A check does the same work whether or not the name exists, and failures are limited (``limits.py``). Every check is
audited; a name that no account has is never written down: a typed name may be a patient's.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.access import limits, passkeys, passwords, second_factor, sessions
from readingroom.access.projects import default_memberships, set_memberships
from readingroom.access.tables import Account
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, Conflict, Forbidden, NotFound, ReadingRoomError
from readingroom.core.permissions import Role

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}")
_KIND = "sign-in"


class SignInRefused(ReadingRoomError):
    """The name or the password is wrong, or the account is disabled; which of them is not told."""

    code = "sign-in-refused"


@dataclass(frozen=True)
class Identity:
    """Who somebody is at the OpenID provider; in place of a password."""

    issuer: str
    subject: str


def is_name(text: str) -> bool:
    """Whether ``text`` may be an account's name."""
    return _NAME.fullmatch(text) is not None


def create_account(
    session: Session,
    name: str,
    password: str | Identity,
    role: Role,
    *,
    display_name: str = "",
    projects: Mapping[str, Role] | None = None,
    actor: str = "system",
) -> Account:
    """Add an account. Raises BadInput on a bad name or weak password, Conflict where the name is taken.

    ``projects``: where it is a member, and as what; None for where its role is at home.
    """
    if not is_name(name):
        raise BadInput("An account name has 1 to 64 letters, digits or ._@-.", "It starts with a letter or digit.")
    if session.scalar(select(Account.id).where(Account.name == name)) is not None:
        raise Conflict("There is an account of that name.", "Choose another name.")
    account = Account(
        name=name,
        display_name=display_name or name,
        role=Role(role).value,
    )
    if isinstance(password, Identity):
        account.oidc_issuer, account.oidc_subject = password.issuer, password.subject
    else:
        account.password_hash = passwords.hash_password(name, password)
    session.add(account)
    session.flush()
    record(session, AuditCode.SECURITY_ALERT, "account-created", actor, detail={"account": name, "role": account.role})
    set_memberships(session, account, default_memberships(role) if projects is None else projects, actor=actor)
    return account


def change_password(session: Session, name: str, password: str, *, actor: str, keep: str = "") -> None:
    """Set a new password and end every session of the account, but for the one that ``keep`` is the digest of.

    Raises Conflict where the account signs in elsewhere.
    """
    account = find_account(session, name)
    if account.oidc_subject is not None:
        raise Conflict("This account has no password here.", "Its password is the OpenID provider's.")
    account.password_hash = passwords.hash_password(name, password)
    account.password_given = False
    sessions.revoke_all(session, account.id, keep=keep)
    record(session, AuditCode.SECURITY_ALERT, "password-changed", actor, detail={"account": name})


def forget_factors(session: Session, name: str, *, actor: str) -> None:
    """Remove the authenticator app, its recovery codes and all passkeys of somebody who lost them; end the sessions."""
    account = find_account(session, name)
    second_factor.forget(session, account.id)
    passkeys.forget(session, account.id)
    sessions.revoke_all(session, account.id)
    record(session, AuditCode.SECURITY_ALERT, "factors-forgotten", actor, detail={"account": name})


def disable_account(session: Session, name: str, *, actor: str) -> None:
    """Refuse the account from now on; its sessions end at once."""
    account = find_account(session, name)
    account.disabled = True
    sessions.revoke_all(session, account.id)
    record(session, AuditCode.SECURITY_ALERT, "account-disabled", actor, detail={"account": name})


def find_account(session: Session, name: str) -> Account:
    """Return the account of that name or raise NotFound."""
    account = session.scalar(select(Account).where(Account.name == name))
    if account is None:
        raise NotFound("There is no account of that name.")
    return account


def count_accounts(session: Session) -> int:
    """Return how many accounts there are, disabled ones as well."""
    return session.scalar(select(func.count()).select_from(Account)) or 0


def check_password(
    database: Database,
    name: str,
    password: str,
    *,
    way: str = "web",
    now: datetime | None = None,
) -> Account:
    """Return the account whose name and password these are.

    ``way`` is for the audit: ``web``; ``proof`` (signed in, asked again); ``basic``, for machines: of role service,
    which come in no other way, while a password alone opens nothing of a person's to a program. Raises SignInRefused,
    Forbidden, or TooManyAttempts without looking at the password.
    """
    now = now or utc_now()
    with database.write() as session:
        known = session.scalar(select(Account).where(Account.name == name))
        actor = known.name if known else "unknown"
        may = limits.take_attempt(session, _KIND, name, now)
        if not may:
            record(session, AuditCode.SECURITY_ALERT, f"sign-in-limited-{way}", actor, outcome="failure")
    if not may:
        raise limits.TooManyAttempts
    right = passwords.is_right(known.password_hash if known else "", password)
    accepted = right and known is not None and not known.disabled
    with database.write() as session:
        owes = accepted and known is not None and second_factor.is_on(session, known.id)
        forbidden = accepted and known is not None and (way == "basic") != (known.role == Role.SERVICE)
        # Of a sign-in that owes a code this is the first half only.
        action = "sign-in-first-factor" if owes and way == "web" else f"sign-in-{way}"
        outcome = "success" if accepted and not forbidden else "failure"
        record(session, AuditCode.USER_AUTHENTICATION, action, actor, outcome=outcome)
        if accepted:
            limits.forgive(session, _KIND, name)
    if not accepted or known is None:
        if way == "proof":
            raise SignInRefused("The password is not right.", "Try again.")
        raise SignInRefused("The name or the password is not right.", "Check both and try again.")
    if forbidden:
        raise Forbidden("This account does not sign in this way.", "People use the pages; programs an API token.")
    return known

"""What an administrator does to other people's accounts. A password given here opens nothing but choosing another."""

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.access import accounts, sessions, tokens
from readingroom.access.passwords import random_password
from readingroom.access.projects import set_memberships
from readingroom.access.tables import Account
from readingroom.core.audit import AuditCode, record
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.permissions import Role


@dataclass(frozen=True)
class Given:
    """An account with the password it can be told, this once; empty for one that signs in elsewhere."""

    account: Account
    password: str


def account_by_id(session: Session, account_id: int) -> Account:
    """Return the account. Raises NotFound."""
    account = session.get(Account, account_id)
    if account is None:
        raise NotFound("There is no such account.")
    return account


def all_accounts(session: Session) -> list[Account]:
    """Return every account, by name."""
    return list(session.scalars(select(Account).order_by(Account.name)))


def give_account(
    session: Session, name: str, role: Role, projects: Mapping[str, Role], *, display_name: str, actor: str
) -> Given:
    """Make an account with a random password that must be changed at the first sign-in; a machine's need not."""
    password = random_password()
    account = accounts.create_account(
        session, name, password, role, display_name=display_name, projects=projects, actor=actor
    )
    account.password_given = role is not Role.SERVICE
    return Given(account, password)


def reset(session: Session, account: Account, *, actor: str) -> Given:
    """Give a new password to somebody who lost theirs, and forget second factors, sessions and tokens."""
    password = random_password()
    # Raises Conflict for one who signs in elsewhere.
    accounts.change_password(session, account.name, password, actor=actor)
    accounts.forget_factors(session, account.name, actor=actor)
    tokens.revoke_all_tokens(session, account.id, actor=actor)
    account.password_given = account.role != Role.SERVICE
    return Given(account, password)


def change_account(
    session: Session,
    account: Account,
    *,
    display_name: str,
    role: Role,
    disabled: bool,
    projects: Mapping[str, Role],
    actor: str,
) -> None:
    """Set all that an administrator sets of an account. What it loses, it loses at once.

    Raises Conflict where nobody would be left to administer, BadInput for a membership that does not fit the role.
    """
    was_role, was_disabled = account.role, account.disabled
    if Role.SERVICE in (role, Role(was_role)) and role != was_role:
        # A password that a program keeps must not become a person's, nor the other way about.
        raise BadInput("A machine's account stays one, and a person's too.", "Make another account.")
    account.display_name, account.role, account.disabled = display_name or account.name, role.value, disabled
    session.flush()
    _keep_an_administrator(session)
    if disabled and not was_disabled:
        sessions.revoke_all(session, account.id)
        tokens.revoke_all_tokens(session, account.id, actor=actor)
    set_memberships(session, account, projects, actor=actor)
    detail = {"account": account.name, "role": account.role, "disabled": disabled, "role_before": was_role}
    record(session, AuditCode.SECURITY_ALERT, "account-changed", actor, detail=detail)


def _keep_an_administrator(session: Session) -> None:
    active = select(func.count()).where(Account.role == Role.ADMINISTRATOR.value, Account.disabled.is_(False))
    if not session.scalar(active):
        raise Conflict("Nobody would be left to administer.", "Make another administrator first.")

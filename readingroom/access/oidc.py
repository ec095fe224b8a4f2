"""People who sign in with an account they have elsewhere, by OpenID Connect: whom the provider has vouched for, and
which account here is theirs.

A claim decides the role, anew at every sign-in; whoever fits no role is refused. The account is made at the first
sign-in and has no password here; a local account of the same name is never taken for it. How the provider is asked is
in ``oidc_provider.py``.
"""

from dataclasses import dataclass
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access import accounts, sessions
from readingroom.access.accounts import Identity
from readingroom.access.projects import default_memberships, memberships, set_memberships
from readingroom.access.tables import Account
from readingroom.core.audit import AuditCode, record
from readingroom.core.database import Database
from readingroom.core.errors import ReadingRoomError
from readingroom.core.permissions import MEMBER_ROLES, ProjectKind, Role

LEEWAY = timedelta(seconds=60)
"""How far the provider's clock may be from ours."""


class OidcRefused(ReadingRoomError):
    """A sign-in at the provider that ends here; ``code`` says why, for the page."""

    code = "oidc-failed"


@dataclass(frozen=True)
class Person:
    """Whom the provider has vouched for. ``proved_at``: when they showed it who they are (seconds since 1970)."""

    identity: Identity
    name: str
    display_name: str
    role: Role | None
    proved_at: float


def enter(database: Database, person: Person) -> Account:
    """Return the account of a person the provider vouched for, made or brought up to date. Raises OidcRefused.

    What the provider no longer allows ends here at once: the sessions of somebody without a role are closed.
    """
    refusal: OidcRefused | None = None
    with database.write() as session:
        account = session.scalar(
            select(Account).where(
                Account.oidc_issuer == person.identity.issuer, Account.oidc_subject == person.identity.subject
            )
        )
        actor = account.name if account else "unknown"
        taken = account is None and session.scalar(select(Account.id).where(Account.name == person.name)) is not None
        if person.role is None:
            if account is not None:
                sessions.revoke_all(session, account.id)
            refusal = OidcRefused(
                "Your account has no role here.", "Ask an administrator to give it one.", code="oidc-no-role"
            )
        elif taken:
            refusal = OidcRefused(
                "There is a local account of your name.", "Ask an administrator to remove it.", code="oidc-name-taken"
            )
        elif account is not None and account.disabled:
            refusal = OidcRefused("Your account is disabled here.", "Ask an administrator.", code="oidc-disabled")
        elif account is None:
            account = accounts.create_account(
                session, person.name, person.identity, person.role, display_name=person.display_name, actor="oidc"
            )
        else:
            _bring_up_to_date(session, account, person)
        outcome, detail = ("failure", {"why": refusal.code}) if refusal else ("success", {})
        actor = account.name if account else actor
        record(session, AuditCode.USER_AUTHENTICATION, "sign-in-oidc", actor, outcome=outcome, detail=detail)
    if refusal is not None:
        raise refusal
    assert account is not None
    return account


def check_proof(database: Database, person: Person, account: Account, begun_at: float) -> None:
    """Take a trip that asked anew who is there as proof that it is the account's owner. Raises OidcRefused."""
    same = Identity(account.oidc_issuer or "", account.oidc_subject or "") == person.identity
    right = same and person.proved_at >= begun_at - LEEWAY.total_seconds()
    with database.write() as session:
        outcome = "success" if right else "failure"
        detail = {"way": "oidc"}
        record(session, AuditCode.USER_AUTHENTICATION, "sign-in-proof", account.name, outcome=outcome, detail=detail)
    if not right:
        raise OidcRefused("That was somebody else, or too long ago.", "Begin again.")


def _bring_up_to_date(session: Session, account: Account, person: Person) -> None:
    """Take over what the provider now says of somebody known. The account's name stays: the audit knows it by that."""
    account.display_name = person.display_name or account.display_name
    if person.role is not None and person.role != account.role:
        detail = {"account": account.name, "role": person.role.value, "before": account.role}
        account.role = person.role.value
        record(session, AuditCode.SECURITY_ALERT, "role-changed", "oidc", detail=detail)
        _carry_over(session, account, Role(detail["before"]), person.role)


def _carry_over(session: Session, account: Account, before: Role, role: Role) -> None:
    """Keep the memberships that the new role may have, as what it is now; without any, those it starts with."""
    held = memberships(session, [account.id])[account.id]
    now = {project: role if there == before else there for project, there in held}
    fitting = {p.name: there for p, there in now.items() if {role, there} <= MEMBER_ROLES[ProjectKind(p.kind)]}
    set_memberships(session, account, fitting or default_memberships(role), actor="oidc")

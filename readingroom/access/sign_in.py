"""The ways in, as one policy: what is enough for whom, and what is still owed after a right password.

An authenticator app, once set up, is asked for every time. A role that must have a second factor gets nowhere without:
with a passkey it signs in by that; with nothing yet it may sign in and set one up, and do nothing else.
"""

from collections.abc import Collection
from dataclasses import dataclass

from readingroom.access import accounts, passkeys, second_factor, tickets
from readingroom.access.tables import Account
from readingroom.access.tickets import Purpose
from readingroom.core.database import Database
from readingroom.core.errors import Forbidden, ReadingRoomError
from readingroom.core.permissions import Permission, Role
from readingroom.core.secrets import SecretBox

UNTIL_ENROLLED = frozenset({Permission.PUBLIC, Permission.SESSION})
"""What a session may do that owes a second factor."""


class TooLate(ReadingRoomError):
    """The sign-in was begun too long ago, or is done already."""

    code = "too-late"

    def __init__(self) -> None:
        super().__init__("That sign-in took too long.", "Begin again.")


@dataclass(frozen=True)
class Entered:
    """Somebody is who they say; ``strong``: by more than a password."""

    account: Account
    strong: bool


@dataclass(frozen=True)
class CodeOwed:
    """The password was right; the ticket is good for the code that is still owed."""

    ticket: str


def by_password(database: Database, name: str, password: str, strong_roles: Collection[Role]) -> Entered | CodeOwed:
    """Take a name and a password. Raises SignInRefused, TooManyAttempts, Forbidden where a passkey must be used."""
    account = accounts.check_password(database, name, password)
    with database.write() as session:
        if second_factor.is_on(session, account.id):
            return CodeOwed(tickets.issue(session, Purpose.SECOND_FACTOR, account_id=account.id))
        if Role(account.role) in strong_roles and passkeys.of_account(session, account.id):
            raise Forbidden(
                "A password alone is not enough for this account.", "Sign in with its passkey.", code="passkey-owed"
            )
    return Entered(account, strong=False)


def by_code(database: Database, box: SecretBox, ticket: str, code: str) -> Entered:
    """Take the code that was owed. Raises TooLate, CodeRefused, TooManyAttempts."""
    with database.read() as session:
        held = tickets.look(session, Purpose.SECOND_FACTOR, ticket)
        account = session.get(Account, held.account_id) if held is not None else None
    if account is None or account.disabled:
        raise TooLate
    second_factor.check(database, box, account, code, action="sign-in-second-factor")
    with database.write() as session:
        if tickets.take(session, Purpose.SECOND_FACTOR, ticket) is None:
            raise TooLate
    return Entered(account, strong=True)


def owes_second_factor(account: Account, *, strong: bool, strong_roles: Collection[Role]) -> bool:
    """Whether a session may do nothing but set up a second factor."""
    return Role(account.role) in strong_roles and not strong

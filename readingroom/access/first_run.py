"""The first administrator: a link with a one-time token, printed where ``readingroom serve`` runs, makes the account.

There is no default password. The token is 256 random bits, ends after a day, when a new one is printed, and as soon
as there is any account; it travels behind the ``#`` of the address, which browsers send to nobody.
"""

from datetime import timedelta

from readingroom.access import accounts, limits, tickets
from readingroom.access.tables import Account
from readingroom.access.tickets import Purpose
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import ReadingRoomError
from readingroom.core.permissions import Role

LIFETIME = timedelta(days=1)
_KIND = "set up"


class SetUpRefused(ReadingRoomError):
    """The link is wrong, used, or too old, or there is an account already."""

    code = "set-up-refused"

    def __init__(self) -> None:
        super().__init__(
            "This link is not valid any more.",
            "Start `readingroom serve` again: it prints a new one while no account exists.",
        )


def offer(database: Database) -> str:
    """Return a new token in place of any older one; nothing where there is an account."""
    with database.write() as session:
        tickets.void(session, Purpose.SET_UP)
        if accounts.count_accounts(session):
            return ""
        record(session, AuditCode.SECURITY_ALERT, "set-up-offered", "system")
        return tickets.issue(session, Purpose.SET_UP, lifetime=LIFETIME)


def set_up(database: Database, token: str, name: str, password: str, *, display_name: str = "") -> Account:
    """Make the first administrator's account. Raises SetUpRefused, BadInput (the link stays good), TooManyAttempts."""
    now = utc_now()
    with database.write() as session:
        held = tickets.look(session, Purpose.SET_UP, token, now=now)
        may = held is not None or limits.take_attempt(session, _KIND, "", now)
        if held is None and may:
            record(session, AuditCode.SECURITY_ALERT, "set-up-refused", "unknown", outcome="failure")
    if not may:
        raise limits.TooManyAttempts
    with database.write() as session:
        # Taken in the transaction that makes the account: a weak password leaves the link as it was.
        if tickets.take(session, Purpose.SET_UP, token, now=now) is None or accounts.count_accounts(session):
            raise SetUpRefused
        return accounts.create_account(
            session, name, password, Role.ADMINISTRATOR, display_name=display_name, actor="set-up"
        )

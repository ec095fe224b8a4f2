"""The second factor: an authenticator app's codes (TOTP, RFC 6238) and recovery codes for when the phone is lost.

The app's secret is sealed with the site's key, bound to its account. A code counts for its own half minute and the
ones beside it, and once only. Recovery codes are 80 random bits each, kept as SHA-256, and go when used. Failures are
limited as those of passwords are.
"""

import base64
import hashlib
import hmac
import re
import secrets
import struct
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import quote, urlencode

from sqlalchemy import delete, func, select, update
from sqlalchemy.orm import Session

from readingroom.access import limits
from readingroom.access.tables import Account, RecoveryCode, TotpFactor
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import Conflict, ReadingRoomError
from readingroom.core.ids import sha256_hex
from readingroom.core.secrets import SecretBox

STEP_SECONDS, DIGITS, STEPS_BESIDE = 30, 6, 1
SECRET_BYTES = 20
RECOVERY_CODES, RECOVERY_BYTES = 10, 10
ISSUER = "Reading Room"
_KIND = "second factor"
_CODE = re.compile(r"[0-9]{6}")


class CodeRefused(ReadingRoomError):
    """The code is wrong, too old, or was used before; which of them is not told."""

    code = "code-refused"

    def __init__(self) -> None:
        super().__init__("The code is not right.", "Wait for the app's next code, or use a recovery code.")


@dataclass(frozen=True)
class Enrolment:
    """What the authenticator app needs: the secret to type, and the address its QR code holds."""

    secret: str
    uri: str


def code_at(secret: bytes, step: int) -> str:
    """Return the code of a time step (RFC 4226 section 5.3)."""
    digest = hmac.digest(secret, struct.pack(">Q", step), hashlib.sha1)
    start = digest[-1] & 15
    number = int.from_bytes(digest[start : start + 4]) & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}}"


def is_on(session: Session, account_id: int) -> bool:
    """Whether the account has an authenticator app."""
    factor = session.get(TotpFactor, account_id)
    return factor is not None and factor.confirmed_at is not None


def begin(session: Session, box: SecretBox, account: Account) -> Enrolment:
    """Make a new secret; it counts once ``confirm`` has seen a code of it. Raises Conflict where there is one."""
    factor = session.get(TotpFactor, account.id)
    if factor is not None and factor.confirmed_at is not None:
        raise Conflict("This account has an authenticator app.", "Remove it first to use another.")
    secret = secrets.token_bytes(SECRET_BYTES)
    session.merge(TotpFactor(account_id=account.id, secret=box.seal(secret, _purpose(account.id)), last_step=0))
    text = base64.b32encode(secret).decode()
    query = urlencode({"secret": text, "issuer": ISSUER}, quote_via=quote)
    return Enrolment(text, f"otpauth://totp/{quote(f'{ISSUER}:{account.name}')}?{query}")


def confirm(session: Session, box: SecretBox, account: Account, code: str, *, now: datetime | None = None) -> list[str]:
    """Turn the second factor on with the app's first code; return the recovery codes, which are shown this once.

    Raises CodeRefused, Conflict where none was begun.
    """
    factor = session.get(TotpFactor, account.id)
    if factor is None or factor.confirmed_at is not None:
        raise Conflict("No authenticator app waits for its first code.", "Begin again.")
    now = now or utc_now()
    if not _take_code(session, box, factor, _plain(code), now):
        raise CodeRefused
    factor.confirmed_at = now
    record(session, AuditCode.SECURITY_ALERT, "second-factor-on", account.name)
    return new_recovery_codes(session, account)


def new_recovery_codes(session: Session, account: Account) -> list[str]:
    """Make new recovery codes in place of the old ones. Raises Conflict without an authenticator app."""
    if not is_on(session, account.id):
        raise Conflict("Recovery codes belong to an authenticator app.", "Set one up first.")
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account.id))
    codes = []
    for _ in range(RECOVERY_CODES):
        text = base64.b32encode(secrets.token_bytes(RECOVERY_BYTES)).decode().lower()
        session.add(RecoveryCode(code_sha256=_recovery_digest(account.id, text), account_id=account.id))
        codes.append("-".join(text[start : start + 4] for start in range(0, len(text), 4)))
    record(session, AuditCode.SECURITY_ALERT, "recovery-codes-made", account.name)
    return codes


def recovery_codes_left(session: Session, account_id: int) -> int:
    """Return how many recovery codes have not been used."""
    counted = select(func.count()).select_from(RecoveryCode).where(RecoveryCode.account_id == account_id)
    return session.scalar(counted) or 0


def turn_off(session: Session, account: Account, *, actor: str) -> None:
    """Remove the authenticator app and its recovery codes. Raises Conflict where there is none."""
    if not is_on(session, account.id):
        raise Conflict("This account has no authenticator app.")
    forget(session, account.id)
    record(session, AuditCode.SECURITY_ALERT, "second-factor-off", actor, detail={"account": account.name})


def forget(session: Session, account_id: int) -> None:
    """Remove whatever there is of an authenticator app, begun or confirmed."""
    session.execute(delete(RecoveryCode).where(RecoveryCode.account_id == account_id))
    session.execute(delete(TotpFactor).where(TotpFactor.account_id == account_id))


def check(
    database: Database, box: SecretBox, account: Account, code: str, *, action: str, now: datetime | None = None
) -> None:
    """Take a code of the app or a recovery code, which is used up by it.

    ``action`` is for the audit. Raises CodeRefused, or TooManyAttempts without looking at the code.
    """
    now = now or utc_now()
    with database.write() as session:
        may = limits.take_attempt(session, _KIND, account.name, now)
        if not may:
            record(session, AuditCode.SECURITY_ALERT, "second-factor-limited", account.name, outcome="failure")
    if not may:
        raise limits.TooManyAttempts
    plain = _plain(code)
    way = "app" if _CODE.fullmatch(plain) else "recovery-code"
    with database.write() as session:
        factor = session.get(TotpFactor, account.id)
        if factor is None or factor.confirmed_at is None:
            right = False
        elif way == "app":
            right = _take_code(session, box, factor, plain, now)
        else:
            right = _take_recovery_code(session, account.id, plain)
        outcome = "success" if right else "failure"
        record(session, AuditCode.USER_AUTHENTICATION, action, account.name, outcome=outcome, detail={"way": way})
        if right:
            limits.forgive(session, _KIND, account.name)
    if not right:
        raise CodeRefused


def _take_code(session: Session, box: SecretBox, factor: TotpFactor, code: str, now: datetime) -> bool:
    """Whether the code is one of now that has not been taken; if so, it is taken, with all before it."""
    secret = box.open(factor.secret, _purpose(factor.account_id))
    here = int(now.timestamp()) // STEP_SECONDS
    steps = range(here - STEPS_BESIDE, here + STEPS_BESIDE + 1)
    fits = [step for step in steps if hmac.compare_digest(code_at(secret, step).encode(), code.encode())]
    if not fits:
        return False
    # Two requests with one code at the same moment: the database lets one of them through.
    taken = session.execute(
        update(TotpFactor)
        .where(TotpFactor.account_id == factor.account_id, TotpFactor.last_step < fits[-1])
        .values(last_step=fits[-1], secret=box.renew(factor.secret, _purpose(factor.account_id)))
    )
    return taken.rowcount == 1  # type: ignore[attr-defined, no-any-return]


def _take_recovery_code(session: Session, account_id: int, code: str) -> bool:
    gone = session.execute(
        delete(RecoveryCode).where(
            RecoveryCode.code_sha256 == _recovery_digest(account_id, code), RecoveryCode.account_id == account_id
        )
    )
    return gone.rowcount == 1  # type: ignore[attr-defined, no-any-return]


def _plain(code: str) -> str:
    return re.sub(r"[\s-]", "", code).lower()


def _purpose(account_id: int) -> str:
    return f"totp {account_id}"


def _recovery_digest(account_id: int, code: str) -> str:
    return sha256_hex("recovery code", str(account_id), code)

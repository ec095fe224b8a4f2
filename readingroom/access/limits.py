"""The limit on failures: for each thing that is guessed at, and over all of them, counted in the database.

An attempt counts as failed before it is looked at and is taken back on success, so that many at once, in many
processes, cannot slip under the limit. What was typed is kept as its SHA-256 only: it may be a patient's name.
"""

from datetime import datetime, timedelta

from sqlalchemy import delete, func, select, text
from sqlalchemy.orm import Session

from readingroom.access.tables import SignInFailure
from readingroom.core.errors import ReadingRoomError
from readingroom.core.ids import sha256_hex

WINDOW = timedelta(minutes=5)
FAILURES_PER_NAME = 5
FAILURES_IN_ALL = 60
# Any number will do; it only has to be the same in every process.
_LOCK = 7_046_421


class TooManyAttempts(ReadingRoomError):
    """Too many failures in the window; ``retry_after`` in seconds."""

    code = "too-many-attempts"
    retry_after = int(WINDOW.total_seconds())

    def __init__(self) -> None:
        super().__init__("Too many failed sign-ins.", f"Wait {self.retry_after // 60} minutes and try again.")


def take_attempt(session: Session, kind: str, name: str, now: datetime) -> bool:
    """Count an attempt at ``name`` as failed; return False where it may not be made at all."""
    digest = sha256_hex(kind, name)
    if session.get_bind().dialect.name == "postgresql":
        session.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
    session.execute(delete(SignInFailure).where(SignInFailure.at < now - WINDOW))
    in_all = session.scalar(select(func.count()).select_from(SignInFailure)) or 0
    of_name = (
        session.scalar(select(func.count()).select_from(SignInFailure).where(SignInFailure.name_sha256 == digest)) or 0
    )
    if of_name >= FAILURES_PER_NAME or in_all >= FAILURES_IN_ALL:
        return False
    session.add(SignInFailure(name_sha256=digest, at=now))
    return True


def forgive(session: Session, kind: str, name: str) -> None:
    """Forget the failures of ``name``: it was got right."""
    session.execute(delete(SignInFailure).where(SignInFailure.name_sha256 == sha256_hex(kind, name)))

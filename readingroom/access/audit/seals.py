"""Seals: heads of the chain under a keyed hash, so that what was sealed cannot be rewritten or cut off unnoticed.

A hash that anyone can compute protects nothing against somebody who can write the whole table anew. A seal is the
number and hash of the newest event and the seal before, under a key derived from the site's secret key
(``core/secrets.py``), which is not in the database. Seals are kept in the database and in a file beside it, so that
neither can be cut back alone.
"""

import hashlib
import hmac
import json
import os
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from readingroom.access.audit.tables import AuditSeal
from readingroom.core.audit import AuditEvent
from readingroom.core.clock import utc_now
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.errors import BadInput
from readingroom.core.secrets import KeyMissing, SecretBox, load_secrets

PURPOSE = "audit seal"


@dataclass(frozen=True)
class Seal:
    """The chain had this ``hash`` at this ``event``. ``previous`` is the signature of the seal before, or empty."""

    number: int
    event: int
    hash: str
    at: datetime
    previous: str
    key: str
    """Which of the site's secret keys signed."""
    signature: str = ""

    def signed(self, box: SecretBox) -> str:
        """Return the signature that this seal must have: HMAC-SHA-256, in hex. Raises KeyMissing."""
        fields = [self.number, self.event, self.hash, _moment(self.at), self.previous, self.key]
        content = json.dumps(fields, separators=(",", ":")).encode()
        return hmac.digest(box.derive(PURPOSE, self.key), content, hashlib.sha256).hex()

    def made_by(self, box: SecretBox) -> bool:
        """Whether one of the site's keys signed exactly this."""
        try:
            return bool(self.key) and hmac.compare_digest(self.signed(box).encode(), self.signature.encode())
        except KeyMissing:
            return False

    def line(self) -> str:
        """The seal as a line of the file."""
        return json.dumps({**asdict(self), "at": _moment(self.at)}) + "\n"


def seals_of(session: Session) -> list[Seal]:
    """Return the seals the database holds, in order. Raises BadInput where one cannot be read."""
    try:
        rows = session.execute(select(AuditSeal.__table__).order_by(AuditSeal.number)).mappings().all()
        return [Seal(**row) for row in rows]
    except (ValueError, TypeError):
        raise BadInput("A seal in the database cannot be read.", "It was changed.") from None


def read_file(path: Path) -> list[Seal]:
    """Return the seals of the file beside the database; none where there is no file. Raises BadInput."""
    if not path.exists():
        return []
    try:
        found = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        return [Seal(**{**fields, "at": datetime.fromisoformat(fields["at"])}) for fields in found]
    except (OSError, ValueError, TypeError, KeyError):
        raise BadInput("The file of seals cannot be read.", "A line of it was changed.") from None


def seal_head(settings: Settings, database: Database) -> Seal | None:
    """Seal the newest event, unless it is sealed already. Returns the new seal."""
    with database.read() as session:
        head = session.execute(select(AuditEvent.id, AuditEvent.hash).order_by(AuditEvent.id.desc()).limit(1)).first()
        last = session.execute(
            select(AuditSeal.number, AuditSeal.event, AuditSeal.signature).order_by(AuditSeal.number.desc()).limit(1)
        ).first()
    number, event, previous = last or (0, 0, "")
    if head is None or head.id <= event:
        return None
    box = load_secrets(settings)
    bare = Seal(number + 1, head.id, head.hash, utc_now(), previous, box.newest)
    seal = replace(bare, signature=bare.signed(box))
    try:
        with database.write() as session:
            session.add(AuditSeal(**asdict(seal)))
    except IntegrityError:
        # Another machine's worker sealed at the same moment.
        return None
    _append(settings.audit_seals_file, seal.line())
    return seal


def _append(path: Path, line: str) -> None:
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    try:
        os.write(file, line.encode())
        os.fsync(file)
    finally:
        os.close(file)


def _moment(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")

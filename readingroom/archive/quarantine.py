"""Quarantine: what could not be accepted, kept byte for byte with its reason. The same bytes are kept once."""

import hashlib
import logging

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from readingroom.archive.header_scan import Buffer
from readingroom.archive.store import Store
from readingroom.archive.tables import Instance, InstanceVersion, Quarantined
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.errors import BadInput, NotFound
from readingroom.core.ids import new_id

log = logging.getLogger(__name__)


def keep(
    database: Database,
    store: Store,
    buffer: Buffer,
    meta: bytes,
    error: BadInput,
    source: str,
    *,
    sop_uid: str = "",
    stored: str = "",
) -> str:
    """Keep ``meta`` + ``buffer`` and return the quarantine id.

    A sender that repeats itself fills no disk: bytes already here, unresolved, for the same reason give their
    first id. ``stored``: the key they are stored under already. Raises OutOfResources.
    """
    digest = hashlib.sha256(meta)
    digest.update(memoryview(buffer))
    sha256 = digest.hexdigest()
    with database.read() as session:
        again = session.scalars(
            select(Quarantined.id).where(
                Quarantined.sha256 == sha256, Quarantined.code == error.code, Quarantined.resolved_at.is_(None)
            )
        ).first()
    if again is not None:
        if stored:
            store.delete(stored)
        return again
    key = stored or store.put((meta, memoryview(buffer)))
    quarantine_id = new_id()
    with database.write() as session:
        session.add(
            Quarantined(
                id=quarantine_id,
                code=error.code[:32],
                reason=error.message,
                source=source[:128],
                SOPInstanceUID="".join(c for c in sop_uid if c in "0123456789.")[:64],
                store_key=key,
                size=store.size(key),
                sha256=sha256,
            )
        )
        detail = {"quarantine_id": quarantine_id, "code": error.code}
        record(session, AuditCode.SECURITY_ALERT, "quarantined", source[:128], outcome="refused", detail=detail)
    log.warning("quarantined %s: %s", quarantine_id, error.code)
    return quarantine_id


def resolve(session: Session, quarantine_id: str, resolution: str, actor: str) -> None:
    """Mark an entry as dealt with; its bytes stay. Raises NotFound."""
    row = session.get(Quarantined, quarantine_id)
    if row is None:
        raise NotFound("No such entry in quarantine.")
    row.resolved_at, row.resolution = utc_now(), resolution
    detail = {"quarantine_id": quarantine_id}
    record(session, AuditCode.SECURITY_ALERT, "quarantine-resolved", actor, detail=detail)


def named_keys(session: Session) -> set[str]:
    """Return every store key the index names."""
    return set(
        session.scalars(
            union_all(select(Instance.store_key), select(InstanceVersion.store_key), select(Quarantined.store_key))
        )
    )


def is_named(session: Session, key: str) -> bool:
    """Whether any row names ``key``."""
    tables = (Instance, InstanceVersion, Quarantined)
    return any(session.scalars(select(t.store_key).where(t.store_key == key).limit(1)).first() for t in tables)

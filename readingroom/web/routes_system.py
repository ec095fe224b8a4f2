"""What runs here: readers, quarantine, processes, disk, counts, deliveries. For the people who keep it running."""

import shutil
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Request
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom import __version__
from readingroom.archive.tables import UNDELIVERED, Delivery, Quarantined
from readingroom.core.certificate_ends import ending
from readingroom.core.config import Settings
from readingroom.core.database import MAX_INTEGER, Database
from readingroom.core.outbox import OutboxRow
from readingroom.core.permissions import Permission
from readingroom.core.secrets import key_lies_at_home
from readingroom.learning.models.serving import live_packages, packages_named
from readingroom.learning.models.statement import Statement
from readingroom.readers.registry import load_readers
from readingroom.web.permissions import requires
from readingroom.web.processes import processes
from readingroom.web.routes_health import counts
from readingroom.worklist.urgent.tables import UrgentMessage

router = APIRouter()


@router.get("/readers", dependencies=[Depends(requires(Permission.READER_READ))])
def readers(request: Request) -> list[dict[str, Any]]:
    """The card of every reader that reads; one that could not be loaded shows why instead."""
    database: Database = request.app.state.database
    with database.read() as session:
        added = live_packages(session, request.app.state.settings)
    found: list[dict[str, Any]] = [
        {"name": one.reader, "version": one.version, "error": one.error}
        if one.error
        else {**Statement.from_text(one.statement).card.model_dump(mode="json"), "error": ""}
        for one in added
    ]
    replaced = packages_named(added)
    for loaded in load_readers():
        if loaded.name in replaced:
            continue
        if loaded.reader is not None:
            found.append({**loaded.reader.card.model_dump(mode="json"), "error": ""})
        else:
            found.append({"name": loaded.name, "version": loaded.version, "error": loaded.error})
    return found


@router.get("/quarantine", dependencies=[Depends(requires(Permission.QUARANTINE_READ))])
def quarantine(
    request: Request,
    offset: Annotated[int, Query(ge=0, le=MAX_INTEGER)] = 0,
    limit: Annotated[int, Query(ge=1, le=500)] = 200,
) -> dict[str, Any]:
    """What could not be accepted and waits for somebody, newest first."""
    database: Database = request.app.state.database
    waiting = Quarantined.resolved_at.is_(None)
    with database.read() as session:
        total = session.scalar(select(func.count()).select_from(Quarantined).where(waiting)) or 0
        rows = session.scalars(
            select(Quarantined).where(waiting).order_by(Quarantined.received_at.desc()).offset(offset).limit(limit)
        ).all()
    items = [
        {
            "id": row.id,
            "code": row.code,
            "reason": row.reason,
            "source": row.source,
            "received_at": row.received_at,
            "size": row.size,
        }
        for row in rows
    ]
    return {"total": total, "items": items}


def _warnings(settings: Settings) -> list[str]:
    words = [one.words for one in ending(settings)]
    if settings.store_encryption and key_lies_at_home(settings):
        words.append("The secret key lies beside the store it opens: move it to another disk and set secret_key_file.")
    return words


def _urgent_messages(session: Session) -> list[dict[str, Any]]:
    """Return the messages about urgent findings that wait, by channel."""
    message = UrgentMessage
    rows = session.execute(
        select(message.channel, func.count(), func.min(message.next_try_at), func.max(message.last_error))
        .where(message.state == "waiting")
        .group_by(message.channel)
    )
    return [
        {"channel": channel, "waiting": number, "next_try": next_try, "last_error": error}
        for channel, number, next_try, error in rows
    ]


@router.get("/system", dependencies=[Depends(requires(Permission.SYSTEM_READ))])
def system(request: Request) -> dict[str, Any]:
    """Certificates that end soon, processes, disk, counts, what waits to be sent with its last error, peers."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    disk = shutil.disk_usage(settings.home)
    with database.read() as session:
        numbers = counts(session)
        late = session.execute(
            select(Delivery.peer, Delivery.state, func.count(), func.min(Delivery.created_at))
            .where(Delivery.state.in_(UNDELIVERED))
            .group_by(Delivery.peer, Delivery.state)
        ).all()
        errors = {
            peer: session.scalar(
                select(Delivery.last_error)
                .where(Delivery.peer == peer, Delivery.state.in_(UNDELIVERED), Delivery.last_error != "")
                .order_by(Delivery.id.desc())
                .limit(1)
            )
            or ""
            for peer in {row.peer for row in late}
        }
        messages = _urgent_messages(session)
        outbox = session.scalar(select(func.count()).where(OutboxRow.relayed_at.is_(None))) or 0
    deliveries = [
        {"peer": peer, "state": state, "number": number, "oldest": oldest, "last_error": errors[peer]}
        for peer, state, number, oldest in late
    ]
    peers = [{"name": p.name, "kind": p.kind, "unverified": p.unverified} for p in settings.peers]
    return {
        "version": __version__,
        "warnings": _warnings(settings),
        "processes": processes(settings),
        "disk": {"free_bytes": disk.free, "total_bytes": disk.total, "minimum_bytes": settings.min_free_bytes},
        "counts": {**numbers, "outbox_waiting": outbox},
        "deliveries": deliveries,
        "urgent_messages": messages,
        "peers": peers,
        "dicom": {
            "aet": settings.aet,
            "port": settings.dicom_port if settings.dicom_plain else None,
            "tls_port": settings.dicom_tls_port if settings.dicom_tls_certificate else None,
        },
        "store": {"encryption": settings.store_encryption},
    }

"""Health for whatever watches the process, and metrics for Prometheus."""

import shutil

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CollectorRegistry, Gauge, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.archive.tables import UNDELIVERED, Delivery, Instance, Quarantined, Study
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.core.permissions import Permission
from readingroom.readers.tables import ReadingRow
from readingroom.web.permissions import requires
from readingroom.web.security import REGISTRY

router = APIRouter()


@router.get("/health", dependencies=[Depends(requires(Permission.PUBLIC))])
def health(request: Request) -> dict[str, str]:
    """Answers while the process and its database do."""
    database: Database = request.app.state.database
    with database.read() as session:
        session.execute(select(1))
    return {"status": "ok"}


@router.get("/metrics", dependencies=[Depends(requires(Permission.SYSTEM_READ))])
def metrics(request: Request) -> Response:
    """Prometheus text. Labels are routes' templates, states and peers' names."""
    database: Database = request.app.state.database
    settings: Settings = request.app.state.settings
    now = CollectorRegistry()
    rows = Gauge("readingroom_rows", "Rows in the index", ("what",), registry=now)
    readings = Gauge("readingroom_readings", "Readings by state", ("reader", "state"), registry=now)
    free = Gauge("readingroom_disk_free_bytes", "Left on the disk of the home folder", registry=now)
    with database.read() as session:
        for what, number in counts(session).items():
            rows.labels(what).set(number)
        statement = select(ReadingRow.reader, ReadingRow.state, func.count()).group_by(
            ReadingRow.reader, ReadingRow.state
        )
        for reader, state, number in session.execute(statement):
            readings.labels(reader, state).set(number)
    free.set(shutil.disk_usage(settings.home).free)
    return Response(generate_latest(REGISTRY) + generate_latest(now), media_type=CONTENT_TYPE_LATEST)


def counts(session: Session) -> dict[str, int]:
    """Return how many there are of what an administrator watches."""
    statements = {
        "studies": select(func.count()).select_from(Study),
        "instances": select(func.count()).select_from(Instance),
        "held": select(func.count()).select_from(Study).where(Study.held != ""),
        "quarantine": select(func.count()).select_from(Quarantined).where(Quarantined.resolved_at.is_(None)),
        "deliveries_waiting": select(func.count()).select_from(Delivery).where(Delivery.state.in_(UNDELIVERED)),
    }
    return {name: session.scalar(statement) or 0 for name, statement in statements.items()}

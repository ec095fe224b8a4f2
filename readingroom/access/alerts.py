"""Alerts: what an administrator must see and acknowledge, beside the audit. The first kind is broken glass."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.access.tables import Alert
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import Conflict, NotFound


def raise_alert(session: Session, kind: str, actor: str, text: str, *, study_id: str | None = None) -> None:
    """Add an alert inside the running transaction. ``text`` is for administrators; ``actor`` is whose doing it is."""
    session.add(Alert(kind=kind, actor=actor, text=text, study_id=study_id))
    session.flush()


def count_since(session: Session, kind: str, actor: str, since: datetime) -> int:
    """Return how many alerts of a kind an account has caused since then."""
    found = select(func.count()).select_from(Alert).where(Alert.kind == kind, Alert.actor == actor, Alert.at > since)
    return session.scalar(found) or 0


def alerts(session: Session, *, limit: int = 200) -> list[Alert]:
    """Return alerts, those nobody has acknowledged first, then the newest."""
    rows = select(Alert).order_by(Alert.acknowledged_at.is_not(None), Alert.at.desc(), Alert.id).limit(limit)
    return list(session.scalars(rows))


def count_open(session: Session) -> int:
    """Return how many alerts wait for somebody."""
    return session.scalar(select(func.count()).select_from(Alert).where(Alert.acknowledged_at.is_(None))) or 0


def acknowledge(session: Session, alert_id: str, actor: str) -> None:
    """Note that ``actor`` has seen to it; again changes nothing. Raises NotFound, Conflict for one's own doing."""
    alert = session.get(Alert, alert_id)
    if alert is None:
        raise NotFound("There is no such alert.")
    if alert.actor == actor:
        raise Conflict("Nobody acknowledges what they did themselves.", "Another administrator does.")
    if alert.acknowledged_at is None:
        alert.acknowledged_at, alert.acknowledged_by = utc_now(), actor
        record(session, AuditCode.SECURITY_ALERT, "alert-acknowledged", actor, detail={"alert": alert.id})

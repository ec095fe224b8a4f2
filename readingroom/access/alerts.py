"""Alerts: what an administrator must see and acknowledge, beside the audit. The first kind is broken glass."""

from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.access.tables import Alert
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import Conflict, NotFound

LONGEST_TEXT = 2000
"""Nothing more is added to an alert that says so much."""


def raise_alert(session: Session, kind: str, actor: str, text: str, *, study_id: str | None = None) -> str:
    """Add an alert inside the running transaction; return its id.

    ``text`` is for administrators; ``actor`` is whose doing it is.
    """
    alert = Alert(kind=kind, actor=actor, text=text, study_id=study_id)
    session.add(alert)
    session.flush()
    return alert.id


def add_to_alert(session: Session, alert_id: str | None, text: str) -> bool:
    """Add what else is to be seen to an alert that still waits; False where there is none such."""
    alert = session.scalars(select(Alert).where(Alert.id == alert_id).with_for_update()).one_or_none()
    if alert is None or alert.acknowledged_at is not None:
        return False
    if len(alert.text) < LONGEST_TEXT:
        alert.text = f"{alert.text} {text}"
    session.flush()
    return True


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

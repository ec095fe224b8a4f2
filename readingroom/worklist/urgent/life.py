"""The life of an alert: raised, shown to somebody, acknowledged or escalated, closed. Each change is an event kept.

An alert is open until its study is signed, its findings are rejected, or a later revision's reading takes its place;
people are asked to look until somebody has acknowledged it.
"""

from collections.abc import Collection
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.alerts import raise_alert
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import NotFound
from readingroom.core.urgent_channels import Urgent, UrgentMail
from readingroom.report.tables import ReportRow
from readingroom.worklist.items import SIGNED_STATES
from readingroom.worklist.urgent.tables import UrgentAlert, UrgentEvent, UrgentMessage

SYSTEM = "system"
ADMINISTRATORS_STEP = 1
"""When administrators are told: not of what or whom, only that somebody must be found."""


def add_event(
    session: Session, alert: UrgentAlert, kind: str, actor: str, detail: str = "", *, at: datetime | None = None
) -> None:
    session.add(UrgentEvent(alert_id=alert.id, kind=kind, actor=actor, detail=detail, at=at or utc_now()))


def queue_messages(session: Session, settings: Urgent, alert: UrgentAlert) -> None:
    """Queue a message to everybody whom the alert's present step tells."""
    for channel in settings.channels:
        if channel.step == alert.step:
            for recipient in channel.people if isinstance(channel, UrgentMail) else ("",):
                message = UrgentMessage(alert_id=alert.id, channel=channel.name, recipient=recipient, step=channel.step)
                session.add(message)
    session.flush()


def shown(session: Session, study_id: str, alert_id: str, actor: str) -> None:
    """Note that a page shows the alert to ``actor``; once for each person. Raises NotFound."""
    alert = _locked(session, study_id, alert_id)
    told = select(UrgentEvent.id).where(
        UrgentEvent.alert_id == alert.id, UrgentEvent.kind == "shown", UrgentEvent.actor == actor
    )
    if alert.closed_at is not None or session.scalar(told.limit(1)) is not None:
        return
    now = utc_now()
    if alert.shown_at is None:
        alert.shown_at, alert.shown_to = now, actor
    add_event(session, alert, "shown", actor, at=now)
    _audit(session, alert, "urgent-shown", actor)


def acknowledge(session: Session, study_id: str, alert_id: str, actor: str) -> None:
    """Note that ``actor`` has seen to it; again changes nothing. Raises NotFound."""
    alert = _locked(session, study_id, alert_id)
    if alert.closed_at is not None or alert.acknowledged_at is not None:
        return
    alert.acknowledged_at, alert.acknowledged_by, alert.escalate_at = utc_now(), actor, None
    add_event(session, alert, "acknowledged", actor, at=alert.acknowledged_at)
    _audit(session, alert, "urgent-acknowledged", actor)
    if _is_signed(session, study_id):
        # Raised by images that came after the signature: no other is to come.
        close(session, alert, "signed", actor)


def is_due(session: Session, now: datetime) -> bool:
    """Whether an alert has to be escalated: looked at all the time, so by index alone."""
    return session.scalar(select(UrgentAlert.id).where(UrgentAlert.escalate_at <= now).limit(1)) is not None


def escalate(session: Session, settings: Urgent, now: datetime) -> int:
    """Take every alert that nobody has acknowledged in time one step further. Returns how many."""
    due = session.scalars(
        select(UrgentAlert).where(UrgentAlert.escalate_at <= now).with_for_update(skip_locked=True)
    ).all()
    for alert in due:
        alert.step += 1
        more = alert.step < settings.last_step
        alert.escalate_at = now + timedelta(minutes=settings.escalate_minutes) if more else None
        add_event(session, alert, "escalated", SYSTEM, f"step {alert.step}", at=now)
        queue_messages(session, settings, alert)
        if alert.step == ADMINISTRATORS_STEP:
            # Neither the study nor the finding: administrators see no studies, and this one may be restricted.
            minutes = int((now - alert.raised_at).total_seconds() // 60)
            text = f"An urgent finding has waited {minutes} minutes for a reader to acknowledge it."
            raise_alert(session, "urgent-waiting", SYSTEM, text)
        _audit(session, alert, "urgent-escalated", SYSTEM)
    return len(due)


def close(session: Session, alert: UrgentAlert, why: str, actor: str) -> None:
    """End an alert. What has not been sent of it is not sent any more."""
    alert.closed_at, alert.closed_why, alert.escalate_at = utc_now(), why, None
    add_event(session, alert, "closed", actor, why, at=alert.closed_at)
    _audit(session, alert, "urgent-closed", actor)


def close_signed(session: Session, study_id: str, actor: str) -> None:
    """Close the alerts of a study that has just been signed."""
    for alert in open_alerts(session, study_id):
        close(session, alert, "signed", actor)


def close_rejected(session: Session, study_id: str, rejected: Collection[str], actor: str) -> None:
    """Close the alerts of a study all of whose findings are among the ``rejected``."""
    for alert in open_alerts(session, study_id):
        if set(alert.finding_ids) <= set(rejected):
            close(session, alert, "rejected", actor)


def open_alerts(session: Session, study_id: str) -> list[UrgentAlert]:
    """Return the study's open alerts, oldest first, locked."""
    rows = (
        select(UrgentAlert)
        .where(UrgentAlert.study_id == study_id, UrgentAlert.closed_at.is_(None))
        .order_by(UrgentAlert.raised_at, UrgentAlert.id)
        .with_for_update()
    )
    return list(session.scalars(rows))


def _locked(session: Session, study_id: str, alert_id: str) -> UrgentAlert:
    alert = session.scalar(select(UrgentAlert).where(UrgentAlert.id == alert_id).with_for_update())
    if alert is None or alert.study_id != study_id:
        raise NotFound("This study has no such alert.")
    return alert


def _is_signed(session: Session, study_id: str) -> bool:
    return session.scalar(select(ReportRow.state).where(ReportRow.study_id == study_id)) in SIGNED_STATES


def _audit(session: Session, alert: UrgentAlert, action: str, actor: str) -> None:
    record(session, AuditCode.PATIENT_RECORD, action, actor, study_id=alert.study_id, detail={"alert": alert.id})

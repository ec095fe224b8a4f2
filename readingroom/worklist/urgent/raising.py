"""Raising alerts: inside the transaction that writes a reading, so that no urgent finding is kept without its alert.

One alert a study revision and code, however often the step runs or the study is read again. A later revision's reading
takes the place of what the same reader raised before; while it is under way the earlier alert stays.
"""

from collections.abc import Sequence
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.urgent_channels import Urgent
from readingroom.findings.model import Finding, ReaderState, Reading
from readingroom.readers.tables import ReadingRow
from readingroom.worklist.priority import ROUTINE, level_of
from readingroom.worklist.urgent.life import SYSTEM, add_event, close, queue_messages
from readingroom.worklist.urgent.tables import UrgentAlert

LOOKED = (ReaderState.FOUND, ReaderState.NOTHING_FOUND)
"""The reader saw the whole study: what it no longer finds is not there any more."""


def urgent_findings(reading: Reading) -> dict[tuple[str, str], list[Finding]]:
    """Return the urgent findings at or above the operating point, by (value, scheme), most probable first. Pure."""
    found: dict[tuple[str, str], list[Finding]] = {}
    for finding in sorted(reading.findings, key=lambda one: -(one.probability or 0.0)):
        below = (
            reading.operating_point is not None
            and finding.probability is not None
            and finding.probability < reading.operating_point
        )
        if level_of(finding) > ROUTINE and not below:
            found.setdefault((finding.code.value, finding.code.scheme), []).append(finding)
    return found


def raise_urgent(session: Session, settings: Urgent, row: ReadingRow, reading: Reading) -> int:
    """Raise what this reading of the current revision asks for, in the running transaction. Returns how many.

    The caller holds the study's lock, so that no two readings raise the same.
    """
    wanted = urgent_findings(reading)
    earlier = session.scalars(
        select(UrgentAlert).where(
            UrgentAlert.study_id == row.study_id,
            UrgentAlert.revision < row.revision,
            UrgentAlert.closed_at.is_(None),
        )
    ).all()
    raised = session.scalars(
        select(UrgentAlert).where(UrgentAlert.study_id == row.study_id, UrgentAlert.revision == row.revision)
    )
    there = {(alert.code_value, alert.code_scheme) for alert in raised}
    new = [code for code in wanted if code not in there]
    for code in new:
        _raise(session, settings, row, wanted[code])
    for alert in earlier:
        if (alert.code_value, alert.code_scheme) in wanted:
            close(session, alert, "raised-again", SYSTEM)
        elif alert.reader == row.reader and reading.state in LOOKED:
            close(session, alert, "not-found-again", SYSTEM)
    return len(new)


def _raise(session: Session, settings: Urgent, row: ReadingRow, findings: Sequence[Finding]) -> None:
    now, top = utc_now(), findings[0]
    alert = UrgentAlert(
        study_id=row.study_id,
        revision=row.revision,
        code_value=top.code.value,
        code_scheme=top.code.scheme,
        code_meaning=top.code.meaning,
        reading_id=row.id,
        reader=row.reader,
        finding_ids=[finding.id for finding in findings],
        probability=top.probability,
        level=level_of(top),
        raised_at=now,
        escalate_at=now + timedelta(minutes=settings.escalate_minutes),
    )
    session.add(alert)
    session.flush()
    add_event(session, alert, "raised", SYSTEM, at=now)
    queue_messages(session, settings, alert)
    record(
        session,
        AuditCode.PATIENT_RECORD,
        "urgent-raised",
        SYSTEM,
        study_id=row.study_id,
        detail={"alert": alert.id, "revision": row.revision},
    )

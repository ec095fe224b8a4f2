"""What signed reports tell about readers: the share of each reading's findings that stood. For the drift watch.

Once a report is signed nothing about its findings changes any more, so each report is looked at once, after that.
"""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from readingroom.learning.drift.measures import Fact, watched_of
from readingroom.learning.drift.watch import Mark
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.review.decisions import decide, verdicts_of


def judged(session: Session, after: Mark, before: datetime, limit: int) -> tuple[Sequence[Fact], Mark | None]:
    """Return the facts of the next reports signed (a ``learning.drift.watch.Source``).

    A finding nobody decided on says nothing; an edited one stood.
    """
    later = or_(ReportRow.signed_at > after.at, and_(ReportRow.signed_at == after.at, ReportRow.id > after.ref))
    rows = session.scalars(
        select(ReportRow)
        .where(ReportRow.signed_at.is_not(None), later, ReportRow.signed_at < before)
        .order_by(ReportRow.signed_at, ReportRow.id)
        .limit(limit)
    ).all()
    facts: list[Fact] = []
    for row in rows:
        facts += _facts_of(session, row)
    signed_at = rows[-1].signed_at if rows else None
    return facts, Mark(signed_at, rows[-1].id) if signed_at is not None else None


def _facts_of(session: Session, report: ReportRow) -> list[Fact]:
    assert report.signed_at is not None
    readings = session.scalars(
        select(ReadingRow).where(ReadingRow.study_id == report.study_id, ReadingRow.revision == report.revision)
    ).all()
    stood: dict[str, list[float]] = defaultdict(list)
    for one in decide(report.revision, readings, verdicts_of(session, report.study_id)).findings:
        if one.reading is not None and one.decision != "undecided":
            stood[one.reading.id].append(float(one.reported))
    return [
        Fact(
            watched_of(row.reader, row.version, (row.body or {}).get("input_statistics", {})),
            report.signed_at,
            {"accepted": sum(stood[row.id]) / len(stood[row.id])},
        )
        for row in readings
        if stood[row.id]
    ]

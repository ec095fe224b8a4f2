"""The drift watch at work: every few minutes the numbers of new readings and signed reports go into the charts.

The numbers are those kept with each reading; no image, no finding and nothing of the patient is looked at. That a
reader goes on working as it did is part of the care it is used for, so the purpose is care's own.
"""

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from readingroom.core.clock import utc_now
from readingroom.core.database import Database
from readingroom.core.permissions import Permission, job
from readingroom.learning.drift.measures import WATCHED_STATES, Fact, numbers_of_reading, watched_of
from readingroom.learning.drift.watch import Mark, Source, take_page
from readingroom.readers.tables import ReadingRow

SETTLED = timedelta(seconds=60)
"""A row younger than this may be joined by one with an earlier time whose transaction is still open."""


@job(Permission.DRIFT_WATCH)
def watch_drift(database: Database, judged: Source, stop: threading.Event) -> None:
    """Take in all that is new since the last time; again, it changes nothing. ``judged``: facts of signed reports."""
    before = utc_now() - SETTLED
    for name, source in (("readings", read), ("reports", judged)):
        more = True
        while more and not stop.is_set():
            with database.write() as session:
                more = take_page(session, name, source, before)


def read(session: Session, after: Mark, before: datetime, limit: int) -> tuple[Sequence[Fact], Mark | None]:
    """Return the facts of the next readings that ended (a ``Source``); of the bodies only numbers are fetched."""
    row = ReadingRow
    later = or_(row.finished_at > after.at, and_(row.finished_at == after.at, row.id > after.ref))
    found = session.execute(
        select(
            row.id,
            row.finished_at,
            row.reader,
            row.version,
            row.state,
            row.summary,
            row.body["input_statistics"].label("statistics"),
            row.body["out_of_domain_score"].label("out_of_domain"),
        )
        .where(row.finished_at.is_not(None), later, row.finished_at < before)
        .order_by(row.finished_at, row.id)
        .limit(limit)
    ).all()
    facts = [
        Fact(
            watched_of(one.reader, one.version, one.statistics or {}),
            one.finished_at,
            numbers_of_reading(
                one.state, (one.summary or {}).get("top_probability"), one.out_of_domain, one.statistics or {}
            ),
        )
        for one in found
        if one.state in WATCHED_STATES
    ]
    return facts, Mark(found[-1].finished_at, found[-1].id) if found else None

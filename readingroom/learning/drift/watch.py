"""Taking facts in: page by page from each source, into streams and points; an alarm is raised once, as an alert.

A scanner that changes moves many numbers, not all at the same time: while nobody has acknowledged the alert about a
watch, what else begins to be in alarm there is added to it.

Facts come from rooms that know readings and verdicts (``Source``); here nothing about a patient is known.
"""

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.alerts import add_to_alert, raise_alert
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput, NotFound
from readingroom.learning.drift.charts import Chart
from readingroom.learning.drift.measures import Fact, Watched, measure_of, order_of, title_of
from readingroom.learning.drift.streams import State, begin_anew, feed
from readingroom.learning.drift.tables import DriftCursor, DriftPoint, DriftRestart, DriftStream, DriftWatch

PAGE = 200
"""Rows of a source in one transaction: short, as receiving waits for it on SQLite."""
ALERT_KIND = "drift"
LONGEST_REASON = 400


@dataclass(frozen=True)
class Mark:
    """The last row looked at: its moment, and its id among those of the same moment."""

    at: datetime
    ref: str


Source = Callable[[Session, Mark, datetime, int], tuple[Sequence[Fact], Mark | None]]
"""``source(session, after, before, limit)``: facts of the next rows in order of time, and the last of these rows; None
where there is no further row. A row may give no fact."""


def take_page(session: Session, name: str, source: Source, before: datetime) -> bool:
    """Take in the next page of a source; False where there was none. Cursor, points and alerts go together."""
    # The lock keeps a second worker from taking the same page (PostgreSQL; SQLite has one writer anyway).
    cursor = session.scalars(select(DriftCursor).where(DriftCursor.source == name).with_for_update()).one()
    facts, last = source(session, Mark(cursor.at, cursor.ref), before, PAGE)
    if last is None:
        return False
    take(session, facts)
    cursor.at, cursor.ref = last.at, last.ref
    return True


def take(session: Session, facts: Sequence[Fact]) -> None:
    """Write what the facts add to streams and points; tell of each watch in which an alarm begins."""
    by_watched: dict[Watched, list[Fact]] = defaultdict(list)
    for fact in facts:
        by_watched[fact.watched].append(fact)
    for watched, own in by_watched.items():
        watch = _watch(session, watched)
        streams = {s.measure: s for s in session.scalars(select(DriftStream).where(DriftStream.watch_id == watch.id))}
        began: dict[str, DriftPoint] = {}
        for fact in own:
            for name, value in fact.values.items():
                stream = streams.get(name)
                if stream is None:
                    stream = streams[name] = _stream(session, watch, name)
                before = stream.state
                point = feed(stream, value, fact.at)
                if point is not None:
                    session.add(point)
                    if stream.state == State.ALARM and before != State.ALARM:
                        began[name] = point
        if began:
            _alert(session, watch, streams, began)
    session.flush()


def _watch(session: Session, watched: Watched) -> DriftWatch:
    columns = (DriftWatch.reader, DriftWatch.version, DriftWatch.manufacturer, DriftWatch.model, DriftWatch.kernel)
    same = [column == value for column, value in zip(columns, astuple(watched), strict=True)]
    # Locked: nobody begins its baselines anew meanwhile.
    found = session.scalars(select(DriftWatch).where(*same).with_for_update()).one_or_none()
    if found is None:
        reader, version, manufacturer, model, kernel = astuple(watched)
        found = DriftWatch(reader=reader, version=version, manufacturer=manufacturer, model=model, kernel=kernel)
        session.add(found)
        session.flush()
    return found


def _stream(session: Session, watch: DriftWatch, name: str) -> DriftStream:
    made = DriftStream(watch_id=watch.id, measure=name, chart=measure_of(name).chart)
    session.add(made)
    session.flush()
    return made


def _alert(session: Session, watch: DriftWatch, streams: dict[str, DriftStream], began: dict[str, DriftPoint]) -> None:
    words = [_words(streams[name], began[name]) for name in sorted(began, key=order_of)]
    text = f"{'; '.join(words)}."
    if not add_to_alert(session, watch.alert_id, f"Also {text}"):
        text = f"{watch.reader} {watch.version} on {scanner_name(watch)}: {text}"
        watch.alert_id = raise_alert(session, ALERT_KIND, "system", text)


def _words(stream: DriftStream, point: DriftPoint) -> str:
    chart, unit = Chart(stream.chart), measure_of(stream.measure).unit
    unit = f" {unit}" if unit and chart is not Chart.KS else ""
    limits = " to ".join(f"{limit:.3g}" for limit in (point.lower, point.upper) if limit is not None)
    one_sided = "at most " if point.lower is None else "at least " if point.upper is None else ""
    title, held = title_of(stream.measure, chart), f"{point.statistic:.3g}{unit}"
    return f"{title} {held} (limits {one_sided}{limits}, {point.n} readings)"


def scanner_name(watch: DriftWatch) -> str:
    """Return make, model and kernel in words."""
    known = " ".join(part for part in (watch.manufacturer, watch.model) if part) or "an unknown scanner"
    return f"{known}, kernel {watch.kernel}" if watch.kernel else known


def restart(session: Session, watch_id: str, reason: str, actor: str) -> None:
    """Begin all baselines of a watch anew, since the change is known (new tube, new protocol); audited.

    Raises NotFound, BadInput without a reason.
    """
    watch = session.scalars(select(DriftWatch).where(DriftWatch.id == watch_id).with_for_update()).one_or_none()
    if watch is None:
        raise NotFound("Nothing of that name is watched.")
    if not reason.strip():
        raise BadInput("A new baseline needs a reason.", "Say what has changed, such as a new protocol.")
    for stream in session.scalars(select(DriftStream).where(DriftStream.watch_id == watch.id)):
        begin_anew(stream)
    session.add(DriftRestart(watch_id=watch.id, at=utc_now(), actor=actor, reason=reason.strip()[:LONGEST_REASON]))
    record(session, AuditCode.SECURITY_ALERT, "drift-restarted", actor, detail={"watch": watch.id})
    session.flush()

"""What is watched and where it stands, for the page, the API and the command: one set of models for all three."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from readingroom.core.errors import NotFound
from readingroom.learning.drift.charts import SOURCES, Chart
from readingroom.learning.drift.measures import measure_of, order_of, title_of
from readingroom.learning.drift.streams import State, needed
from readingroom.learning.drift.tables import DriftPoint, DriftRestart, DriftStream, DriftWatch
from readingroom.learning.drift.watch import scanner_name

MOST_POINTS = 200
"""Of a stream, the newest, in one answer."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", from_attributes=True)


class PointView(_Model):
    """One point; ``statistic`` is what was held against the limits (None: no limit on that side)."""

    number: int
    from_at: datetime
    until_at: datetime
    n: int
    value: float
    statistic: float
    centre: float
    lower: float | None
    upper: float | None
    out: bool


class BaselineView(_Model):
    """The first window, which the points are held against."""

    n: int
    mean: float
    sd: float
    from_at: datetime
    until_at: datetime


class StreamView(_Model):
    """One measure. While it gathers, ``waiting`` of ``needed`` readings are there for the next step."""

    measure: str
    title: str
    unit: str
    about: str
    chart: Chart
    source: str
    state: State
    alarm_since: datetime | None
    last_at: datetime | None
    baseline: BaselineView | None
    waiting: int
    needed: int
    newest: PointView | None
    points: tuple[PointView, ...] = ()
    """On the present baseline, oldest first; only where one watch is asked for."""


class RestartView(_Model):
    at: datetime
    actor: str
    reason: str


class WatchView(_Model):
    """A version of a reader on one kind of scanner. ``state`` is the worst of its streams."""

    id: str
    reader: str
    version: str
    scanner: str
    state: State
    streams: tuple[StreamView, ...]
    restarts: tuple[RestartView, ...] = ()


def watches(session: Session) -> list[WatchView]:
    """Return everything that is watched, alarms first, with the newest point of each stream."""
    of_watch: dict[str, list[DriftStream]] = defaultdict(list)
    for stream in session.scalars(select(DriftStream)):
        of_watch[stream.watch_id].append(stream)
    newest = {
        point.stream_id: point
        for point in session.scalars(
            select(DriftPoint).join(
                DriftStream, and_(DriftStream.id == DriftPoint.stream_id, DriftPoint.number == DriftStream.points)
            )
        )
    }
    found = [
        _watch_view(watch, [_stream_view(s, newest.get(s.id)) for s in of_watch[watch.id]])
        for watch in session.scalars(select(DriftWatch))
    ]
    return sorted(found, key=lambda w: (w.state != State.ALARM, w.reader, w.version, w.scanner, w.id))


def watch(session: Session, watch_id: str) -> WatchView:
    """Return one watch with the points of its streams. Raises NotFound."""
    row = session.get(DriftWatch, watch_id)
    if row is None:
        raise NotFound("Nothing of that name is watched.")
    views = []
    for stream in session.scalars(select(DriftStream).where(DriftStream.watch_id == watch_id)):
        points = session.scalars(
            select(DriftPoint)
            .where(DriftPoint.stream_id == stream.id, DriftPoint.number > stream.points_before)
            .order_by(DriftPoint.number.desc())
            .limit(MOST_POINTS)
        ).all()
        views.append(_stream_view(stream, points[0] if points else None, points[::-1]))
    restarts = session.scalars(
        select(DriftRestart).where(DriftRestart.watch_id == watch_id).order_by(DriftRestart.id.desc())
    )
    return _watch_view(row, views, [RestartView(at=r.at, actor=r.actor, reason=r.reason) for r in restarts])


def _watch_view(row: DriftWatch, streams: Sequence[StreamView], restarts: Sequence[RestartView] = ()) -> WatchView:
    states = {stream.state for stream in streams}
    worst = next((state for state in (State.ALARM, State.IN_CONTROL) if state in states), State.GATHERING)
    ordered = sorted(streams, key=lambda stream: (stream.state != State.ALARM, order_of(stream.measure)))
    return WatchView(
        id=row.id,
        reader=row.reader,
        version=row.version,
        scanner=scanner_name(row),
        state=worst,
        streams=tuple(ordered),
        restarts=tuple(restarts),
    )


def _stream_view(row: DriftStream, newest: DriftPoint | None, points: Sequence[DriftPoint] = ()) -> StreamView:
    measure = measure_of(row.measure)
    here = newest is not None and newest.number > row.points_before
    return StreamView(
        measure=row.measure,
        title=title_of(row.measure, Chart(row.chart)),
        unit=measure.unit,
        about=measure.about,
        chart=Chart(row.chart),
        source=SOURCES[Chart(row.chart)],
        state=State(row.state),
        alarm_since=row.alarm_since,
        last_at=row.last_at,
        baseline=_baseline_view(row, row.baseline),
        waiting=len(row.pending),
        needed=needed(row),
        newest=PointView.model_validate(newest) if here else None,
        points=tuple(PointView.model_validate(point) for point in points),
    )


def _baseline_view(row: DriftStream, baseline: Mapping[str, Any] | None) -> BaselineView | None:
    if baseline is None or row.baseline_from is None or row.baseline_until is None:
        return None
    return BaselineView(
        n=int(baseline["n"]),
        mean=baseline["mean"],
        sd=baseline["sd"],
        from_at=row.baseline_from,
        until_at=row.baseline_until,
    )

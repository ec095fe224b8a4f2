"""One stream, value by value: first the baseline, then points, and an alarm that begins once and ends slowly."""

from dataclasses import asdict
from datetime import datetime
from enum import StrEnum

from readingroom.learning.drift.charts import (
    BASELINE_READINGS,
    POINT_READINGS,
    Baseline,
    Chart,
    baseline_of,
    point_of,
)
from readingroom.learning.drift.measures import measure_of
from readingroom.learning.drift.tables import DriftPoint, DriftStream

CALM_POINTS = 3
"""So many points in control, one after the other, end an alarm."""


class State(StrEnum):
    """Where a stream stands."""

    GATHERING = "gathering"
    """Not enough readings yet for a baseline and a point: nothing can be said."""
    IN_CONTROL = "in-control"
    ALARM = "alarm"


def needed(stream: DriftStream) -> int:
    """Return how many readings the next step of a stream takes: its baseline, or its next point."""
    return BASELINE_READINGS if stream.baseline is None else POINT_READINGS[Chart(stream.chart)]


def feed(stream: DriftStream, value: float, at: datetime) -> DriftPoint | None:
    """Take one value; return the point that it completes, if any. The point is the caller's to keep."""
    stream.pending = [*stream.pending, value]
    stream.pending_from = stream.pending_from or at
    stream.last_at = at
    if len(stream.pending) < needed(stream):
        return None
    values, since = stream.pending, stream.pending_from
    stream.pending, stream.pending_from = [], None
    if stream.baseline is None:
        _begin(stream, values, since, at)
        return None
    return _add_point(stream, values, since, at)


def begin_anew(stream: DriftStream) -> None:
    """Forget the baseline: the next readings make another. Points stay as they were."""
    stream.state, stream.chart = State.GATHERING, measure_of(stream.measure).chart
    stream.baseline, stream.baseline_from, stream.baseline_until = None, None, None
    stream.pending, stream.pending_from, stream.level, stream.alarm_since = [], None, None, None
    stream.points_before, stream.in_control = stream.points, 0


def _begin(stream: DriftStream, values: list[float], since: datetime, until: datetime) -> None:
    baseline = baseline_of(Chart(stream.chart), values)
    if stream.chart == Chart.EWMA and baseline.sd == 0:
        # A constant has no spread to make limits of; how often it is left shows in the distribution.
        stream.chart = Chart.KS
        baseline = baseline_of(Chart.KS, values)
    stream.baseline, stream.baseline_from, stream.baseline_until = asdict(baseline), since, until


def _add_point(stream: DriftStream, values: list[float], since: datetime, until: datetime) -> DriftPoint:
    assert stream.baseline is not None
    number = stream.points - stream.points_before + 1
    point = point_of(Chart(stream.chart), Baseline(**stream.baseline), values, number, stream.level)
    stream.points += 1
    stream.level = point.statistic
    stream.in_control = 0 if point.out else stream.in_control + 1
    if point.out and stream.state != State.ALARM:
        stream.state, stream.alarm_since = State.ALARM, until
    elif stream.state != State.ALARM or stream.in_control >= CALM_POINTS:
        stream.state, stream.alarm_since = State.IN_CONTROL, None
    return DriftPoint(stream_id=stream.id, number=stream.points, from_at=since, until_at=until, **asdict(point))

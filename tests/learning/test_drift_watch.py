"""The drift watch on a real index: constructed readings go into charts once, and a shift raises one alarm."""

import threading
from dataclasses import asdict, replace

import pytest
from drift_support import PLANTED, SCANNER, START, House, Season
from sqlalchemy import delete, select, update
from sqlalchemy.exc import DBAPIError

from readingroom.access.alerts import acknowledge, alerts
from readingroom.access.tables import Alert
from readingroom.core.database import Database
from readingroom.findings.model import ReaderState
from readingroom.learning.drift.charts import BASELINE_READINGS, Chart
from readingroom.learning.drift.measures import Fact, Watched, measure_of, numbers_of_reading, title_of, watched_of
from readingroom.learning.drift.streams import CALM_POINTS, State, feed
from readingroom.learning.drift.tables import DriftPoint, DriftStream, DriftWatch
from readingroom.learning.drift.watch import restart, take
from readingroom.readers.tables import ReadingRow
from readingroom.review.judged import judged
from readingroom.workflow.drift import watch_drift

USUAL = Season()
WEAK = replace(USUAL, score=lambda rng: float(rng.beta(4, 8)))


def look(database: Database) -> None:
    watch_drift(database, judged, threading.Event())


def streams(database: Database) -> dict[str, DriftStream]:
    with database.read() as session:
        return {stream.measure: stream for stream in session.scalars(select(DriftStream))}


def points(database: Database, measure: str) -> list[DriftPoint]:
    with database.read() as session:
        rows = select(DriftPoint).join(DriftStream, DriftStream.id == DriftPoint.stream_id)
        return list(session.scalars(rows.where(DriftStream.measure == measure).order_by(DriftPoint.number)))


def all_alerts(database: Database) -> list[Alert]:
    with database.read() as session:
        return alerts(session)


def test_a_shift_raises_one_alarm(database: Database) -> None:
    with database.write() as session:
        house = House(session, seed=1)
        house.read(400, USUAL)
    look(database)
    assert all_alerts(database) == []
    found = streams(database)
    assert {name for name in found if found[name].state == State.IN_CONTROL} >= {"score", "found", "abstained"}
    assert "accepted" not in found, "nothing is signed"
    with database.write() as session:
        house.session = session
        house.read(150, WEAK)
    look(database)
    (alert,) = all_alerts(database)
    assert (alert.kind, alert.actor, alert.study_id) == ("drift", "system", None)
    assert alert.text.startswith("lung-nodule 2.0 on ACME CT-9, kernel Br40: Top probability, mean 0.")
    assert streams(database)["score"].state == State.ALARM
    assert points(database, "score")[-1].out
    # Again, and with more of the same: the alarm is known.
    look(database)
    with database.write() as session:
        house.session = session
        house.read(100, WEAK)
    look(database)
    (same,) = all_alerts(database)
    assert same.id == alert.id
    assert same.text.count("Top probability, mean") == 1
    # Once it is acknowledged, something else is an alarm of its own.
    with database.write() as session:
        acknowledge(session, alert.id, "ada")
        house.session = session
        house.read(100, replace(WEAK, noise_hu=40.0))
    look(database)
    told = [one for one in all_alerts(database) if one.acknowledged_at is None]
    assert len(told) == 1
    assert "Input: noise, mean" in told[0].text


def test_each_reading_is_counted_once_however_often_it_is_looked(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        house = House(session)
        for _ in range(5):
            house.read(50, USUAL, signed=True)
    look(sqlite_database)
    look(sqlite_database)
    once = {name: (stream.points, len(stream.pending)) for name, stream in streams(sqlite_database).items()}
    assert once["abstained"] == (7, 10)
    with sqlite_database.write() as session:
        house.session = session
        house.read(10, USUAL, signed=True)
    look(sqlite_database)
    assert (streams(sqlite_database)["abstained"].points, len(streams(sqlite_database)["abstained"].pending)) == (8, 0)
    with sqlite_database.read() as session:
        read = len(session.scalars(select(ReadingRow).where(ReadingRow.state == ReaderState.FOUND)).all())
    accepted = streams(sqlite_database)["accepted"]
    assert BASELINE_READINGS + 20 * accepted.points + len(accepted.pending) == read


def test_it_is_the_same_in_many_steps_as_in_one(sqlite_database: Database) -> None:
    facts = []
    with sqlite_database.read() as session:
        for number in range(300):
            name = "one" if number < 150 else "other"
            at = START.replace(microsecond=number)
            for version in (name, "both"):
                facts.append(Fact(Watched("r", version, "", "", ""), at, {"score": 0.5 + 0.001 * (number * 7919 % 97)}))
    with sqlite_database.write() as session:
        take(session, [fact for fact in facts if fact.watched.version == "both"])
    for fact in facts:
        if fact.watched.version != "both":
            with sqlite_database.write() as session:
                take(session, [replace(fact, watched=replace(fact.watched, version="single"))])
    with sqlite_database.read() as session:
        rows = {
            watch.version: [
                (p.number, p.value, p.statistic, p.lower, p.upper)
                for p in session.scalars(
                    select(DriftPoint)
                    .join(DriftStream, DriftStream.id == DriftPoint.stream_id)
                    .where(DriftStream.watch_id == watch.id)
                    .order_by(DriftPoint.number)
                )
            ]
            for watch in session.scalars(select(DriftWatch))
        }
    assert len(rows["both"]) == 10
    assert rows["both"] == rows["single"]


def test_few_readings_say_nothing(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        house = House(session)
        house.read(60, USUAL)
        house.read(39, WEAK)
    look(sqlite_database)
    assert {stream.state for stream in streams(sqlite_database).values()} == {State.GATHERING}
    with sqlite_database.read() as session:
        assert session.scalars(select(DriftPoint)).all() == []
    assert all_alerts(sqlite_database) == []


def test_fewer_findings_accepted_at_signing(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        house = House(session)
        house.read(250, USUAL, signed=True)
        house.read(120, replace(USUAL, accepted=0.2), signed=True)
    look(sqlite_database)
    accepted = streams(sqlite_database)["accepted"]
    assert accepted.state == State.ALARM
    assert accepted.baseline is not None
    assert accepted.baseline["mean"] == pytest.approx(0.8, abs=0.1)
    (alert,) = all_alerts(sqlite_database)
    assert "Findings accepted 0." in alert.text
    assert "(limits at least " in alert.text


def test_a_protocol_that_never_varied_changes(sqlite_database: Database) -> None:
    """A constant has no spread: one odd study is none of drift's business, another protocol is."""
    with sqlite_database.write() as session:
        house = House(session)
        house.read(100, USUAL)
        house.read(1, replace(USUAL, spacing_mm=5.0))
        house.read(49, USUAL)
    look(sqlite_database)
    spacing = streams(sqlite_database)["input.slice_spacing_mm"]
    assert (spacing.chart, spacing.state) == (Chart.KS, State.IN_CONTROL)
    with sqlite_database.write() as session:
        house.session = session
        house.read(50, replace(USUAL, spacing_mm=3.0))
    look(sqlite_database)
    assert streams(sqlite_database)["input.slice_spacing_mm"].state == State.ALARM


def test_scanners_are_watched_apart(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        one = House(session)
        other = House(session, seed=1, scanner={"Manufacturer": "Other"})
        one.read(120, USUAL)
        other.read(30, USUAL)
    look(sqlite_database)
    with sqlite_database.read() as session:
        watches = session.scalars(select(DriftWatch).order_by(DriftWatch.manufacturer)).all()
    assert [(w.manufacturer, w.model, w.kernel) for w in watches] == [("ACME", "CT-9", "Br40"), ("Other", "", "")]


def test_a_new_baseline_ends_the_alarm_and_keeps_the_points(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        house = House(session)
        house.read(300, USUAL)
        house.read(150, WEAK)
    look(sqlite_database)
    before = points(sqlite_database, "score")
    score = streams(sqlite_database)["score"]
    with sqlite_database.write() as session:
        restart(session, score.watch_id, "new tube", "ada")
    # What was constant may vary now.
    assert streams(sqlite_database)["input.slice_spacing_mm"].chart == Chart.EWMA
    with sqlite_database.write() as session:
        house.session = session
        house.read(300, WEAK)
    look(sqlite_database)
    score = streams(sqlite_database)["score"]
    after = points(sqlite_database, "score")
    assert score.state == State.IN_CONTROL
    assert [p.number for p in after] == list(range(1, len(after) + 1))
    assert after[: len(before)][-1].centre > 0.6
    assert after[-1].centre < 0.4
    assert len(all_alerts(sqlite_database)) == 1


def test_an_alarm_ends_when_points_have_been_calm_for_a_while() -> None:
    stream = DriftStream(
        id="s", watch_id="w", measure="abstained", chart=Chart.P, state=State.GATHERING, pending=[], points=0,
        points_before=0, in_control=0,
    )  # fmt: skip
    for _ in range(BASELINE_READINGS):
        feed(stream, 0.0, START)
    states = []
    for value in (1.0, 0.0, 1.0, 0.0, 0.0, 0.0):
        for _ in range(20):
            feed(stream, value, START)
        states.append(stream.state)
    assert states == [State.ALARM] * 5 + [State.IN_CONTROL]
    assert (stream.in_control, stream.alarm_since) == (CALM_POINTS, None)


def test_points_cannot_be_changed(database: Database) -> None:
    with database.write() as session:
        House(session).read(120, USUAL)
    look(database)
    for statement in (update(DriftPoint).values(value=0.0), delete(DriftPoint)):
        with pytest.raises(DBAPIError), database.write() as session:
            session.execute(statement)


def test_nothing_kept_is_about_a_patient(sqlite_database: Database) -> None:
    with sqlite_database.write() as session:
        house = House(session)
        house.read(250, USUAL)
        house.read(100, WEAK)
        studies = {row.study_id for row in session.scalars(select(ReadingRow))}
    look(sqlite_database)
    text = ""
    with sqlite_database.read() as session:
        for table in (DriftWatch, DriftStream, DriftPoint):
            text += "".join(str(row) for row in session.execute(select(table.__table__)))
    text += "".join(alert.text for alert in all_alerts(sqlite_database))
    assert "ACME" in text
    assert not [word for word in (PLANTED, "DRIFT-", *studies) if word in text]


# What one reading tells


def test_numbers_of_a_reading() -> None:
    statistics: dict[str, float | str] = {**SCANNER, "noise_hu": 20.5, "slices": 300.0, "bad name!": 1.0, "ok": True}
    numbers = numbers_of_reading("found", 0.9, 1.5, statistics)
    assert numbers == {
        "abstained": 0.0, "found": 1.0, "score": 0.9, "score-distribution": 0.9, "out-of-domain": 1.5,
        "input.noise_hu": 20.5, "input.slices": 300.0,
    }  # fmt: skip
    assert numbers_of_reading("read-nothing-found", None, None, {}) == {"abstained": 0.0, "found": 0.0}
    assert numbers_of_reading("abstained", None, None, {}) == {"abstained": 1.0}
    for state in ("partial", "failed", "superseded", "not-applicable"):
        assert numbers_of_reading(state, 0.9, 1.0, statistics) == {}
    assert "out-of-domain" not in numbers_of_reading("found", 0.9, float("nan"), {})


def test_what_a_scanner_is_called_is_short_and_one_line() -> None:
    watched = watched_of("r", "1", {"Manufacturer": " A\n B ", "ConvolutionKernel": "k" * 200})
    assert list(asdict(watched).values()) == ["r", "1", "A B", "", "k" * 64]
    assert (title_of("input.noise_hu", Chart.EWMA), measure_of("input.noise_hu").unit) == ("Input: noise, mean", "HU")

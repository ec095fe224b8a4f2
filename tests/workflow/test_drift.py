"""What the workflow leaves of a reading is what the drift watch reads, and the worker's thread looks by itself."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select

from readingroom.core.clock import utc_now
from readingroom.learning.drift.tables import DriftCursor
from readingroom.learning.drift.watch import Mark
from readingroom.review.judged import judged
from readingroom.workflow import drift, worker

BEGINNING = Mark(datetime(1970, 1, 1, tzinfo=UTC), "")


def test_a_study_read_and_signed_is_two_facts(story: Any, make_series: Any) -> None:
    story.send(*make_series(slices=3, Manufacturer="ACME", ManufacturerModelName="CT-9", ConvolutionKernel="Br40"))
    story.work()
    soon = utc_now() + timedelta(seconds=1)
    with story.rooms.database.read() as session:
        (read,), mark = drift.read(session, BEGINNING, soon, 10)
        assert drift.read(session, mark, soon, 10) == ([], None)
        assert judged(session, BEGINNING, soon, 10) == ([], None)
    assert (read.watched.reader, read.watched.manufacturer, read.watched.model) == ("tiny-brightest", "ACME", "CT-9")
    assert read.watched.kernel == "Br40"
    assert (read.values["abstained"], read.values["found"], read.values["score"]) == (0.0, 1.0, 0.9)
    assert read.values["input.slices"] == 3.0
    story.sign()
    story.work()
    soon = utc_now() + timedelta(seconds=1)
    with story.rooms.database.read() as session:
        (signed,), mark = judged(session, BEGINNING, soon, 10)
        assert judged(session, mark, soon, 10) == ([], None)
    assert signed.watched == read.watched
    assert signed.values == {"accepted": 1.0}


def test_an_abstention_and_a_failure(sqlite_story: Any, make_series: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for mode, expected in (("abstain", [{"abstained": 1.0}]), ("crash", [])):
        monkeypatch.setenv("TINY_READER_MODE", mode)
        since = Mark(utc_now(), "")
        sqlite_story.send(*make_series(slices=3))
        sqlite_story.work()
        with sqlite_story.rooms.database.read() as session:
            facts, _ = drift.read(session, since, utc_now() + timedelta(seconds=1), 10)
        outcomes = [{n: v for n, v in fact.values.items() if not n.startswith("input.")} for fact in facts]
        assert outcomes == expected


def test_the_worker_looks_by_itself(sqlite_story: Any, make_series: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    sqlite_story.send(*make_series(slices=3))
    sqlite_story.work()
    rooms, stop = sqlite_story.rooms, threading.Event()
    monkeypatch.setattr(worker, "DRIFT_SECONDS", 0.01)
    monkeypatch.setattr(worker, "_step_back", lambda: None)
    monkeypatch.setattr(drift, "SETTLED", timedelta(seconds=-1))

    def last(session: Any, after: Mark, before: datetime, limit: int) -> Any:
        stop.set()
        return judged(session, after, before, limit)

    worker._watch_drift(rooms, stop, last)
    with rooms.database.read() as session:
        cursor = session.scalars(select(DriftCursor).where(DriftCursor.source == "readings")).one()
    assert cursor.ref == sqlite_story.page().readings[0].id

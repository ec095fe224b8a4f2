"""A new revision cannot slip in between the look at which one is the newest and what is written because of it."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select

from readingroom.archive.tables import Study
from readingroom.findings.model import ReaderState, Reading
from readingroom.readers.tables import ReadingRow
from readingroom.workflow import intake_step, read_step
from readingroom.workflow.revise import InstalledReader, revise
from readingroom.workflow.rooms import Rooms
from readingroom.workflow.study import _finish

TINY = InstalledReader(name="tiny-brightest", version="1")
BLOCKED_SECONDS = 0.5


@pytest.fixture
def study_id(story: Any, rooms: Rooms, make_series: Any) -> str:
    """A study with its first revision and one image that has come since."""
    first, second = make_series(2)
    (received,) = story.send(first)
    with rooms.database.write() as session:
        assert revise(session, received.study_id, "quiet", [TINY]) is not None
    story.send(second)
    return str(received.study_id)


def while_revising(rooms: Rooms, study_id: str, write: Callable[[], Any]) -> None:
    """Begin ``write`` while the transaction that makes the next revision is open; then let both end."""
    with rooms.database.write() as session:
        assert revise(session, study_id, "quiet", [TINY]) is not None
        thread = threading.Thread(target=write)
        thread.start()
        thread.join(BLOCKED_SECONDS)
        assert thread.is_alive(), "it waits for its turn"
    thread.join(30)
    assert not thread.is_alive()


def states(rooms: Rooms) -> dict[tuple[str, int], str]:
    with rooms.database.read() as session:
        return {(row.reader, row.revision): row.state for row in session.scalars(select(ReadingRow))}


def test_a_reading_of_the_revision_before_is_not_written_over(rooms: Rooms, study_id: str) -> None:
    with rooms.database.write() as session:
        row = session.scalars(select(ReadingRow)).one()
        row.state = ReaderState.READING
        reading_id = row.id
    reading = Reading(reader=TINY.name, version=TINY.version, state=ReaderState.NOTHING_FOUND)
    while_revising(rooms, study_id, lambda: read_step._write(rooms, reading_id, reading, {}))
    assert states(rooms) == {(TINY.name, 1): "superseded", (TINY.name, 2): "queued"}


def test_readers_are_not_asked_for_the_revision_before(
    rooms: Rooms, study_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Intake ends while the next revision is made: rows it would add now would never be superseded."""
    looked, revised = threading.Event(), threading.Event()
    answer = {"series": [], "partial": "", "readers": [{"name": "another", "version": "1", "applies": True}]}

    def run_child(*_args: Any, **_keywords: Any) -> Any:
        looked.set()
        assert revised.wait(30)
        return answer

    monkeypatch.setattr(intake_step, "run_child", run_child)
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(intake_step.intake(rooms, study_id, 1)))
    thread.start()
    assert looked.wait(30)
    with rooms.database.write() as session:
        assert revise(session, study_id, "quiet", [TINY]) is not None
        revised.set()
        thread.join(BLOCKED_SECONDS)
        assert thread.is_alive()
    thread.join(30)
    assert found == [[]]
    assert states(rooms) == {(TINY.name, 1): "superseded", (TINY.name, 2): "queued"}


def test_the_end_of_the_revision_before_is_not_the_study_s(rooms: Rooms, study_id: str) -> None:
    while_revising(rooms, study_id, lambda: _finish(rooms, study_id, 1))
    with rooms.database.read() as session:
        assert session.scalar(select(Study.state)) == "ready"

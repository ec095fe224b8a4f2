"""The worker process's own chores, and that there is one worker a home folder."""

import platform
import threading
from typing import Any

import pytest

from readingroom.core.errors import Conflict
from readingroom.readers.tables import ReadingRow
from readingroom.workflow import worker


def test_one_worker_a_home(sqlite_rooms: Any, tmp_path: Any) -> None:
    with worker._only_one(tmp_path / "lock"), pytest.raises(Conflict), worker._only_one(tmp_path / "lock"):
        pass
    with worker._only_one(tmp_path / "lock"):
        pass


def test_each_home_has_a_worker_of_its_own_name(tmp_path: Any) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    one.mkdir()
    (tmp_path / "link").symlink_to(one)
    name = worker.executor_of(one)
    assert worker.executor_of(one) == worker.executor_of(tmp_path / "link") == name
    assert worker.executor_of(other) != name
    assert "one" not in name.removeprefix(platform.node())
    assert len(name) <= 128


def test_the_sweep_keeps_what_readings_and_reports_name(
    sqlite_story: Any, make_series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    story = sqlite_story
    story.send(*make_series(slices=3))
    story.work()
    story.sign()
    story.work()
    rooms = story.rooms
    orphan = rooms.store.put(b"left by a kill between store and index")
    stop = threading.Event()
    monkeypatch.setattr(worker, "FIRST_SWEEP_SECONDS", 0.01)
    monkeypatch.setattr(worker, "_step_back", lambda: None)
    sweep = rooms.archive.sweep_orphans

    def sweep_now(*, elsewhere: set[str]) -> None:
        sweep(0, elsewhere=elsewhere)
        stop.set()

    monkeypatch.setattr(rooms.archive, "sweep_orphans", sweep_now)
    worker._sweep(rooms, stop)
    assert rooms.store.read(story.report().objects["fhir"])
    page = story.page()
    with rooms.database.read() as session:
        arrays = session.get_one(ReadingRow, page.readings[0].id).arrays
    assert arrays
    assert all(rooms.store.read(key) for key in arrays.values())
    assert orphan not in rooms.store.keys(0)


def test_a_study_that_cannot_be_revised_holds_up_no_other(
    sqlite_story: Any, make_series: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rooms = sqlite_story.rooms
    images = [make_series(1, patient_id=name)[0] for name in ("ONE", "TWO", "THREE")]
    broken, *others = [received.study_id for received in sqlite_story.send(*images)]
    revise = worker.revise

    def revise_most(session: Any, study_id: str, *rest: Any) -> Any:
        if study_id == broken:
            raise ValueError("nobody foresaw this")
        return revise(session, study_id, *rest)

    monkeypatch.setattr(worker, "revise", revise_most)
    monkeypatch.setattr(worker, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(worker, "FAILED_SECONDS", 0.01)
    handed: list[str] = []
    stop = threading.Event()

    class Engine:
        def start(self, _topic: str, _key: str, payload: dict[str, Any]) -> None:
            handed.append(payload["study_id"])
            if len(handed) == len(others):
                stop.set()

    timer = threading.Timer(20, stop.set)
    timer.start()
    worker._work(rooms, Engine(), tuple, stop)  # type: ignore[arg-type]
    timer.cancel()
    assert sorted(handed) == sorted(others)


def test_the_heartbeat_does_not_wait_for_the_work(sqlite_rooms: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.leases, "HEARTBEAT_SECONDS", 0.01)
    stop, beats = threading.Event(), []

    def heartbeat(_rooms: Any, engine: Any) -> None:
        beats.append(engine)
        if len(beats) == 3:
            stop.set()
        raise OSError

    monkeypatch.setattr(worker, "_heartbeat", heartbeat)
    worker._beat(sqlite_rooms, stop, "engine")  # type: ignore[arg-type]
    assert beats == ["engine"] * 3

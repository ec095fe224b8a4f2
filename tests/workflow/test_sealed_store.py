"""A study's whole life on a sealed store: read in children, signed, written; no image lies plain anywhere."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset

from readingroom.workflow.process import children_folder
from readingroom.workflow.rooms import Rooms

NAME = b"Zebra^Quagga"


@pytest.fixture
def sealed_rooms(sqlite_rooms: Rooms) -> Iterator[Rooms]:
    opened = Rooms.open(sqlite_rooms.settings.model_copy(update={"store_encryption": True}))
    yield opened
    opened.database.close()


def test_read_signed_and_written(
    sealed_rooms: Rooms, sqlite_story: Any, make_series: Callable[..., list[Dataset]]
) -> None:
    story = type(sqlite_story)(sealed_rooms)
    seen: list[Path] = []
    stop = threading.Event()

    def look() -> None:
        while not stop.wait(0.005):
            for path in children_folder(sealed_rooms.settings).rglob("*"):
                try:
                    if path.is_file() and NAME in path.read_bytes() and not path.name.startswith("object-"):
                        seen.append(path)
                except OSError:
                    continue

    watching = threading.Thread(target=look)
    watching.start()
    try:
        story.send(*make_series(slices=5, patient_name=NAME.decode()))
        story.work()
        assert [view.finding.code.meaning for view in story.page().findings] == ["Nodule"]
        story.sign()
        story.work()
    finally:
        stop.set()
        watching.join()
    report = story.report()
    assert report.state == "written"
    assert story.rooms.store.read(report.objects["fhir"])[:1] == b"{"
    assert story.stored(report.objects["sr"]).PatientName == NAME.decode()
    assert seen == [], "no image lies plain where a child works"
    stored = [path for path in sealed_rooms.settings.store_folder.rglob("*") if path.is_file()]
    assert len(stored) > 10
    assert not any(NAME in path.read_bytes() for path in stored)

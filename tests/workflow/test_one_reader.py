"""One reader whose outcome cannot be kept: the others of the study are read all the same."""

from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from sqlalchemy import update

from readingroom.archive.revisions import make_revision
from readingroom.core.config import Settings
from readingroom.core.database import Database
from readingroom.findings.codes import code
from readingroom.findings.heat_map import heat_map_to_bytes
from readingroom.findings.model import Evidence, Finding, ReaderState, Reading, SegmentMask, StudyPlace
from readingroom.readers.tables import ReadingRow
from readingroom.workflow import read_step
from readingroom.workflow.process import ChildFailed
from readingroom.workflow.rooms import Rooms
from readingroom.workflow.study import read_study


class BrokenFor:
    """Steps of which the one that reads ``broken`` raises, as it does when its outcome cannot be written."""

    def __init__(self, rooms: Rooms, readings: list[str], broken: str) -> None:
        self.rooms, self.readings, self.broken = rooms, readings, broken

    def run(self, name: str, step: Callable[..., Any], *args: Any) -> Any:
        if name == "intake":
            return self.readings
        if name == "read" and args[1] == self.broken:
            raise ValueError("cannot be written")
        if name == "read":
            with self.rooms.database.write() as session:
                session.execute(update(ReadingRow).where(ReadingRow.id == args[1]).values(state=ReaderState.FOUND))
            return ReaderState.FOUND
        return None if name == "objects" else step(*args)

    def sleep(self, _seconds: float) -> None:
        raise AssertionError


def test_the_others_are_read(
    settings: Settings, sqlite_database: Database, make_series: Callable[..., list[Dataset]]
) -> None:
    rooms = Rooms.open(settings.model_copy(update={"database_url": str(sqlite_database.engine.url)}))
    buffer = BytesIO()
    make_series(1)[0].save_as(buffer, enforce_file_format=True)
    study_id = rooms.archive.put_file(buffer.getvalue(), source="test").study_id
    assert study_id
    with rooms.database.write() as session:
        make_revision(session, study_id, "quiet")
        rows = [
            ReadingRow(study_id=study_id, revision=1, reader=name, version="1", state=ReaderState.QUEUED)
            for name in ("broken", "sound")
        ]
        session.add_all(rows)
        session.flush()
        ids = [row.id for row in rows]
    read_study(rooms, BrokenFor(rooms, ids, ids[0]), {"study_id": study_id, "revision": 1})
    with rooms.database.read() as session:
        states = [session.get_one(ReadingRow, one).state for one in ids]
        reason = session.get_one(ReadingRow, ids[0]).reason
    rooms.database.close()
    assert states == [ReaderState.FAILED, ReaderState.FOUND]
    assert "ValueError" in reason


def test_what_no_database_keeps_is_refused() -> None:
    body = {"reader": "tiny", "version": "1", "state": "abstained", "input_statistics": {"mean": float("nan")}}
    with pytest.raises(ChildFailed):
        read_step.checked_reading({"reading": body}, {"reader": "tiny", "version": "1"})


@pytest.mark.parametrize("asked", [{"reader": "other", "version": "1"}, {"reader": "tiny", "version": "2"}])
def test_a_reading_in_another_s_name_is_refused(asked: dict[str, str]) -> None:
    body = {"reader": "tiny", "version": "1", "state": "abstained"}
    assert read_step.checked_reading({"reading": body}, {"reader": "tiny", "version": "1"}).reader == "tiny"
    with pytest.raises(ChildFailed, match="another name or version"):
        read_step.checked_reading({"reading": body}, asked)


@pytest.mark.parametrize(
    ("heat", "why"),
    [
        (np.ones((1, 2, 2), np.float32), ""),
        (np.ones((1, 2, 3), np.float32), "shape of its segment's box"),
        (np.full((1, 2, 2), np.nan, np.float32), "not finite"),
        (np.ones((1, 2, 2)), "float32"),
        (None, "without giving both"),
    ],
)
def test_a_heat_map_is_checked_again_where_the_reader_s_code_does_not_run(
    settings: Settings, sqlite_database: Database, tmp_path: Path, heat: np.ndarray | None, why: str
) -> None:
    rooms = Rooms.open(settings.model_copy(update={"database_url": str(sqlite_database.engine.url)}))
    finding = Finding(id="f", code=code("nodule"), place=StudyPlace(), segment="s", evidence=Evidence(heat_map="h"))
    reading = Reading(reader="tiny", version="1", state=ReaderState.FOUND, findings=(finding,))
    segment = SegmentMask("1.2.5", (0, 0, 0), np.ones((1, 2, 2), bool), ("1.1",))
    (tmp_path / "array-0.npz").write_bytes(segment.to_bytes())
    arrays = {"s": "array-0.npz"}
    if heat is not None:
        (tmp_path / "array-1.npy").write_bytes(heat_map_to_bytes(heat))
        arrays["h"] = "array-1.npy"
    try:
        if why:
            with pytest.raises(ChildFailed, match=why):
                read_step._keep_arrays(rooms, tmp_path, {"arrays": arrays}, reading)
        else:
            kept = read_step._keep_arrays(rooms, tmp_path, {"arrays": arrays}, reading)
            assert set(kept) == {"s", "h"}
    finally:
        rooms.database.close()

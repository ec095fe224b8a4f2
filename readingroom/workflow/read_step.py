"""One reader on one study: run it in a child, keep what it says. A reader that fails, fails alone."""

import json
import re
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from sqlalchemy import select, update

from readingroom.access.consent import permitted
from readingroom.archive.revisions import receiving_since, revision_files
from readingroom.archive.tables import Study, StudyRevision
from readingroom.core.clock import utc_now
from readingroom.core.errors import ReadingRoomError
from readingroom.core.permissions import Permission, job
from readingroom.core.purposes import Purpose
from readingroom.findings.heat_map import check_heat_map, heat_map_from_bytes
from readingroom.findings.model import Finding, ReaderState, Reading, SegmentMask
from readingroom.learning.models.serving import package_of
from readingroom.readers.tables import ReadingRow
from readingroom.workflow.current import UNFINISHED, is_current
from readingroom.workflow.intake_step import sources_by_series
from readingroom.workflow.priors import priors_of
from readingroom.workflow.process import ChildFailed, ChildStopped, run_child, scratch
from readingroom.workflow.rooms import Rooms
from readingroom.worklist.priority import ROUTINE, in_words, level_of, most_urgent
from readingroom.worklist.urgent.raising import raise_urgent

BUSY_SECONDS = 5
"""While images came in this recently, readers get one thread."""
LARGEST_ARRAY = 512 << 20
_ARRAY_FILE = re.compile(r"array-[0-9]{1,4}\.np[yz]")

READ_STATES = (
    ReaderState.FOUND,
    ReaderState.NOTHING_FOUND,
    ReaderState.ABSTAINED,
    ReaderState.PARTIAL,
)
"""A reader has looked: there is a reading to write."""


@job(Permission.STUDY_READ)
def read(rooms: Rooms, reading_id: str) -> str:
    """Run the reader of this row and write what it says; return the state it ends in.

    Runs again without harm: a row that has ended is left alone, one that was being read is read anew.
    """
    request = _begin(rooms, reading_id)
    if request is None:
        return _state(rooms, reading_id)
    try:
        with scratch(rooms.settings) as folder:
            answer = run_child(
                rooms.settings,
                folder,
                request,
                threads=_threads(rooms),
                watch=lambda step, fraction: _progress(rooms, reading_id, step, fraction),
            )
            reading = checked_reading(answer, request)
            arrays = _keep_arrays(rooms, folder, answer, reading)
    except ChildStopped:
        return _end(rooms, reading_id, ReaderState.SUPERSEDED, "The study changed while it was read.")
    except ChildFailed as error:
        return _end(rooms, reading_id, ReaderState.FAILED, error.message)
    return _write(rooms, reading_id, reading, arrays)


def _begin(rooms: Rooms, reading_id: str) -> dict[str, Any] | None:
    """Mark the row as being read and return the child's request; None when there is nothing to do."""
    with rooms.database.write() as session:
        row = session.get(ReadingRow, reading_id)
        if row is None or row.state not in UNFINISHED:
            return None
        if not is_current(session, row.study_id, row.revision, lock=True):
            row.state, row.reason = ReaderState.SUPERSEDED, "The study changed before it was read."
            return None
        study = session.get_one(Study, row.study_id)
        asked = permitted(session, study.patient_pk, Purpose.CARE, defaults=rooms.settings.purposes, actor="system")
        if not asked.allowed:
            row.state, row.reason = ReaderState.NOT_APPLICABLE, asked.reason
            return None
        row.state, row.started_at, row.progress, row.progress_step = ReaderState.READING, utc_now(), 0.0, "starting"
        files = revision_files(session, row.study_id, row.revision)
        wanted = set(row.series_instance_uids)
        partial = session.scalar(
            select(StudyRevision.partial).where(
                StudyRevision.study_id == row.study_id, StudyRevision.number == row.revision
            )
        )
        package = package_of(session, rooms.settings, row.reader, row.version)
        return {
            "task": "read",
            "readers": [row.reader],
            "packages": [package.model_dump()] if package else [],
            "reader": row.reader,
            "version": row.version,
            "study_instance_uid": study.StudyInstanceUID,
            "files": sources_by_series(rooms, [f for f in files if f.SeriesInstanceUID in wanted]),
            "partial": partial or "",
            "priors": priors_of(session, study, row.reader),
        }


def _state(rooms: Rooms, reading_id: str) -> str:
    with rooms.database.read() as session:
        row = session.get(ReadingRow, reading_id)
        return row.state if row else ReaderState.SUPERSEDED


def _threads(rooms: Rooms) -> int:
    """Fewer threads while images come in: receiving goes first."""
    with rooms.database.read() as session:
        busy = receiving_since(session, utc_now() - timedelta(seconds=BUSY_SECONDS))
    return 1 if busy else rooms.settings.reader_threads


def _progress(rooms: Rooms, reading_id: str, step: str, fraction: float) -> bool:
    """Write how far the reader is; False when nobody wants it any more."""
    with rooms.database.write() as session:
        row = session.get(ReadingRow, reading_id)
        if row is None or row.state != ReaderState.READING or not is_current(session, row.study_id, row.revision):
            return False
        row.progress, row.progress_step = fraction, step
        return True


def checked_reading(answer: Mapping[str, Any], request: Mapping[str, Any]) -> Reading:
    """Return the reading in a child's answer. Raises ChildFailed for one that cannot be kept."""
    try:
        reading = Reading.model_validate(answer["reading"])
    except (ValidationError, KeyError):
        raise ChildFailed("The reader gave an unusable reading.") from None
    if (reading.reader, reading.version) != (request["reader"], request["version"]):
        raise ChildFailed("The reader signed its reading with another name or version.")
    try:
        json.dumps(reading.model_dump(mode="json"), allow_nan=False)
    except ValueError:
        raise ChildFailed("The reader gave a number that is not finite.") from None
    return reading


def _keep_arrays(rooms: Rooms, folder: Path, answer: Mapping[str, Any], reading: Reading) -> dict[str, str]:
    """Store the segments and heat maps the child wrote; return name -> store key.

    The child runs the reader's own code: what it wrote is checked here once more, before anything is kept.
    """
    files: dict[str, bytes] = {}
    boxes: dict[str, tuple[int, ...]] = {}
    for name, file in dict(answer.get("arrays", {})).items():
        path = folder / str(file)
        if not _ARRAY_FILE.fullmatch(str(file)) or path.is_symlink() or not path.is_file():
            raise ChildFailed("The reader named an array that is not there.")
        if path.stat().st_size > LARGEST_ARRAY:
            raise ChildFailed("The reader gave an array too large to keep.")
        data = path.read_bytes()
        if path.suffix == ".npz":
            try:
                boxes[str(name)] = SegmentMask.from_bytes(data).mask.shape
            except (ReadingRoomError, OSError, ValueError):
                raise ChildFailed("The reader gave a segment that cannot be read.") from None
        files[str(name)] = data
    for finding in reading.findings:
        _check_heat_map(finding, files, boxes)
    return {name: rooms.store.put(data) for name, data in files.items()}


def _check_heat_map(finding: Finding, files: Mapping[str, bytes], boxes: Mapping[str, tuple[int, ...]]) -> None:
    name = finding.evidence.heat_map
    if not name:
        return
    if name not in files or finding.segment not in boxes:
        raise ChildFailed("The reader named a heat map without giving both it and its segment.")
    try:
        check_heat_map(heat_map_from_bytes(files[name]), boxes[finding.segment])
    except ReadingRoomError as error:
        raise ChildFailed(error.message) from None


def _end(rooms: Rooms, reading_id: str, state: ReaderState, reason: str) -> str:
    with rooms.database.write() as session:
        session.execute(
            update(ReadingRow)
            .where(ReadingRow.id == reading_id, ReadingRow.state.in_(UNFINISHED))
            .values(state=state, reason=reason, finished_at=utc_now())
        )
    return state


def _write(rooms: Rooms, reading_id: str, reading: Reading, arrays: Mapping[str, str]) -> str:
    """Write the reading, unless the study has changed meanwhile: then it is kept as superseded."""
    with rooms.database.write() as session:
        row = session.get_one(ReadingRow, reading_id)
        current = is_current(session, row.study_id, row.revision, lock=True)
        # Whoever had the lock before may have superseded the row.
        session.refresh(row)
        if row.state != ReaderState.READING:
            return row.state
        row.state = reading.state if current else ReaderState.SUPERSEDED
        row.reason = reading.reason
        row.body = reading.model_dump(mode="json")
        row.summary = summary_of(reading)
        row.arrays = dict(arrays)
        row.progress, row.progress_step, row.finished_at = 1.0, "", utc_now()
        if current:
            raise_urgent(session, rooms.settings.urgent, row, reading)
        return row.state


def summary_of(reading: Reading) -> dict[str, Any]:
    """Return what the worklist needs of a reading."""
    probabilities = [f.probability for f in reading.findings if f.probability is not None]
    urgent = most_urgent(reading.findings)
    return {
        "findings": [finding.id for finding in reading.findings],
        "top_probability": max(probabilities, default=None),
        "triage": level_of(urgent) if urgent else ROUTINE,
        "reason": in_words(urgent.code.meaning, urgent.probability) if urgent else "",
    }

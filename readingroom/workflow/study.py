"""From a study revision to findings on the worklist, as one durable workflow.

Type and measure the series, ask every reader, run those that apply, write their objects. What one reader does never
touches another. Each step runs at least once and does no harm when it runs again; a revision that is no longer the
newest ends early, and its readings are superseded.
"""

import logging

from sqlalchemy import select

from readingroom.archive.tables import Study
from readingroom.core.permissions import Permission, job
from readingroom.findings.model import ReaderState
from readingroom.readers.tables import ReadingRow
from readingroom.workflow.current import fail_reading, fail_unfinished, is_current
from readingroom.workflow.engine import Payload, Steps
from readingroom.workflow.intake_step import intake
from readingroom.workflow.object_step import write_reading_objects
from readingroom.workflow.read_step import read
from readingroom.workflow.rooms import Rooms
from readingroom.workflow.shadow import follow_in_shadow

log = logging.getLogger(__name__)


@job(Permission.WORKFLOW_RUN)
def read_study(rooms: Rooms, steps: Steps, payload: Payload) -> None:
    """Workflow ``read_study_v1``: everything that follows from a new revision."""
    study_id, revision = str(payload["study_id"]), int(payload["revision"])
    _read_all(rooms, steps, study_id, revision)


@job(Permission.WORKFLOW_RUN)
def reread_study(rooms: Rooms, steps: Steps, payload: Payload) -> None:
    """Workflow ``reread_study_v1``: readers that failed, or were installed since, on the current revision."""
    study_id, revision = str(payload["study_id"]), int(payload["revision"])
    steps.run("requeue", _requeue_failed, rooms, study_id, revision)
    _read_all(rooms, steps, study_id, revision)


def _read_all(rooms: Rooms, steps: Steps, study_id: str, revision: int) -> None:
    try:
        for reading_id in steps.run("intake", intake, rooms, study_id, revision):
            _read_one(rooms, steps, reading_id)
    except Exception as error:
        # The texts of database and file errors may hold anything: only the kind is logged and shown.
        log.error("study %s, revision %d: %s", study_id, revision, type(error).__name__)
        reason = f"Stopped by an error of the system ({type(error).__name__})."
        steps.run("give-up", _give_up, rooms, study_id, revision, reason)
    steps.run("finish", _finish, rooms, study_id, revision)


def _read_one(rooms: Rooms, steps: Steps, reading_id: str) -> None:
    try:
        steps.run("read", read, rooms, reading_id)
    except Exception as error:
        # What this one gave cannot be kept, however often it is tried: the other readers are asked all the same.
        log.error("reading %s: %s", reading_id, type(error).__name__)
        reason = f"Stopped by an error of the system ({type(error).__name__})."
        steps.run("give-up-reading", _give_up_reading, rooms, reading_id, reason)
        return
    try:
        steps.run("objects", write_reading_objects, rooms, reading_id)
    except Exception as error:
        # The findings are there; only what would have been sent is not.
        log.error("objects of reading %s: %s", reading_id, type(error).__name__)


@job(Permission.WORKFLOW_RUN)
def _requeue_failed(rooms: Rooms, study_id: str, revision: int) -> int:
    with rooms.database.write() as session:
        if not is_current(session, study_id, revision, lock=True):
            return 0
        rows = session.scalars(
            select(ReadingRow).where(
                ReadingRow.study_id == study_id,
                ReadingRow.revision == revision,
                ReadingRow.state == ReaderState.FAILED,
            )
        ).all()
        for row in rows:
            row.state, row.reason, row.progress, row.finished_at = ReaderState.QUEUED, "", 0.0, None
        return len(rows)


@job(Permission.WORKFLOW_RUN)
def _give_up(rooms: Rooms, study_id: str, revision: int, reason: str) -> None:
    with rooms.database.write() as session:
        fail_unfinished(session, study_id, revision, reason)


@job(Permission.WORKFLOW_RUN)
def _give_up_reading(rooms: Rooms, reading_id: str, reason: str) -> None:
    with rooms.database.write() as session:
        fail_reading(session, reading_id, reason)


@job(Permission.WORKFLOW_RUN)
def _finish(rooms: Rooms, study_id: str, revision: int) -> None:
    with rooms.database.write() as session:
        if is_current(session, study_id, revision, lock=True):
            session.get_one(Study, study_id).state = "read"
            follow_in_shadow(session, rooms.settings, study_id, revision)

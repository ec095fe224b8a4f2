"""Versions in shadow read a study after the live ones have, in a workflow and a queue of their own.

What they say goes into a table that no page of a study, report, object, worklist or export knows. Whatever becomes of
them, the study stays as it is.
"""

import logging
from collections.abc import Mapping
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.consent import permitted
from readingroom.archive.revisions import revision_files
from readingroom.archive.tables import Study, StudyRevision
from readingroom.core.config import Settings
from readingroom.core.outbox import emit
from readingroom.core.permissions import Permission, job
from readingroom.core.purposes import Purpose
from readingroom.findings.model import ReaderState, Reading
from readingroom.learning.models.compare import compare
from readingroom.learning.models.life import State, life_by_id
from readingroom.learning.models.serving import package_of, shadow_versions
from readingroom.learning.models.tables import ShadowReading
from readingroom.readers.tables import ReadingRow
from readingroom.workflow.current import is_current
from readingroom.workflow.engine import Payload, Steps
from readingroom.workflow.intake_step import sources_by_series
from readingroom.workflow.priors import priors_of
from readingroom.workflow.process import ChildFailed, ChildStopped, run_child, scratch
from readingroom.workflow.read_step import READ_STATES, checked_reading
from readingroom.workflow.rooms import Rooms

SHADOW_TOPIC = "study.shadow"

log = logging.getLogger(__name__)


def follow_in_shadow(session: Session, settings: Settings, study_id: str, revision: int) -> None:
    """Have the versions in shadow read what has just been read; nothing is asked for where there are none."""
    if shadow_versions(session, settings):
        emit(session, SHADOW_TOPIC, f"shadow-{study_id}-{revision}", {"study_id": study_id, "revision": revision})


@job(Permission.WORKFLOW_RUN)
def shadow_study(rooms: Rooms, steps: Steps, payload: Payload) -> None:
    """Workflow ``shadow_study_v1``: each version in shadow reads the revision; one that fails harms no other."""
    study_id, revision = str(payload["study_id"]), int(payload["revision"])
    for model_id in steps.run("versions", versions_to_run, rooms, study_id, revision):
        try:
            steps.run("read-in-shadow", read_in_shadow, rooms, study_id, revision, model_id)
        except Exception as error:
            log.error("study %s in shadow: %s", study_id, type(error).__name__)


@job(Permission.WORKFLOW_RUN)
def versions_to_run(rooms: Rooms, study_id: str, revision: int) -> list[str]:
    """Return the keys of the versions in shadow, if the revision is still the newest."""
    with rooms.database.read() as session:
        if not is_current(session, study_id, revision):
            return []
        return [row.id for row in shadow_versions(session, rooms.settings)]


@job(Permission.STUDY_READ)
def read_in_shadow(rooms: Rooms, study_id: str, revision: int, model_id: str) -> str:
    """Run one version and keep what it says; return the state it ends in, empty where it is not wanted any more.

    Runs again without harm: what has been read is left alone.
    """
    with rooms.database.write() as session:
        request = _request(session, rooms, study_id, revision, model_id)
    if request is None:
        return ""

    def wanted(_step: str, _fraction: float) -> bool:
        with rooms.database.read() as session:
            return _is_wanted(session, study_id, revision, model_id)

    try:
        with scratch(rooms.settings) as folder:
            # One thread: the live ones of the next study are at work beside it.
            reading = checked_reading(run_child(rooms.settings, folder, request, threads=1, watch=wanted), request)
    except ChildStopped:
        return ""
    except ChildFailed as error:
        reading = Reading(
            reader=request["reader"], version=request["version"], state=ReaderState.FAILED, reason=error.message
        )
    return _keep(rooms, study_id, revision, model_id, reading)


def _is_wanted(session: Session, study_id: str, revision: int, model_id: str) -> bool:
    return is_current(session, study_id, revision) and life_by_id(session, model_id).state is State.SHADOW


def _request(session: Session, rooms: Rooms, study_id: str, revision: int, model_id: str) -> Mapping[str, Any] | None:
    """Return what the child is asked; None where there is nothing to do or the patient does not allow it."""
    done = select(ShadowReading.id).where(
        ShadowReading.model_id == model_id, ShadowReading.study_id == study_id, ShadowReading.revision == revision
    )
    if session.scalar(done) is not None or not _is_wanted(session, study_id, revision, model_id):
        return None
    study = session.get_one(Study, study_id)
    # It reads as the live ones do and learns nothing: the same purpose.
    asked = permitted(session, study.patient_pk, Purpose.CARE, defaults=rooms.settings.purposes, actor="system")
    if not asked.allowed:
        return None
    row = life_by_id(session, model_id).row
    package = package_of(session, rooms.settings, row.reader, row.version)
    assert package is not None
    partial = session.scalar(
        select(StudyRevision.partial).where(StudyRevision.study_id == study_id, StudyRevision.number == revision)
    )
    return {
        "task": "read",
        "readers": [row.reader],
        "packages": [package.model_dump()],
        "reader": row.reader,
        "version": row.version,
        "study_instance_uid": study.StudyInstanceUID,
        "files": sources_by_series(rooms, revision_files(session, study_id, revision)),
        "partial": partial or "",
        "priors": priors_of(session, study, row.reader),
    }


def _keep(rooms: Rooms, study_id: str, revision: int, model_id: str, reading: Reading) -> str:
    """Write down what was said, and how it compares; its segments and heat maps are not kept."""
    with rooms.database.write() as session:
        live = _live_reading(session, study_id, revision, reading)
        looked = live is not None and reading.state in READ_STATES
        session.add(
            ShadowReading(
                model_id=model_id,
                study_id=study_id,
                revision=revision,
                state=reading.state,
                reason=reading.reason,
                body=reading.model_dump(mode="json"),
                compared=compare(live, reading).model_dump(mode="json") if live and looked else None,
            )
        )
    return reading.state


def _live_reading(session: Session, study_id: str, revision: int, shadow: Reading) -> Reading | None:
    """Return what the reader of the same name said, that reads for people; None where none has looked."""
    row = session.scalar(
        select(ReadingRow)
        .where(
            ReadingRow.study_id == study_id,
            ReadingRow.revision == revision,
            ReadingRow.reader == shadow.reader,
            ReadingRow.state.in_(READ_STATES),
        )
        .order_by(ReadingRow.finished_at.desc())
        .limit(1)
    )
    return Reading.model_validate(row.body) if row is not None and row.body else None

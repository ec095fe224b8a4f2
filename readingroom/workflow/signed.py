"""From a signature to objects on their way: SR, SEG, PDF and FHIR of the report, stored once, queued for all peers.

The body of a signed report never changes and the objects are made of it alone, so a step that runs again makes the
same bytes under the same UIDs. An encoder that fails is tried again, ever later, until somebody has mended it.

An addendum changes nothing of that set: a second one is written with the addendum in it, stored and queued in the same
way.
"""

import logging
from pathlib import Path
from typing import Any

from readingroom.archive.deliver import queue_deliveries
from readingroom.archive.revisions import revision_files
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import Conflict
from readingroom.core.permissions import Permission, job
from readingroom.core.sealed import source_to_json
from readingroom.readers.tables import ReadingRow
from readingroom.report.model import ReportBody, wanted_segments
from readingroom.report.service import addenda_of, emit_addenda
from readingroom.report.tables import ReportRow
from readingroom.workflow.engine import Payload, Steps
from readingroom.workflow.intake_step import sources_by_series
from readingroom.workflow.object_step import put_objects
from readingroom.workflow.process import run_child, scratch
from readingroom.workflow.rooms import Rooms

log = logging.getLogger(__name__)

LONGEST_WAIT_SECONDS = 3600.0


@job(Permission.OBJECT_WRITE)
def write_report(rooms: Rooms, steps: Steps, payload: Payload) -> None:
    """Workflow ``write_report_v1``: the set that was signed."""
    _write(rooms, steps, str(payload["report_id"]), 0)


@job(Permission.OBJECT_WRITE)
def write_addendum(rooms: Rooms, steps: Steps, payload: Payload) -> None:
    """Workflow ``write_addendum_v1``: the set with all addenda up to this one."""
    _write(rooms, steps, str(payload["report_id"]), int(payload["addendum"]))


def _write(rooms: Rooms, steps: Steps, report_id: str, addendum: int) -> None:
    wait = 60.0
    while True:
        try:
            stored = steps.run("objects", _store_objects, rooms, report_id, addendum)
            break
        except Exception as error:
            # The kind only: the text may hold what the report says.
            log.error("objects of report %s: %s; trying again in %.0f s", report_id, type(error).__name__, wait)
            steps.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
    steps.run("queue", _queue, rooms, report_id, addendum, stored)


@job(Permission.OBJECT_WRITE)
def _store_objects(rooms: Rooms, report_id: str, addendum: int) -> list[list[Any]]:
    """Encode and store; return ``[role, SOP Instance UID or store key, instance key or None]`` of each object."""
    request = _request(rooms, report_id, addendum)
    with scratch(rooms.settings) as folder:
        answer = run_child(rooms.settings, folder, request)
        fhir = [name for role, name in answer["objects"] if role == "fhir"]
        dicom = [pair for pair in answer["objects"] if pair[0] != "fhir"]
        stored: list[list[Any]] = [list(one) for one in put_objects(rooms, folder, {"objects": dicom}, origin="report")]
        stored += [["fhir", rooms.store.put((folder / Path(name).name).read_bytes()), None] for name in fhir]
    return stored


def _request(rooms: Rooms, report_id: str, addendum: int) -> dict[str, Any]:
    with rooms.database.read() as session:
        row = session.get_one(ReportRow, report_id)
        body = ReportBody.model_validate(row.body)
        addenda = addenda_of(session, row)[:addendum]
        files = revision_files(session, row.study_id, row.revision)
        segments = []
        for reading_id, name in wanted_segments(body):
            reading = session.get(ReadingRow, reading_id)
            if reading is None or name not in reading.arrays:
                raise Conflict("A segment of the report is not in the store.")
            segments.append([reading_id, name, source_to_json(rooms.store.source(reading.arrays[name]))])
    return {
        "task": "report",
        "body": body.model_dump(mode="json"),
        "addenda": [one.model_dump(mode="json") for one in addenda],
        "segments": segments,
        "files": sources_by_series(rooms, files),
        "pixel_digests": {file.SOPInstanceUID: file.pixel_sha256 for file in files},
    }


@job(Permission.OBJECT_DELIVER)
def _queue(rooms: Rooms, report_id: str, addendum: int, stored: list[list[Any]]) -> str:
    """Mark the report written and queue its objects for every peer, in one transaction."""
    suffix = f"-addendum-{addendum}" if addendum else ""
    with rooms.database.write() as session:
        # Locked: an addendum that is signed meanwhile sees the report written, or is seen here.
        row = session.get_one(ReportRow, report_id, with_for_update=True)
        written = {f"{role}{suffix}": name for role, name, _pk in stored}
        if written.keys() <= row.objects.keys():
            return row.state
        row.objects = {**row.objects, **written}
        row.state, row.updated_at = "written", utc_now()
        if not addendum:
            emit_addenda(session, row)
        queue_deliveries(session, [pk for _role, _name, pk in stored if pk is not None], rooms.settings.peers)
        record(
            session,
            AuditCode.BEGIN_TRANSFERRING,
            "report.written",
            "system",
            study_id=row.study_id,
            detail={"objects": len(stored), "peers": len(rooms.settings.peers), "addendum": addendum},
        )
        return row.state

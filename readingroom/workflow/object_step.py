"""The objects of a reading: encoded in a child, stored exactly once, kept inside until somebody signs.

Only a peer that opts in (``unverified``) gets them before that; they say themselves that nobody has verified them.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import select

from readingroom.archive.deliver import queue_deliveries
from readingroom.archive.revisions import revision_files
from readingroom.archive.tables import Study, StudyRevision
from readingroom.core.errors import Conflict
from readingroom.core.permissions import Permission, job
from readingroom.core.sealed import source_to_json
from readingroom.readers.tables import ReadingRow
from readingroom.workflow.current import is_current
from readingroom.workflow.intake_step import sources_by_series
from readingroom.workflow.process import ChildFailed, run_child, scratch
from readingroom.workflow.read_step import READ_STATES
from readingroom.workflow.rooms import Rooms


@job(Permission.OBJECT_WRITE)
def write_reading_objects(rooms: Rooms, reading_id: str) -> list[str]:
    """Encode and store what the reading's objects are; return their SOP Instance UIDs.

    The same reading always gives the same bytes, so running again stores nothing twice.
    """
    request = _request(rooms, reading_id)
    if request is None:
        return []
    with scratch(rooms.settings) as folder:
        answer = run_child(rooms.settings, folder, request)
        stored = put_objects(rooms, folder, answer, origin="reader")
    peers = [peer for peer in rooms.settings.peers if peer.unverified]
    with rooms.database.write() as session:
        # A report that takes up this reading names them.
        session.get_one(ReadingRow, reading_id).objects = {role: uid for role, uid, _pk in stored}
        queue_deliveries(session, [pk for _role, _uid, pk in stored], peers)
    return [uid for _role, uid, _pk in stored]


def put_objects(rooms: Rooms, folder: Path, answer: Mapping[str, Any], *, origin: str) -> list[tuple[str, str, int]]:
    """Store the objects a child wrote; return (role, SOP Instance UID, instance key) of each."""
    stored = []
    for role, name in answer["objects"]:
        path = folder / Path(str(name)).name
        if path.is_symlink() or not path.is_file():
            raise ChildFailed("An encoded object is not there.")
        received = rooms.archive.put_own(path.read_bytes(), origin=origin)
        if received.instance_pk is None:
            raise Conflict(f"The {role} object was not stored: {received.message}")
        stored.append((str(role), received.SOPInstanceUID, received.instance_pk))
    return stored


def _request(rooms: Rooms, reading_id: str) -> dict[str, Any] | None:
    with rooms.database.read() as session:
        row = session.get(ReadingRow, reading_id)
        if row is None or row.state not in READ_STATES or row.body is None or row.finished_at is None:
            return None
        if not is_current(session, row.study_id, row.revision):
            return None
        study = session.get_one(Study, row.study_id)
        partial = session.scalar(
            select(StudyRevision.partial).where(
                StudyRevision.study_id == row.study_id, StudyRevision.number == row.revision
            )
        )
        looked_at = set(row.body["series_instance_uids"])
        files = [
            file
            for file in revision_files(session, row.study_id, row.revision)
            if not looked_at or file.SeriesInstanceUID in looked_at
        ]
        if not files:
            return None
        named = {finding["segment"] for finding in row.body["findings"] if finding["segment"]}
        return {
            "task": "encode",
            "reading": row.body,
            "segments": {
                name: source_to_json(rooms.store.source(key)) for name, key in row.arrays.items() if name in named
            },
            "files": sources_by_series(rooms, files),
            "pixel_digests": {file.SOPInstanceUID: file.pixel_sha256 for file in files},
            "read_at": row.finished_at.isoformat(),
            "title": row.card_title,
            "revision": row.revision,
            "partial": partial or "",
            "zone": rooms.settings.site_timezone,
            "simulated": study.simulated,
        }

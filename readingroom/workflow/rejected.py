"""A rejection note came in: what was read with the rejected images is superseded at once, not after the quiet time."""

from readingroom.archive.tables import Study
from readingroom.core.permissions import Permission, job
from readingroom.workflow.engine import Payload, Steps
from readingroom.workflow.installed import Installed
from readingroom.workflow.revise import revise
from readingroom.workflow.rooms import Rooms


@job(Permission.WORKFLOW_RUN)
def reject_images(rooms: Rooms, installed: Installed, steps: Steps, payload: Payload) -> None:
    """Workflow ``reject_images_v1``."""
    steps.run("revise", _revise, rooms, installed, str(payload["study_id"]))


@job(Permission.WORKFLOW_RUN)
def _revise(rooms: Rooms, installed: Installed, study_id: str) -> int:
    """Make the revision without the rejected images; return its number, or 0 where none was due."""
    readers = installed()
    with rooms.database.write() as session:
        study = session.get(Study, study_id)
        if study is None or study.revision == 0:
            return 0  # never read: the quiet time makes the first revision
        revision = revise(session, study_id, "rejection", readers)
        return revision.number if revision else 0

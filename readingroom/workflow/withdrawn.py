"""A patient has taken back what their data may be used for: every room takes them out of what it has made.

What was learned already stays in the register of uses (``access/uses.py``), for a person to decide about.
"""

import logging
from collections.abc import Callable, Iterable, Mapping

from sqlalchemy.orm import Session

from readingroom.access.uses import Made, removed
from readingroom.core.permissions import Permission, job
from readingroom.core.purposes import Purpose
from readingroom.learning import cohorts
from readingroom.workflow.engine import Payload, Steps
from readingroom.workflow.rooms import Rooms

log = logging.getLogger(__name__)

Remover = Callable[[Session, int, Purpose], Iterable[Made]]
"""``remover(session, patient_id, purpose)``: take the patient out of all that was made for that purpose and say out of
what. Called again it does no harm. What can't be taken back (a trained model) it leaves alone."""

REMOVERS: Mapping[str, Remover] = {"learning": cohorts.remove}
"""Room -> its remover. A room that calls ``used`` has a line here; a test holds that."""


@job(Permission.CONSENT_APPLY)
def withdraw_consent(rooms: Rooms, removers: Mapping[str, Remover], steps: Steps, payload: Payload) -> None:
    """Workflow ``withdraw_consent_v1``: one step a room. One that fails is tried again and holds up no other.

    Raises, at the end, what the last of those raised that failed for good: the engine shows the workflow as failed.
    """
    failed: Exception | None = None
    for room, remover in removers.items():
        try:
            steps.run(f"remove-{room}", _remove, rooms, remover, int(payload["patient_id"]), str(payload["purpose"]))
        except Exception as error:
            log.error("consent withdrawn: room %s could not remove a patient (%s)", room, type(error).__name__)
            failed = error
    if failed is not None:
        raise failed


@job(Permission.CONSENT_APPLY)
def _remove(rooms: Rooms, remover: Remover, patient_id: int, purpose: str) -> int:
    with rooms.database.write() as session:
        return removed(session, patient_id, Purpose(purpose), remover(session, patient_id, Purpose(purpose)))

"""Who has looked at what a moment ago: a page that polls a study opens it once, not every few seconds."""

import threading

from readingroom.access.actor import Actor
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import monotonic
from readingroom.core.database import Database

SECONDS = 600.0
LARGEST = 10_000


class Seen:
    """Remembers pairs for ten minutes after they were last seen, in this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._until: dict[tuple[str, str], float] = {}

    def first(self, who: str, what: str) -> bool:
        """Return whether ``who`` has not looked at ``what`` for a while, and note that they do now."""
        now = monotonic()
        with self._lock:
            if len(self._until) > LARGEST:
                self._until = {pair: until for pair, until in self._until.items() if until > now}
            new = self._until.get((who, what), 0.0) <= now
            self._until[who, what] = now + SECONDS
        return new


_opened = Seen()


def audit_opened(database: Database, actor: Actor, study_id: str, *, by_dicomweb: bool) -> None:
    """Audit that ``actor`` looks at a study, by whichever address; polling it is not audited again."""
    if _opened.first(actor.session or actor.name, study_id):
        action = "wado" if by_dicomweb else "study-opened"
        with database.write() as session:
            record(session, AuditCode.INSTANCES_ACCESSED, action, actor.name, study_id=study_id)

"""What one association brings, for the audit: that it was opened, and that images of a study began and ended to come.

One event a study, not one an image. That a study began to come is written before the image after its first is taken;
an association that brings one image writes everything at its end, in one transaction.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Final

from sqlalchemy.orm import Session

from readingroom.archive.dimse.association import Association, ObjectSink, StoreResult
from readingroom.archive.header_scan import Buffer
from readingroom.core.audit import AuditCode, record
from readingroom.core.database import Database

log = logging.getLogger(__name__)

_KEPT: Final = frozenset({"stored", "duplicate", "corrected", "rejected-note"})


class Transfers:
    """The archive as an association sees it; counts by study what passes."""

    def __init__(self, archive: ObjectSink, database: Database) -> None:
        self._archive, self._database = archive, database
        self._came: dict[str | None, Counter[str]] = {}
        self._begun: list[str | None] = []
        """Studies that the audit does not know of yet."""
        self._opened = False

    def put_stream(self, data: Buffer | Iterable[bytes], *, calling_aet: str = "", **about: Any) -> StoreResult:
        """Hand on what came, as it is."""
        if self._begun:
            try:
                with self._database.write() as session:
                    self._record_begun(session, calling_aet or "unknown")
            except Exception as error:
                _could_not(error)
        received = self._archive.put_stream(data, calling_aet=calling_aet, **about)
        if received.outcome in _KEPT:
            if received.study_id not in self._came:
                self._begun.append(received.study_id)
            self._came.setdefault(received.study_id, Counter())[received.outcome] += 1
        return received

    def finish(self, association: Association) -> None:
        """Write down what came, once the association is over."""
        if not association.accepted:
            return
        aet = association.calling_aet or "unknown"
        failed = {outcome: n for outcome, n in association.counts.items() if outcome not in _KEPT}
        sent = [(study_id, "success", counts) for study_id, counts in self._came.items()]
        # The standard wants what failed in an event of its own.
        sent += [(None, "refused", Counter(failed))] if failed else []
        try:
            with self._database.write() as session:
                self._record_begun(session, aet)
                for study_id, outcome, counts in sent:
                    record(
                        session,
                        AuditCode.INSTANCES_TRANSFERRED,
                        "C-STORE",
                        aet,
                        study_id=study_id,
                        outcome=outcome,
                        detail=_numbers(counts),
                    )
        except Exception as error:
            _could_not(error)

    def _record_begun(self, session: Session, aet: str) -> None:
        if not self._opened:
            record(session, AuditCode.NETWORK_ENTRY, "association", aet)
        for study_id in self._begun:
            record(session, AuditCode.BEGIN_TRANSFERRING, "C-STORE-begun", aet, study_id=study_id)
        self._opened = True
        self._begun.clear()


def _numbers(counts: Mapping[str, int]) -> dict[str, int]:
    return {"instances": sum(counts.values()), **counts}


def _could_not(error: Exception) -> None:
    # The objects are stored and acknowledged; a receiver that cannot write its audit goes on, and says so.
    log.error("the audit of an association could not be written: %s", type(error).__name__)

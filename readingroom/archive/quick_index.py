"""The usual case of indexing on SQLite, short: one more image of a series that this process has indexed before.

``index.add`` does everything, in about six statements through SQLAlchemy, which together cost more processor time than
writing the image. Most images are the next slice of a known series of an undisputed study; for them this module gives
the driver three statements. Whatever is not that case is left to ``index.add``, and a test holds that both leave the
same rows.
"""

import sqlite3
import threading
from typing import Any, Final, cast

from sqlalchemy import Engine, bindparam, exists, insert, select
from sqlalchemy.dialects import sqlite
from sqlalchemy.sql import ClauseElement

from readingroom.archive.identity import patient_key
from readingroom.archive.index import TOUCH_STUDY, Incoming, Indexed, KeyCache, announced_by, instance_columns
from readingroom.archive.tables import Instance, Rejection, Study

_DIALECT: Final = sqlite.dialect(paramstyle="named")
_EXTRA_COLUMNS: Final = ("series_pk", "SOPInstanceUID", "origin", "hidden", "version", "patient_pk")


def _sql(statement: ClauseElement, column_keys: list[str] | None = None) -> str:
    return str(statement.compile(dialect=_DIALECT, column_keys=column_keys))


_LOOK: Final = _sql(
    select(
        Study.id,
        Study.patient_pk,
        Study.held,
        Study.project_id,
        Study.announced_instances,
        exists().where(Instance.SOPInstanceUID == bindparam("sop")),
        exists().where(Rejection.SOPInstanceUID == bindparam("sop"), Rejection.StudyInstanceUID == bindparam("study")),
    ).where(Study.StudyInstanceUID == bindparam("study"))
)


class QuickIndex:
    """For one process. Its transactions take turns on a lock: SQLite's own waiting sleeps, and oversleeps."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._insert = ""
        # How SQLAlchemy writes a moment on SQLite; the same column type is used throughout.
        self._moment: Any = Instance.__table__.c.received_at.type.dialect_impl(_DIALECT).bind_processor(_DIALECT)
        self._touch = _sql(TOUCH_STUDY)
        self._touch_values = TOUCH_STUDY.compile(dialect=_DIALECT).params

    def add(self, incoming: Incoming, known: KeyCache) -> Indexed | None:
        """Index one instance in a transaction of its own, or return None and leave everything as it was."""
        if self._engine.dialect.name != "sqlite" or incoming.origin != "received":
            return None
        if incoming.note is not None:
            return None
        series_pk = known.series.get((incoming.StudyInstanceUID, incoming.SeriesInstanceUID))
        if series_pk is None:
            return None
        values = instance_columns(incoming)
        values["received_at"] = moment = self._moment(incoming.received_at)
        if not self._insert:
            self._insert = _sql(insert(Instance), [*values, *_EXTRA_COLUMNS])
        with self._lock:
            pooled = self._engine.raw_connection()
            try:
                connection = cast(sqlite3.Connection, pooled.driver_connection)
                connection.execute("BEGIN IMMEDIATE")
                look = {"sop": incoming.SOPInstanceUID, "study": incoming.StudyInstanceUID}
                found = connection.execute(_LOOK, look).fetchone()
                if found is None:
                    return None
                study_id, patient_pk, held, project_id, announced, is_there, is_rejected = found
                if held or is_there or is_rejected or not incoming.may_change(project_id):
                    return None
                # Most senders name no number, and those that do name the same one in every image.
                if (announced_by(incoming.header) or 0) > (announced or 0):
                    return None
                if known.patients.get(patient_key(incoming.header, study_id)) != patient_pk:
                    return None
                values |= {
                    "series_pk": series_pk,
                    "SOPInstanceUID": incoming.SOPInstanceUID,
                    "origin": incoming.origin,
                    "hidden": "",
                    "version": 1,
                    "patient_pk": patient_pk,
                }
                instance_pk = connection.execute(self._insert, values).lastrowid
                connection.execute(self._touch, {**self._touch_values, "study_key": study_id, "moment": moment})
                connection.execute("COMMIT")
            except sqlite3.Error:
                # A key that went stale, a busy database: the long way looks again and says what is wrong.
                return None
            finally:
                # Rolls back what was not committed.
                pooled.close()
        assert instance_pk is not None
        return Indexed("stored", study_id, instance_pk)

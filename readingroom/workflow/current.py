"""Is the work still wanted? A revision that is no longer the newest, or a held study, ends a step early."""

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from readingroom.archive.tables import Study
from readingroom.findings.model import ReaderState
from readingroom.readers.tables import ReadingRow

UNFINISHED = (ReaderState.QUEUED, ReaderState.READING)


def is_current(session: Session, study_id: str, revision: int, *, lock: bool = False) -> bool:
    """Whether the study may be read and ``revision`` is its newest.

    ``lock``: it stays so until the transaction ends. Whoever writes because of the answer asks for that; on SQLite,
    where those who write take turns, it is so anyway.
    """
    statement = select(Study.revision, Study.held).where(Study.id == study_id)
    # The lock of receiving and of revisions; rows that point at the study may still be added.
    row = session.execute(statement.with_for_update(key_share=True) if lock else statement).one_or_none()
    return row is not None and row.revision == revision and not row.held


def fail_unfinished(session: Session, study_id: str, revision: int, reason: str) -> None:
    """Give every reading of the revision that has not ended the state ``failed`` with its reason."""
    session.execute(
        update(ReadingRow)
        .where(ReadingRow.study_id == study_id, ReadingRow.revision == revision, ReadingRow.state.in_(UNFINISHED))
        .values(state=ReaderState.FAILED, reason=reason)
        .execution_options(synchronize_session=False)
    )


def fail_reading(session: Session, reading_id: str, reason: str) -> None:
    """Give one reading that has not ended the state ``failed`` with its reason."""
    session.execute(
        update(ReadingRow)
        .where(ReadingRow.id == reading_id, ReadingRow.state.in_(UNFINISHED))
        .values(state=ReaderState.FAILED, reason=reason)
        .execution_options(synchronize_session=False)
    )

"""A new revision of a study and all that follows from it at once, in one transaction.

Older readings are superseded, a row for every installed reader says that it is queued, and where a report is signed a
task tells people what changed under it: the report itself stays as it was signed.
"""

from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import exists, select, update
from sqlalchemy.orm import Session

from readingroom.archive.revisions import make_revision
from readingroom.archive.tables import Study, StudyRevision
from readingroom.core.clock import utc_now
from readingroom.findings.model import ReaderState
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.worklist.tables import Task
from readingroom.worklist.tasks import raise_task

SIGNED = ("final", "written")
SYSTEM = "system"


class InstalledReader(BaseModel):
    """A reader as its entry point gave it; ``error``: why it could not be loaded."""

    model_config = ConfigDict(frozen=True)

    name: str
    version: str
    title: str = ""
    error: str = ""


def revise(session: Session, study_id: str, reason: str, installed: Sequence[InstalledReader]) -> StudyRevision | None:
    """Make the study's next revision and what follows from it; None when nothing changed or it is held."""
    revision = make_revision(session, study_id, reason)
    if revision is None:
        return None
    supersede(session, study_id, before=revision.number)
    for reader in installed:
        session.add(
            ReadingRow(
                study_id=study_id,
                revision=revision.number,
                reader=reader.name,
                version=reader.version,
                card_title=reader.title,
                state=ReaderState.QUEUED,
            )
        )
    _tell_signer(session, study_id, revision)
    session.flush()
    return revision


def supersede(session: Session, study_id: str, *, before: int) -> None:
    """Mark the readings of older revisions: they are kept, and no longer shown as what is known."""
    session.execute(
        update(ReadingRow)
        .where(
            ReadingRow.study_id == study_id,
            ReadingRow.revision < before,
            ReadingRow.state != ReaderState.SUPERSEDED,
        )
        .values(state=ReaderState.SUPERSEDED, reason=f"Superseded by revision {before}.")
        .execution_options(synchronize_session=False)
    )


def kinds_of_change(before: Sequence[Any], after: Sequence[Any]) -> dict[str, int]:
    """Return task kind -> number of images, from one revision's ``instances`` to another's. Pure."""
    old, new = {pk: version for pk, version in before}, {pk: version for pk, version in after}
    counts = {
        "late-images": sum(pk not in old for pk in new),
        "image-rejected": sum(pk not in new for pk in old),
        "correction-after-signing": sum(pk in old and old[pk] != version for pk, version in new.items()),
    }
    return {kind: number for kind, number in counts.items() if number}


_TEXTS = {
    "late-images": "{n} image(s) came after the report was signed.",
    "image-rejected": "{n} image(s) under the signed report have been rejected.",
    "correction-after-signing": "{n} image(s) under the signed report have been corrected.",
}


def _tell_signer(session: Session, study_id: str, revision: StudyRevision) -> None:
    """Raise a task for each kind of change since the revision that was signed."""
    report = session.scalar(select(ReportRow).where(ReportRow.study_id == study_id, ReportRow.state.in_(SIGNED)))
    if report is None:
        return
    previous = session.scalar(
        select(StudyRevision).where(StudyRevision.study_id == study_id, StudyRevision.number == revision.number - 1)
    )
    changes = kinds_of_change(previous.instances if previous else [], revision.instances)
    for kind, number in changes.items():
        raise_task(session, f"{kind}-{study_id}-{revision.number}", study_id, kind, _TEXTS[kind].format(n=number))


_CONFLICT = "identity-conflict"
_CONFLICT_OPEN = exists().where(Task.study_id == Study.id, Task.kind == _CONFLICT, Task.done_at.is_(None))


def is_settled(session: Session) -> bool:
    """Whether every study that is held has its task, and no other has: looked at all the time, so by index alone."""
    untold = select(Study.id).where(Study.held != "", ~_CONFLICT_OPEN).limit(1)
    released = (
        select(Task.id)
        .join(Study, Study.id == Task.study_id)
        .where(Task.kind == _CONFLICT, Task.done_at.is_(None), Study.held == "")
        .limit(1)
    )
    return session.scalar(untold) is None and session.scalar(released) is None


def settle_held(session: Session) -> int:
    """Raise a task for each study that is held, and tick it off when the study is released. Returns how many."""
    held = session.scalars(select(Study).where(Study.held != "", ~_CONFLICT_OPEN)).all()
    for study in held:
        raise_task(session, f"{_CONFLICT}-{study.id}-{study.changed}", study.id, _CONFLICT, f"Held: {study.held}")
    released = select(Study.id).where(Study.held == "")
    session.execute(
        update(Task)
        .where(Task.kind == _CONFLICT, Task.done_at.is_(None), Task.study_id.in_(released))
        .values(done_at=utc_now(), done_by=SYSTEM)
        .execution_options(synchronize_session=False)
    )
    return len(held)

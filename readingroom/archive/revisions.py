"""Study revisions: when a study is due, the exact set of instances of each revision, and their files.

A revision holds the images received and not hidden, each with its version. Our own objects (SR, SEG, PDF) are
never in it. ``Study.changed`` counts what a revision must see; a study whose count is that of its newest
revision has nothing new.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from sqlalchemy import and_, exists, func, or_, select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Instance, InstanceVersion, Series, Study, StudyRevision
from readingroom.core.errors import NotFound
from readingroom.core.ids import sha256_hex
from readingroom.core.outbox import emit

Reason = Literal["quiet", "announced", "request"]
_BATCH = 500


@dataclass(frozen=True)
class InstanceFile:
    """One file of a revision, in the version the revision holds."""

    instance_pk: int
    SOPInstanceUID: str
    SOPClassUID: str
    SeriesInstanceUID: str
    store_key: str
    TransferSyntaxUID: str
    pixel_sha256: str


def due_studies(session: Session, now: datetime, quiet_seconds: float) -> list[str]:
    """Return the ids of studies to make a revision of: changed, not held, and quiet, complete or asked for."""
    quiet_since = now - timedelta(seconds=quiet_seconds)
    due = or_(
        Study.last_received_at <= quiet_since,
        Study.ready_requested,
        # Once only: what comes on top of the announced number waits for quiet, or each image would be a revision.
        and_(
            Study.announced_instances.is_not(None), ~_announced_before(), Study.announced_instances <= _received_count()
        ),
    )
    statement = select(Study.id).where(_unrevised(), due).order_by(Study.last_received_at)
    return list(session.scalars(statement))


def receiving_since(session: Session, moment: datetime) -> bool:
    """Whether images have come since then of a study that waits for its revision."""
    return bool(
        session.scalar(select(exists().where(Study.changed != Study.revised_changed, Study.last_received_at > moment)))
    )


def due_reason(session: Session, study_id: str) -> Reason:
    """Return why a due study is due, for ``make_revision``."""
    row = session.execute(
        select(Study.ready_requested, Study.announced_instances, _received_count().label("received")).where(
            Study.id == study_id
        )
    ).one()
    if row.ready_requested:
        return "request"
    complete = row.announced_instances is not None and row.announced_instances <= row.received
    return "announced" if complete else "quiet"


def make_revision(session: Session, study_id: str, reason: str) -> StudyRevision | None:
    """Freeze what the study holds now as its next revision; state becomes ``ready``.

    None when nothing has changed since the newest one, or the study is held. Emits ``study.revision`` in the same
    transaction. Raises NotFound.
    """
    study = session.scalars(
        select(Study).where(Study.id == study_id).with_for_update(of=Study).execution_options(populate_existing=True)
    ).first()
    if study is None:
        raise NotFound("No such study.")
    study.ready_requested = False
    if study.held or study.changed == study.revised_changed:
        return None
    rows = session.execute(
        select(Instance.id, Instance.version, Instance.SOPInstanceUID, Instance.dataset_sha256)
        .join(Series)
        .where(Series.study_id == study_id, Instance.origin == "received", Instance.hidden == "")
        .order_by(Instance.id)
    ).all()
    received = session.scalar(select(_received_count()).where(Study.id == study_id)) or 0
    study.revision += 1
    study.revised_changed = study.changed
    study.state = "ready"
    revision = StudyRevision(
        study_id=study_id,
        number=study.revision,
        digest=sha256_hex(*sorted(f"{row.SOPInstanceUID}:{row.dataset_sha256}" for row in rows)),
        instances=[[row.id, row.version] for row in rows],
        partial=_partial(study.announced_instances, received, len(rows)),
        reason=reason,
    )
    session.add(revision)
    session.flush()
    number = revision.number
    emit(session, "study.revision", f"revision-{study_id}-{number}", {"study_id": study_id, "revision": number})
    return revision


def revision_files(session: Session, study_id: str, number: int) -> list[InstanceFile]:
    """Return the files of revision ``number``, as they were then. Raises NotFound."""
    instances = session.scalar(
        select(StudyRevision.instances).where(StudyRevision.study_id == study_id, StudyRevision.number == number)
    )
    if instances is None:
        raise NotFound("No such study revision.")
    files: dict[int, InstanceFile] = {}
    wanted = {int(pk): int(version) for pk, version in instances}
    keys = list(wanted)
    for start in range(0, len(keys), _BATCH):
        part = keys[start : start + _BATCH]
        rows = session.execute(
            select(Instance, Series.SeriesInstanceUID).join(Series).where(Instance.id.in_(part))
        ).all()
        older = {
            (row.instance_pk, row.version): row
            for row in session.scalars(select(InstanceVersion).where(InstanceVersion.instance_pk.in_(part)))
        }
        for instance, SeriesInstanceUID in rows:
            version = wanted[instance.id]
            held = instance if instance.version == version else older[instance.id, version]
            files[instance.id] = InstanceFile(
                instance.id,
                instance.SOPInstanceUID,
                instance.SOPClassUID,
                SeriesInstanceUID,
                held.store_key,
                held.TransferSyntaxUID,
                # A correction keeps the pixels, so this is that of every version.
                instance.pixel_sha256,
            )
    return [files[key] for key in keys]


def request_ready(session: Session, study_id: str) -> None:
    """Ask for a revision now rather than after the quiet time; without anything new there is none. Raises NotFound."""
    study = session.scalars(select(Study).where(Study.id == study_id).with_for_update(of=Study)).first()
    if study is None:
        raise NotFound("No such study.")
    # Kept, it would make a revision of the first late image alone, while the others are still on their way.
    study.ready_requested = study.changed != study.revised_changed


def expect(session: Session, study_id: str, instances: int) -> None:
    """Set how many instances the study is to have, as somebody knows who is no header: it replaces what was named.

    A study that has a revision gets another when that makes it partial, or complete. Raises NotFound.
    """
    study = session.scalars(select(Study).where(Study.id == study_id).with_for_update(of=Study)).first()
    if study is None:
        raise NotFound("No such study.")
    received = session.scalar(select(_received_count()).where(Study.id == study_id)) or 0
    if study.revision and _missing(study.announced_instances, received) != _missing(instances, received):
        study.changed += 1
        study.state = "receiving"
    study.announced_instances = instances


def _unrevised():  # type: ignore[no-untyped-def]
    return and_(Study.held == "", Study.changed != Study.revised_changed)


def _announced_before():  # type: ignore[no-untyped-def]
    return (
        select(StudyRevision.id)
        .where(StudyRevision.study_id == Study.id, StudyRevision.reason == "announced")
        .correlate(Study)
        .exists()
    )


def _received_count():  # type: ignore[no-untyped-def]
    """Count of what senders have sent of the study, hidden images too: that is what an announcement counts."""
    return (
        select(func.count(Instance.id))
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_id == Study.id, Instance.origin == "received")
        .correlate(Study)
        .scalar_subquery()
    )


def _partial(announced: int | None, received: int, visible: int) -> str:
    if visible == 0:
        return "All its images have been rejected."
    return _missing(announced, received)


def _missing(announced: int | None, received: int) -> str:
    if announced is not None and received < announced:
        return f"{received} of {announced} announced images have arrived."
    return ""

"""First step of reading a study: type its series, measure their quality, and decide which readers apply.

The images are decoded in a killable child; here its answer is checked and written to the index.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError
from sqlalchemy import select, update
from sqlalchemy.orm import Session

from readingroom.archive.revisions import InstanceFile, revision_files
from readingroom.archive.tables import Series, Study, StudyRevision
from readingroom.core.permissions import Permission, job
from readingroom.core.sealed import source_to_json
from readingroom.findings.model import ReaderState
from readingroom.learning.models.serving import live_packages
from readingroom.readers.contract import SeriesType
from readingroom.readers.tables import ReadingRow
from readingroom.workflow.current import UNFINISHED, fail_unfinished, is_current
from readingroom.workflow.process import ChildFailed, ChildStopped, run_child, scratch
from readingroom.workflow.rooms import Rooms


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SeriesAnswer(_Model):
    """What intake says of one series. ``order``: SOP Instance UIDs by position, where there is one."""

    series_instance_uid: str
    type: SeriesType
    measures: dict[str, float | str]
    problems: tuple[dict[str, Any], ...]
    order: tuple[str, ...]
    affine: list[list[float]] | None = None
    """Of the volume, where one was made: what maps a place to the slice it lies on."""
    slice_positions_mm: tuple[float, ...] = ()
    """Distance of each slice from the first, where the volume is irregular."""


class ReaderAnswer(_Model):
    """What one installed reader says of the study. ``error``: why it could not be loaded or asked."""

    name: str
    version: str
    title: str = ""
    applies: bool = False
    reason: str = ""
    series: tuple[str, ...] = ()
    error: str = ""


class IntakeAnswer(_Model):
    series: tuple[SeriesAnswer, ...]
    partial: str
    readers: tuple[ReaderAnswer, ...]


def sources_by_series(rooms: Rooms, files: Sequence[InstanceFile]) -> dict[str, list[list[str]]]:
    """Return where a child finds the files of each series."""
    sources: dict[str, list[list[str]]] = defaultdict(list)
    for file in files:
        sources[file.SeriesInstanceUID].append(source_to_json(rooms.store.source(file.store_key)))
    return dict(sources)


@job(Permission.STUDY_READ)
def intake(rooms: Rooms, study_id: str, revision: int) -> list[str]:
    """Look at the revision's images and return the ids of the readings to make. Writes every reader's state."""
    with rooms.database.write() as session:
        if not is_current(session, study_id, revision, lock=True):
            return []
        study = session.get_one(Study, study_id)
        study.state = "reading"
        study_instance_uid = study.StudyInstanceUID
        files = revision_files(session, study_id, revision)
        packages = live_packages(session, rooms.settings)
        announced = session.scalar(
            select(StudyRevision.partial).where(StudyRevision.study_id == study_id, StudyRevision.number == revision)
        )
    request = {
        "task": "intake",
        "study_instance_uid": study_instance_uid,
        "files": sources_by_series(rooms, files),
        "partial": announced or "",
        "readers": list(rooms.settings.readers),
        "packages": [package.model_dump() for package in packages],
    }

    def watch(_step: str, _fraction: float) -> bool:
        with rooms.database.read() as session:
            return is_current(session, study_id, revision)

    try:
        with scratch(rooms.settings) as folder:
            threads = rooms.settings.reader_threads
            answer = IntakeAnswer.model_validate(
                run_child(rooms.settings, folder, request, threads=threads, watch=watch)
            )
    except ChildStopped:
        return []
    except (ChildFailed, ValidationError) as error:
        reason = error.message if isinstance(error, ChildFailed) else "Intake gave an unusable answer."
        with rooms.database.write() as session:
            fail_unfinished(session, study_id, revision, f"The images could not be looked at: {reason}")
        return []
    with rooms.database.write() as session:
        if not is_current(session, study_id, revision, lock=True):
            return []
        _write_series(session, study_id, answer.series)
        session.execute(
            update(StudyRevision)
            .where(StudyRevision.study_id == study_id, StudyRevision.number == revision)
            .values(partial=answer.partial)
        )
        return _write_readers(session, study_id, revision, answer.readers)


def _write_series(session: Session, study_id: str, answers: Sequence[SeriesAnswer]) -> None:
    by_uid = {answer.series_instance_uid: answer for answer in answers}
    for series in session.scalars(select(Series).where(Series.study_id == study_id)):
        answer = by_uid.get(series.SeriesInstanceUID)
        if answer is None:
            continue
        series.type = answer.type.model_dump(mode="json")
        series.quality = {
            "measures": answer.measures,
            "problems": list(answer.problems),
            "order": list(answer.order),
            "affine": answer.affine,
            "slice_positions_mm": list(answer.slice_positions_mm),
        }


def _write_readers(session: Session, study_id: str, revision: int, answers: Sequence[ReaderAnswer]) -> list[str]:
    """Bring the rows of this revision in line with what the readers say; return the ids of those to run."""
    rows = {
        (row.reader, row.version): row
        for row in session.scalars(
            select(ReadingRow).where(ReadingRow.study_id == study_id, ReadingRow.revision == revision)
        )
    }
    answered = {(answer.name, answer.version) for answer in answers}
    _retire(rows, answered)
    to_run = []
    for answer in answers:
        row = rows.get((answer.name, answer.version))
        if row is None:
            row = ReadingRow(
                study_id=study_id,
                revision=revision,
                reader=answer.name,
                version=answer.version,
                state=ReaderState.QUEUED,
            )
            session.add(row)
            session.flush()
        if row.state not in UNFINISHED:
            continue
        row.card_title = answer.title or row.card_title
        if answer.error:
            row.state, row.reason = ReaderState.FAILED, answer.error
        elif not answer.applies:
            row.state, row.reason = ReaderState.NOT_APPLICABLE, answer.reason
        else:
            row.reason = ""
            row.series_instance_uids = list(answer.series)
            to_run.append(row.id)
    return to_run


def _retire(rows: Mapping[tuple[str, str], ReadingRow], answered: set[tuple[str, str]]) -> None:
    """End the rows of readers and versions that are no longer installed."""
    names = {name for name, _version in answered}
    for key, row in rows.items():
        if key in answered or row.state == ReaderState.SUPERSEDED:
            continue
        if row.reader in names:
            row.state, row.reason = ReaderState.SUPERSEDED, "Another version of this reader is installed."
        elif row.state in UNFINISHED:
            row.state, row.reason = ReaderState.FAILED, "This reader is no longer installed."

"""The study as the review page shows it: one model, made from the index, the readings and the verdicts."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Instance, Series
from readingroom.archive.tables import Study as StudyRow
from readingroom.core.errors import NotFound
from readingroom.findings.model import Assessment, Reading
from readingroom.readers.tables import ReadingRow
from readingroom.review.assessing import assessed, said_of
from readingroom.review.decisions import Decided, current_readings, decide, verdicts_of
from readingroom.review.flags import flags_of
from readingroom.review.model import FindingView, ImageView, ReadingView, SeriesView, Study, TaskView
from readingroom.worklist.items import summarise
from readingroom.worklist.tasks import open_tasks


def study_view(session: Session, study_id: str, can: Iterable[str], *, glass_until: datetime | None = None) -> Study:
    """Return all the review page shows of a study. Raises NotFound.

    ``can``: what the asker may do to it; ``glass_until``: it is open to them through broken glass, until then.
    """
    study = session.get(StudyRow, study_id)
    if study is None:
        raise NotFound("There is no such study.")
    readings = current_readings(session, study)
    decided = decide(study.revision, readings, verdicts_of(session, study_id))
    summary = summarise(session, [study_id])[study_id]
    rules = assessed(session, study, decided, readings)
    said = {d.finding.id: said_of(d) for d in decided.findings}
    return Study(
        **dict(summary),
        StudyInstanceUID=study.StudyInstanceUID,
        flags=flags_of(session, study, readings, decided),
        series=_series(session, study_id),
        readings=tuple(_reading(row) for row in readings),
        findings=tuple(_finding(study_id, d, said[d.finding.id]) for d in rules.findings),
        assessments=rules.study,
        no_further_findings=decided.no_further_findings,
        context=decided.context,
        tasks=tuple(
            TaskView(id=task.id, kind=task.kind, text=task.text, created_at=task.created_at)
            for task in open_tasks(session, study_id)
        ),
        can=tuple(can),
        glass_until=glass_until,
    )


def _reading(row: ReadingRow) -> ReadingView:
    body = Reading.model_validate(row.body) if row.body else None
    return ReadingView(
        id=row.id,
        reader=row.reader,
        version=row.version,
        state=row.state,
        reason=row.reason,
        progress=row.progress,
        evidence_level=body.evidence_level if body else 0,
        card_title=row.card_title,
        seconds=dict(body.seconds) if body else {},
        body=body,
    )


def _finding(study_id: str, d: Decided, said: tuple[Assessment, ...]) -> FindingView:
    body = d.reading.body if d.reading else None
    segment = d.finding.segment
    # A heat map lies on the segment's box: a finding that a person moved away from its segment has neither.
    heat_map = segment and d.finding.evidence.heat_map
    path = f"/api/v1/studies/{study_id}"
    return FindingView(
        finding=d.finding,
        reading_id=d.reading.id if d.reading else None,
        reader=d.reading.reader if d.reading else "",
        evidence_level=int(body["evidence_level"]) if body else 0,
        segment_url=f"{path}/segments/{d.reading.id}/{segment}" if d.reading and segment else None,
        heat_map_url=f"{path}/heat-maps/{d.reading.id}/{d.finding.id}" if d.reading and heat_map else None,
        decision=d.decision,
        by=d.by,
        at=d.at,
        reason_code=d.reason_code,
        reason_text=d.reason_text,
        original=d.original,
        said=said,
    )


def _series(session: Session, study_id: str) -> tuple[SeriesView, ...]:
    """Return the series received, each with its visible images by position where intake knows it, else by number."""
    images: dict[int, list[ImageView]] = defaultdict(list)
    rows = session.execute(
        select(Instance.series_pk, Instance.SOPInstanceUID, Instance.InstanceNumber, Instance.NumberOfFrames)
        .join(Series, Series.id == Instance.series_pk)
        .where(Series.study_id == study_id, Instance.origin == "received", Instance.hidden == "")
    )
    for row in rows:
        images[row.series_pk].append(
            ImageView(SOPInstanceUID=row.SOPInstanceUID, InstanceNumber=row.InstanceNumber, frames=row.NumberOfFrames)
        )
    found = session.scalars(select(Series).where(Series.study_id == study_id)).all()
    views = []
    for series in sorted(found, key=lambda s: (s.SeriesNumber is None, s.SeriesNumber or 0, s.id)):
        if series.id not in images:
            continue
        looked: dict[str, Any] = series.quality or {}
        views.append(
            SeriesView(
                SeriesInstanceUID=series.SeriesInstanceUID,
                SeriesNumber=series.SeriesNumber,
                SeriesDescription=series.SeriesDescription,
                Modality=series.Modality,
                type=series.type,
                quality=looked.get("measures", {}),
                problems=tuple(looked.get("problems", ())),
                images=_in_order(images[series.id], looked.get("order", ())),
            )
        )
    return tuple(views)


def _in_order(images: list[ImageView], order: Iterable[str]) -> tuple[ImageView, ...]:
    place = {uid: n for n, uid in enumerate(order)}
    last = len(place)
    return tuple(
        sorted(
            images,
            key=lambda image: (
                place.get(image.SOPInstanceUID, last),
                image.InstanceNumber is None,
                image.InstanceNumber or 0,
                image.SOPInstanceUID,
            ),
        )
    )

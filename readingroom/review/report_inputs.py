"""What a report is drafted from: the study as it stands, with the findings that people accepted, edited or added.

The same study always gives the same inputs, so that signing can tell whether anything changed since the draft.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Instance, Series, Study
from readingroom.findings.codes import own
from readingroom.findings.model import Finding, ImagePlace, PatientPlace, ReaderState, Reading
from readingroom.objects.content import FindingVerdict, ReaderRun
from readingroom.readers.tables import ReadingRow
from readingroom.report.model import Measured, ReportFinding, ReportInputs, SeriesInfo
from readingroom.review.assessing import assessed
from readingroom.review.decisions import Decided, current_readings, decide, partial_of, verdicts_of
from readingroom.review.header import header_of_study
from readingroom.review.reasons import reject_reasons


def report_inputs(session: Session, study: Study) -> ReportInputs:
    """Return the inputs of the study's report as of now."""
    readings = current_readings(session, study)
    decided = decide(study.revision, readings, verdicts_of(session, study.id))
    rules = assessed(session, study, decided, readings)
    return ReportInputs(
        revision=study.revision,
        header=header_of_study(study),
        findings=_findings(session, study, rules.findings),
        verdicts=tuple(_verdict(d, d.reading) for d in decided.findings if d.reading is not None),
        assessments=rules.study,
        measured=_measured(readings, decided.findings),
        readers=tuple(_run(row) for row in readings if row.state != ReaderState.SUPERSEDED),
        series=_series(session, study),
        partial=partial_of(session, study),
        no_further_findings=decided.no_further_findings is not None,
        simulated=study.simulated,
    )


def _measured(readings: Iterable[ReadingRow], findings: Iterable[Decided]) -> tuple[Measured, ...]:
    """What readers measured of the study, of those readings of which every finding was accepted as it is: a measure of
    the whole rests on all of them."""
    decisions: dict[str, set[str]] = {}
    for d in findings:
        if d.reading is not None:
            decisions.setdefault(d.reading.id, set()).add(d.decision)
    made = []
    for row in readings:
        body = Reading.model_validate(row.body) if row.body else None
        if body is not None and body.study_measurements and decisions.get(row.id) == {"accepted"}:
            name = f"{_run(row).name} {row.version}"
            made.append(Measured(reader=name, measurements=body.study_measurements))
    return tuple(made)


def _run(row: ReadingRow) -> ReaderRun:
    body = Reading.model_validate(row.body) if row.body else None
    return ReaderRun(
        reader=row.reader,
        version=row.version,
        title=row.card_title,
        state=ReaderState(row.state),
        reason=row.reason,
        evidence_level=body.evidence_level if body else 0,
        weights_sha256=body.weights_sha256 if body else "",
        configuration_sha256=body.configuration_sha256 if body else "",
        operating_point=body.operating_point if body else None,
    )


def _findings(session: Session, study: Study, findings: Iterable[Decided]) -> tuple[ReportFinding, ...]:
    looked = {
        series.SeriesInstanceUID: series.quality or {}
        for series in session.scalars(select(Series).where(Series.study_id == study.id))
    }
    return tuple(_finding(session, d, looked) for d in findings if d.reported)


def _finding(session: Session, d: Decided, looked: Mapping[str, Mapping[str, Any]]) -> ReportFinding:
    decision = d.decision
    # ``reported`` leaves these three.
    assert decision in ("accepted", "edited", "added")
    uid = nearest_image(d.finding, looked.get(d.finding.series_instance_uid, {}))
    return ReportFinding(
        finding=d.finding,
        decision=decision,
        reading_id=d.reading.id if d.reading else "",
        run=_run(d.reading) if d.reading else None,
        by=d.by,
        at=d.at,
        image_number=session.scalar(select(Instance.InstanceNumber).where(Instance.SOPInstanceUID == uid)),
    )


def _verdict(d: Decided, reading: ReadingRow) -> FindingVerdict:
    decision = d.decision
    # A reader's finding was not added by a person.
    assert decision != "added"
    reason = reject_reasons().get(d.reason_code)
    return FindingVerdict(
        finding_id=d.finding.id,
        tracking_id=d.finding.tracking_id,
        tracking_uid=d.finding.tracking_uid,
        reading_id=reading.id,
        decision=decision,
        by=d.by,
        at=d.at,
        reason=own(reason.code, reason.meaning) if reason else None,
        text=d.reason_text,
    )


def nearest_image(finding: Finding, looked: Mapping[str, Any]) -> str:
    """Return the SOP Instance UID of the image a finding lies on; empty where that cannot be told.

    ``looked``: what intake wrote of the series (``Series.quality``), with the volume's affine and slice order, and the
    slices' positions where they are uneven.
    """
    if isinstance(finding.place, ImagePlace):
        return finding.place.sop_instance_uid
    order, affine = looked.get("order"), looked.get("affine")
    if not isinstance(finding.place, PatientPlace) or not order or not affine:
        return ""
    index = np.linalg.solve(np.array(affine, float), np.array([*finding.place.position_lps_mm, 1.0]))
    number = round(float(index[2]))
    if positions := looked.get("slice_positions_mm"):
        # Past a gap the affine counts steps, not images. In the gap there is none.
        step = float(np.linalg.norm(np.array(affine, float)[:3, 2]))
        away = np.abs(np.array(positions, float) - float(index[2]) * step)
        number = int(away.argmin()) if away.min() <= step else -1
    return str(order[number]) if 0 <= number < len(order) else ""


def _series(session: Session, study: Study) -> tuple[SeriesInfo, ...]:
    """Return the series received that show something, in the order of their numbers."""
    rows = session.execute(
        select(Series, func.count(Instance.id))
        .join(Instance, Instance.series_pk == Series.id)
        .where(Series.study_id == study.id, Instance.origin == "received", Instance.hidden == "")
        .group_by(Series.id)
        .order_by(Series.SeriesNumber, Series.SeriesInstanceUID)
    )
    found = []
    for series, images in rows:
        typed = series.type or {}
        found.append(
            SeriesInfo(
                SeriesInstanceUID=series.SeriesInstanceUID,
                Modality=series.Modality,
                SeriesDescription=series.SeriesDescription,
                images=images,
                slice_thickness_mm=typed.get("slice_thickness_mm"),
                kernel=typed.get("kernel") or "",
                contrast=typed.get("contrast"),
                plane=typed.get("plane") or "",
            )
        )
    return tuple(found)

"""Giving a verdict: the checks, then one more row in a log that is never changed.

What a person may change about a reader's finding is where it is and what it measures. The probability, the evidence
and the tracking identifiers stay the reader's: they say what the machine said, whoever moved the mark.
"""

import math
import re

from pydantic import BaseModel
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Instance, Series, Study
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.ids import derived_uid, new_id
from readingroom.findings.codes import code
from readingroom.findings.model import Evidence, Finding, ImagePlace, Measurement, PatientPlace, Side, StudyPlace
from readingroom.findings.rules import GROWTH_CODES
from readingroom.report.tables import ReportRow
from readingroom.review.decisions import Decided, decisions
from readingroom.review.model import VerdictInput
from readingroom.review.reasons import check_reject_reason
from readingroom.review.tables import VerdictRow
from readingroom.worklist.items import SIGNED_STATES
from readingroom.worklist.urgent.life import close_rejected

LARGEST_COORDINATE_MM = 3000.0
"""No scanner's patient coordinates are larger."""
SIZES = ("mm", "mm2", "mm3", "mL")
"""Units of what is larger than nothing."""
LARGEST_AXIS_MM = 500.0
_ID = re.compile(r"[0-9A-Za-z._-]{1,64}")
SIDE_MAY_CHANGE_MM = 15.0
"""A mark moved further than this may lie on the other side: its side is asked about again."""


def give(session: Session, study_id: str, verdict: VerdictInput, actor: str) -> None:
    """Append one verdict inside the running transaction.

    Raises NotFound for a study or finding that is not there, Conflict when the person looked at another revision or
    the report is signed, BadInput for a finding that cannot be.
    """
    # The row lock gives verdicts of one study one order where writers run side by side (PostgreSQL).
    study = session.scalar(select(Study).where(Study.id == study_id).with_for_update(of=Study))
    if study is None:
        raise NotFound("There is no such study.")
    _check_open(session, study, verdict.revision)
    finding_id, before, after, reading_id = _change(session, study, verdict)
    said: BaseModel | None = verdict.context if verdict.kind == "context" else after
    last = session.scalar(select(func.max(VerdictRow.number)).where(VerdictRow.study_id == study_id)) or 0
    session.add(
        VerdictRow(
            number=last + 1,
            study_id=study_id,
            revision=study.revision,
            reading_id=reading_id,
            finding_id=finding_id,
            kind=verdict.kind,
            actor=actor,
            shown_at=verdict.shown_at,
            decided_at=utc_now(),
            before=before.model_dump(mode="json") if before else None,
            after=said.model_dump(mode="json") if said else None,
            reason_code=verdict.reason_code,
            reason_text=verdict.reason_text,
            reading_mode=verdict.reading_mode,
        )
    )
    record(
        session,
        AuditCode.PATIENT_RECORD,
        f"verdict.{verdict.kind}",
        actor,
        study_id=study_id,
        detail={"finding": finding_id, "revision": study.revision},
    )
    session.flush()
    if verdict.kind == "reject":
        standing = decisions(session, study).findings
        close_rejected(session, study_id, {d.finding.id for d in standing if d.decision == "rejected"}, actor)


def _check_open(session: Session, study: Study, revision: int) -> None:
    if study.held:
        raise Conflict("This study is held: nothing in it can be judged.", "Resolve what holds it first.", code="held")
    state = session.scalar(select(ReportRow.state).where(ReportRow.study_id == study.id))
    if state in SIGNED_STATES:
        raise Conflict("The report is signed.", "Add an addendum instead.", code="signed")
    if revision != study.revision:
        raise Conflict(
            f"You looked at revision {revision}; revision {study.revision} is the current one.",
            "Load the study again.",
            code="superseded",
        )


def _change(
    session: Session, study: Study, verdict: VerdictInput
) -> tuple[str, Finding | None, Finding | None, str | None]:
    """Return (finding id, before, after, reading id) of a verdict that holds."""
    if verdict.kind == "no-further-findings" or (verdict.kind == "withdraw" and not verdict.finding_id):
        return "", None, None, None
    if verdict.kind == "context":
        if verdict.context is None:
            raise BadInput("What is said of the patient is missing.", "Send it in 'context'.")
        return "", None, None, None
    present = {d.finding.id: d for d in decisions(session, study).findings}
    if verdict.kind == "add":
        added = _added(verdict, study, present)
        _check_finding(session, study, added)
        return added.id, None, added, None
    if verdict.finding_id not in present:
        raise NotFound("This study's current revision has no such finding.")
    standing = present[verdict.finding_id]
    reading_id = standing.reading.id if standing.reading else None
    if verdict.reading_id is not None and verdict.reading_id != reading_id:
        raise NotFound("This finding is not of that reading.")
    if verdict.kind == "reject":
        check_reject_reason(verdict.reason_code, verdict.reason_text)
    if verdict.kind != "edit":
        return standing.finding.id, standing.finding, None, reading_id
    after = _edited(standing, verdict.after)
    _check_finding(session, study, after)
    return after.id, standing.finding, after, reading_id


def _added(verdict: VerdictInput, study: Study, present: dict[str, Decided]) -> Finding:
    """Return the finding a person added: an id of ours, no probability, evidence of nobody but the person."""
    if verdict.after is None:
        raise BadInput("A finding to add is missing.", "Send it in 'after'.")
    given = verdict.after
    if given.probability is not None:
        raise BadInput("A finding that a person adds has no probability.")
    if given.id in present:
        raise BadInput("This finding is already there.", "Edit it instead.")
    if given.id and not _ID.fullmatch(given.id):
        raise BadInput("The id of a finding has 1 to 64 letters, digits or ._-.")
    finding_id = given.id or new_id()
    tracking_uid = derived_uid("added-finding", study.StudyInstanceUID, finding_id)
    return given.model_copy(
        update={
            "id": finding_id,
            "evidence": Evidence(),
            # What the tables say of it is worked out here, and nobody has compared it with earlier studies.
            "assessments": (),
            "earlier": (),
            "segment": "",
            "tracking_uid": tracking_uid,
            "tracking_id": given.tracking_id or "added by radiologist",
        }
    )


def _edited(standing: Decided, after: Finding | None) -> Finding:
    """Return the finding with what a person may change taken from ``after`` and all else as it stands."""
    if after is None:
        raise BadInput("The edited finding is missing.", "Send it in 'after'.")
    now = standing.finding
    if after.id != now.id:
        raise BadInput("An edit may not change the finding's id.")
    if type(after.place) is not type(now.place):
        raise BadInput("An edit may not change the kind of place.")
    if (
        isinstance(after.place, PatientPlace)
        and isinstance(now.place, PatientPlace)
        and after.place.frame_of_reference_uid != now.place.frame_of_reference_uid
    ):
        raise BadInput("An edit may not change the frame of reference.")
    changed = {key: getattr(after, key) for key in ("place", "measurements", "axes", "side", "site", "comment")}
    same_shape = (after.place, _sizes(after), after.axes) == (now.place, _sizes(now), now.axes)
    if not same_shape:
        # The reader's outline no longer fits what the person says: it is not written under the edited finding, and
        # its volume goes with it unless the person gave another: growth is worked out from volumes.
        changed["segment"] = ""
        changed["measurements"] = tuple(one for one in after.measurements if not _of_outline(one, now))
    if _moved_mm(now, after) > SIDE_MAY_CHANGE_MM and after.side == now.side and now.side is not None:
        changed["side"] = Side(value=now.side.value, witnesses=now.side.witnesses, agree=False)
    return now.model_copy(update=changed)


def _of_outline(one: Measurement, now: Finding) -> bool:
    return bool(now.segment) and one.code.value == code("volume").value and one in now.measurements


def _sizes(finding: Finding) -> tuple[Measurement, ...]:
    """What was measured in this study. The change since an earlier one is worked out from it, not measured."""
    return tuple(one for one in finding.measurements if one.code.value not in GROWTH_CODES)


def _moved_mm(before: Finding, after: Finding) -> float:
    if isinstance(before.place, PatientPlace) and isinstance(after.place, PatientPlace):
        return math.dist(before.place.position_lps_mm, after.place.position_lps_mm)
    return 0.0


def _check_finding(session: Session, study: Study, finding: Finding) -> None:
    """Raise BadInput for geometry or numbers that no image of this study can show."""
    if isinstance(finding.place, PatientPlace):
        _check_point("position", finding.place.position_lps_mm)
    elif isinstance(finding.place, ImagePlace) and not (
        0 <= finding.place.column <= 65535 and 0 <= finding.place.row <= 65535 and finding.place.frame >= 1
    ):
        raise BadInput("The finding's place lies outside any image.")
    elif isinstance(finding.place, ImagePlace) and not _shows(session, study, finding.place):
        raise BadInput("The finding names an image that this study does not show.")
    elif isinstance(finding.place, StudyPlace) and finding.axes:
        raise BadInput("A finding without a position has no axes.")
    for axis in finding.axes:
        _check_point("axis", axis.start_lps_mm)
        _check_point("axis", axis.end_lps_mm)
        length = math.dist(axis.start_lps_mm, axis.end_lps_mm)
        if not 0 < length <= LARGEST_AXIS_MM:
            raise BadInput(f"An axis of {length:.1f} mm is not possible.", f"0 to {LARGEST_AXIS_MM:.0f} mm.")
    for measurement in finding.measurements:
        if not math.isfinite(measurement.value) or (measurement.unit.value in SIZES and measurement.value <= 0):
            raise BadInput(f"{measurement.code.meaning} has an impossible value.")
    if finding.series_instance_uid:
        owner = session.scalar(select(Series.study_id).where(Series.SeriesInstanceUID == finding.series_instance_uid))
        if owner != study.id:
            raise BadInput("The finding names a series of another study.")


def _shows(session: Session, study: Study, place: ImagePlace) -> bool:
    """Whether the place's image is one of the study's: a report could not be written about another's."""
    found = session.scalar(
        select(Instance.id)
        .join(Series, Series.id == Instance.series_pk)
        .where(
            Series.study_id == study.id,
            Instance.SOPInstanceUID == place.sop_instance_uid,
            Instance.origin == "received",
            Instance.hidden == "",
        )
    )
    return found is not None


def _check_point(what: str, point: tuple[float, float, float]) -> None:
    if not all(math.isfinite(value) and abs(value) <= LARGEST_COORDINATE_MM for value in point):
        raise BadInput(f"The finding's {what} lies outside any patient.")

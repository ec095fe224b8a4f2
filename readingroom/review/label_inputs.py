"""What people decided about one revision of a study, as label sets need it: this room hands it to ``learning``.

Like ``decisions.py`` a fold over the log, but for any revision: a label set may be of one that a later has superseded.
"""

from collections.abc import Iterable, Mapping
from typing import TypeVar

from sqlalchemy import ColumnElement, exists, select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Study
from readingroom.findings.model import Finding
from readingroom.learning.model import Decided, Decision, Judged, Label
from readingroom.readers.tables import ReadingRow
from readingroom.report.tables import ReportRow
from readingroom.review.tables import VerdictRow
from readingroom.worklist.items import SIGNED_STATES

_DECISION: dict[str, Decision] = {"accept": "accepted", "edit": "edited", "reject": "rejected", "add": "added"}
_BATCH = 500
Row = TypeVar("Row", VerdictRow, ReadingRow)


def signed() -> ColumnElement[bool]:
    """Return the condition that a ``Study`` has a signed report."""
    return exists().where(ReportRow.study_id == Study.id, ReportRow.state.in_(SIGNED_STATES))


def judged(session: Session, revisions: Mapping[str, int]) -> dict[str, Judged]:
    """Return what people decided about these revisions (study id -> number), by study."""
    found = {}
    studies = list(revisions)
    for start in range(0, len(studies), _BATCH):
        part = studies[start : start + _BATCH]
        verdicts = _by_study(
            session.scalars(
                select(VerdictRow).where(VerdictRow.study_id.in_(part)).order_by(VerdictRow.study_id, VerdictRow.number)
            )
        )
        readings = _by_study(session.scalars(select(ReadingRow).where(ReadingRow.study_id.in_(part))))
        reports = session.execute(
            select(ReportRow.study_id, ReportRow.revision).where(
                ReportRow.study_id.in_(part), ReportRow.state.in_(SIGNED_STATES)
            )
        )
        reported = {row.study_id: row.revision for row in reports}
        for study_id in part:
            number = revisions[study_id]
            of_it = [row for row in readings.get(study_id, ()) if row.revision == number]
            found[study_id] = fold(number, of_it, verdicts.get(study_id, ()), signed=reported.get(study_id) == number)
    return found


def fold(revision: int, readings: Iterable[ReadingRow], verdicts: Iterable[VerdictRow], *, signed: bool) -> Judged:
    """Fold ``verdicts`` (in order) up to ``revision`` over the findings of its readings. Pure.

    A finding of a reader's counts where that revision's reading shows it; one that a person added, until somebody
    takes it back. ``complete``: somebody said of that revision that there is nothing further, or signed its report.
    """
    shown = {
        str(finding["id"]): row for row in readings if row.body is not None for finding in row.body.get("findings", ())
    }
    labels: dict[str, Label] = {}
    added, edited = set[str](), set[str]()
    nothing_further = False
    for verdict in verdicts:
        if verdict.revision > revision:
            break
        if verdict.kind == "context":  # of the patient, not of a finding
            continue
        if verdict.kind == "no-further-findings":
            nothing_further = verdict.revision == revision
        elif verdict.kind == "withdraw":
            labels.pop(verdict.finding_id, None)
            edited.discard(verdict.finding_id)
            nothing_further = nothing_further and bool(verdict.finding_id)
        else:
            if verdict.kind == "add":
                added.add(verdict.finding_id)
                nothing_further = False
            elif verdict.kind == "edit":
                edited.add(verdict.finding_id)
            decision = _DECISION[verdict.kind]
            if decision != "rejected" and verdict.finding_id in added:
                decision = "added"
            elif decision == "accepted" and verdict.finding_id in edited:
                decision = "edited"
            labels[verdict.finding_id] = _label(verdict, revision, decision, shown.get(verdict.finding_id))
    kept = tuple(label for name, label in labels.items() if name in added or name in shown)
    return Judged(kept, nothing_further or signed)


def _label(verdict: VerdictRow, revision: int, decision: Decision, reading: ReadingRow | None) -> Label:
    return Label(
        study_id=verdict.study_id,
        revision=revision,
        # Each of these kinds carries the finding as it stands then.
        finding=Finding.model_validate(verdict.after or verdict.before),
        decision=decision,
        verdict_id=verdict.id,
        by=verdict.actor,
        at=verdict.decided_at,
        reader=reading.reader if reading else "",
        reader_version=reading.version if reading else "",
        reason_code=verdict.reason_code,
    )


def _by_study(rows: Iterable[Row]) -> dict[str, list[Row]]:
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.study_id, []).append(row)
    return found


DECIDED = Decided(signed, judged)
"""What this room hands to the workshop."""

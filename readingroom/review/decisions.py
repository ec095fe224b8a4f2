"""What people have decided: the log of verdicts, folded over the findings of the study's current revision.

Finding ids are made from what was found, so a finding that a new revision's reading shows again keeps the verdict it
had. Findings that a person added stay until that person, or another, withdraws them.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import and_, func, select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Study, StudyRevision
from readingroom.findings.model import Finding, ReaderState, Reading
from readingroom.readers.tables import ReadingRow
from readingroom.review.model import Decision, NoFurtherFindings, PatientContext, StatedContext
from readingroom.review.tables import VerdictRow
from readingroom.worklist.items import FindingCounts


@dataclass(frozen=True)
class Decided:
    """Where one finding stands. ``finding`` is the present one; ``original`` is what the reader said, if edited."""

    finding: Finding
    reading: ReadingRow | None
    decision: Decision = "undecided"
    by: str = ""
    at: datetime | None = None
    reason_code: str = ""
    reason_text: str = ""
    original: Finding | None = None

    @property
    def reported(self) -> bool:
        """Whether it goes into the report."""
        return self.decision in ("accepted", "edited", "added")


@dataclass(frozen=True)
class Decisions:
    """All findings of a study's current revision and whether somebody said that there are no further ones."""

    findings: tuple[Decided, ...]
    no_further_findings: NoFurtherFindings | None
    context: StatedContext | None = None
    """What was last said of the patient; it holds for every revision."""


def verdicts_of(session: Session, study_id: str) -> list[VerdictRow]:
    """Return the study's verdicts in the order they were given."""
    return list(session.scalars(select(VerdictRow).where(VerdictRow.study_id == study_id).order_by(VerdictRow.number)))


def current_readings(session: Session, study: Study) -> list[ReadingRow]:
    """Return the readings of the study's current revision, by reader."""
    rows = select(ReadingRow).where(ReadingRow.study_id == study.id, ReadingRow.revision == study.revision)
    return list(session.scalars(rows.order_by(ReadingRow.reader, ReadingRow.version)))


def partial_of(session: Session, study: Study) -> str:
    """Return why the study's current revision is partial; empty where it is not."""
    return (
        session.scalar(
            select(StudyRevision.partial).where(
                StudyRevision.study_id == study.id, StudyRevision.number == study.revision
            )
        )
        or ""
    )


def decide(revision: int, readings: Iterable[ReadingRow], verdicts: Sequence[VerdictRow]) -> Decisions:
    """Fold ``verdicts`` (in order) over the findings of ``readings``. Pure."""
    found: dict[str, Decided] = {}
    for row in readings:
        if row.body is None or row.state == ReaderState.SUPERSEDED:
            continue
        for finding in Reading.model_validate(row.body).findings:
            found[finding.id] = Decided(finding, row)
    no_further: NoFurtherFindings | None = None
    context: StatedContext | None = None
    for verdict in verdicts:
        if verdict.kind == "no-further-findings":
            no_further = (
                NoFurtherFindings(by=verdict.actor, at=verdict.decided_at) if (verdict.revision == revision) else None
            )
        elif verdict.kind == "withdraw" and not verdict.finding_id:
            no_further = None
        elif verdict.kind == "context":
            said = PatientContext.model_validate(verdict.after)
            context = StatedContext(said=said, by=verdict.actor, at=verdict.decided_at)
        elif verdict.kind == "add":
            found[verdict.finding_id] = Decided(
                Finding.model_validate(verdict.after), None, "added", verdict.actor, verdict.decided_at
            )
            no_further = None
        elif verdict.finding_id in found:
            after = _after(found[verdict.finding_id], verdict)
            if after is None:
                del found[verdict.finding_id]
            else:
                found[verdict.finding_id] = after
    order = sorted(found.values(), key=lambda d: -1.0 if d.finding.probability is None else -d.finding.probability)
    return Decisions(tuple(order), no_further, context)


def _after(state: Decided, verdict: VerdictRow) -> Decided | None:
    """Return where the finding stands after one more verdict; None: a person took back what a person added."""
    added = state.reading is None
    first = state.original or state.finding
    by = (verdict.actor, verdict.decided_at, verdict.reason_code, verdict.reason_text)
    if verdict.kind == "withdraw":
        return None if added else Decided(first, state.reading)
    if verdict.kind == "edit":
        edited = Finding.model_validate(verdict.after)
        if added:
            return Decided(edited, None, "added", *by)
        return Decided(edited, state.reading, "edited", *by, original=first)
    if verdict.kind == "reject":
        return Decided(state.finding, state.reading, "rejected", *by, original=state.original)
    accepted: Decision = "added" if added else ("edited" if state.original is not None else "accepted")
    return Decided(state.finding, state.reading, accepted, *by, original=state.original)


def decisions(session: Session, study: Study) -> Decisions:
    """Return where every finding of the study stands."""
    return decide(study.revision, current_readings(session, study), verdicts_of(session, study.id))


def verdict_count(session: Session) -> int:
    """Return how many verdicts there are, of all studies; for the worklist's tag."""
    return session.scalar(select(func.count(VerdictRow.id))) or 0


def finding_counts(session: Session, study_ids: Sequence[str]) -> Mapping[str, FindingCounts]:
    """Count decisions of many studies in two queries, without the bodies of readings; for the worklist."""
    shown: dict[str, dict[str, str]] = defaultdict(dict)
    top: dict[str, float] = {}
    readings = session.execute(
        select(ReadingRow.study_id, ReadingRow.summary)
        .join(Study, and_(Study.id == ReadingRow.study_id, Study.revision == ReadingRow.revision))
        .where(ReadingRow.study_id.in_(study_ids), ReadingRow.state != ReaderState.SUPERSEDED)
    )
    for study_id, summary in readings:
        for finding_id in (summary or {}).get("findings", ()):
            shown[study_id][finding_id] = "undecided"
        probability = (summary or {}).get("top_probability")
        if probability is not None:
            top[study_id] = max(top.get(study_id, 0.0), probability)
    verdicts = session.execute(
        select(VerdictRow.study_id, VerdictRow.finding_id, VerdictRow.kind)
        .where(VerdictRow.study_id.in_(study_ids), VerdictRow.finding_id != "")
        .order_by(VerdictRow.study_id, VerdictRow.number)
    )
    added: set[tuple[str, str]] = set()
    for study_id, finding_id, kind in verdicts:
        if kind == "add":
            added.add((study_id, finding_id))
            shown[study_id][finding_id] = "accepted"
        elif finding_id in shown[study_id]:
            if kind == "withdraw" and (study_id, finding_id) in added:
                del shown[study_id][finding_id]
            else:
                shown[study_id][finding_id] = {"reject": "rejected", "withdraw": "undecided"}.get(kind, "accepted")
    counts = {}
    for study_id in study_ids:
        states = list(shown[study_id].values())
        counts[study_id] = FindingCounts(
            shown=len(states),
            accepted=states.count("accepted"),
            rejected=states.count("rejected"),
            undecided=states.count("undecided"),
            top_probability=top.get(study_id),
        )
    return counts

"""The locked test part: the one door through which a reader is measured on it. Each look is counted and kept.

Whoever looks at a test set often enough, and keeps what looked best, has trained on it (Dwork 2015, Science 349:636).
So nothing else hands out its labels, every look is a row that nobody can change, with who, when and why, and its
number is said each time. The labels come from people who may have seen a reader's marks: they favour that reader.

**Matching.** Lesions are labels that were accepted, edited or added, of a code that the reader's card says it finds,
with a point in the patient. A mark hits the nearest lesion of the same frame of reference within the larger of half
its long axis and ``LEAST_MM`` (as in LUNA16, Setio 2017, with a floor for small ones). A second mark on a lesion is
neither hit nor false; nor is one on a finding that was rejected as present but not worth reporting. Studies that were
not completely judged are left out, as are those for which the reader is not; one that it abstained on or failed in
counts with all its lesions missed. All lesions of a group stand together: intervals are over groups, by bootstrap, or
after Wilson where all lesions were found or none.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import BaseModel, ConfigDict
from sqlalchemy import func, select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.consent import for_purpose
from readingroom.core.audit import AuditCode, record
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.purposes import Purpose
from readingroom.evaluation.bootstrap import bootstrap
from readingroom.evaluation.detection import (
    Lesion,
    Mark,
    Matched,
    false_marks_per_unit,
    froc_mean_estimate,
    hits_by_distance,
    match,
    sensitivity,
)
from readingroom.evaluation.estimate import Estimate, proportion
from readingroom.findings.model import Finding, PatientPlace, ReaderState, Reading
from readingroom.learning.cohorts import is_intact
from readingroom.learning.labels import is_intact_set, labels_of, usable
from readingroom.learning.model import Label, Part, Workshop
from readingroom.learning.tables import Cohort, CohortMember, CohortVersion, LabelSet, LockedEvaluation
from readingroom.readers.registry import load_readers
from readingroom.readers.tables import ReadingRow

LEAST_MM = 5.0
"""A mark this near to a lesion's centre hits it, however small it is."""
RULE = f"nearest lesion within half its long axis, at least {LEAST_MM:g} mm; labels accepted, edited or added"
PRESENT = "not-relevant"
"""The reason to reject (``review/reasons.json``) that leaves a finding neither true nor false."""
_SEED = 20_260_901
_BATCH = 500
Codes = frozenset[tuple[str, str]]


class Result(BaseModel):
    """What a look at the test part found. ``sensitivity`` and ``froc_mean`` are None where there is no lesion."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rule: str
    studies: int
    groups: int
    lesions: int
    incomplete: int
    """Test studies left out because nobody said that they were completely judged."""
    not_applicable: int
    missed_whole: int
    """Studies that the reader abstained on or failed in."""
    configuration_sha256: str
    sensitivity: Estimate | None
    """At the reader's own operating point."""
    false_marks_per_study: Estimate
    froc_mean: Estimate | None


@dataclass(frozen=True)
class Asked:
    """Which version of which reader somebody wants measured, and why. No version: the only one that has read."""

    reader: str
    why: str
    version: str = ""


def codes_of(reader: str) -> Codes:
    """Return what the installed reader says it finds. Raises NotFound where it is not installed or can't be used."""
    card = next((one.reader.card for one in load_readers() if one.name == reader and one.reader is not None), None)
    if card is None:
        raise NotFound("There is no such reader here, or it cannot be used.", "readingroom readers lists them.")
    return frozenset((code.scheme, code.value) for code in card.finds)


def evaluate(
    session: Session, cohort: Cohort, version: CohortVersion, frozen: LabelSet, asked: Asked, codes: Codes,
    workshop: Workshop, actor: Actor,
) -> LockedEvaluation:  # fmt: skip
    """Measure a reader's readings on the locked test part; the look is written down in the same transaction.

    ``codes``: what the reader finds (``codes_of``). Raises BadInput without a reason, without a study that was
    completely judged, or where readings are missing; Conflict where the version or the labels are not as frozen.
    """
    return for_purpose(Purpose(cohort.purpose))(_evaluate)(
        session, cohort, version, frozen, asked, codes, workshop, actor
    )


def _evaluate(
    session: Session, cohort: Cohort, version: CohortVersion, frozen: LabelSet, asked: Asked, codes: Codes,
    workshop: Workshop, actor: Actor,
) -> LockedEvaluation:  # fmt: skip
    why = asked.why.strip()
    if not 5 <= len(why) <= 500:
        raise BadInput("Say why the locked test part is looked at.", "5 to 500 characters; it is kept for ever.")
    if not (is_intact(session, cohort, version) and is_intact_set(session, version, frozen)):
        raise Conflict("The version or its labels are not what was frozen.", "Somebody changed the database.")
    # The row lock gives looks one order, and a number each.
    session.execute(select(Cohort.id).where(Cohort.id == cohort.id).with_for_update())
    complete = set(frozen.complete)
    test = [m for m in usable(session, cohort, version, workshop, actor) if m.part == Part.TEST]
    judged = [m for m in test if m.id in complete]
    if not judged:
        raise BadInput("No study of the test part was completely judged.", "Sign them, or say 'no further findings'.")
    readings = _readings(session, judged, asked)
    labels = labels_of(session, frozen, judged)
    weights = {r.weights_sha256 for r in readings.values() if r.state is not ReaderState.NOT_APPLICABLE}
    if len(weights) > 1:
        raise BadInput("The readings were made with different weights.", "Have them read again.")
    result = _measure(judged, readings, labels, codes, incomplete=len(test) - len(judged))
    last = session.scalar(select(func.max(LockedEvaluation.number)).where(LockedEvaluation.cohort_id == cohort.id)) or 0
    look = LockedEvaluation(
        cohort_id=cohort.id, number=last + 1, label_set_id=frozen.id, reader=asked.reader,
        reader_version=next(iter(readings.values())).version, weights_sha256=next(iter(weights), ""), why=why,
        result=result.model_dump(mode="json"), by=actor.name,
    )  # fmt: skip
    session.add(look)
    detail = {"cohort": cohort.id, "version": version.number, "reader": asked.reader, "look": look.number}
    record(session, AuditCode.PATIENT_RECORD, "cohort-evaluated", actor.name, detail=detail)
    session.flush()
    return look


def _readings(session: Session, members: Sequence[CohortMember], asked: Asked) -> dict[int, Reading]:
    """Return each member's reading by one version of the reader, by member. Raises BadInput where one is missing."""
    of_study = {m.study_id: m for m in members}
    found: dict[str, dict[int, Reading]] = defaultdict(dict)
    studies = list(of_study)
    for start in range(0, len(studies), _BATCH):
        rows = session.scalars(
            select(ReadingRow).where(
                ReadingRow.study_id.in_(studies[start : start + _BATCH]), ReadingRow.reader == asked.reader
            )
        )
        for row in rows:
            member, reading = of_study[row.study_id], _reading(row)
            if row.revision == member.revision and reading is not None:
                found[row.version][member.id] = reading
    version = asked.version or (next(iter(found)) if len(found) == 1 else "")
    if not version:
        raise BadInput(
            "Which version of the reader?" if found else "This reader has read none of the test part.",
            f"One of: {', '.join(sorted(found))}." if found else "Have the studies read first.",
        )
    missing = len(members) - len(found[version])
    if missing:
        # A look at some of it, chosen by what has been read, would say nothing of the whole.
        raise BadInput(f"{missing} of {len(members)} test studies were not read by it.", "Have them read first.")
    return found[version]


def _reading(row: ReadingRow) -> Reading | None:
    """Return what the reader said, with the state it had before it was superseded; None where it never ended."""
    if row.body is not None:
        return Reading.model_validate(row.body)
    state = ReaderState(row.state)
    if state in (ReaderState.NOT_APPLICABLE, ReaderState.ABSTAINED, ReaderState.FAILED):
        return Reading(reader=row.reader, version=row.version, state=state)
    return None


def _measure(
    members: Sequence[CohortMember], readings: dict[int, Reading], labels: dict[int, list[Label]], codes: Codes, *,
    incomplete: int,
) -> Result:  # fmt: skip
    by_group: dict[str, list[Matched]] = defaultdict(list)
    not_applicable = missed_whole = 0
    for member in members:
        reading = readings[member.id]
        if reading.state is ReaderState.NOT_APPLICABLE:
            not_applicable += 1
            continue
        missed_whole += reading.state in (ReaderState.ABSTAINED, ReaderState.FAILED)
        by_group[member.group].append(matched(reading.findings, labels.get(member.id, ()), codes))
    if not by_group:
        raise BadInput("The reader applies to no study of the test part.")
    cases = [_together(of_group) for of_group in by_group.values()]
    lesions = sum(len(case.found) for case in cases)
    # Readers write down what lies above their operating point: every mark counts.
    operating = -np.inf
    return Result(
        rule=RULE,
        studies=len(members) - not_applicable,
        groups=len(cases),
        lesions=lesions,
        incomplete=incomplete,
        not_applicable=not_applicable,
        missed_whole=missed_whole,
        configuration_sha256=next(r.configuration_sha256 for r in readings.values()),
        sensitivity=_sensitivity(cases) if lesions else None,
        false_marks_per_study=bootstrap(cases, lambda drawn: false_marks_per_unit(drawn, operating), _SEED),
        froc_mean=froc_mean_estimate(cases, _SEED) if lesions else None,
    )


def _sensitivity(cases: Sequence[Matched]) -> Estimate:
    """Return the share of lesions found. Where that is all or none every draw says the same: Wilson's over groups."""
    found = bootstrap(cases, _share_found, _SEED)
    if found.value not in (0.0, 1.0):
        return found
    n = sum(bool(case.found) for case in cases)
    return proportion(n if found.value else 0, n)


def _share_found(cases: Sequence[Matched]) -> float:
    # A missed lesion's score is minus infinity: any number is a threshold between.
    return sensitivity(cases, float(np.finfo(float).min))


def _together(cases: Sequence[Matched]) -> Matched:
    """Return the studies of one group as one case: intervals are over groups."""
    found = tuple(score for case in cases for score in case.found)
    return Matched(found, tuple(score for case in cases for score in case.false), float(len(cases)))


def matched(findings: Iterable[Finding], labels: Iterable[Label], codes: Codes) -> Matched:
    """Return what a reading found of a study's labels, by the rule above."""
    lesions = [(one.finding, one.decision != "rejected") for one in labels if _is_lesion(one, codes)]
    marks = [finding for finding in findings if _frame(finding) and _code(finding) in codes]
    hits: list[int | None] = [None] * len(marks)
    for frame in {_frame(finding) for finding in marks}:
        ours = [n for n, finding in enumerate(marks) if _frame(finding) == frame]
        there = [n for n, (finding, _) in enumerate(lesions) if _frame(finding) == frame]
        points, centres = _points(marks[n] for n in ours), _points(lesions[n][0] for n in there)
        radii = np.array([_radius_mm(lesions[n][0]) for n in there])
        for n, hit in zip(ours, hits_by_distance(points, centres, radii, LEAST_MM), strict=True):
            hits[n] = None if hit is None else there[hit]
    scored = [Mark(1.0 if f.probability is None else f.probability, hit) for f, hit in zip(marks, hits, strict=True)]
    return match([Lesion(counts) for _, counts in lesions], scored)


def _is_lesion(label: Label, codes: Codes) -> bool:
    stands = label.decision != "rejected" or label.reason_code == PRESENT
    return stands and bool(_frame(label.finding)) and _code(label.finding) in codes


def _code(finding: Finding) -> tuple[str, str]:
    return finding.code.scheme, finding.code.value


def _frame(finding: Finding) -> str:
    return finding.place.frame_of_reference_uid if isinstance(finding.place, PatientPlace) else ""


def _points(findings: Iterable[Finding]) -> np.ndarray:
    places = [f.place.position_lps_mm for f in findings if isinstance(f.place, PatientPlace)]
    return np.array(places, float).reshape(-1, 3)


def _radius_mm(finding: Finding) -> float:
    long = [np.subtract(axis.end_lps_mm, axis.start_lps_mm) for axis in finding.axes if axis.role == "long"]
    return float(np.linalg.norm(long[0])) / 2 if long else 0.0


def looks_at(session: Session, cohort: Cohort) -> list[LockedEvaluation]:
    """Return every look at the cohort's test part, first to last."""
    rows = select(LockedEvaluation).where(LockedEvaluation.cohort_id == cohort.id)
    return list(session.scalars(rows.order_by(LockedEvaluation.number)))


def said(look: LockedEvaluation) -> str:
    """Return the sentence that goes with every look."""
    return f"This is evaluation {look.number} of this test set."

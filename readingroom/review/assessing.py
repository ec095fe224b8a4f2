"""What published tables say of the findings that people stand behind, beside what the readers said.

The rules that a reader applies are applied again, here, to what was accepted, edited or added: after an edit, or where
a nodule was rejected, the reader's own category may no longer hold.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Series, Study
from readingroom.findings.codes import code
from readingroom.findings.model import Assessment, Earlier, Finding, ReaderState, Reading
from readingroom.findings.rules import NoduleContext, assess, dominant, is_nodule
from readingroom.intake.age import age_years
from readingroom.objects.content import ReaderAssessment, StudyAssessment
from readingroom.readers.tables import ReadingRow
from readingroom.review.decisions import Decided, Decisions, partial_of


@dataclass(frozen=True)
class Assessed:
    """All findings, those of the report with what the rules say of them now; and what they say of the study."""

    findings: tuple[Decided, ...]
    study: tuple[StudyAssessment, ...]


def assessed(session: Session, study: Study, decided: Decisions, readings: Iterable[ReadingRow]) -> Assessed:
    """Apply the rules to the findings that go into the report. The same decisions always give the same."""
    said = _said(readings)
    series = session.execute(select(Series.SeriesInstanceUID, Series.Modality).where(Series.study_id == study.id))
    modalities = {uid: modality for uid, modality in series}
    nodules = [d for d in decided.findings if _of_the_lung(d.finding, modalities)]
    counted = [d for d in nodules if d.reported]
    unjudged = sum(d.decision == "undecided" for d in nodules)
    # Silence is no negative: only a person who says that there are no further findings makes it one.
    negative = bool(said) and decided.no_further_findings is not None and not unjudged
    if not counted and not negative:
        return Assessed(decided.findings, _together((), (), said, unjudged))
    context = NoduleContext(
        age_years=age_years("", study.patient.PatientBirthDate, study.StudyDate),
        incomplete=bool(partial_of(session, study)),
        **(decided.context.said.model_dump() if decided.context else {}),
    )
    done = assess([_compared(d, nodules) for d in counted], context)
    now = {finding.id: finding for finding in done.findings}
    findings = tuple(replace(d, finding=now.get(d.finding.id, d.finding)) for d in decided.findings)
    return Assessed(findings, _together(done.study, done.findings, said, unjudged))


def said_of(d: Decided) -> tuple[Assessment, ...]:
    """Return what the reader itself said of a finding by the tables."""
    return () if d.reading is None else (d.original or d.finding).assessments


def _of_the_lung(finding: Finding, modalities: Mapping[str, str]) -> bool:
    """Whether the tables are about it: a nodule of the lung on CT."""
    in_lung = finding.site is not None and finding.site.value == code("lung").value
    return is_nodule(finding.code.value) and in_lung and modalities.get(finding.series_instance_uid, "") in ("CT", "")


def _compared(d: Decided, nodules: Sequence[Decided]) -> Finding:
    """Return the finding; where a person added it and the others were compared with earlier studies, saying so.

    Nobody looked for it there: it is neither new nor without an earlier study.
    """
    if d.finding.earlier or d.reading is not None:
        return d.finding
    days = sorted({one.days_before for other in nodules for one in other.finding.earlier})
    return d.finding.model_copy(update={"earlier": tuple(Earlier(days_before=day, found=None) for day in days)})


def _said(readings: Iterable[ReadingRow]) -> list[ReaderAssessment]:
    """Return the readers' own assessments of the study."""
    said = []
    for row in readings:
        if row.body is None or row.state == ReaderState.SUPERSEDED:
            continue
        said += [
            ReaderAssessment(reader=row.reader, version=row.version, title=row.card_title, assessment=one)
            for one in Reading.model_validate(row.body).assessments
        ]
    return said


def _together(
    stated: Sequence[Assessment], findings: Sequence[Finding], said: Sequence[ReaderAssessment], unjudged: int
) -> tuple[StudyAssessment, ...]:
    """Return one assessment a table, with whatever there is of it from people and readers."""
    every = [*stated, *(one.assessment for one in said)]
    made = []
    for name, edition in dict.fromkeys((one.table, one.edition) for one in every):
        ours = next((one for one in stated if (one.table, one.edition) == (name, edition)), None)
        leading = dominant(findings, ours) if ours is not None else None
        made.append(
            StudyAssessment(
                table=name,
                edition=edition,
                stated=ours,
                dominant=leading.id if leading is not None else "",
                unjudged=unjudged,
                readers=tuple(one for one in said if (one.assessment.table, one.assessment.edition) == (name, edition)),
            )
        )
    return tuple(made)

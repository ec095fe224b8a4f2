"""Flags: what a person must know about a study before signing, each with what it asks of them."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.archive.tables import Study
from readingroom.findings.model import ReaderState
from readingroom.readers.tables import ReadingRow
from readingroom.report.model import Flag
from readingroom.report.tables import ReportRow
from readingroom.review.decisions import Decisions, partial_of
from readingroom.review.header import header_of_study
from readingroom.worklist.items import SIGNED_STATES

HEADER_COLUMNS = ("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "AccessionNumber")


def flags_of(session: Session, study: Study, readings: Sequence[ReadingRow], decided: Decisions) -> tuple[Flag, ...]:
    """Return the study's flags, those that block signing first."""
    report = session.scalar(select(ReportRow).where(ReportRow.study_id == study.id))
    found = [
        *_study_flags(session, study),
        *_reader_flags(readings),
        *_finding_flags(decided),
        *_report_flags(study, report),
    ]
    return tuple(sorted(found, key=lambda flag: (not flag.blocks_signing, not flag.needs_acknowledgement)))


def _study_flags(session: Session, study: Study) -> list[Flag]:
    flags = []
    if study.held:
        flags.append(Flag(code="held", text=f"Held: {study.held}", blocks_signing=True))
    if study.revision == 0:
        flags.append(Flag(code="receiving", text="Images are still coming in.", blocks_signing=True))
    elif study.changed != study.revised_changed:
        flags.append(
            Flag(
                code="images-arriving",
                text="Images came in that nothing has looked at yet.",
                needs_acknowledgement=True,
            )
        )
    if partial := partial_of(session, study):
        flags.append(
            Flag(
                code="partial",
                text=f"Partial study: {partial} What is not found here is not thereby absent.",
                needs_acknowledgement=True,
            )
        )
    return flags


def _reader_flags(readings: Sequence[ReadingRow]) -> list[Flag]:
    flags = []
    failed = [row.reader for row in readings if row.state == ReaderState.FAILED]
    if failed:
        flags.append(
            Flag(
                code="reader-failed",
                text=f"Failed: {', '.join(failed)}. Nothing shown is not a negative.",
                needs_acknowledgement=True,
            )
        )
    running = [row.reader for row in readings if row.state in (ReaderState.QUEUED, ReaderState.READING)]
    if running:
        flags.append(
            Flag(code="reader-running", text=f"Not finished: {', '.join(running)}.", needs_acknowledgement=True)
        )
    return flags


def _finding_flags(decided: Decisions) -> list[Flag]:
    flags = []
    if any(d.finding.side is not None and not d.finding.side.agree for d in decided.findings if d.reported):
        flags.append(
            Flag(
                code="side-disagree",
                text="The witnesses of side disagree for a finding in the report. Check the side.",
                needs_acknowledgement=True,
            )
        )
    undecided = sum(d.decision == "undecided" for d in decided.findings)
    if undecided:
        flags.append(
            Flag(
                code="undecided",
                text=f"{undecided} finding{'s' if undecided > 1 else ''} nobody has judged.",
                needs_acknowledgement=True,
            )
        )
    return flags


def _report_flags(study: Study, report: ReportRow | None) -> list[Flag]:
    if report is None:
        return []
    if report.state in SIGNED_STATES:
        if report.revision != study.revision:
            text = f"Images changed after signing: the report is about revision {report.revision}."
            return [Flag(code="late-images", text=text)]
        return []
    flags = []
    if report.revision != study.revision:
        flags.append(
            Flag(
                code="superseded",
                text=f"The draft is about revision {report.revision}; the images have changed since. Draft it anew.",
                blocks_signing=True,
            )
        )
    then = report.body.get("header", {})
    now = header_of_study(study).model_dump()
    changed = [name for name in HEADER_COLUMNS if then.get(name, "") != now[name]]
    if changed:
        flags.append(
            Flag(
                code="identity-changed",
                text=f"Corrected since the draft: {', '.join(changed)}. Draft it anew.",
                blocks_signing=True,
            )
        )
    return flags

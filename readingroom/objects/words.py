"""DICOM values as people read them: names, dates, times, numbers; and what became of a reader, in a sentence."""

import math
from collections.abc import Sequence
from datetime import datetime
from zoneinfo import ZoneInfo

from readingroom.findings.codes import code
from readingroom.findings.model import Axis, Code, Finding, Measurement, ReaderState
from readingroom.objects.content import ReaderRun, StudyAssessment

_STATE_TEXT = {
    ReaderState.NOT_APPLICABLE: "not applicable",
    ReaderState.QUEUED: "not read yet",
    ReaderState.READING: "still reading",
    ReaderState.NOTHING_FOUND: "read, nothing found",
    ReaderState.FOUND: "read, findings reported",
    ReaderState.ABSTAINED: "abstained",
    ReaderState.FAILED: "failed",
    ReaderState.PARTIAL: "read an incomplete study",
    ReaderState.SUPERSEDED: "superseded",
}


_CHANGES = frozenset(code(name).value for name in ("diameter-change", "volume-change"))


def shown_name(person_name: str) -> str:
    """Return a PN for people: ``Family, Given Middle, Prefix``; further groups in brackets."""
    groups = [_group(group) for group in person_name.split("=")]
    shown = [group for group in dict.fromkeys(groups) if group]
    if not shown:
        return ""
    return shown[0] + "".join(f" ({group})" for group in shown[1:])


def _group(group: str) -> str:
    family, given, middle, prefix, suffix = (group.split("^") + [""] * 5)[:5]
    names = " ".join(part.strip() for part in (given, middle) if part.strip())
    parts = (family.strip(), names, prefix.strip(), suffix.strip())
    return ", ".join(part for part in parts if part)


def shown_date(date: str) -> str:
    """Return a DA as ``2026-01-31``, or unchanged where it is none."""
    return f"{date[:4]}-{date[4:6]}-{date[6:8]}" if len(date) == 8 and date.isdigit() else date


def shown_time(moment: datetime, zone: str) -> str:
    """Return a moment in the site's zone, to the second, with the zone."""
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M:%S %Z")


def shown_number(value: float) -> str:
    """Return a measure with the digits it deserves: whole from 100 on, else one decimal, three below one."""
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 1 else f"{value:.3g}"


def shown_unit(unit: Code) -> str:
    """Return a unit as people write it: `HU` for UCUM's `[hnsf'U]`, nothing for a bare number."""
    return {"[hnsf'U]": "HU", "1": ""}.get(unit.value, unit.value)


def shown_measure(one: Measurement) -> str:
    """Return a measured value with its unit; a change since an earlier study with its sign."""
    if one.unit == code("cm3"):
        return f"{one.value:.2f} ml"
    sign = "+" if one.code.value in _CHANGES and one.value > 0 else ""
    return f"{sign}{shown_number(one.value)} {shown_unit(one.unit)}".strip()


def length_of(axis: Axis) -> float:
    """Return the length of an axis, mm."""
    return math.dist(axis.start_lps_mm, axis.end_lps_mm)


def assessment_lines(one: StudyAssessment, findings: Sequence[Finding]) -> list[str]:
    """Return what a table says of the study, a line a thing: rule, why, dominant finding by its number, advice.

    Empty where nothing supports a category.
    """
    stated = one.stated
    if stated is None:
        return []
    number = next((n for n, finding in enumerate(findings, 1) if finding.id == one.dominant), None)
    lines = [f"{one.table} {one.edition}, rule {stated.rule}: {'; '.join(stated.because)}."]
    lines += [f"Dominant: finding {number}."] if number is not None else []
    lines += [f"Recommended there: {stated.advice}"] if stated.advice else []
    lines += [f"Nobody said: {', '.join(stated.missing)}."] if stated.missing else []
    lines += [f"Nodules that nobody has judged do not count: {one.unjudged}."] if one.unjudged else []
    return lines + [
        f"{said.name} {said.version} said otherwise: {said.assessment.category.meaning}, rule {said.assessment.rule}."
        for said in one.differing()
    ]


def reader_sentence(run: ReaderRun) -> str:
    """Return one sentence that says what became of a reader on this study."""
    reason = f": {run.reason.rstrip('.')}" if run.reason else ""
    return f"{run.name} {run.version}: {_STATE_TEXT[run.state]}{reason}. Evidence level {run.evidence_level}."

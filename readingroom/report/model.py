"""What a report is made of, what is kept of it, and what the page gets.

``ReportInputs`` is what the rooms above hand in: the study as it stands, with the findings people accepted.
``ReportBody`` is what is kept (``ReportRow.body``): the inputs it was drafted from, the text, and once signed the
signature; the objects are written from it alone. ``Report`` is what ``docs/api.md`` shows the page.
"""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from readingroom.findings.model import Finding, Measurement
from readingroom.objects.content import (
    RESEARCH_NOTICE,
    AddendumText,
    FindingVerdict,
    ObjectRef,
    ReaderRun,
    Sections,
    StudyAssessment,
    StudyHeader,
)


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Flag(_Model):
    """Something a person must know before signing. ``blocks_signing``: until it is gone."""

    code: str
    text: str
    blocks_signing: bool = False
    needs_acknowledgement: bool = False


class ReportFinding(_Model):
    """A finding that goes into the report. ``finding`` is the present one, after edits."""

    finding: Finding
    decision: Literal["accepted", "edited", "added"]
    reading_id: str = ""
    """Whose arrays hold its segment; empty for a finding a person added."""
    run: ReaderRun | None = None
    by: str = ""
    at: datetime | None = None
    image_number: int | None = None
    """InstanceNumber of the image nearest to it, where known."""


class SeriesInfo(_Model):
    """One series looked at, for the technique."""

    SeriesInstanceUID: str = ""
    Modality: str = ""
    SeriesDescription: str = ""
    images: int = 0
    slice_thickness_mm: float | None = None
    kernel: str = ""
    contrast: bool | None = None
    plane: str = ""


class Measured(_Model):
    """What a reader measured of the study as a whole. Here only where people accepted all it found."""

    reader: str
    """Name and version."""
    measurements: tuple[Measurement, ...]


class ReportInputs(_Model):
    """The study as it stands. Order matters: the same study must always give the same inputs."""

    revision: int
    header: StudyHeader
    findings: tuple[ReportFinding, ...] = ()
    verdicts: tuple[FindingVerdict, ...] = ()
    """On every finding of the readers, also on those that are not in the report."""
    assessments: tuple[StudyAssessment, ...] = ()
    """By published tables, from ``findings``: each of them carries its own."""
    measured: tuple[Measured, ...] = ()
    readers: tuple[ReaderRun, ...] = ()
    series: tuple[SeriesInfo, ...] = ()
    indication: str = ""
    comparison: str = ""
    partial: str = ""
    no_further_findings: bool = False
    simulated: bool = False


class ReportItem(_Model):
    """The line the draft gave one accepted finding."""

    finding_id: str
    text: str


class Signature(_Model):
    """Who signed what, and what they were told before."""

    account: str
    name: str
    role: str = ""
    organization: str = ""
    at: datetime
    zone: str = "UTC"
    acknowledged: tuple[Flag, ...] = ()


class ReportBody(ReportInputs):
    """What is kept of a report. ``drafted``: the template's text; a section that differs from it was edited."""

    sections: Sections
    drafted: Sections
    items: tuple[ReportItem, ...] = ()
    outdated: tuple[str, ...] = ()
    """Edited sections whose drafted text has changed since: the edit may no longer fit the findings."""
    signature: Signature | None = None
    judged: dict[str, ObjectRef] = {}
    """Reading id -> the SR written of that reading, as they were when somebody signed."""

    def inputs(self) -> ReportInputs:
        return ReportInputs(**{name: getattr(self, name) for name in ReportInputs.model_fields})

    def own_flags(self) -> tuple[Flag, ...]:
        """Flags the report itself raises."""
        if not self.outdated:
            return ()
        text = f"Edited text is older than the findings it is about: {', '.join(self.outdated)}. Read it again."
        return (Flag(code="text-outdated", text=text, needs_acknowledgement=True),)


class Report(_Model):
    """A report as the page gets it."""

    id: str
    study_id: str
    state: str
    revision: int
    etag: int
    header: StudyHeader
    sections: Sections
    items: tuple[ReportItem, ...]
    partial: str
    flags: tuple[Flag, ...]
    signed_by: str
    signed_at: datetime | None
    addenda: tuple[AddendumText, ...]
    objects: dict[str, str]
    deliveries: tuple[dict[str, Any], ...]
    research_notice: str = RESEARCH_NOTICE


SegmentKey = tuple[str, str]
"""(reading id, name of the segment among the reading's arrays)."""


def wanted_segments(body: ReportBody) -> tuple[SegmentKey, ...]:
    """Return the segments of the report's findings, to be read from the store for ``write_objects``."""
    keys = [
        (item.reading_id, item.finding.segment) for item in body.findings if item.reading_id and item.finding.segment
    ]
    return tuple(dict.fromkeys(keys))

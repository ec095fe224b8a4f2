"""What the review page sends and gets: the models behind ``docs/api.md``."""

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from readingroom.findings.model import Assessment, Finding, Reading
from readingroom.objects.content import StudyAssessment
from readingroom.report.model import Flag
from readingroom.worklist.items import StudySummary

Kind = Literal["accept", "edit", "reject", "add", "withdraw", "no-further-findings", "context"]
Decision = Literal["undecided", "accepted", "edited", "rejected", "added"]
ReadingMode = Literal["ai-first", "concurrent", "after-own-read"]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PatientContext(_Model):
    """What tables ask about patient and study that no image shows. None: nobody said."""

    screening: bool | None = None
    """A lung cancer screening study; False: an incidental finding."""
    risk: Literal["low", "high"] | None = None
    """Of lung cancer, as Fleischner 2017 means it."""
    known_cancer: bool | None = None
    immunosuppressed: bool | None = None
    infection: bool = False
    """Infection or inflammation is suspected."""
    prior_awaited: bool = False
    """An earlier chest CT exists and is being looked for."""


class VerdictInput(_Model):
    """One decision as the page sends it. ``revision`` is the one the person looked at."""

    kind: Kind
    revision: int
    reading_id: str | None = None
    finding_id: str = Field(default="", max_length=64)
    after: Finding | None = None
    context: PatientContext | None = None
    """With ``context``: all of it as it is from now on."""
    reason_code: str = Field(default="", max_length=32)
    reason_text: str = Field(default="", max_length=2000)
    shown_at: datetime | None = None
    reading_mode: ReadingMode = "concurrent"


class ImageView(_Model):
    SOPInstanceUID: str
    InstanceNumber: int | None
    frames: int


class SeriesView(_Model):
    SeriesInstanceUID: str
    SeriesNumber: int | None
    SeriesDescription: str
    Modality: str
    type: dict[str, Any] | None
    quality: dict[str, Any]
    problems: tuple[dict[str, Any], ...]
    images: tuple[ImageView, ...]


class ReadingView(_Model):
    id: str
    reader: str
    version: str
    state: str
    reason: str
    progress: float
    evidence_level: int
    card_title: str
    seconds: dict[str, float]
    body: Reading | None


class FindingView(_Model):
    """A finding as it stands now (after edits); ``original`` is what the reader said where a person edited it.

    What goes into the report carries its growth and assessments by the rules as applied to all that does, ``said`` are
    those the reader gave it.
    """

    finding: Finding
    reading_id: str | None
    reader: str
    evidence_level: int
    segment_url: str | None
    heat_map_url: str | None
    decision: Decision
    by: str = ""
    at: datetime | None = None
    reason_code: str = ""
    reason_text: str = ""
    original: Finding | None = None
    said: tuple[Assessment, ...] = ()


class NoFurtherFindings(_Model):
    by: str
    at: datetime


class StatedContext(_Model):
    """What a person said of the patient, and who."""

    said: PatientContext
    by: str
    at: datetime


class TaskView(_Model):
    id: str
    kind: str
    text: str
    created_at: datetime


class Study(StudySummary):
    """All the review page shows of one study."""

    StudyInstanceUID: str
    flags: tuple[Flag, ...]
    series: tuple[SeriesView, ...]
    readings: tuple[ReadingView, ...]
    findings: tuple[FindingView, ...]
    assessments: tuple[StudyAssessment, ...]
    no_further_findings: NoFurtherFindings | None
    context: StatedContext | None
    tasks: tuple[TaskView, ...]
    can: tuple[str, ...]
    glass_until: datetime | None

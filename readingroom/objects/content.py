"""The one model of a report that every encoder turns into its format: SR, SEG, PDF, FHIR.

Everything an encoder writes is in here, times included, so that the same content always gives the same bytes. No
encoder reads a clock, a database or a configuration.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, ConfigDict
from pydicom.dataset import Dataset

from readingroom.core.ids import derived_uid, is_uid, sha256_hex
from readingroom.findings.codes import code
from readingroom.findings.codes import digest as codes_digest
from readingroom.findings.model import Assessment, Code, Finding, ReaderState, SegmentMask

ENCODER_VERSION = "3"
"""Part of every UID: raise it whenever the encoders would write other bytes for the same content."""

RESEARCH_NOTICE = "For research use only. Not for diagnosis or treatment decisions."

Decision = Literal["unread", "accepted", "edited", "added"]
"""``unread``: as the reader gave it, nobody has looked. ``added``: by a person, no reader."""

Judgement = Literal["accepted", "edited", "rejected", "undecided"]
"""What became of a finding of a reader. ``undecided``: shown, and signed without a verdict on it."""


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class StudyHeader(_Model):
    """Who and what the objects are about, by DICOM keyword. Names are Unicode with ``^`` and ``=`` as in PN."""

    PatientName: str = ""
    PatientID: str = ""
    IssuerOfPatientID: str = ""
    PatientBirthDate: str = ""
    PatientSex: str = ""
    AccessionNumber: str = ""
    StudyInstanceUID: str = ""
    StudyID: str = ""
    StudyDate: str = ""
    StudyTime: str = ""
    StudyDescription: str = ""
    ReferringPhysicianName: str = ""


class ReaderRun(_Model):
    """One reader on this study: its state is always written, so that a silent list never looks negative."""

    reader: str
    version: str
    title: str = ""
    state: ReaderState
    reason: str = ""
    evidence_level: int = 0
    weights_sha256: str = ""
    configuration_sha256: str = ""
    operating_point: float | None = None
    family: Code = code("artificial-intelligence")

    @property
    def name(self) -> str:
        return self.title or self.reader

    def parameters(self) -> tuple[str, ...]:
        """Parameters for TID 4019, as ``name=value`` texts."""
        given = {
            "operating point": self.operating_point,
            "weights SHA-256": self.weights_sha256,
            "configuration SHA-256": self.configuration_sha256,
            "evidence level": self.evidence_level,
        }
        return tuple(f"{name}={value}" for name, value in given.items() if value not in (None, ""))


class ReaderAssessment(_Model):
    """What one reader said of the whole study by a published table."""

    reader: str
    version: str
    title: str = ""
    assessment: Assessment

    @property
    def name(self) -> str:
        return self.title or self.reader


class StudyAssessment(_Model):
    """What one published table says of the study: by the findings people stand behind, and by what readers said.

    The rules were applied again to what was accepted, edited or added; that is ``stated``, and what is signed. In what
    is written of a reading, before anybody has looked, ``stated`` is the reader's.
    """

    table: str
    edition: str
    stated: Assessment | None = None
    """None: nothing that people stand behind supports a category."""
    dominant: str = ""
    """Id of the finding whose category the study has; empty where it is no finding's."""
    unjudged: int = 0
    """Nodules that nobody has judged: ``stated`` does not count them."""
    readers: tuple[ReaderAssessment, ...] = ()

    def differing(self) -> tuple[ReaderAssessment, ...]:
        """Return what readers said otherwise: another category, or by another rule."""
        if self.stated is None:
            return self.readers
        ours = (self.stated.category, self.stated.rule)
        return tuple(one for one in self.readers if (one.assessment.category, one.assessment.rule) != ours)


class ObjectRef(_Model):
    """A DICOM object of this study that is referred to."""

    SOPClassUID: str
    SOPInstanceUID: str
    SeriesInstanceUID: str


class FindingVerdict(_Model):
    """The verdict on one finding of a reader: who, when and, where it was rejected, the coded reason."""

    finding_id: str
    tracking_id: str = ""
    tracking_uid: str = ""
    reading_id: str = ""
    decision: Judgement
    by: str = ""
    at: datetime | None = None
    reason: Code | None = None
    text: str = ""


class AddendumText(_Model):
    """Text added to a signed report, and who signed it when."""

    number: int
    text: str
    author: str
    at: datetime


class Person(_Model):
    """A person who verified. ``name`` as shown; ``role`` is the account's role."""

    name: str
    role: str = ""
    organization: str = ""


class Sections(_Model):
    """The narrative. Plain text; line breaks are kept; nothing in it is ever markup."""

    indication: str = ""
    technique: str = ""
    comparison: str = ""
    findings: str = ""
    impression: str = ""


@dataclass(frozen=True, eq=False)
class ContentFinding:
    """A finding to write: the present geometry and measures, who stands behind it, and its segment where one is."""

    finding: Finding
    decision: Decision
    reader: ReaderRun | None = None
    """None for a finding a person added."""
    by: str = ""
    at: datetime | None = None
    mask: SegmentMask | None = None
    text: str = ""


@dataclass(frozen=True, eq=False)
class ReportContent:
    """All that is written about one study revision: a reading (unverified) or a signed report.

    ``at`` is the time of reading or signing, with its zone; ``zone`` is the site's (DA and TM are site time, DT
    carries its offset). ``seed`` names the inputs (SOP UIDs, pixel digests, reader, weights and configuration
    hashes): every UID written derives from it. ``sources``: tidy headers (``objects.source``) of the images looked
    at, in slice order within a series.
    """

    header: StudyHeader
    revision: int
    at: datetime
    seed: str
    zone: str = "UTC"
    title: str = "Imaging report"
    findings: tuple[ContentFinding, ...] = ()
    readers: tuple[ReaderRun, ...] = ()
    assessments: tuple[StudyAssessment, ...] = ()
    """Of the study, by published tables."""
    sections: Sections = field(default_factory=Sections)
    verifier: Person | None = None
    """None: nobody has verified this (an AI object before signing, or a preview)."""
    no_further_findings: bool = False
    partial: str = ""
    flags: tuple[str, ...] = ()
    simulated: bool = False
    research_notice: str = RESEARCH_NOTICE
    sources: tuple[Dataset, ...] = field(default=())
    verdicts: tuple[FindingVerdict, ...] = ()
    """On every finding of the readers that ran, also on those that are not written here."""
    judged: Mapping[str, ObjectRef] = field(default_factory=dict)
    """Reading id -> the SR with what that reading said, which this content takes up."""
    addenda: tuple[AddendumText, ...] = ()
    """What was added after signing. What is written with an addendum stands beside what was written without."""

    @property
    def verified(self) -> bool:
        return self.verifier is not None

    @property
    def first(self) -> "ReportContent":
        """The content as it was signed, without its addenda."""
        return replace(self, addenda=())

    @property
    def written_at(self) -> datetime:
        """When what is written came about: with the last addendum, else by reading or signing."""
        return self.addenda[-1].at if self.addenda else self.at

    def local(self, moment: datetime) -> datetime:
        """Return a moment in the site's zone."""
        return moment.astimezone(ZoneInfo(self.zone))

    def uid(self, *role: str) -> str:
        """The UID of what this content plays ``role`` in; the same content always gives the same one."""
        added = [text for one in self.addenda for text in ("addendum", one.model_dump_json())]
        return derived_uid(ENCODER_VERSION, codes_digest(), self.seed, *added, *role)

    def tracking_uid(self, finding: Finding) -> str:
        """The finding's own tracking UID, or one derived for it where it has none that is a UID."""
        return self.tracked(finding.tracking_uid, finding.id)

    def tracked(self, tracking_uid: str, finding_id: str) -> str:
        return tracking_uid if is_uid(tracking_uid) else self.first.uid("tracking", finding_id)

    def tracking_id(self, finding: Finding) -> str:
        return finding.tracking_id or finding.id or "finding"


def dicom_datetime(moment: datetime, zone: str) -> str:
    """Return a DICOM DT in the site's zone, with its offset from UTC (PS3.5 section 6.2)."""
    return moment.astimezone(ZoneInfo(zone)).strftime("%Y%m%d%H%M%S.%f%z")


def seed_of(pixel_digests: dict[str, str], *parts: str) -> str:
    """Return the seed from the input images (SOP Instance UID -> SHA-256 of its pixels) and whatever else tells."""
    images = [text for uid in sorted(pixel_digests) for text in (uid, pixel_digests[uid])]
    return sha256_hex(str(len(pixel_digests)), *images, *parts)

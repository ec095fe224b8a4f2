"""What a reader says: findings, readings and the words they are made of.

All models are frozen and turn into JSON and back without loss (``model_dump(mode="json")`` /
``model_validate``). Positions are LPS millimetres in the frame of reference they name (PS3.3 C.7.6.2.1.1).
"""

import base64
import io
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from readingroom.core.errors import BadInput

LpsPoint = tuple[float, float, float]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Code(_Model):
    """A coded concept: value, coding scheme designator, meaning (PS3.3 section 8.8)."""

    value: str = Field(min_length=1, max_length=16)
    scheme: str = Field(min_length=1, max_length=16)
    meaning: str = Field(min_length=1, max_length=64)


class PatientPlace(_Model):
    """A point in the patient: SCOORD3D when written."""

    type: Literal["patient"] = "patient"
    frame_of_reference_uid: str
    position_lps_mm: LpsPoint


class ImagePlace(_Model):
    """A point on one image: SCOORD when written. Column and row are 0-based pixel centres."""

    type: Literal["image"] = "image"
    sop_instance_uid: str
    frame: int = 1
    column: float
    row: float


class StudyPlace(_Model):
    """No position: ejection fraction, density."""

    type: Literal["study"] = "study"


Place = Annotated[PatientPlace | ImagePlace | StudyPlace, Field(discriminator="type")]


class Measurement(_Model):
    """A number with its UCUM unit. ``method`` says how it was measured where several ways exist."""

    code: Code
    value: float
    unit: Code
    method: str = ""


class Axis(_Model):
    """A diameter as its two end points, LPS mm; ``role`` is ``long`` or ``short`` (perpendicular, same plane)."""

    role: Literal["long", "short"]
    start_lps_mm: LpsPoint
    end_lps_mm: LpsPoint


class Contribution(_Model):
    """How much one feature moved the score: ``weight`` > 0 towards the finding. Units of weight: log-odds.

    ``feature`` is in plain words, with the unit of ``value``: people read it. No value: where the score starts from.
    """

    feature: str
    value: float | None
    weight: float


class SimilarCase(_Model):
    """A case of the training set that looks like this one: its key there (no patient's identifier), how far it is,
    what it was.
    """

    case: str
    distance: float = Field(ge=0)
    description: str


class Evidence(_Model):
    """Why the reader says so."""

    contributions: tuple[Contribution, ...] = ()
    rule: str = ""
    heat_map: str = ""
    """Name of the heat map among the reading's arrays, if one was made (``findings.heat_map``)."""
    similar: tuple[SimilarCase, ...] = ()
    """Nearest first."""
    notes: tuple[str, ...] = ()


class Characteristic(_Model):
    """A coded property that is no number (texture: solid), with the probability the reader gives it, if any."""

    concept: Code
    value: Code
    probability: float | None = Field(default=None, ge=0, le=1)


class Assessment(_Model):
    """A category by a published rule (Lung-RADS, Fleischner): of a finding, or of the study.

    ``rule`` is the id of the rule that fired in the table ``table`` of edition ``edition``; ``because`` lists in plain
    words the facts it rested on, ``advice`` what the publication recommends then.
    """

    table: str
    edition: str
    category: Code
    rule: str
    because: tuple[str, ...] = ()
    advice: str = ""
    missing: tuple[str, ...] = ()
    """What the rule would need and nobody said; the category holds only under the assumption written in ``because``."""


class Earlier(_Model):
    """What a finding was in one earlier study that was compared.

    ``found``: False where that study was read without it, None where the two could not be laid over each other.
    """

    days_before: int = Field(ge=1)
    found: bool | None
    matched_by: Literal["tracking-uid", "position"] | None = None
    measurements: tuple[Measurement, ...] = ()
    characteristics: tuple[Characteristic, ...] = ()
    axes: tuple[Axis, ...] = ()
    assessments: tuple[Assessment, ...] = ()


class SideWitness(_Model):
    """One independent statement of side. ``side`` is None where this witness cannot tell."""

    witness: Literal["tags", "description", "geometry"]
    side: Literal["left", "right", "midline"] | None
    detail: str = ""


class Side(_Model):
    """The side and who says so. ``agree`` is False when two witnesses that can tell differ: no one-click signing."""

    value: Literal["left", "right", "midline"] | None
    witnesses: tuple[SideWitness, ...]
    agree: bool


class Finding(_Model):
    """One coded finding with place, measures, calibrated probability and evidence."""

    id: str
    code: Code
    place: Place
    probability: float | None = Field(default=None, ge=0, le=1)
    """Calibrated; None for findings a person added."""
    measurements: tuple[Measurement, ...] = ()
    characteristics: tuple[Characteristic, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    earlier: tuple[Earlier, ...] = ()
    """Latest first."""
    axes: tuple[Axis, ...] = ()
    side: Side | None = None
    site: Code | None = None
    evidence: Evidence = Evidence()
    segment: str = ""
    """Name of the segment among the reading's arrays, if one was made."""
    series_instance_uid: str = ""
    tracking_id: str = ""
    tracking_uid: str = ""
    comment: str = ""


class ReaderState(StrEnum):
    """State of one reader on one study revision: always shown, always written (architecture, Words)."""

    NOT_APPLICABLE = "not-applicable"
    QUEUED = "queued"
    READING = "reading"
    NOTHING_FOUND = "read-nothing-found"
    FOUND = "found"
    ABSTAINED = "abstained"
    FAILED = "failed"
    PARTIAL = "partial"
    SUPERSEDED = "superseded"


class Reading(_Model):
    """What one version of one reader said about one study revision. Arrays travel beside it, see ``SegmentMask``.

    ``state`` PARTIAL means the reader ran on an incomplete study: findings count, their absence does not.
    """

    reader: str
    version: str
    state: ReaderState
    reason: str = ""
    """Why not applicable, abstained, failed or partial; a sentence for people."""
    weights_sha256: str = ""
    configuration_sha256: str = ""
    evidence_level: int = Field(default=0, ge=0, le=3)
    operating_point: float | None = None
    study_instance_uid: str = ""
    series_instance_uids: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()
    """At the card's fixed operating point, most probable first."""
    study_measurements: tuple[Measurement, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    """Of the study as a whole."""
    out_of_domain_score: float | None = None
    quality: dict[str, float | str] = Field(default_factory=dict)
    input_statistics: dict[str, float | str] = Field(default_factory=dict)
    """Scanner, protocol and intensity statistics: drift cannot be seen without them."""
    seconds: dict[str, float] = Field(default_factory=dict)
    """Wall time by step."""


@dataclass(frozen=True, eq=False)
class SegmentMask:
    """A binary segment on the grid of one source series, cropped to its box.

    ``mask`` is bool ``(slices, rows, columns)``; ``offset`` is the index of its first pixel: its slice as Volume sorts
    them, its row and column in the source image. ``sop_instance_uids`` names the source image of each mask slice, so
    that the mask stays tied to images and not to an order. (A reader gives indices of the Volume; where the gantry was
    tilted those are others, and the runner moves the mask.)
    """

    series_instance_uid: str
    offset: tuple[int, int, int]
    mask: np.ndarray
    sop_instance_uids: tuple[str, ...]

    def to_bytes(self) -> bytes:
        """Return a compressed npz (no pickle)."""
        buffer = io.BytesIO()
        np.savez_compressed(
            buffer,
            bits=np.packbits(self.mask),
            shape=np.array(self.mask.shape, np.int32),
            offset=np.array(self.offset, np.int32),
            series=np.array(self.series_instance_uid),
            sops=np.array(self.sop_instance_uids, dtype="U64"),
        )
        return buffer.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "SegmentMask":
        """Inverse of ``to_bytes``. Raises BadInput on anything else."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as archive:
                shape = tuple(int(n) for n in archive["shape"])
                mask = np.unpackbits(archive["bits"], count=int(np.prod(shape))).reshape(shape).astype(bool)
                k, j, i = (int(n) for n in archive["offset"])
                return cls(str(archive["series"]), (k, j, i), mask, tuple(str(s) for s in archive["sops"]))
        except (ValueError, KeyError, OSError, EOFError, TypeError) as error:
            # TypeError: one bare array, a heat map.
            raise BadInput(f"Not a segment mask: {type(error).__name__}.") from None

    def to_text(self) -> str:
        """``to_bytes`` as base64, for JSON."""
        return base64.b64encode(self.to_bytes()).decode("ascii")

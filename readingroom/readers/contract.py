"""The contract between Reading Room and a reader, ours or a third party's.

A reader is a class, named by an entry point in the group ``readingroom.readers``, with a ``card`` and two methods.
It sees one study's typed series and the little context its card declares: never the network, the database or another
patient. It may raise anything: the runner turns that into state ``failed`` with a reason, and nothing else is lost.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol, runtime_checkable

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from readingroom.core.ids import sha256_hex
from readingroom.findings.model import Assessment, Code, Finding, Measurement, SegmentMask
from readingroom.imaging.volume import SeriesProblem, Volume


class SeriesType(BaseModel):
    """What a series is, by content and header (made by ``intake``)."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    modality: str
    kind: str
    """``ct-volume``, ``mr-volume``, ``localizer``, ``derived``, ``projection``, ``object``, ``unsupported``."""
    region: str = ""
    """``chest``, ``head``, ``abdomen``, ``pelvis``, ``limb`` or empty: unknown."""
    region_by: tuple[str, ...] = ()
    """Who says so: ``content``, ``BodyPartExamined``, ``description``."""
    plane: str = ""
    """``axial``, ``coronal``, ``sagittal``, ``oblique``."""
    contrast: bool | None = None
    sequence: str = ""
    """Of MR: ``T1``, ``T1-post``, ``T2``, ``FLAIR``, ``T2*``, ``PD``, ``DWI``, ``perfusion``, ``angiography`` or empty:
    unknown."""
    kernel: str = ""
    slice_thickness_mm: float | None = None
    confidence: float = Field(default=0.0, ge=0, le=1)
    reason: str = ""


class ClinicalContext(BaseModel):
    """The little context a card may declare. Never a name or an identifier."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    age_years: float | None = None
    sex: Literal["F", "M", "O"] | None = None
    indication: str = ""


@dataclass(frozen=True, eq=False)
class TypedSeries:
    """One series as a reader sees it. ``volume`` is None where none could be made; ``problems`` say why.

    ``headers`` holds the non-identifying attributes readers use for side and quality, by DICOM keyword:
    PatientPosition, Laterality, BodyPartExamined, SeriesDescription, StudyDescription, Manufacturer,
    ManufacturerModelName, ConvolutionKernel, KVP, SliceThickness, ContrastBolusAgent, ImageType.
    """

    series_instance_uid: str
    type: SeriesType
    volume: Volume | None
    problems: tuple[SeriesProblem, ...] = ()
    quality: Mapping[str, float | str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    measured: Mapping[str, float] = field(default_factory=dict)
    """Of a structured report: its numbers by ``SCHEME CodeValue`` of what was measured, in the unit it was given in."""


class PriorReading(BaseModel):
    """What the same reader, or the radiologist who signed, said of an earlier study of this patient.

    ``days_before`` is the time between the two studies: a reader needs no date.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    days_before: int = Field(ge=1)
    findings: tuple[Finding, ...]


@dataclass(frozen=True, eq=False)
class ReadingRequest:
    """All a reader gets. ``products`` are arrays other readers made that the card ``requires``, by name.

    ``priors`` are permitted earlier readings, latest first; only for a card that declares ``priors`` in its context.
    """

    study_instance_uid: str
    series: tuple[TypedSeries, ...]
    context: ClinicalContext = field(default_factory=ClinicalContext)
    partial: bool = False
    products: Mapping[str, np.ndarray] = field(default_factory=dict)
    priors: tuple[PriorReading, ...] = ()


class Applicability(BaseModel):
    """Whether a reader applies, to which series, and why (the reason is shown and written either way)."""

    model_config = ConfigDict(frozen=True)

    applies: bool
    reason: str
    series_instance_uids: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ReadingOutput:
    """What ``read`` returns. Abstain by ``abstained`` = reason with no findings.

    ``segments`` and ``heat_maps`` are named by the findings that use them. A heat map is float32 0..1 on the box of
    the segment of the same finding. Both lie on voxels of the series' Volume; an ``ImagePlace`` on pixels of an image
    (``Volume.to_pixel`` gives it).
    """

    findings: tuple[Finding, ...] = ()
    segments: Mapping[str, SegmentMask] = field(default_factory=dict)
    heat_maps: Mapping[str, np.ndarray] = field(default_factory=dict)
    study_measurements: tuple[Measurement, ...] = ()
    assessments: tuple[Assessment, ...] = ()
    abstained: str = ""
    out_of_domain_score: float | None = None
    input_statistics: Mapping[str, float | str] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)


class Card(BaseModel):
    """What a reader is for and what it has been shown to do. Loaded from ``card.yaml`` beside the reader."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(pattern=r"^[a-z][a-z0-9-]{1,63}$")
    version: str
    title: str
    question: str
    """The clinical question, one sentence."""
    takes: str
    finds: tuple[Code, ...]
    context: tuple[str, ...] = ()
    """Names of ClinicalContext fields it wants, and ``priors`` for earlier readings; the rest are withheld."""
    requires: tuple[str, ...] = ()
    evidence_level: int = Field(ge=0, le=3)
    evidence: str
    """In words: on whom it was measured, with n and interval."""
    operating_point: float | None = None
    limits: tuple[str, ...]
    weights: Mapping[str, str] = Field(default_factory=dict)
    """File name -> SHA-256; checked at load."""
    weights_licence: str
    data: tuple[str, ...]
    """Provenance of the training data with licences."""
    metrics: Mapping[str, object] = Field(default_factory=dict)
    reader_licence: str = "Apache-2.0"

    @property
    def weights_sha256(self) -> str:
        """One hash of all weights that the card names."""
        return sha256_hex(*(text for pair in sorted(self.weights.items()) for text in pair))


Progress = Callable[[str, float], None]
"""``progress(step, fraction done 0..1)``."""


@runtime_checkable
class Reader(Protocol):
    """What the entry point's class must offer. Constructed without arguments, once per process.

    ``configuration_sha256`` is a hash of every setting and weight that changes its output: output UIDs depend on it.
    """

    card: Card

    @property
    def weights_sha256(self) -> str: ...

    @property
    def configuration_sha256(self) -> str: ...

    def applies(self, series: tuple[TypedSeries, ...]) -> Applicability:
        """Decide from types, problems and headers alone: ``volume`` may be None here although one can be made."""
        ...

    def read(self, request: ReadingRequest, progress: Progress) -> ReadingOutput: ...

"""The words of cohorts: what a cohort asks for, its parts, its labels. No patient's identifier is in any of them."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator
from sqlalchemy import ColumnElement
from sqlalchemy.orm import Session

from readingroom.core.config import PurposeDefaults
from readingroom.core.sealed import Source
from readingroom.core.secrets import SecretBox
from readingroom.findings.model import Finding

Decision = Literal["accepted", "edited", "added", "rejected"]
_Day = Annotated[str, Field(pattern=r"^([0-9]{8})?$")]
_Word = Annotated[str, Field(max_length=64, pattern=r"^[A-Za-z0-9 ._-]*$")]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Part(StrEnum):
    """Where a group stands for ever. ``test`` is locked: see ``locked.py``."""

    TRAINING = "training"
    VALIDATION = "validation"
    TEST = "test"


class LeftOut(StrEnum):
    """Why something that fits is no member."""

    NO_IMAGES = "no-images"
    HELD = "held"
    RESTRICTED = "restricted"
    NO_CONSENT = "no-consent"
    DUPLICATE = "duplicate"
    OTHER_PART = "other-part"
    """Joined by identical pixels to a group of another part than its own (``groups.py``)."""
    NO_GROUP = "no-group"
    """A file of which nobody says whose it is."""


class Shares(_Model):
    """The shares of the groups in validation and test; the rest is for training."""

    validation: float = Field(default=0.15, ge=0, le=0.9)
    test: float = Field(default=0.2, ge=0, le=0.9)

    @model_validator(mode="after")
    def _something_is_left(self) -> Self:
        if self.validation + self.test > 0.95:
            raise ValueError("too little is left for training")
        return self


class Query(_Model):
    """Which studies of the cohort's project belong to it; what is empty or None does not narrow.

    Modality, kind, region and body part must hold of one and the same series. Days are DICOM dates; both still count.
    """

    source: Literal["query"] = "query"
    modality: _Word = ""
    kind: _Word = ""
    """A ``readers.contract.SeriesType.kind``: ``ct-volume`` ..."""
    region: _Word = ""
    body_part: _Word = ""
    from_day: _Day = ""
    to_day: _Day = ""
    found_by: _Word = ""
    """A reader that found something in the newest revision."""
    signed: bool | None = None
    simulated: bool | None = None


class Folder(_Model):
    """Files on this machine, not in the archive; the cohort's makers say on which legal basis they hold them."""

    source: Literal["folder"] = "folder"
    path: str
    groups: str = ""
    """A CSV table with the columns ``file`` and ``group``, beside the files; empty: the patient each file names."""
    basis: str
    reference: str = ""


Definition = Annotated[Query | Folder, Field(discriminator="source")]


class Label(_Model):
    """One finding and what a person decided about it, at one revision of one study."""

    study_id: str
    revision: int
    finding: Finding
    decision: Decision
    verdict_id: str
    by: str
    at: datetime
    reader: str = ""
    """Empty for a finding that a person added."""
    reader_version: str = ""
    reason_code: str = ""
    """Why it was rejected (``review/reasons.json``)."""


@dataclass(frozen=True)
class Judged:
    """What people decided about one revision of a study. ``complete``: they looked for all there is to find."""

    labels: tuple[Label, ...]
    complete: bool


@dataclass(frozen=True)
class Decided:
    """What the rooms above know and hand down (``review/label_inputs.py``).

    ``signed``: the condition that a ``Study`` has a signed report. ``judged(session, {study_id: revision})``: what
    people decided about each.
    """

    signed: Callable[[], ColumnElement[bool]]
    judged: Callable[[Session, Mapping[str, int]], Mapping[str, Judged]]


@dataclass(frozen=True)
class Workshop:
    """What making cohorts needs. ``source(key)``: a stored object."""

    purposes: PurposeDefaults
    secrets: SecretBox
    source: Callable[[str], Source]
    decided: Decided


@dataclass(frozen=True)
class Candidate:
    """Something that may become a member, with the digests of its pixels and whose it is.

    ``identity`` names the patient or the declared group; it is hashed under the cohort's key before it is kept.
    """

    sha256: str
    identity: str
    pixels: frozenset[str]
    patient_id: int | None = None
    study_id: str | None = None
    revision: int | None = None
    file: str = ""


def counts(reasons: Iterable[LeftOut]) -> dict[str, int]:
    """Return reason -> how many, in the order of the table."""
    found = list(reasons)
    return {reason.value: n for reason in LeftOut if (n := found.count(reason))}

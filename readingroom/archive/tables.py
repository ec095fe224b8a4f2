"""The index: patients, studies, series, instances with their versions, revisions, quarantine, deliveries.

Opaque keys everywhere: study ids are random, store keys are random. UIDs and PatientIDs are columns, never paths.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column, relationship

from readingroom.access.projects import DEFAULT_PROJECT
from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class Patient(Base):
    """A person as (PatientID, IssuerOfPatientID). Without a PatientID each study gets a patient of its own."""

    __tablename__ = "patient"
    __table_args__ = (UniqueConstraint("PatientID", "IssuerOfPatientID", "own_study"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    PatientID: Mapped[str] = mapped_column(String(64))
    IssuerOfPatientID: Mapped[str] = mapped_column(String(128), default="")
    PatientName: Mapped[str] = mapped_column(String(400), default="", index=True)
    """As received (component groups joined by ``=``), decoded to Unicode."""
    PatientBirthDate: Mapped[str] = mapped_column(String(8), default="")
    PatientSex: Mapped[str] = mapped_column(String(16), default="")
    own_study: Mapped[str] = mapped_column(String(32), default="")
    """Id of the one study of a patient without a PatientID; empty for everyone else."""


class Study(Base):
    """A study. ``state``: receiving -> ready -> reading -> read; ``held`` (with its reason) stops all that."""

    __tablename__ = "study"
    # The worker asks several times a second which studies are due, and which are held: these two hold only those.
    __table_args__ = (
        Index(
            "ix_study_unrevised",
            "last_received_at",
            sqlite_where=text("changed != revised_changed"),
            postgresql_where=text("changed != revised_changed"),
        ),
        Index("ix_study_held", "id", sqlite_where=text("held != ''"), postgresql_where=text("held != ''")),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    patient_pk: Mapped[int] = mapped_column(ForeignKey("patient.id"), index=True)
    StudyInstanceUID: Mapped[str] = mapped_column(String(64), unique=True)
    AccessionNumber: Mapped[str] = mapped_column(String(64), default="", index=True)
    StudyID: Mapped[str] = mapped_column(String(64), default="")
    StudyDate: Mapped[str] = mapped_column(String(8), default="", index=True)
    StudyTime: Mapped[str] = mapped_column(String(16), default="")
    StudyDescription: Mapped[str] = mapped_column(String(256), default="")
    ReferringPhysicianName: Mapped[str] = mapped_column(String(400), default="")
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), default=DEFAULT_PROJECT, index=True)
    restricted: Mapped[bool] = mapped_column(default=False)
    """Only people named on it (``StudyPerson``) see it, of those who are in its project."""
    priority: Mapped[int] = mapped_column(default=0)
    """Order's priority: 0 routine, 1 high, 2 stat. Triage only raises."""
    simulated: Mapped[bool] = mapped_column(default=False)
    held: Mapped[str] = mapped_column(Text, default="")
    """Why nothing is read or delivered (e.g. two patients under one StudyInstanceUID); empty: not held."""
    state: Mapped[str] = mapped_column(String(16), default="receiving", index=True)
    announced_instances: Mapped[int | None] = mapped_column()
    """How many instances the study is to have: the largest number a header named, or what was expected by request."""
    ready_requested: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    changed: Mapped[int] = mapped_column(default=0)
    """Counts changes that a revision must see: new image, correction, rejection. Our own objects don't count."""
    revision: Mapped[int] = mapped_column(default=0)
    """Number of the newest revision; 0 before the first."""
    revised_changed: Mapped[int] = mapped_column(default=0)
    """Value of ``changed`` when the newest revision was made."""

    patient: Mapped[Patient] = relationship(lazy="joined")
    series: Mapped[list["Series"]] = relationship(back_populates="study")


class StudyPerson(Base):
    """An account named on a restricted study."""

    __tablename__ = "study_person"

    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"), primary_key=True)


class GlassBreak(Base):
    """The glass of a study, broken by an account: what it may do there until ``expires_at`` (``archive/glass.py``)."""

    __tablename__ = "glass_break"
    __table_args__ = (Index("ix_glass_break_account_id_study_id", "account_id", "study_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    account_id: Mapped[int] = mapped_column(ForeignKey("account.id"))
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"))
    reason: Mapped[str] = mapped_column(String(32))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Series(Base):
    __tablename__ = "series"

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"), index=True)
    SeriesInstanceUID: Mapped[str] = mapped_column(String(64), unique=True)
    Modality: Mapped[str] = mapped_column(String(16), default="")
    SeriesNumber: Mapped[int | None] = mapped_column()
    SeriesDescription: Mapped[str] = mapped_column(String(256), default="")
    BodyPartExamined: Mapped[str] = mapped_column(String(64), default="")
    type: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """``readers.contract.SeriesType`` as JSON, once intake has typed it."""
    quality: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Quality measures and problems as JSON, once intake has looked."""

    study: Mapped[Study] = relationship(back_populates="series")
    instances: Mapped[list["Instance"]] = relationship(back_populates="series")


class Instance(Base):
    """The current version of one SOP instance."""

    __tablename__ = "instance"
    # Counting the visible images of a series must not touch the rows.
    __table_args__ = (Index("ix_instance_series_pk_hidden", "series_pk", "hidden"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    series_pk: Mapped[int] = mapped_column(ForeignKey("series.id"))
    SOPInstanceUID: Mapped[str] = mapped_column(String(64), unique=True)
    SOPClassUID: Mapped[str] = mapped_column(String(64))
    TransferSyntaxUID: Mapped[str] = mapped_column(String(64))
    InstanceNumber: Mapped[int | None] = mapped_column()
    NumberOfFrames: Mapped[int] = mapped_column(default=1)
    Rows: Mapped[int | None] = mapped_column()
    Columns: Mapped[int | None] = mapped_column()
    origin: Mapped[str] = mapped_column(String(16), default="received")
    """``received``, ``reader`` (AI object, unverified) or ``report`` (written at signing)."""
    hidden: Mapped[str] = mapped_column(String(16), default="")
    """Code value of the rejection note that hides it (113001, 113037, 113038, 113039) or empty."""
    version: Mapped[int] = mapped_column(default=1)
    store_key: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    """Of the data set's bytes as received, without the file meta information; for the value of Pixel Data its own
    SHA-256 is hashed."""
    pixel_sha256: Mapped[str] = mapped_column(String(64), default="")
    """Of the value of Pixel Data (or Float/Double Float) as received; empty where there is none."""
    patient_pk: Mapped[int] = mapped_column(ForeignKey("patient.id"), index=True)
    """The patient its own header names; a study whose images disagree is held."""
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    received_from: Mapped[str] = mapped_column(String(64), default="")

    series: Mapped[Series] = relationship(back_populates="instances")


class InstanceVersion(Base):
    """A version of an instance that a correction replaced; its bytes stay in the store."""

    __tablename__ = "instance_version"
    __table_args__ = (UniqueConstraint("instance_pk", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    instance_pk: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    version: Mapped[int] = mapped_column()
    store_key: Mapped[str] = mapped_column(String(64))
    TransferSyntaxUID: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    dataset_sha256: Mapped[str] = mapped_column(String(64))
    received_at: Mapped[datetime] = mapped_column(UtcDateTime)
    replaced_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class Rejection(Base):
    """One image a rejection note (IOCM) hides, kept so that it stays hidden when it arrives after the note."""

    __tablename__ = "rejection"
    __table_args__ = (UniqueConstraint("note", "SOPInstanceUID"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    note: Mapped[str] = mapped_column(String(64))
    """SOP Instance UID of the note."""
    code: Mapped[str] = mapped_column(String(16))
    StudyInstanceUID: Mapped[str] = mapped_column(String(64))
    SOPInstanceUID: Mapped[str] = mapped_column(String(64), index=True)


class InstanceJson(Base):
    """DICOM JSON of one version of an instance (zlib), rendered once, off the acknowledgement path."""

    __tablename__ = "instance_json"

    instance_pk: Mapped[int] = mapped_column(ForeignKey("instance.id"), primary_key=True)
    version: Mapped[int] = mapped_column()
    body: Mapped[bytes] = mapped_column(LargeBinary)
    frames: Mapped[dict[str, Any] | None] = mapped_column(Json)
    """Where the frames' bytes lie in the stored file (offsets, lengths), where that can be told."""


class StudyRevision(Base):
    """The exact set of instances something looked at."""

    __tablename__ = "study_revision"
    __table_args__ = (UniqueConstraint("study_id", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    study_id: Mapped[str] = mapped_column(ForeignKey("study.id"))
    number: Mapped[int] = mapped_column()
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 over the sorted (SOPInstanceUID, dataset_sha256)."""
    instances: Mapped[list[Any]] = mapped_column(Json)
    """List of ``[instance id, version]``: received, not hidden."""
    partial: Mapped[str] = mapped_column(Text, default="")
    """Why it is partial (gaps, fewer images than announced), or empty."""
    reason: Mapped[str] = mapped_column(String(32), default="quiet")
    """What made it ready: ``quiet``, ``announced``, ``request``."""
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class Quarantined(Base):
    """Data that could not be accepted, kept with its reason. Nothing is thrown away."""

    __tablename__ = "quarantine"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    code: Mapped[str] = mapped_column(String(32))
    """``not-dicom``, ``truncated``, ``missing-tag``, ``bad-uid``, ``pixels-differ``, ``unsupported`` ..."""
    reason: Mapped[str] = mapped_column(Text)
    source: Mapped[str] = mapped_column(String(128), default="")
    SOPInstanceUID: Mapped[str] = mapped_column(String(64), default="")
    study_id: Mapped[str | None] = mapped_column(String(32), index=True)
    store_key: Mapped[str] = mapped_column(String(64))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64), index=True)
    received_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now, index=True)
    resolved_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    resolution: Mapped[str] = mapped_column(Text, default="")


UNDELIVERED = ("waiting", "held")
"""States of a delivery that is to be made yet."""


class Delivery(Base):
    """One stored object to one peer, retried until accepted."""

    __tablename__ = "delivery"
    __table_args__ = (UniqueConstraint("instance_pk", "peer"), Index("ix_delivery_due", "state", "next_try_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    instance_pk: Mapped[int] = mapped_column(ForeignKey("instance.id"))
    peer: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16), default="waiting")
    """``waiting``, ``accepted``, ``held`` (study held; resumed when it is released), ``cancelled`` (rejected)."""
    attempts: Mapped[int] = mapped_column(default=0)
    next_try_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    last_error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)
    accepted_at: Mapped[datetime | None] = mapped_column(UtcDateTime)

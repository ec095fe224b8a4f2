"""Cohorts, their frozen versions, label sets and evaluations on the locked part. All of it can only be added to.

What a withdrawal takes out is a row of its own (``RemovedMember``): the version stays as it was frozen, so that its
hash can be checked for ever, and everything that hands out members leaves that one out.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from readingroom.core.clock import utc_now
from readingroom.core.database import Base, Json, UtcDateTime
from readingroom.core.ids import new_id


class Cohort(Base):
    """What belongs together and for what: a question to one project's studies, or a folder."""

    __tablename__ = "cohort"

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    name: Mapped[str] = mapped_column(String(64), unique=True)
    title: Mapped[str] = mapped_column(String(128), default="")
    project_id: Mapped[int] = mapped_column(ForeignKey("project.id"), index=True)
    purpose: Mapped[str] = mapped_column(String(16))
    """``training`` or ``research``."""
    definition: Mapped[dict[str, Any]] = mapped_column(Json)
    """A ``learning.model.Query`` or ``Folder`` as JSON."""
    shares: Mapped[dict[str, Any]] = mapped_column(Json)
    """``learning.model.Shares``: how much of the groups is for validation and for the test."""
    secret: Mapped[str] = mapped_column(String(256))
    """32 random bytes, sealed (``core/secrets.py``): the key of the hash that decides the part of a group."""
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class CohortPart(Base):
    """The part of a group, once and for ever. ``identity``: keyed hash of a patient or of a declared group."""

    __tablename__ = "cohort_part"
    __table_args__ = (UniqueConstraint("cohort_id", "identity"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohort.id"))
    identity: Mapped[str] = mapped_column(String(32))
    part: Mapped[str] = mapped_column(String(16))


class CohortVersion(Base):
    """The members as they were when somebody froze them."""

    __tablename__ = "cohort_version"
    __table_args__ = (UniqueConstraint("cohort_id", "number"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohort.id"))
    number: Mapped[int] = mapped_column()
    grouping: Mapped[str] = mapped_column(String(16))
    """What a group is: ``patient``, or ``declared`` by the folder's table."""
    left_out: Mapped[dict[str, Any]] = mapped_column(Json)
    """Reason -> how many."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Of all of it (``learning.cohorts.digest_of``)."""
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class CohortMember(Base):
    """A revision of a study, or a file of a folder; in one part, by its group."""

    __tablename__ = "cohort_member"

    id: Mapped[int] = mapped_column(primary_key=True)
    version_id: Mapped[str] = mapped_column(ForeignKey("cohort_version.id"), index=True)
    study_id: Mapped[str | None] = mapped_column(ForeignKey("study.id"), index=True)
    revision: Mapped[int | None] = mapped_column()
    file: Mapped[str] = mapped_column(Text, default="")
    """Where it lies in the folder; empty for a study."""
    sha256: Mapped[str] = mapped_column(String(64))
    """Digest of the study's revision, or of the file's bytes."""
    patient_id: Mapped[int | None] = mapped_column(index=True)
    """Key of the archive's patient, also where a file names one that is known here: a withdrawal finds it by that."""
    group: Mapped[str] = mapped_column(String(32))
    part: Mapped[str] = mapped_column(String(16))


class RemovedMember(Base):
    """A member that a withdrawal took out. It is in no view, label set, export or evaluation from then on."""

    __tablename__ = "cohort_member_removed"

    member_id: Mapped[int] = mapped_column(ForeignKey("cohort_member.id"), primary_key=True, autoincrement=False)
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class LabelSet(Base):
    """What people had decided about the members of a version when somebody froze it."""

    __tablename__ = "label_set"
    __table_args__ = (UniqueConstraint("version_id", "number"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    version_id: Mapped[str] = mapped_column(ForeignKey("cohort_version.id"))
    number: Mapped[int] = mapped_column()
    complete: Mapped[list[Any]] = mapped_column(Json)
    """Ids of the members of which a person said that there is nothing further, or signed the report."""
    sha256: Mapped[str] = mapped_column(String(64))
    created_by: Mapped[str] = mapped_column(String(128))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)


class LabelRow(Base):
    """One label: a finding and what a person decided about it."""

    __tablename__ = "label"

    id: Mapped[int] = mapped_column(primary_key=True)
    set_id: Mapped[str] = mapped_column(ForeignKey("label_set.id"), index=True)
    member_id: Mapped[int] = mapped_column(ForeignKey("cohort_member.id"), index=True)
    decision: Mapped[str] = mapped_column(String(16))
    """``accepted``, ``edited``, ``added``, ``rejected``."""
    verdict_id: Mapped[str] = mapped_column(String(32))
    """The verdict that says so. No foreign key: this room stands below the verdicts'."""
    body: Mapped[dict[str, Any]] = mapped_column(Json)
    """``learning.model.Label`` as JSON."""


class LockedEvaluation(Base):
    """One look at the test part. ``number`` counts all looks at this cohort's."""

    __tablename__ = "locked_evaluation"
    __table_args__ = (UniqueConstraint("cohort_id", "number"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True, default=new_id)
    cohort_id: Mapped[str] = mapped_column(ForeignKey("cohort.id"))
    number: Mapped[int] = mapped_column()
    label_set_id: Mapped[str] = mapped_column(ForeignKey("label_set.id"))
    reader: Mapped[str] = mapped_column(String(64))
    reader_version: Mapped[str] = mapped_column(String(32))
    weights_sha256: Mapped[str] = mapped_column(String(64))
    why: Mapped[str] = mapped_column(Text)
    result: Mapped[dict[str, Any]] = mapped_column(Json)
    """``learning.locked.Result`` as JSON."""
    by: Mapped[str] = mapped_column(String(128))
    at: Mapped[datetime] = mapped_column(UtcDateTime, default=utc_now)

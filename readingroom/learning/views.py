"""What the page and ``readingroom cohort show`` tell of a cohort: numbers, never a label of the locked test part."""

from collections import Counter
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.tables import Project
from readingroom.core.permissions import House, Permission
from readingroom.learning.cohorts import all_cohorts, definition_of, is_intact, members_of, newest, removed_from
from readingroom.learning.labels import label_counts
from readingroom.learning.locked import Result, looks_at, said
from readingroom.learning.model import Folder, LeftOut, Part
from readingroom.learning.tables import Cohort, CohortVersion, LabelSet


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class PartView(_Model):
    part: Part
    members: int
    groups: int


class LabelSetView(_Model):
    """``counts``: part -> decision -> how many. ``complete``: members of which all was judged. Neither tells of the
    test part."""

    number: int
    sha256: str
    created_by: str
    created_at: datetime
    complete: int
    counts: dict[str, dict[str, int]]


class VersionView(_Model):
    """``removed``: taken out by withdrawals since. ``intact``: still what was frozen, by its hash."""

    number: int
    sha256: str
    created_by: str
    created_at: datetime
    grouping: str
    parts: tuple[PartView, ...]
    left_out: dict[str, int]
    removed: int
    intact: bool
    label_sets: tuple[LabelSetView, ...]


class LookView(_Model):
    number: int
    said: str
    by: str
    at: datetime
    why: str
    reader: str
    reader_version: str
    weights_sha256: str
    version: int
    label_set: int
    result: Result


class CohortLine(_Model):
    id: str
    name: str
    title: str
    project: str
    purpose: str
    source: str
    version: int | None
    """The newest; None before it was ever frozen."""
    members: int
    looks: int


class CohortView(CohortLine):
    created_by: str
    created_at: datetime
    definition: dict[str, Any]
    shares: dict[str, Any]
    versions: tuple[VersionView, ...]
    """Newest first."""
    evaluations: tuple[LookView, ...]
    may_write: bool


def cohort_lines(session: Session, actor: Actor) -> list[CohortLine]:
    """Return the cohorts of the actor's projects, by name."""
    return [_line(session, cohort) for cohort in all_cohorts(session, actor)]


def _line(session: Session, cohort: Cohort) -> CohortLine:
    version = newest(session, cohort)
    project = session.get_one(Project, cohort.project_id)
    return CohortLine(
        id=cohort.id,
        name=cohort.name,
        title=cohort.title,
        project=project.name,
        purpose=cohort.purpose,
        source=str(cohort.definition["source"]),
        version=version.number if version else None,
        members=len(members_of(session, version)) if version else 0,
        looks=len(looks_at(session, cohort)),
    )


def cohort_view(session: Session, cohort: Cohort, actor: Actor) -> CohortView:
    """Return all that is shown of a cohort. Where a folder lies is the operator's business."""
    definition = definition_of(cohort)
    operator = actor.role is House.OPERATOR
    hidden = {"path"} if isinstance(definition, Folder) and not operator else set()
    versions = session.scalars(
        select(CohortVersion).where(CohortVersion.cohort_id == cohort.id).order_by(CohortVersion.number.desc())
    ).all()
    return CohortView(
        **_line(session, cohort).model_dump(),
        created_by=cohort.created_by,
        created_at=cohort.created_at,
        definition=definition.model_dump(mode="json", exclude=hidden),
        shares=cohort.shares,
        versions=tuple(version_view(session, cohort, version, actor) for version in versions),
        evaluations=_looks(session, cohort),
        may_write=operator or cohort.project_id in actor.projects_for(Permission.COHORT_WRITE),
    )


def version_view(session: Session, cohort: Cohort, version: CohortVersion, actor: Actor) -> VersionView:
    members = members_of(session, version)
    counted = Counter(member.part for member in members)
    groups = {part: len({m.group for m in members if m.part == part}) for part in Part}
    left_out = dict(version.left_out)
    if actor.role is not House.OPERATOR and actor.name != version.created_by:
        # Of a restricted study the others of the project don't know that it is there, not even by a number.
        left_out.pop(LeftOut.RESTRICTED, None)
    sets = session.scalars(select(LabelSet).where(LabelSet.version_id == version.id).order_by(LabelSet.number.desc()))
    open_ids = {member.id for member in members if member.part != Part.TEST}
    return VersionView(
        number=version.number,
        sha256=version.sha256,
        created_by=version.created_by,
        created_at=version.created_at,
        grouping=version.grouping,
        parts=tuple(PartView(part=part, members=counted[part], groups=groups[part]) for part in Part),
        left_out=left_out,
        removed=removed_from(session, version),
        intact=is_intact(session, cohort, version),
        label_sets=tuple(
            LabelSetView(
                number=one.number,
                sha256=one.sha256,
                created_by=one.created_by,
                created_at=one.created_at,
                complete=len(open_ids & set(one.complete)),
                counts=label_counts(session, version, one),
            )
            for one in sets
        ),
    )


def _looks(session: Session, cohort: Cohort) -> tuple[LookView, ...]:
    names = {
        row.id: (row.number, row.of)
        for row in session.execute(
            select(LabelSet.id, LabelSet.number, CohortVersion.number.label("of"))
            .join(CohortVersion, CohortVersion.id == LabelSet.version_id)
            .where(CohortVersion.cohort_id == cohort.id)
        )
    }
    return tuple(
        LookView(
            number=look.number,
            said=said(look),
            by=look.by,
            at=look.at,
            why=look.why,
            reader=look.reader,
            reader_version=look.reader_version,
            weights_sha256=look.weights_sha256,
            version=names[look.label_set_id][1],
            label_set=names[look.label_set_id][0],
            result=Result.model_validate(look.result),
        )
        for look in looks_at(session, cohort)
    )

"""Which studies somebody may see: the one place that decides it, for one study and for lists.

A study is seen by the members of its project; a restricted one only by those of them who are named on it. Besides, an
account that broke a study's glass sees it until the glass closes (``glass.py``). A project of research or teaching
shows no study whose patient says no to that. For everybody else a study does not exist. ``visible`` is a condition on
any query over ``Study``; ``permissions_on`` asks about one study that an address names, before its route runs
(``web/permissions.py``). Both read the same table, ``core/permissions.py``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    true,
    update,
)
from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.consent import says_no
from readingroom.access.tables import Account, Membership, Project
from readingroom.archive.tables import GlassBreak, Study, StudyPerson
from readingroom.core.audit import AuditCode, record
from readingroom.core.clock import utc_now
from readingroom.core.errors import BadInput, NotFound
from readingroom.core.permissions import ABOUT_STUDIES, House, Permission, ProjectKind, Role, through_glass
from readingroom.core.purposes import Purpose

PURPOSE_OF_KIND = {ProjectKind.RESEARCH: Purpose.RESEARCH, ProjectKind.TEACHING: Purpose.TEACHING}
"""What the studies of a project serve, where that is not the patient's care."""
_OF_CONSENT = frozenset({Permission.CONSENT_READ, Permission.CONSENT_WRITE})


def visible(actor: Actor, permission: Permission = Permission.STUDY_QUERY) -> ColumnElement[bool]:
    """Return the condition that ``actor`` holds ``permission`` on a ``Study``."""
    if actor.role is House.SYSTEM:
        return true()
    if actor.role is House.OPERATOR:
        return true() if permission in actor.permissions else false()
    account = actor.account_id
    named = exists().where(StudyPerson.study_id == Study.id, StudyPerson.account_id == account)
    member = and_(Study.project_id.in_(actor.projects_for(permission)), or_(~Study.restricted, named))
    for kind, purpose in PURPOSE_OF_KIND.items():
        if of_kind := [key for key in actor.projects_for(permission) if actor.projects[key].kind is kind]:
            member = and_(member, ~and_(Study.project_id.in_(of_kind), says_no(Study.patient_pk, purpose)))
    if not _may_open_glass(actor, permission):
        return member
    opened = exists().where(
        GlassBreak.study_id == Study.id, GlassBreak.account_id == account, GlassBreak.expires_at > utc_now()
    )
    return or_(member, opened)


@dataclass(frozen=True)
class OnStudy:
    """What an actor may do to one study; nothing at all where it may not know of it."""

    study_id: str
    permissions: frozenset[Permission]
    glass_until: datetime | None = None


_NAMED = exists().where(StudyPerson.study_id == Study.id, StudyPerson.account_id == bindparam("account"))
_OPENED = (
    select(func.max(GlassBreak.expires_at))
    .where(GlassBreak.study_id == Study.id, GlassBreak.account_id == bindparam("account"))
    .scalar_subquery()
)
_LOOK = select(Study.id, Study.project_id, Study.restricted, _NAMED.label("named"), _OPENED.label("glass_until"))
# Built once: this runs before every request for a study.
_BY_ID = _LOOK.where(Study.id == bindparam("study"))
_BY_UID = _LOOK.where(Study.StudyInstanceUID == bindparam("study"))


def permissions_on(session: Session, actor: Actor, *, study_id: str = "", uid: str = "") -> OnStudy | None:
    """Return what ``actor`` may do to a study, named by our id or its UID; None where there is no such study."""
    statement, study = (_BY_ID, study_id) if study_id else (_BY_UID, uid)
    row = session.execute(statement, {"study": study, "account": actor.account_id}).first()
    if row is None:
        return None
    if actor.role is House.SYSTEM:
        return OnStudy(row.id, ABOUT_STUDIES)
    project = actor.projects.get(row.project_id)
    as_member = project.permissions if project and (row.named or not row.restricted) else frozenset()
    purpose = PURPOSE_OF_KIND.get(project.kind) if project else None
    if purpose and session.scalar(select(Study.id).where(Study.id == row.id, says_no(Study.patient_pk, purpose))):
        # Whoever wrote it down can still see and change that.
        as_member &= _OF_CONSENT
    if Permission.STUDY_READ in as_member or not _may_open_glass(actor, Permission.STUDY_READ):
        return OnStudy(row.id, as_member)
    if row.glass_until is None or row.glass_until <= utc_now():
        return OnStudy(row.id, as_member)
    assert isinstance(actor.role, Role)
    return OnStudy(row.id, as_member | through_glass(actor.role), row.glass_until)


def _may_open_glass(actor: Actor, permission: Permission) -> bool:
    """Whether broken glass counts: for the person at the browser who broke it, never for a program."""
    return bool(actor.session) and isinstance(actor.role, Role) and permission in through_glass(actor.role)


def people_on(session: Session, study_id: str) -> list[Account]:
    """Return the accounts named on a study, by name."""
    named = select(StudyPerson.account_id).where(StudyPerson.study_id == study_id)
    return list(session.scalars(select(Account).where(Account.id.in_(named)).order_by(Account.name)))


def people_of_project(session: Session, study_id: str) -> list[Account]:
    """Return the people who can be named on a study: those in its project who may sign in."""
    project = select(Study.project_id).where(Study.id == study_id).scalar_subquery()
    members = select(Membership.account_id).where(Membership.project_id == project)
    people = select(Account).where(
        Account.id.in_(members), Account.disabled.is_(False), Account.role != Role.SERVICE.value
    )
    return list(session.scalars(people.order_by(Account.name)))


def restrict(session: Session, study_id: str, names: Sequence[str], actor: Actor) -> None:
    """Let only these people see the study. Whoever says so is always among them. Raises BadInput for a stranger."""
    members = {account.name: account.id for account in people_of_project(session, study_id)}
    wanted = {*names, actor.name}
    if not wanted <= set(members):
        raise BadInput("Only people of the study's project can be named on it.", "Add them to the project first.")
    session.execute(update(Study).where(Study.id == study_id).values(restricted=True))
    session.execute(delete(StudyPerson).where(StudyPerson.study_id == study_id))
    session.execute(
        insert(StudyPerson), [{"study_id": study_id, "account_id": members[name]} for name in sorted(wanted)]
    )
    _audit(session, "study-restricted", study_id, actor, {"people": sorted(wanted)})


def open_up(session: Session, study_id: str, actor: Actor) -> None:
    """Let the whole project see the study again."""
    session.execute(update(Study).where(Study.id == study_id).values(restricted=False))
    session.execute(delete(StudyPerson).where(StudyPerson.study_id == study_id))
    _audit(session, "study-opened-up", study_id, actor, {})


def file_study(session: Session, study_id: str, project: Project, *, actor: str) -> None:
    """Move a study to a project; the people named on it are those of its old one, so they are no longer. NotFound."""
    study = session.get(Study, study_id)
    if study is None:
        raise NotFound("There is no such study.")
    study.project_id = project.id
    session.execute(delete(StudyPerson).where(StudyPerson.study_id == study_id))
    record(
        session,
        AuditCode.SECURITY_ALERT,
        "study-filed",
        actor,
        study_id=study_id,
        detail={"project": project.name},
    )


def _audit(session: Session, action: str, study_id: str, actor: Actor, detail: dict[str, list[str]]) -> None:
    record(session, AuditCode.SECURITY_ALERT, action, actor.name, study_id=study_id, detail=dict(detail))


def inherit(connection: Connection, study_id: str, patient_pk: int) -> None:
    """Restrict a study that has just come to a patient who has a restricted one, to the same people."""
    others = (Study.patient_pk == patient_pk, Study.restricted, Study.id != study_id)
    if not connection.scalar(select(exists().where(*others))):
        return
    connection.execute(update(Study).where(Study.id == study_id).values(restricted=True))
    connection.execute(delete(StudyPerson).where(StudyPerson.study_id == study_id))
    people = select(StudyPerson.account_id).join(Study, Study.id == StudyPerson.study_id).where(*others).distinct()
    rows = [{"study_id": study_id, "account_id": account_id} for account_id in connection.scalars(people)]
    if rows:
        connection.execute(insert(StudyPerson), rows)

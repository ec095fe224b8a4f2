"""Projects and memberships: which accounts a project's studies are for, and as what each counts there."""

import re
from collections.abc import Mapping, Sequence

from sqlalchemy import delete, select
from sqlalchemy.orm import Session

from readingroom.access.tables import Account, Membership, Project
from readingroom.core.audit import AuditCode, record
from readingroom.core.errors import BadInput, Conflict, NotFound
from readingroom.core.permissions import MEMBER_ROLES, ProjectKind, Role

DEFAULT_PROJECT = 1
"""Key of ``care``, which the migration makes: where studies go that no rule sends elsewhere."""
DEFAULT_NAME = "care"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def create_project(session: Session, name: str, kind: ProjectKind, *, title: str = "", actor: str) -> Project:
    """Add a project; its kind stays. Raises BadInput on a bad name, Conflict where it is taken."""
    if not _NAME.fullmatch(name):
        raise BadInput("A project's name has 1 to 64 letters, digits or ._-.", "It starts with a letter or digit.")
    if session.scalar(select(Project.id).where(Project.name == name)) is not None:
        raise Conflict("There is a project of that name.", "Choose another name.")
    project = Project(name=name, title=title.strip()[:128], kind=ProjectKind(kind).value)
    session.add(project)
    session.flush()
    record(session, AuditCode.SECURITY_ALERT, "project-created", actor, detail={"project": name, "kind": project.kind})
    return project


def find_project(session: Session, name: str) -> Project:
    """Return the project of that name. Raises NotFound."""
    project = session.scalar(select(Project).where(Project.name == name))
    if project is None:
        raise NotFound("There is no project of that name.", "readingroom project list shows those there are.")
    return project


def all_projects(session: Session) -> list[Project]:
    """Return every project, by name."""
    return list(session.scalars(select(Project).order_by(Project.name)))


def memberships(session: Session, account_ids: Sequence[int]) -> dict[int, list[tuple[Project, Role]]]:
    """Return the projects of each account with its role there, by name of the project."""
    found: dict[int, list[tuple[Project, Role]]] = {account_id: [] for account_id in account_ids}
    rows = session.execute(
        select(Membership.account_id, Project, Membership.role)
        .join(Project, Project.id == Membership.project_id)
        .where(Membership.account_id.in_(account_ids))
        .order_by(Project.name)
    )
    for account_id, project, role in rows:
        found[account_id].append((project, Role(role)))
    return found


def set_memberships(session: Session, account: Account, wanted: Mapping[str, Role], *, actor: str) -> None:
    """Make ``account`` a member of just these projects (name -> role there).

    Raises NotFound for a project, BadInput for a role that does not count in that kind of project.
    """
    session.execute(delete(Membership).where(Membership.account_id == account.id))
    for name, role in wanted.items():
        project = find_project(session, name)
        if not {role, Role(account.role)} <= MEMBER_ROLES[ProjectKind(project.kind)]:
            raise BadInput(
                f"A {account.role} cannot be a member of {project.name} as {role.value}.",
                f"It is a project for {project.kind}; docs/rooms/access.md has the table.",
            )
        session.add(Membership(account_id=account.id, project_id=project.id, role=role.value))
    session.flush()
    detail = {"account": account.name, "projects": {name: role.value for name, role in wanted.items()}}
    record(session, AuditCode.SECURITY_ALERT, "memberships-changed", actor, detail=detail)


def default_memberships(role: Role) -> dict[str, Role]:
    """Return where a new account of ``role`` is a member unless somebody says otherwise: people of the house in care.

    Researchers and machines start with nothing.
    """
    at_home = role in MEMBER_ROLES[ProjectKind.CARE] and role is not Role.SERVICE
    return {DEFAULT_NAME: role} if at_home else {}

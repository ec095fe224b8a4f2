"""Who asks, and what they may do: made once for each request from the account, its projects and its token."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from readingroom.access.tables import Account, ApiToken, Membership, Project
from readingroom.core.permissions import (
    ABOUT_STUDIES,
    ROLE_PERMISSIONS,
    House,
    Permission,
    ProjectKind,
    Role,
    allowed,
    in_project,
)


@dataclass(frozen=True)
class InProject:
    """What an actor may do to the studies of one project."""

    name: str
    kind: ProjectKind
    permissions: frozenset[Permission]


@dataclass(frozen=True)
class Actor:
    """The account that asks. ``permissions``: all it holds; about a study that an address names, those it has there.

    ``projects``: by key. ``session`` tells browser sessions apart; empty for programs and the public.
    ``glass_until``: the study is open to it through broken glass, until then.
    """

    name: str
    role: Role | House | None
    account_id: int | None
    display_name: str = ""
    session: str = ""
    permissions: frozenset[Permission] = frozenset({Permission.PUBLIC})
    projects: Mapping[int, InProject] = field(default_factory=dict)
    glass_until: datetime | None = None

    def projects_for(self, permission: Permission) -> list[int]:
        """Return the keys of the projects in whose studies the actor holds ``permission``."""
        return sorted(key for key, project in self.projects.items() if permission in project.permissions)


NOBODY = Actor("", None, None)
SYSTEM = Actor("system", House.SYSTEM, None, permissions=ABOUT_STUDIES)
"""Our own background jobs: they see every study."""
OPERATOR = Actor(
    "command line", House.OPERATOR, None, permissions=frozenset(p for p in Permission if allowed(House.OPERATOR, p))
)
"""Whoever runs commands: they hold the home folder."""

_PROJECTS = select(Project.id, Project.name, Project.kind, Membership.role).join(
    Membership, Membership.project_id == Project.id
)


def actor_of(session: Session, account: Account, *, web_session: str = "", token: ApiToken | None = None) -> Actor:
    """Return the actor for a signed-in account, or for one of its tokens, which only narrows what it may do."""
    role = Role(account.role)
    scopes = ROLE_PERMISSIONS[role]
    if token is not None:
        scopes &= frozenset(Permission(scope) for scope in token.scopes)
        if token.project_id is not None:
            # A token for one project holds nothing that reaches beyond it.
            scopes &= ABOUT_STUDIES
    projects = {}
    for row in session.execute(_PROJECTS.where(Membership.account_id == account.id)):
        if token is not None and token.project_id not in (None, row.id):
            continue
        kind = ProjectKind(row.kind)
        projects[row.id] = InProject(row.name, kind, in_project(role, Role(row.role), kind) & scopes)
    return Actor(account.name, role, account.id, account.display_name, web_session, scopes, projects)

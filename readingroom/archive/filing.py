"""Where what comes in belongs: the project of a sender's new studies, and the projects to whose studies it may add."""

from dataclasses import dataclass

from sqlalchemy.orm import Session

from readingroom.access.actor import Actor
from readingroom.access.projects import DEFAULT_PROJECT, find_project
from readingroom.core.errors import Forbidden, NotFound
from readingroom.core.permissions import House, Permission


@dataclass(frozen=True)
class Filing:
    """``may_add_to``: projects whose studies may get more images and corrections from this sender; None for all."""

    project_id: int = DEFAULT_PROJECT
    may_add_to: frozenset[int] | None = frozenset({DEFAULT_PROJECT})


HOME = Filing()
"""Into the default project, and nowhere else."""


def filing_of_actor(actor: Actor, project: str = "") -> Filing:
    """Return where an account stores: into ``project``, else the default project, else the first of its own.

    Raises NotFound for a project it is not in, Forbidden where it may store into none.
    """
    if actor.role is House.SYSTEM:
        return HOME
    mine = actor.projects_for(Permission.STUDY_STORE)
    if not mine:
        raise Forbidden("The account is in no project that it may store into.", "Ask an administrator.")
    chosen = DEFAULT_PROJECT if DEFAULT_PROJECT in mine else mine[0]
    if project:
        named = [key for key in mine if actor.projects[key].name == project]
        if not named:
            raise NotFound("The account stores into no project of that name.", "Ask an administrator.")
        chosen = named[0]
    return Filing(chosen, frozenset(mine))


def filing_of_project(session: Session, project: str) -> Filing:
    """Return where a machine stores that is configured for ``project`` (empty: the default). Raises NotFound."""
    key = find_project(session, project).id if project else DEFAULT_PROJECT
    return Filing(key, frozenset({key}))

"""``readingroom project add|list|members|file``: projects, who is in them, and which study belongs to which."""

import argparse
from collections.abc import Sequence
from typing import Any

from sqlalchemy.orm import Session

from readingroom.cli.home import add_home, open_home
from readingroom.core.database import Database, upgrade
from readingroom.core.errors import BadInput
from readingroom.core.permissions import ProjectKind, Role

ACTOR = "command line"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("project", help="add projects, put people and studies into them")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add = actions.add_parser("add", help="add a project")
    add.add_argument("name")
    add.add_argument("--kind", choices=[kind.value for kind in ProjectKind], required=True)
    add.add_argument("--title", default="", help="what it is about")
    add_home(add)
    listing = actions.add_parser("list", help="list projects and who is in them")
    add_home(listing)
    members = actions.add_parser(
        "members",
        help="say where an account is a member",
        description="Make an account a member of just these projects, each as PROJECT or PROJECT=ROLE.",
    )
    members.add_argument("account")
    members.add_argument("project", nargs="*", metavar="PROJECT[=ROLE]")
    add_home(members)
    file = actions.add_parser("file", help="move a study to a project")
    file.add_argument("study_id", help="as in the address of its page")
    file.add_argument("name", metavar="PROJECT")
    add_home(file)


def run(options: argparse.Namespace) -> int:
    settings = open_home(options.home)
    database = Database(settings.index_url)
    try:
        upgrade(database.engine)
        with database.write() as session:
            {"add": _add, "list": _list, "members": _members, "file": _file}[options.action](session, options)
    finally:
        database.close()
    return 0


def _add(session: Session, options: argparse.Namespace) -> None:
    from readingroom.access.projects import create_project

    create_project(session, options.name, ProjectKind(options.kind), title=options.title, actor=ACTOR)
    print(f"project {options.name}: done")


def _list(session: Session, options: argparse.Namespace) -> None:
    from readingroom.access.administration import all_accounts
    from readingroom.access.projects import all_projects, memberships

    accounts = all_accounts(session)
    of = memberships(session, [account.id for account in accounts])
    for project in all_projects(session):
        print(f"{project.name}  {project.kind}  {project.title}".rstrip())
        for account in accounts:
            for joined, role in of[account.id]:
                if joined.id == project.id:
                    print(f"  {account.name} as {role.value}")


def _members(session: Session, options: argparse.Namespace) -> None:
    from readingroom.access.accounts import find_account
    from readingroom.access.projects import set_memberships

    account = find_account(session, options.account)
    set_memberships(session, account, wanted_memberships(options.project, Role(account.role)), actor=ACTOR)
    print(f"account {account.name}: done")


def wanted_memberships(texts: Sequence[str], role: Role) -> dict[str, Role]:
    """Read PROJECT or PROJECT=ROLE, of an account of ``role``. Raises BadInput for a role that is none."""
    wanted = {}
    for text in texts:
        name, _, there = text.partition("=")
        if there not in ("", *Role):
            raise BadInput("There is no such role.", f"One of: {', '.join(Role)}.")
        wanted[name] = Role(there or role)
    return wanted


def _file(session: Session, options: argparse.Namespace) -> None:
    from readingroom.access.projects import find_project
    from readingroom.archive.visibility import file_study

    file_study(session, options.study_id, find_project(session, options.name), actor=ACTOR)
    print("done")

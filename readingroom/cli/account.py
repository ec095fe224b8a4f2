"""``readingroom account add NAME --role ROLE``, ``account password NAME`` and ``account reset-factors NAME``."""

import argparse
import getpass
import os
import sys
from pathlib import Path
from typing import Any

from readingroom.cli.home import add_home, open_home
from readingroom.cli.project import wanted_memberships
from readingroom.core.database import Database, upgrade
from readingroom.core.errors import BadInput
from readingroom.core.permissions import Role

PASSWORD_VARIABLE = "READINGROOM_PASSWORD"  # noqa: S105  (its name, not its value)


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("account", help="add accounts and change passwords")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    source = f"The password is asked for, or comes from a file, from {PASSWORD_VARIABLE}, or from standard input."
    add = actions.add_parser("add", help="add an account", description=f"Add an account. {source}")
    add.add_argument("name")
    add.add_argument("--role", choices=[role.value for role in Role], required=True)
    add.add_argument(
        "--project",
        action="append",
        metavar="PROJECT[=ROLE]",
        help="a member of this project only; may be given several times (default: care, for the people who work there)",
    )
    add.add_argument("--display-name", default="", help="as shown and written into reports")
    add_home(add)
    change = actions.add_parser("password", help="set a new password", description=f"Set a new password. {source}")
    change.add_argument("name")
    add_home(change)
    for action in (add, change):
        action.add_argument("--password-file", type=Path, metavar="FILE", help="its first line is the password")
    reset = actions.add_parser(
        "reset-factors",
        help="remove a lost second factor",
        description="Remove the authenticator app, recovery codes and passkeys of somebody who lost them.",
    )
    reset.add_argument("name")
    add_home(reset)


def run(options: argparse.Namespace) -> int:
    from readingroom.access.accounts import change_password, create_account, forget_factors

    settings = open_home(options.home)
    password = _password(options.password_file) if options.action != "reset-factors" else ""
    database = Database(settings.index_url)
    try:
        upgrade(database.engine)
        with database.write() as session:
            if options.action == "add":
                create_account(
                    session,
                    options.name,
                    password,
                    Role(options.role),
                    display_name=options.display_name,
                    projects=wanted_memberships(options.project, Role(options.role)) if options.project else None,
                    actor="command line",
                )
            elif options.action == "password":
                change_password(session, options.name, password, actor="command line")
            else:
                forget_factors(session, options.name, actor="command line")
    finally:
        database.close()
    print(f"account {options.name}: done")
    return 0


def _password(file: Path | None) -> str:
    """Return the password from the file, the environment, a prompt (twice) or standard input; never an argument."""
    if file is not None:
        try:
            return file.read_text("utf-8").partition("\n")[0].rstrip("\r")
        except (OSError, UnicodeDecodeError):
            raise BadInput("The file with the password cannot be read.", "Look at its path and owner.") from None
    if PASSWORD_VARIABLE in os.environ:
        return os.environ[PASSWORD_VARIABLE]
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != first:
        raise BadInput("The two passwords differ.", "Try again.")
    return first

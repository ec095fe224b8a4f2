"""``readingroom token create ACCOUNT``, ``token list [ACCOUNT]`` and ``token revoke ID``: API tokens for programs."""

import argparse
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from readingroom.cli.home import add_home, open_home
from readingroom.core.database import Database, upgrade
from readingroom.core.errors import BadInput
from readingroom.core.permissions import FOR_TOKENS, Permission

ACTOR = "command line"


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("token", help="make, list and revoke API tokens")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    create = actions.add_parser(
        "create",
        help="make a token",
        description="Make a token and print it, once. A program sends it as 'Authorization: Bearer TOKEN'.",
        epilog=f"Scopes: {', '.join(sorted(FOR_TOKENS))}; of these, what the account's role holds.",
    )
    create.add_argument("account")
    create.add_argument("--name", required=True, help="what uses it")
    create.add_argument("--scope", action="append", required=True, metavar="SCOPE", help="may be given several times")
    create.add_argument("--project", default="", help="only in this project (default: all of the account's)")
    create.add_argument("--days", type=int, default=90, help="how long it is good for (default: 90)")
    add_home(create)
    listing = actions.add_parser("list", help="list tokens")
    listing.add_argument("account", nargs="?", default="", help="only this account's")
    add_home(listing)
    revoke = actions.add_parser("revoke", help="end a token now")
    revoke.add_argument("id")
    add_home(revoke)


def run(options: argparse.Namespace) -> int:
    settings = open_home(options.home)
    database = Database(settings.index_url)
    try:
        upgrade(database.engine)
        with database.write() as session:
            {"create": _create, "list": _list, "revoke": _revoke}[options.action](session, options)
    finally:
        database.close()
    return 0


def _create(session: Session, options: argparse.Namespace) -> None:
    from readingroom.access.accounts import find_account
    from readingroom.access.tokens import create_token

    try:
        scopes = [Permission(scope) for scope in options.scope]
    except ValueError:
        raise BadInput("There is no such scope.", "readingroom token create --help lists them.") from None
    account = find_account(session, options.account)
    new = create_token(session, account, options.name, scopes, options.days, project=options.project, actor=ACTOR)
    print(f"{new.text}\n  id {new.id}, until {_day(new.expires_at)}. It is not shown again.")


def _list(session: Session, options: argparse.Namespace) -> None:
    from readingroom.access.accounts import find_account
    from readingroom.access.tokens import tokens_of

    account_id = find_account(session, options.account).id if options.account else None
    for token in tokens_of(session, account_id):
        state = "revoked" if token.revoked_at else f"until {_day(token.expires_at)}"
        used = f"last used {_day(token.used_at)}" if token.used_at else "never used"
        print(f"{token.id}  {token.account.name}  {token.name}  {state}, {used}  {' '.join(token.scopes)}")


def _revoke(session: Session, options: argparse.Namespace) -> None:
    from readingroom.access.tokens import revoke_token

    revoke_token(session, options.id, actor=ACTOR)
    print("revoked")


def _day(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d")

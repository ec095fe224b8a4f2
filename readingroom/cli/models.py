"""``readingroom models list|add|shadow|promote|rollback|retire|verify``: the life of reader versions."""

import argparse
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from readingroom.cli.home import add_home, open_home
from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.core.errors import BadInput, ReadingRoomError

ACTOR = "command line"
CHANGES = {
    "shadow": "let a candidate run unseen, after the live ones",
    "promote": "make a version in shadow live; the one before retires",
    "rollback": "return the version before the live one",
    "retire": "put a version to rest",
}


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("models", help="reader versions: add, shadow, promote, roll back, retire, verify")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    add_home(actions.add_parser("list", help="list the versions, their states, who and why"))
    add_home(actions.add_parser("verify", help="check signature and files of every version"))
    add = actions.add_parser(
        "add",
        help="add a version",
        description="PATH is an ONNX file with its manifest beside it, a folder with both, a MONAI bundle, or a folder "
        "with card.yaml and weights for a reader that is installed.",
    )
    add.add_argument("path", type=Path, metavar="PATH")
    _add_why(add)
    for name, words in CHANGES.items():
        change = actions.add_parser(name, help=words)
        change.add_argument("reader")
        if name != "rollback":
            change.add_argument("version")
        _add_why(change)


def _add_why(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--why", required=True, help="the reason, kept and shown; name no patient")
    add_home(parser)


def run(options: argparse.Namespace) -> int:
    """Return 0; 1 where ``verify`` found something wrong."""
    settings = open_home(options.home)
    database = Database(settings.index_url)
    try:
        upgrade(database.engine)
        if options.action == "list":
            return _list(settings, database)
        if options.action == "verify":
            return _verify(settings, database)
        if options.action == "add":
            return _add(settings, database, options)
        with database.write() as session:
            return _change(session, settings, options)
    finally:
        database.close()


def _list(settings: Settings, database: Database) -> int:
    from readingroom.learning.models.life import State, lives
    from readingroom.readers.registry import load_readers

    with database.read() as session:
        found = lives(session)
    live = {life.row.reader for life in found if life.state is State.LIVE}
    for loaded in load_readers():
        state = "replaced" if loaded.name in live else "live" if not loaded.error else f"cannot be used. {loaded.error}"
        print(f"{loaded.name} {loaded.version}  as installed: {state}")
    for life in found:
        last = life.changes[-1]
        print(f"{life.row.reader} {life.row.version}  {life.state}  {last.at:%Y-%m-%d %H:%M} {last.actor}: {last.why}")
    return 0


def _verify(settings: Settings, database: Database) -> int:
    from readingroom.core.secrets import load_secrets
    from readingroom.learning.models.life import lives
    from readingroom.learning.models.store import verify

    wrong = 0
    with database.read() as session:
        for life in lives(session):
            try:
                verify(settings, load_secrets(settings), life.row)
                words = "as it was signed"
            except ReadingRoomError as error:
                wrong, words = wrong + 1, f"WRONG. {error}"
            print(f"{life.row.reader} {life.row.version}: {words}")
    return 1 if wrong else 0


def _add(settings: Settings, database: Database, options: argparse.Namespace) -> int:
    from readingroom.learning.models.adding import add_version
    from readingroom.learning.models.life import life_by_id
    from readingroom.learning.models.package import read_package
    from readingroom.learning.models.serving import want_reads_here
    from readingroom.workflow.try_reader import torchscript_to_onnx, try_draft

    draft = read_package(options.path, partial(torchscript_to_onnx, settings))
    want_reads_here(settings, draft.reader)
    try_draft(settings, draft)
    with database.write() as session:
        row = add_version(session, settings, draft, actor=ACTOR, why=options.why)
        print(f"{row.reader} {row.version}: {life_by_id(session, row.id).state}")
    return 0


def _change(session: Session, settings: Settings, options: argparse.Namespace) -> int:
    from readingroom.learning.models.changing import Action, change
    from readingroom.learning.models.life import State, life_of, lives

    if options.action == "rollback":
        chosen = next((life for life in lives(session, options.reader) if life.state is State.LIVE), None)
        if chosen is None:
            raise BadInput(f"No added version of {options.reader} is live.", "readingroom models list shows all.")
    else:
        chosen = life_of(session, options.reader, options.version)
    print(change(session, settings, chosen, Action(options.action), actor=ACTOR, why=options.why))
    return 0

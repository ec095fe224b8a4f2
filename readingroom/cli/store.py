"""``readingroom store encrypt`` and ``readingroom store rotate-keys``: seal what lies plain, and change the keys.

Both run beside the processes that use the store, and go on where a killed one stopped.
"""

import argparse
import sys
from typing import Any

from sqlalchemy import select, union_all
from sqlalchemy.orm import Session

from readingroom.cli.home import add_home, open_home
from readingroom.core.audit import AuditCode, record_alone
from readingroom.core.errors import BadInput

TOLD_EVERY = 100


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("store", help="seal the store, rotate its keys")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    encrypt = actions.add_parser(
        "encrypt",
        help="seal what was stored before store_encryption was set",
        description="Seal every stored object that lies plain. First set store_encryption = true and start everything "
        "again, so that all processes read both kinds.",
    )
    encrypt.set_defaults(project="")
    add_home(encrypt)
    rotate = actions.add_parser(
        "rotate-keys",
        help="give projects new keys",
        description="Give every project (or one) a new key, wrap each object's data key with it, and destroy the old "
        "key. No pixel is written again. Also seals the keys with the newest secret key.",
    )
    rotate.add_argument("--project", default="", help="only this project")
    add_home(rotate)


def run(options: argparse.Namespace) -> int:
    from readingroom.access.projects import find_project
    from readingroom.archive.reseal import rotate, seal_store
    from readingroom.archive.store import open_store
    from readingroom.core.database import Database, upgrade

    settings = open_home(options.home)
    if options.action == "encrypt" and not settings.store_encryption:
        raise BadInput("store_encryption is not set.", "Set it in config.toml, start everything again, then this.")
    store = open_store(settings)
    database = Database(settings.index_url)
    try:
        upgrade(database.engine)
        with database.read() as session:
            project_of = projects_of_keys(session)
            chosen = [find_project(session, options.project).id] if options.project else []
        if options.action == "encrypt":
            number = seal_store(store, project_of, project_of, show_progress)
            detail = {"objects": number}
            record_alone(database, AuditCode.SECURITY_ALERT, "store-sealed", "command line", detail=detail)
            print(f"{number} objects sealed")
            return 0
        done = rotate(store, project_of, chosen, show_progress)
        detail = {"objects": done.wrapped, "destroyed": done.destroyed}
        record_alone(database, AuditCode.SECURITY_ALERT, "store-keys-rotated", "command line", detail=detail)
    finally:
        database.close()
    print(f"{done.wrapped} objects under new keys, {done.destroyed} old keys destroyed")
    if done.broken:
        print(f"{done.broken} objects do not open: they are left as they are, no key was destroyed.", file=sys.stderr)
        print("  Bring them back from a copy of the store, then run this again.", file=sys.stderr)
    return 1 if done.broken else 0


def projects_of_keys(session: Session) -> dict[str, int]:
    """Return the project of everything that rows name in the store; the default one's, where it has no study."""
    from readingroom.access.projects import DEFAULT_PROJECT
    from readingroom.archive.tables import Instance, InstanceVersion, Quarantined, Series, Study
    from readingroom.readers.tables import ReadingRow
    from readingroom.report.tables import ReportRow

    found: dict[str, int] = dict.fromkeys(session.scalars(select(Quarantined.store_key)), DEFAULT_PROJECT)
    of_series = select(Study.project_id).where(Study.id == Series.study_id).scalar_subquery()
    images = union_all(
        select(Instance.store_key, of_series).join(Series, Series.id == Instance.series_pk),
        select(InstanceVersion.store_key, of_series)
        .join(Instance, Instance.id == InstanceVersion.instance_pk)
        .join(Series, Series.id == Instance.series_pk),
    )
    found.update((key, project) for key, project in session.execute(images))
    for table, column in ((ReadingRow, ReadingRow.arrays), (ReportRow, ReportRow.objects)):
        rows = session.execute(select(column, Study.project_id).join(Study, Study.id == table.study_id))
        # Of a report's objects most are UIDs; a UID among the keys does no harm.
        found.update((key, project) for names, project in rows for key in names.values())
    return found


def show_progress(done: int) -> None:
    """Draw the count on standard error, where that is a terminal."""
    if sys.stderr.isatty() and done % TOLD_EVERY == 0:
        sys.stderr.write(f"\r{done} objects")
        sys.stderr.flush()

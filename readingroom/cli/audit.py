"""``readingroom audit verify [--json]`` and ``readingroom audit export [--after NUMBER]``."""

import argparse
import json
import os
import pwd
import sys
from dataclasses import asdict
from typing import Any

from readingroom.cli.home import add_home
from readingroom.core.config import Settings, load_settings
from readingroom.core.database import Database
from readingroom.core.errors import NotFound

PAGE = 5000


def add_parser(commands: Any) -> None:
    parser = commands.add_parser("audit", help="verify the audit, export it")
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    verify = actions.add_parser(
        "verify",
        help="look at every event and seal",
        description="Find what was altered, deleted, inserted, reordered or cut off. Exit status 1 names the first "
        "wrong event; 0: everything is as it was written.",
    )
    verify.add_argument("--json", action="store_true", help="one JSON object")
    add_home(verify)
    export = actions.add_parser("export", help="write all events as JSON lines", description="One event a line.")
    export.add_argument("--after", type=int, default=0, metavar="NUMBER", help="only events after this one")
    add_home(export)


def run(options: argparse.Namespace) -> int:
    settings = load_settings(options.home)
    if not settings.database_url and not (settings.home / "index.sqlite").exists():
        raise NotFound("There is no index in this home folder.", "Name the right one with --home.")
    database = Database(settings.index_url)
    try:
        return _verify(settings, database, options.json) if options.action == "verify" else _export(database, options)
    finally:
        database.close()


def _verify(settings: Settings, database: Database, as_json: bool) -> int:
    from readingroom.access.audit.chain import verify_here
    from readingroom.core.audit import AuditCode, record_alone

    found = verify_here(settings, database)
    if as_json:
        sealed_at = found.sealed_at.isoformat() if found.sealed_at else None
        print(json.dumps({**asdict(found), "sealed_at": sealed_at, "intact": found.intact}))
    else:
        print(f"The audit is intact up to event {found.events}; sealed up to event {found.sealed}.")
        if not found.intact:
            print(f"NOT INTACT: {found.problem}")
            if found.first_wrong is not None:
                print(f"First wrong event: {found.first_wrong}")
    outcome = "success" if found.intact else "compromised"
    detail = {"user": _user(), "intact_to": found.events}
    record_alone(database, AuditCode.AUDIT_LOG_USED, "audit-verified", "command line", outcome=outcome, detail=detail)
    return 0 if found.intact else 1


def _export(database: Database, options: argparse.Namespace) -> int:
    from sqlalchemy import select

    from readingroom.core.audit import AuditCode, AuditEvent, record

    with database.write() as session:
        detail = {"user": _user(), "after": options.after}
        record(session, AuditCode.AUDIT_LOG_USED, "audit-exported", "command line", detail=detail)
    events, after = AuditEvent.__table__, options.after
    while True:
        with database.read() as session:
            page = select(events).where(events.c.id > after).order_by(events.c.id).limit(PAGE)
            rows = session.execute(page).mappings().all()
        for row in rows:
            line = {**row, "at": row["at"].isoformat(timespec="microseconds")}
            sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\n")
            after = row["id"]
        if not rows:
            return 0


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())

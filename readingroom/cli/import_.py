"""``readingroom import PATH``: take in a file, a folder or a zip, with a progress bar."""

import argparse
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

from readingroom.cli.home import add_home, open_home
from readingroom.core.errors import NotFound

BAR = 30


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "import",
        help="take in a file, folder or zip",
        description="Take in all DICOM in a file, folder or zip. What cannot be accepted is kept in quarantine.",
    )
    parser.add_argument("path", type=Path)
    parser.add_argument("--project", default="", help="file new studies under this project (default: care)")
    add_home(parser)


def run(options: argparse.Namespace) -> int:
    if not options.path.exists():
        raise NotFound("There is no such file or folder.", "Check the path.")
    from readingroom.archive.filing import filing_of_project
    from readingroom.archive.importer import import_path
    from readingroom.archive.receive import Archive
    from readingroom.archive.store import open_store
    from readingroom.core.database import Database, upgrade

    settings = open_home(options.home)
    database = Database(settings.index_url)
    try:
        upgrade(database.engine)
        archive = Archive(settings, database, open_store(settings))
        with database.read() as session:
            # Whoever has the home folder may add to the studies of every project.
            filing = replace(filing_of_project(session, options.project), may_add_to=None)
        summary = import_path(archive, options.path, show_progress, filing=filing)
    finally:
        database.close()
    print(file=sys.stderr)
    print(
        f"{summary.stored} stored, {summary.duplicates} already here, {summary.corrected} corrected, "
        f"{summary.notes} rejection notes, {summary.quarantined} quarantined, {summary.refused} refused, "
        f"{summary.skipped} skipped"
    )
    # Names of files may hold a patient's: only why, never which.
    for reason, number in Counter(reason for _name, _code, reason in summary.problems).most_common(20):
        print(f"  {number} x {reason}")
    return 1 if summary.refused else 0


def show_progress(done: int, total: int) -> None:
    """Draw the bar on standard error, where that is a terminal."""
    if not sys.stderr.isatty() and done != total:
        return
    filled = BAR * done // max(total, 1)
    sys.stderr.write(f"\r[{'#' * filled}{'.' * (BAR - filled)}] {done} of {total}")
    sys.stderr.flush()

"""``readingroom drift [--json]``: the streams of the drift watch and where each stands."""

import argparse
import json
from typing import Any

from readingroom.cli.home import add_home
from readingroom.core.config import load_settings
from readingroom.core.database import Database
from readingroom.core.errors import NotFound
from readingroom.learning.drift.streams import State
from readingroom.learning.drift.view import StreamView, WatchView, watches

SIGNS = {State.ALARM: "ALARM", State.IN_CONTROL: "in control", State.GATHERING: "not enough yet"}
HEAD = ("measure", "state", "newest", "limits", "baseline")


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser(
        "drift",
        help="how readers do on each scanner over time",
        description="One table a reader and scanner. Exit status 1: something is in alarm.",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON array instead of tables")
    add_home(parser)


def run(options: argparse.Namespace) -> int:
    settings = load_settings(options.home)
    if not settings.database_url and not (settings.home / "index.sqlite").exists():
        raise NotFound("There is no index in this home folder.", "Name the right one with --home.")
    database = Database(settings.index_url)
    try:
        with database.read() as session:
            found = watches(session)
    finally:
        database.close()
    if options.json:
        print(json.dumps([one.model_dump(mode="json") for one in found], ensure_ascii=False, indent=1))
    elif not found:
        print("Nothing is watched yet: no reading has ended since the watch began.")
    else:
        print("\n\n".join(_table(one) for one in found))
    return int(any(one.state == State.ALARM for one in found))


def _table(watch: WatchView) -> str:
    rows = [HEAD, *(_row(stream) for stream in watch.streams)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEAD))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "\n".join([f"{watch.reader} {watch.version} on {watch.scanner}", *(f"  {line}" for line in lines)])


def _row(stream: StreamView) -> tuple[str, ...]:
    point, baseline = stream.newest, stream.baseline
    state = SIGNS[stream.state]
    if stream.state == State.GATHERING:
        state += f" ({stream.waiting} of {stream.needed})"
    limits = (
        " to ".join("-" if limit is None else f"{limit:.3g}" for limit in (point.lower, point.upper)) if point else "-"
    )
    return (
        f"{stream.title} [{stream.unit}]" if stream.unit else stream.title,
        state,
        f"{point.statistic:.3g}" if point else "-",
        limits,
        f"{baseline.n} readings, {baseline.from_at:%Y-%m-%d} to {baseline.until_at:%Y-%m-%d}" if baseline else "-",
    )

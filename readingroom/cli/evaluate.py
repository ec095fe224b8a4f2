"""``readingroom evaluate READER --data DIR --json FILE``: measure a reader on a folder it was not trained on."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from readingroom.cli.progress import ProgressLine
from readingroom.core.errors import BadInput, NotFound, ReadingRoomError
from readingroom.readers.contract import Reader
from readingroom.readers.registry import companion, load_readers


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("evaluate", help="measure a reader on a data folder")
    parser.add_argument("reader", help="name of the reader, e.g. lung-nodule")
    parser.add_argument("--data", type=Path, required=True, help="folder laid out like the reader's data set")
    parser.add_argument("--json", type=Path, required=True, help="file to write the result to")
    parser.add_argument(
        "--against", type=Path, metavar="FILE", help="result of an earlier version on the same data: adds differences"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0, or 2 where data or reader can't be used."""
    line = ProgressLine(f"evaluate {args.reader}")
    command = shlex.join(
        ["readingroom", "evaluate", args.reader, "--data", args.data.name, "--json", args.json.name]
    )  # names only: paths of this machine tell nobody anything
    try:
        if not args.data.is_dir():
            raise BadInput(f"{args.data} is not a folder.")
        module = companion(args.reader, "evaluate")
        earlier = {} if args.against is None else {"against": _earlier(args.against)}
        result = module.evaluate(_reader(args.reader), args.data, command, line, **earlier)
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    except ReadingRoomError as error:
        line.end()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        line.end()
        print(f"error: {args.json}: {error.strerror}.", file=sys.stderr)
        return 2
    line.end()
    print(f"{result['reader']} {result['version']}: {result['data']}")
    _show(result["metrics"], "")
    if "against" in result:
        print(f"minus version {result['against']['version']}, the same {result['against']['n']} patients:")
        _show(result["against"]["difference"], "+")
    return 0


def _show(metrics: dict[str, Any], sign: str) -> None:
    for name, metric in metrics.items():
        low, high = metric["ci95"]
        interval = "no interval" if low is None else f"95% CI {low:.3f} to {high:.3f}"
        print(f"  {name}: {metric['value']:{sign}.3f} ({interval}, n = {metric['n']})")


def _earlier(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        raise BadInput(f"{path} is not the result of an evaluation.") from None
    if not isinstance(found, dict):
        raise BadInput(f"{path} is not the result of an evaluation.")
    return found


def _reader(name: str) -> Reader:
    found = next(one for one in load_readers() if one.name == name)
    if found.reader is None:
        raise NotFound(f"The reader {name!r} cannot be used: {found.error}")
    return found.reader

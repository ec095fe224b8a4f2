"""``readingroom checklist READER [--out DIR] [--json]``: reporting checklists filled from what ran."""

import argparse
import json
from pathlib import Path
from typing import Any

from readingroom.core.errors import BadInput
from readingroom.learning.checklists.fill import CHECKLISTS, State, fill, load_checklist, what_ran
from readingroom.learning.checklists.write import as_data, as_markdown


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("checklist", help="fill reporting checklists for a reader from what ran")
    parser.add_argument("reader", help="name of the reader, e.g. lung-nodule")
    parser.add_argument("--out", type=Path, metavar="DIR", help="write a file each into this folder; made if missing")
    parser.add_argument("--json", action="store_true", help="JSON instead of Markdown")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0. Raises NotFound without such a reader, BadInput where the folder cannot be written."""
    reader, ran = what_ran(args.reader)
    filled = [fill(load_checklist(name), reader, ran) for name in CHECKLISTS]
    if args.out is None:
        whole = json.dumps([as_data(one) for one in filled], ensure_ascii=False, indent=1)
        print(whole if args.json else "\n".join(map(as_markdown, filled)))
        return 0
    try:
        args.out.mkdir(parents=True, exist_ok=True)
        for one in filled:
            text = json.dumps(as_data(one), ensure_ascii=False, indent=1) + "\n" if args.json else as_markdown(one)
            path = args.out / f"{one.checklist.name}.{'json' if args.json else 'md'}"
            path.write_text(text, encoding="utf-8")
            states = ", ".join(f"{one.count(state)} {state.value}" for state in State)
            print(f"{path}: {states}")
    except OSError as error:
        raise BadInput(f"The checklists cannot be written to {args.out}: {error.strerror}.") from None
    return 0

"""``readingroom train READER --data DIR --out DIR [--seed N]``: train a reader from a folder of its own layout."""

import argparse
import sys
from pathlib import Path
from typing import Any

from readingroom.cli.progress import ProgressLine
from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.readers.registry import companion


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("train", help="train a reader from a data folder")
    parser.add_argument("reader", help="name of the reader, e.g. lung-nodule")
    parser.add_argument("--data", type=Path, required=True, help="folder laid out like the reader's data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log and card; made if missing")
    parser.add_argument("--seed", type=int, default=0, help="same data and seed, same weights (default 0)")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0, or 2 where the data or arguments can't be used."""
    line = ProgressLine(f"train {args.reader}")
    try:
        if args.seed < 0:
            raise BadInput("The seed must not be negative.")
        if not args.data.is_dir():
            raise BadInput(f"{args.data} is not a folder.")
        log = companion(args.reader, "train").train(args.data, args.out, args.seed, line)
    except ReadingRoomError as error:
        line.end()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        line.end()
        print(f"error: {args.out}: {error.strerror}.", file=sys.stderr)
        return 2
    line.end()
    result = log["out_of_fold"]
    print(
        f"Trained on {log['training_cases']} cases ({log['locked_test_cases']} locked) in {log['seconds']:.0f} s. "
        f"Out of fold: sensitivity {result['sensitivity']:.3f} at {result['false_positives_per_litre']:.2f} false "
        f"marks per litre. Written to {args.out}."
    )
    return 0

"""``readingroom train READER --data DIR --out DIR [--seed N]``: train a reader from a folder of its own layout."""

import argparse
import sys
from pathlib import Path
from typing import Any

from readingroom.cli.progress import ProgressLine
from readingroom.core.errors import BadInput, ReadingRoomError
from readingroom.learning.engine.recipe import TableRecipe, read_recipe
from readingroom.readers.registry import recipe_of

OUT_OF_TIME = 3


def add_parser(subparsers: Any) -> None:
    parser = subparsers.add_parser("train", help="train a reader from a data folder")
    parser.add_argument("reader", help="name of the reader, e.g. lung-nodule")
    parser.add_argument("--data", type=Path, required=True, help="folder laid out like the reader's data set")
    parser.add_argument("--out", type=Path, required=True, help="folder for weights, log and card; made if missing")
    parser.add_argument("--seed", type=int, default=0, help="same data and seed, same weights (default 0)")
    parser.add_argument("--resume", action="store_true", help="go on with the run that OUT holds")
    parser.add_argument("--minutes", type=float, help="time budget instead of the recipe's; what is done is kept")
    parser.add_argument("--search", type=int, default=0, metavar="TRIALS", help="try so many settings first")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Return 0, 3 where the time budget is used up, or 2 where the data or arguments can't be used."""
    # Only those who train need PyTorch, and the engine says so in a sentence where it is missing.
    from readingroom.learning.engine.run import OutOfTime, train
    from readingroom.learning.engine.search import search
    from readingroom.learning.engine.table import train_table

    line = ProgressLine(f"train {args.reader}")
    try:
        if args.seed < 0 or args.search < 0 or (args.minutes is not None and args.minutes <= 0):
            raise BadInput("Seed and trials must not be negative, and minutes must be more than 0.")
        recipe = read_recipe(recipe_of(args.reader))
        if not args.data.is_dir():
            raise BadInput(f"{args.data} is not a folder.")
        budget = {} if args.minutes is None else {"minutes": args.minutes}
        if isinstance(recipe, TableRecipe):
            if args.search:
                raise BadInput(f"{args.reader} learns of a table: it chooses its settings itself.", "No --search.")
            table = recipe.model_copy(update=budget)
            log = train_table(table, args.data, args.out, args.seed, line, resume=args.resume)
        else:
            if args.search:
                recipe = search(recipe, args.data, args.out / "search", args.seed, args.search, line)
            log = train(recipe.model_copy(update=budget), args.data, args.out, args.seed, line, resume=args.resume)
    except OutOfTime as stopped:
        line.end()
        print(f"stopped: {stopped}", file=sys.stderr)
        return OUT_OF_TIME
    except ReadingRoomError as error:
        line.end()
        print(f"error: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        line.end()
        print(f"error: {args.out}: {error.strerror}.", file=sys.stderr)
        return 2
    line.end()
    found = ", ".join(f"{name} {value:.3f}" for name, value in log["out_of_fold"].items() if isinstance(value, float))
    print(f"Trained in {log['seconds']:.0f} s. Out of fold: {found}. Written to {args.out}.")
    return 0

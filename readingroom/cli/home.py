"""What commands share: the home folder, its settings and its database."""

import argparse
import os
from pathlib import Path

from readingroom.core.config import Settings, load_settings
from readingroom.core.errors import BadInput

DEFAULT_HOME = "readingroom-data"


def add_home(parser: argparse.ArgumentParser, default: str = DEFAULT_HOME) -> None:
    """Add ``--home``; ``READINGROOM_HOME`` is its default where set."""
    parser.add_argument(
        "--home",
        type=Path,
        default=Path(os.environ.get("READINGROOM_HOME", default)),
        metavar="DIR",
        help=f"where everything is kept (default: {default})",
    )


def open_home(home: Path) -> Settings:
    """Make the home folder, readable by its owner only, and return its settings. Raises BadInput."""
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"The home folder cannot be made: {error.strerror}.", "Name another one with --home.") from None
    return load_settings(home)

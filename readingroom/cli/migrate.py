"""Bring the index up to date and look whether the store opens: ``python -m readingroom.cli.migrate HOME``, in a process
of its own. Prints the token of the first administrator's link where there is no account yet.

The supervisor stays small that way, and no connection of a migration outlives it.
"""

import sys
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from readingroom.access.first_run import offer
from readingroom.archive.store import open_store
from readingroom.core.config import load_settings
from readingroom.core.database import Database, upgrade
from readingroom.core.errors import ReadingRoomError


def main() -> int:
    settings = load_settings(Path(sys.argv[1]))
    database = Database(settings.index_url)
    try:
        open_store(settings)
        upgrade(database.engine)
        print(offer(database))
    except ReadingRoomError as error:
        print(f"readingroom: {error}", file=sys.stderr)
        return 1
    except SQLAlchemyError as error:
        print(f"readingroom: the index cannot be opened ({type(error).__name__}).", file=sys.stderr)
        return 1
    finally:
        database.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())

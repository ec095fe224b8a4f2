"""``readingroom``: the command line. Each command is a module with ``add_parser`` and ``run``, imported only when used.

An expected error is a sentence on standard error and exit status 2; never a traceback.
"""

import argparse
import sys
from collections.abc import Sequence
from importlib import import_module

from readingroom import __version__
from readingroom.core.errors import ReadingRoomError
from readingroom.core.permissions import House, Permission, allowed

COMMANDS: dict[str, tuple[str, Permission, str]] = {
    "serve": (
        "readingroom.cli.serve",
        Permission.SYSTEM_RUN,
        "receive, read, show, deliver: everything, from one command",
    ),
    "demo": ("readingroom.cli.demo", Permission.SYSTEM_RUN, "a Reading Room to try, with a study in it"),
    "import": ("readingroom.cli.import_", Permission.STUDY_STORE, "take in a file, folder or zip"),
    "readers": ("readingroom.cli.readers", Permission.PUBLIC, "list the installed readers"),
    "read": ("readingroom.cli.read", Permission.PUBLIC, "read a folder of DICOM without a server"),
    "norms": ("readingroom.cli.norms", Permission.PUBLIC, "FreeSurfer's measures against norms for age and sex"),
    "evaluate": ("readingroom.cli.evaluate", Permission.PUBLIC, "measure a reader on data laid out like its set"),
    "train": ("readingroom.cli.train", Permission.PUBLIC, "train a reader on data laid out like its set"),
    "cohort": ("readingroom.cli.cohort", Permission.COHORT_WRITE, "cohorts, label sets, the locked test part"),
    "models": ("readingroom.cli.models", Permission.MODEL_MANAGE, "reader versions: add, shadow, promote, roll back"),
    "drift": ("readingroom.cli.drift", Permission.DRIFT_READ, "how readers do on each scanner over time"),
    "checklist": ("readingroom.cli.checklist", Permission.PUBLIC, "fill reporting checklists for a reader"),
    "certificate": ("readingroom.cli.certificate", Permission.SYSTEM_RUN, "make certificates for TLS"),
    "store": ("readingroom.cli.store", Permission.SYSTEM_RUN, "seal the store, rotate its keys"),
    "audit": ("readingroom.cli.audit", Permission.AUDIT_READ, "verify the audit, export it"),
    "account": ("readingroom.cli.account", Permission.ACCOUNT_MANAGE, "add accounts and change passwords"),
    "token": ("readingroom.cli.token", Permission.ACCOUNT_MANAGE, "make, list and revoke API tokens"),
    "project": ("readingroom.cli.project", Permission.ACCOUNT_MANAGE, "add projects, put people and studies into them"),
}
"""Command -> its module, what it needs, and what it does. One that touches no home folder needs nothing."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    parser = argparse.ArgumentParser(
        prog="readingroom",
        description="Self-hosted AI for medical imaging. For research use only.",
        epilog="readingroom COMMAND --help says what a command takes.",
    )
    parser.add_argument("--version", action="version", version=f"readingroom {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    chosen = next((word for word in given if not word.startswith("-")), "")
    module = None
    for name, (path, needs, about) in COMMANDS.items():
        if name == chosen:
            # Whoever has the home folder is the operator: nobody is asked for a password here.
            if not allowed(House.OPERATOR, needs):
                raise LookupError(f"the command {name} declares {needs.value}, which no operator holds")
            module = import_module(path)
            module.add_parser(commands)
        else:
            commands.add_parser(name, help=about)
    options = parser.parse_args(given)
    try:
        return int(module.run(options) or 0) if module is not None else 0
    except ReadingRoomError as error:
        print(f"readingroom: {error.message}", file=sys.stderr)
        if error.hint:
            print(f"  {error.hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        sys.stderr.close()  # whoever read our output has gone
        return 1

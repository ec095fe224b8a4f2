"""``readingroom demo``: a Reading Room to try on this machine alone, with a study in it.

Keeps nothing outside its home folder, listens on loopback only, makes new passwords at each start, and takes other
ports where its own are taken. What needs large libraries runs in children, as everywhere.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from readingroom import RESEARCH_NOTICE
from readingroom.cli.home import add_home, open_home
from readingroom.cli.serve import port_is_free, serve, stop_on_signals
from readingroom.core.config import Settings
from readingroom.core.errors import BadInput, OutOfResources

LOOPBACK = "127.0.0.1"
REAL_STUDY = Path("..") / "shared" / "data" / "lung_ct_lidc_0314"
ACCOUNTS = ("radiologist", "admin")


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "demo",
        help="a Reading Room to try, with a study in it",
        description="Run everything on this machine alone, with a simulated chest CT or a study of yours.",
    )
    parser.add_argument("--study", type=Path, metavar="FOLDER", help="send this folder of DICOM instead")
    parser.add_argument("--port", type=int, default=8042, help="of the pages (default: 8042)")
    add_home(parser, "demo-data")


def run(options: argparse.Namespace) -> int:
    if options.study is not None and not options.study.is_dir():
        raise BadInput("The study's folder is not there.", "Name a folder that holds DICOM files.")
    os.environ.update(_environment(options.port))
    settings = open_home(options.home)
    passwords = _accounts(settings)
    stop = threading.Event()
    stop_on_signals(stop)

    def ready() -> None:
        _tell(settings, passwords, options.study)
        # A thread of its own: the supervisor goes on watching.
        threading.Thread(target=_send, args=(settings, options.study), name="send", daemon=True).start()

    return serve(settings, stop, ready)


def _environment(port: int) -> dict[str, str]:
    """Return the demo's settings, for every process started from here."""
    chosen: list[int] = []
    for name, wanted in (("pages", port), ("viewer", port + 1), ("DICOM", 11112)):
        free = _free_port(wanted, chosen)
        if free != wanted:
            print(f"Port {wanted} is taken: the {name} port is {free}.")
        chosen.append(free)
    pages, viewer, dicom = (str(number) for number in chosen)
    return {
        "READINGROOM_DEMO": "true",
        "READINGROOM_WEB_HOST": LOOPBACK,
        "READINGROOM_WEB_PORT": pages,
        "READINGROOM_VIEWER_PORT": viewer,
        "READINGROOM_DICOM_HOST": LOOPBACK,
        "READINGROOM_DICOM_PORT": dicom,
        "READINGROOM_DICOM_OPEN": "true",
        "READINGROOM_QUIET_SECONDS": os.environ.get("READINGROOM_QUIET_SECONDS", "3"),
    }


def _free_port(wanted: int, taken: Sequence[int]) -> int:
    """Return ``wanted`` or the next port that is free. Raises OutOfResources."""
    for port in range(wanted, min(wanted + 200, 65536)):
        if port not in taken and port_is_free(LOOPBACK, port):
            return port
    raise OutOfResources(f"No port from {wanted} on is free.", "Name another one with --port.")


def _accounts(settings: Settings) -> dict[str, str]:
    """Make both accounts, or give them new passwords; return the passwords, which are kept nowhere."""
    done = subprocess.run(
        [sys.executable, "-m", "readingroom.cli.demo_steps", "accounts", str(settings.home), *ACCOUNTS],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise OutOfResources("The demo's accounts could not be made.", done.stderr.strip()[-300:])
    passwords: dict[str, str] = json.loads(done.stdout)
    return passwords


def _tell(settings: Settings, passwords: dict[str, str], study: Path | None) -> None:
    base = f"http://{LOOPBACK}"
    offered = Path(__file__).parent.parent.parent / REAL_STUDY
    lines = [
        "",
        f"Reading Room demo. {RESEARCH_NOTICE}",
        "",
        f"  pages     {base}:{settings.web_port}/",
        f"  account   radiologist   password {passwords['radiologist']}",
        f"  account   admin         password {passwords['admin']}",
        f"  OHIF      {base}:{settings.viewer_port}/   (the same account)",
        f"  send      storescu -aec {settings.aet} +sd +r {LOOPBACK} {settings.dicom_port} FOLDER",
        f"  data in   {settings.home}",
        "",
        "  Try: sign in as radiologist, open the study when its findings are there, press ? for the keys,",
        "  accept, edit or reject each finding, read the report that was drafted, sign it.",
    ]
    if study is None and offered.is_dir():
        lines += ["", f"  A real chest CT is at hand: make demo STUDY={REAL_STUDY}"]
    print("\n".join([*lines, "", "  Ctrl-C ends it.", ""]), flush=True)


def _send(settings: Settings, study: Path | None) -> None:
    """Make the simulated study where none was named, and send it to ourselves by C-STORE, once."""
    command = [sys.executable, "-m", "readingroom.cli.demo_steps", "study", str(settings.home)]
    subprocess.run([*command, *([str(study.absolute())] if study else [])], check=False)

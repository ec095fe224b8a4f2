"""One process of ``readingroom serve``: ``python -m readingroom.cli.process NAME --home DIR``.

Imports only what its own work needs, says in ``processes/NAME.json`` that it is there and when it is ready, ends when
told to (SIGTERM) and dies with its supervisor. Many machines can run these apart.
"""

import argparse
import ctypes
import json
import logging
import os
import platform
import signal
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from readingroom.core.config import Settings, load_settings
from readingroom.core.errors import ReadingRoomError

PROCESSES = ("receive", "receive-2", "web", "worker", "deliver")
_PR_SET_PDEATHSIG = 1


DECODERS = ("gdcm", "openjpeg", "pylibjpeg", "rle", "PIL")
"""What pydicom imports to decode pixels, wherever it is installed."""


QUOTING = ("pydicom", "highdicom")
"""Libraries whose words quote the values they find odd, whosever they are: no log holds those."""


BYTES_ONLY = ("receive", "receive-2", "deliver")
"""Processes that move bytes and never look at a number in them."""


DOWNLOADS = "requests"
"""What pydicom would fetch its test files with."""


def forgo(name: str) -> None:
    """Keep pydicom from loading what process ``name`` never uses: downloads, image codecs, NumPy. Many MiB each.

    None in ``sys.modules`` makes an import fail as if the package were not installed.
    """
    unused = (*DECODERS, "numpy") if name in BYTES_ONLY else DECODERS if name != "web" else ()
    for package in (DOWNLOADS, *unused):
        sys.modules.setdefault(package, None)  # type: ignore[arg-type]


class Note:
    """``processes/NAME.json`` in the home folder: who runs under a name, and whether it is ready."""

    def __init__(self, home: Path, name: str) -> None:
        self._path = home / "processes" / f"{name}.json"
        self._path.parent.mkdir(exist_ok=True)
        self.write(ready=False)

    def write(self, *, ready: bool) -> None:
        own = psutil.Process()
        part = self._path.with_suffix(".part")
        part.write_text(json.dumps({"pid": own.pid, "created": own.create_time(), "ready": ready}), "utf-8")
        part.rename(self._path)

    def ready(self) -> None:
        self.write(ready=True)

    def remove(self) -> None:
        self._path.unlink(missing_ok=True)


def run_process(name: str, settings: Settings, stop: threading.Event, note: Note) -> None:
    """Do the work of the process ``name`` until ``stop`` is set."""
    forgo(name)
    if name == "web":
        # Uploads too large for memory are kept in the home folder meanwhile, where the room for them is.
        settings.work_folder.mkdir(parents=True, exist_ok=True)
        tempfile.tempdir = str(settings.work_folder)
        from readingroom.web.server import run_web

        listening = threading.Thread(target=_when_listening, args=(settings, note, stop), daemon=True)
        listening.start()
        run_web(settings, stop)
    elif name == "worker":
        from readingroom.review.judged import judged
        from readingroom.workflow.worker import run_worker

        run_worker(settings, stop, judged, note.ready)
    elif name == "deliver":
        from readingroom.archive.deliver import run_deliverer
        from readingroom.archive.store import open_store
        from readingroom.core.database import Database

        database = Database(settings.index_url)
        if settings.audit_syslog is not None:
            from readingroom.access.audit.syslog import run_audit_sender
            from readingroom.archive.subjects import subjects

            sending = threading.Thread(
                target=run_audit_sender, args=(settings, database, subjects, stop), name="audit", daemon=True
            )
            sending.start()
        if settings.urgent.channels:
            from readingroom.worklist.urgent.send import run_urgent_sender

            telling = threading.Thread(
                target=run_urgent_sender, args=(settings, database, stop), name="urgent", daemon=True
            )
            telling.start()
        note.ready()
        run_deliverer(settings, database, open_store(settings), stop)
    else:
        from readingroom.archive.dimse.receiver import run_receiver
        from readingroom.archive.receive import Archive
        from readingroom.archive.store import open_store
        from readingroom.core.database import Database

        database = Database(settings.index_url)
        archive = Archive(settings, database, open_store(settings))
        run_receiver(settings, archive, stop, lambda _port: note.ready())


@contextmanager
def _audited(name: str, settings: Settings) -> Iterator[None]:
    """Audit that a process starts and stops. The worker, which ends last, seals the audit with its end."""
    from readingroom.core.audit import AuditCode, record_alone
    from readingroom.core.database import Database

    database, actor = Database(settings.index_url), f"{name}@{platform.node()}"
    record_alone(database, AuditCode.APPLICATION_ACTIVITY, "process-started", actor)
    # Its next connection is made at the end: an idle one costs memory.
    database.close()
    outcome = "failure"
    try:
        yield
        outcome = "success"
    finally:
        record_alone(database, AuditCode.APPLICATION_ACTIVITY, "process-stopped", actor, outcome=outcome)
        if name == "worker":
            from readingroom.access.audit.seals import seal_head

            seal_head(settings, database)


def _when_listening(settings: Settings, note: Note, stop: threading.Event) -> None:
    """Say that the pages are ready once both listeners take connections."""
    for port in (settings.web_port, settings.viewer_port):
        while not stop.wait(0.1):
            with suppress(OSError), socket.create_connection((settings.web_host, port), timeout=1):
                break
    note.ready()


def main() -> int:
    parser = argparse.ArgumentParser(prog="readingroom.cli.process")
    parser.add_argument("name", choices=PROCESSES)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--parent", type=int, default=0, help="die with this process")
    options = parser.parse_args()
    if options.parent and sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != options.parent:
            return 0
    configure_log(options.name)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    note = Note(options.home, options.name)
    status = 0
    try:
        settings = load_settings(options.home)
        with _audited(options.name, settings):
            run_process(options.name, settings, stop, note)
    except ReadingRoomError as error:
        logging.getLogger(__name__).error("%s", error)
        status = 2
    except Exception as error:
        # A traceback's texts may hold values of rows; its places do not.
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = f"{Path(place.tb_frame.f_code.co_filename).name}:{place.tb_lineno}" if place else ""
        logging.getLogger(__name__).error("ended by %s at %s", type(error).__name__, where)
        status = 1
    note.remove()
    logging.shutdown()
    sys.stdout.flush()
    # Threads of a workflow in progress must not hold the process up: their work goes on at the next start.
    os._exit(status)


def configure_log(name: str) -> None:
    """Log to standard error, each line with the process's name. Libraries speak only when something is wrong."""
    logging.basicConfig(
        level=logging.WARNING,
        stream=sys.stderr,
        format=f"%(asctime)s {name} %(levelname)s %(message)s",
        force=True,
    )
    logging.getLogger("readingroom").setLevel(logging.INFO)
    for handler in logging.getLogger().handlers:
        handler.addFilter(lambda record: record.name.split(".")[0] not in QUOTING)
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    sys.exit(main())

"""``readingroom serve``: one command that starts every process, restarts each alone when it ends, and ends them all.

The supervisor does no work of its own: it migrates the index once, before any process connects, and watches.
"""

import argparse
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from readingroom.cli.certificate import use_own_certificate
from readingroom.cli.home import add_home, open_home
from readingroom.core.clock import monotonic
from readingroom.core.config import Settings, load_settings
from readingroom.core.errors import Conflict, OutOfResources

WATCH_SECONDS = 0.2
FIRST_PAUSE, LONGEST_PAUSE = 0.2, 30.0
STEADY_SECONDS = 20.0
"""A process that ran this long is restarted at once when it ends."""
GRACE_SECONDS = 10.0
PORT_SECONDS = 5.0


def add_parser(commands: Any) -> None:
    parser = commands.add_parser(
        "serve",
        help="receive, read, show, deliver: everything, from one command",
        description="Run all processes. Settings: config.toml in the home folder, then READINGROOM_* variables.",
    )
    parser.add_argument("--tls", action="store_true", help="pages by HTTPS; makes a certificate if none is set")
    add_home(parser)


def run(options: argparse.Namespace) -> int:
    settings = open_home(options.home)
    if options.tls:
        use_own_certificate(settings)
        settings = load_settings(options.home)
    stop = threading.Event()
    stop_on_signals(stop)
    return serve(settings, stop, lambda: print_ready(settings))


def print_ready(settings: Settings) -> None:
    """Print where everything is, on one line."""
    scheme = "https" if settings.tls_certificate else "http"
    print(
        f"readingroom ready: pages {scheme}://{settings.web_host}:{settings.web_port}  "
        f"viewer {scheme}://{settings.web_host}:{settings.viewer_port}  "
        f"DICOM {' and '.join(_dicom_addresses(settings))}",
        flush=True,
    )


def _dicom_addresses(settings: Settings) -> list[str]:
    here = f"{settings.aet}@{settings.dicom_host}"
    plain = [f"{here}:{settings.dicom_port}"] if settings.dicom_plain else []
    return [*plain, *([f"{here}:{settings.dicom_tls_port} (TLS)"] if settings.dicom_tls_certificate else [])]


def print_set_up(settings: Settings, token: str) -> None:
    """Print the link that makes the first administrator's account."""
    scheme = "https" if settings.tls_certificate else "http"
    host = socket.gethostname() if settings.web_host in ("0.0.0.0", "::") else settings.web_host  # noqa: S104
    address = settings.web_address or f"{scheme}://{host}:{settings.web_port}"
    print(
        "No account exists yet. This link makes the first administrator's, once, within a day:\n"
        f"  {address}/set-up#{token}",
        flush=True,
    )


def stop_on_signals(stop: threading.Event) -> None:
    """Set ``stop`` on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())


def serve(settings: Settings, stop: threading.Event, ready: Callable[[], None]) -> int:
    """Run every process until ``stop`` is set; ``ready`` is called once, when all take work.

    Raises Conflict where another ``serve`` uses the home folder, OutOfResources where a port is taken.
    """
    with _only_one(settings.home):
        set_up_token = migrate(settings)
        check_ports(settings)
        children = [_Child(name, settings.home) for name in process_names(settings)]
        told = False
        try:
            while not stop.wait(WATCH_SECONDS):
                for child in children:
                    child.watch()
                if not told and all(child.ready() for child in children):
                    told = True
                    ready()
                    if set_up_token:
                        print_set_up(settings, set_up_token)
        finally:
            _end(children)
    return 0


def migrate(settings: Settings) -> str:
    """Bring the index up to date; return the token of the first administrator's link where there is no account.

    Raises OutOfResources where the index or the store cannot be opened.
    """
    command = [sys.executable, "-m", "readingroom.cli.migrate", str(settings.home)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise OutOfResources("The index or the store could not be opened.", "The line above says why.")
    return done.stdout.strip()


def process_names(settings: Settings) -> list[str]:
    """Return the processes to run: a second receiver where there is a core for it."""
    second = ["receive-2"] if (os.cpu_count() or 1) > 1 and settings.dicom_port else []
    return ["receive", *second, "web", "worker", "deliver"]


def ports(settings: Settings) -> list[tuple[str, int]]:
    """Return what is listened on, as (host, port)."""
    return [
        *([(settings.dicom_host, settings.dicom_port)] if settings.dicom_plain else []),
        *([(settings.dicom_host, settings.dicom_tls_port)] if settings.dicom_tls_certificate else []),
        (settings.web_host, settings.web_port),
        (settings.web_host, settings.viewer_port),
    ]


def port_is_free(host: str, port: int) -> bool:
    """Whether the port can be listened on."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def check_ports(settings: Settings) -> None:
    """Raise OutOfResources where a port is taken, and stays so: processes of a supervisor that was killed end soon."""
    end = monotonic() + PORT_SECONDS
    for host, port in ports(settings):
        while not port_is_free(host, port):
            if monotonic() > end:
                raise OutOfResources(
                    f"Port {port} on {host} is taken.",
                    "Stop what listens there, or set another dicom_port, dicom_tls_port, web_port or viewer_port.",
                )
            time.sleep(WATCH_SECONDS)


@dataclass
class _Child:
    """One supervised process."""

    name: str
    home: Path
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    not_before: float = 0.0
    pause: float = field(default=FIRST_PAUSE)

    def watch(self) -> None:
        """Start it when it does not run, after a pause that grows while it keeps ending early."""
        now = monotonic()
        if self.process is not None:
            if self.process.poll() is None:
                return
            if now - self.started > STEADY_SECONDS:
                self.pause = FIRST_PAUSE
            print(f"{self.name} ended ({self.process.returncode}); starting it again", file=sys.stderr, flush=True)
            self.process, self.not_before = None, now + self.pause
            self.pause = min(self.pause * 2, LONGEST_PAUSE)
        if now >= self.not_before:
            self.process, self.started = self._start(), now

    def _start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "readingroom.cli.process", self.name, "--home", str(self.home)]
        environment = dict(os.environ)
        if self.name == "web":
            # glibc would keep the 19 MiB that each password's hash takes; fixed, it hands large blocks back when freed.
            environment.setdefault("MALLOC_MMAP_THRESHOLD_", "4194304")
        return subprocess.Popen(
            [*command, "--parent", str(os.getpid())], stdin=subprocess.DEVNULL, env=environment
        )  # fmt: skip

    def ready(self) -> bool:
        """Whether this very process has said that it takes work."""
        if self.process is None:
            return False
        try:
            note = json.loads((self.home / "processes" / f"{self.name}.json").read_text("utf-8"))
        except (OSError, ValueError):
            return False
        return note["pid"] == self.process.pid and bool(note["ready"])


def _end(children: Sequence[_Child]) -> None:
    """End every process; the worker last, which then seals an audit that nobody adds to any more."""
    _end_all([child for child in children if child.name != "worker"])
    _end_all([child for child in children if child.name == "worker"])


def _end_all(children: Sequence[_Child]) -> None:
    """Ask the processes to end, wait, and kill what does not."""
    running = [child.process for child in children if child.process is not None and child.process.poll() is None]
    for process in running:
        with suppress(ProcessLookupError):
            process.terminate()
    end = monotonic() + GRACE_SECONDS
    for process in running:
        try:
            process.wait(max(end - monotonic(), 0.1))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@contextmanager
def _only_one(home: Path) -> Iterator[None]:
    with (home / "serve.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Conflict("Another readingroom runs in this home folder.", "Stop it, or use another --home.") from None
        yield

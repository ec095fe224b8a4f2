"""What the end-to-end tests share: a running Reading Room as a value, the web process alone, signing in, pictures."""

import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Page
from support import free_port, skip_or_fail

from readingroom.core.config import Settings
from readingroom.core.database import Database, upgrade
from readingroom.web.server import run_web
from readingroom.web.static_files import FOLDER

PASSWORD = "correct-horse-battery-9"
CHROMIUM_FLAGS = [
    "--no-sandbox", "--disable-gpu", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip


@dataclass
class House:
    """A running Reading Room and what a test needs of it."""

    home: Path
    web: str
    viewer: str
    dicom_port: int
    destination: Path
    """Folder that the destination's ``storescp`` writes into."""
    process: subprocess.Popen[bytes]
    database: Database

    def log(self) -> str:
        return (self.home / "serve.log").read_text(errors="replace")


def wait_until(condition: Callable[[], bool], what: str, seconds: float = 120) -> None:
    """Poll until true; fail naming what did not happen."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.25)
    pytest.fail(f"did not happen within {seconds:.0f} s: {what}")


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as response:
            return bool(response.status == 200)
    except OSError:
        return False


@contextmanager
def serving(
    home: Path, destination: Path, storescp: str, *, config: str = "", environment: Mapping[str, str] | None = None
) -> Iterator[House]:
    """``readingroom serve`` in ``home`` with accounts, and a ``storescp`` as peer that writes into ``destination``.

    ``config``: lines more for its ``config.toml``; ``environment``: variables more.
    """
    web, viewer, dicom, peer = (free_port() for _ in range(4))
    (home / "config.toml").write_text(
        f"web_port = {web}\nviewer_port = {viewer}\ndicom_port = {dicom}\ndicom_open = true\nquiet_seconds = 1.0\n"
        f"{config}"
        f'[[peers]]\nname = "pacs"\nkind = "dimse"\nhost = "127.0.0.1"\nport = {peer}\naet = "PACS"\n'
    )
    program, more = [sys.executable, "-m", "readingroom.cli"], {**os.environ, **(environment or {})}
    for name, role in (("rada", "radiologist"), ("admin", "administrator")):
        subprocess.run(
            [*program, "account", "add", name, "--role", role, "--home", str(home)],
            env={**more, "READINGROOM_PASSWORD": PASSWORD}, check=True,
        )  # fmt: skip
    scp = subprocess.Popen([storescp, "-aet", "PACS", "-od", str(destination), "+xa", str(peer)])
    with (home / "serve.log").open("wb") as log:
        process = subprocess.Popen(
            [*program, "serve", "--home", str(home)], stdout=log, stderr=subprocess.STDOUT, env=more
        )
    database = Database(f"sqlite:///{home / 'index.sqlite'}")
    running = House(
        home, f"http://127.0.0.1:{web}", f"http://127.0.0.1:{viewer}", dicom, destination, process, database
    )
    try:
        wait_until(lambda: _answers(f"{running.web}/health"), "the web process answers", 60)
        yield running
    finally:
        database.close()
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
        scp.terminate()
        scp.wait(10)
        # Not at the top: pytest loads it as a plugin first.
        import leaks

        leaks.look_through(home)


@contextmanager
def web_running(settings: Settings) -> Iterator[Database]:
    """The web process over a migrated index; accounts are the caller's to make."""
    if not (FOLDER / "app" / "index.html").exists():
        skip_or_fail("the pages are not built: make setup")
    database = Database(settings.index_url)
    upgrade(database.engine)
    stop, ready = threading.Event(), threading.Event()
    thread = threading.Thread(target=run_web, args=(settings, stop, ready.set))
    thread.start()
    try:
        assert ready.wait(60)
        yield database
    finally:
        stop.set()
        thread.join(30)
        database.close()


def shoot(page: Page, name: str) -> None:
    """Keep a picture where somebody wants to look."""
    if folder := os.environ.get("READINGROOM_SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=str(Path(folder) / f"{name}.png"))


def sign_in(page: Page, name: str = "rada", password: str = PASSWORD) -> None:
    page.get_by_test_id("sign-in-name").fill(name)
    page.get_by_test_id("sign-in-password").fill(password)
    page.get_by_test_id("sign-in-submit").click()


def sign_out(page: Page) -> None:
    page.get_by_test_id("sign-out").click()
    page.get_by_test_id("sign-in-submit").wait_for()
